"""The prompt grammar: a core and five optional parts, R D N A M, written as five characters such as `-DNA-`.

R is a role, D the topic's description, N its narrative, A the aspects M (match) and T (trust) before O
(overall), M several judges in one answer (section 3.2 of the paper). The wording is ours. Instructions and
query stand before the document, so that prefix caches hold them for all documents of a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from etude.errors import EtudeError
from etude.methods.relevance.answers import ParsedLabel, parse_label
from etude.runs import content_hash

LETTERS = "RDNAM"
JUDGES = 5
"""Judges of a prompt with M, as in the paper."""
ALL_VARIANTS = tuple(
    "".join(letter if on else "-" for letter, on in zip(LETTERS, chosen, strict=True))
    for chosen in product((False, True), repeat=len(LETTERS))
)
BEST = "-DNA-"
"""The paper's best variant."""
ROLE = "You are a search-quality rater with years of practice in judging web results."
FENCE = "=====DOCUMENT====="
_SLOTS = re.compile(r"\{(query|document|description|narrative)\}")


@dataclass(frozen=True)
class Wording:
    """The sentences of a prompt; the parts of the grammar put them together.

    Args:
        opening: What is to be done.
        criterion: The imagined report that decides what is relevant.
        grades: Grade to its meaning, for each scale by its highest grade.
        request: What the answer shall be; a description of its form follows.
    """

    opening: str = "Below are a search query and a document. Grade how well the document answers the query."
    criterion: str = (
        "Imagine that you are writing a report on the subject of the query, and ask whether you would use "
        "what the document says in it."
    )
    grades: Mapping[int, Sequence[str]] = field(
        default_factory=lambda: {
            1: ("not relevant", "relevant: it helps with the query"),
            2: (
                "not relevant: it should never be shown for this query",
                "relevant: it helps with part of the query, perhaps among other material",
                "highly relevant: it is very helpful for this query",
            ),
            3: (
                "it has nothing to do with the query",
                "it is about the subject of the query but does not answer it",
                "it answers the query in part, or the answer is unclear or hidden among other material",
                "it is devoted to the query and holds the exact answer",
            ),
        }
    )
    request: str = "Give the scores only, no reasoning."


DEFAULT = Wording()


@dataclass(frozen=True)
class RelevancePrompt:
    """One prompt of the grammar.

    Args:
        variant: Five characters out of `RDNAM`, a dash for a part that is left out.
        scale: Lowest and highest grade; the lowest is 0, the highest 1, 2 or 3.
        role: The role's sentence, for R.
        aspects: Aspects rated before O, for A.
        judges: How many judges M speaks of; 1 without M.
        wording: The sentences.
        template: A user's own prompt with `{query}`, `{document}`, and maybe `{description}` and
            `{narrative}`, instead of the grammar.
        name: Shown in tables; the variant by default.

    Raises:
        EtudeError: The variant, scale or template is none.

    Example:
        prompt = RelevancePrompt("-DNA-")
        prompt.parse('{"M": 2, "T": 1, "O": 1}').O    # 1.0
    """

    variant: str = BEST
    scale: tuple[int, int] = (0, 2)
    role: str = ROLE
    aspects: tuple[str, ...] = ("M", "T")
    judges: int = 0
    wording: Wording = DEFAULT
    template: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Check the parts; fill in what the variant says."""
        if len(self.variant) != 5 or any(
            c not in (letter, "-") for c, letter in zip(self.variant, LETTERS, strict=True)
        ):
            raise EtudeError(
                f"{self.variant!r} is no prompt variant",
                "Write five characters, each part's letter in its place or a dash: -DNA-, R-N--, -----.",
            )
        if self.scale[0] != 0 or self.scale[1] not in self.wording.grades:
            raise EtudeError(f"scale {self.scale}: not known", "Scales are 0-1, 0-2 and 0-3.")
        if self.template is not None and not {"query", "document"} <= set(_SLOTS.findall(self.template)):
            raise EtudeError(
                f"prompt {self.name!r}: its template lacks {{query}} or {{document}}", "Put both into it."
            )
        judges = self.judges or (JUDGES if "M" in self.variant[4] else 1)
        if (judges > 1) != (self.variant[4] == "M"):
            raise EtudeError(
                f"{judges} judges with variant {self.variant!r}", "Several judges are the part M (----M)."
            )
        object.__setattr__(self, "judges", judges)
        object.__setattr__(self, "name", self.name or self.variant)

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of a topic that this prompt shows besides the query."""
        if self.template is not None:
            return tuple(dict.fromkeys(s for s in _SLOTS.findall(self.template) if s in _TOPIC_FIELDS))
        return tuple(n for n, letter in zip(_TOPIC_FIELDS, self.variant[1:3], strict=True) if letter != "-")

    @property
    def asked_aspects(self) -> tuple[str, ...]:
        """The aspects that the answer shall name before O."""
        return self.aspects if self.variant[3] == "A" and self.template is None else ()

    @property
    def options(self) -> tuple[str, ...]:
        """The one-token answers whose log-probabilities are read: yes and no, or the grades."""
        return ("no", "yes") if self.scale == (0, 1) else tuple(map(str, range(self.scale[1] + 1)))

    @property
    def hash(self) -> str:
        """16 hex digits over everything that the prompt says, so that changed wording is another prompt."""
        sample = ("\0q", "\0d", "\0description", "\0narrative")
        shown = [self.render(*sample), self.render_choice(*sample)]
        return content_hash([*shown, list(self.scale), self.judges])[:16]

    def render(
        self, query: str, doc: str, description: str | None = None, narrative: str | None = None
    ) -> str:
        """The prompt that asks for a JSON answer.

        Args:
            query: The topic's query.
            doc: The document's text, already cut to what the model can read.
            description: One sentence on the topic; needed where `needs` says so.
            narrative: What counts as relevant; likewise.
        """
        ask = self._answer_form()
        return f"{self._before(query, description, narrative, doc)}{ask}"

    def render_choice(
        self, query: str, doc: str, description: str | None = None, narrative: str | None = None
    ) -> str:
        """The same prompt, but asking for one grade (or yes or no), to be read by log-probability."""
        if self.scale == (0, 1):
            ask = "Is the document relevant? Answer with one word, yes or no."
        else:
            ask = f"Answer with one digit from 0 to {self.scale[1]}, the overall grade, and nothing else."
        return f"{self._before(query, description, narrative, doc)}{ask}"

    def parse(self, text: str, stop_reason: str = "stop") -> ParsedLabel:
        """Read an answer; see `parse_label`."""
        return parse_label(text, self.scale, self.asked_aspects, self.judges, stop_reason)

    def _before(self, query: str, description: str | None, narrative: str | None, doc: str) -> str:
        given = {"query": query, "description": description or "", "narrative": narrative or ""}
        missing = [name for name in self.needs if not given[name]]
        if missing:
            raise ValueError(f"prompt {self.name} shows the {missing[0]}, and the topic has none")
        if self.template is not None:
            slots = {**given, "document": doc}
            return _SLOTS.sub(lambda match: slots[match[1]], self.template) + "\n\n"
        words = self.wording
        parts = [self.role] if self.variant[0] == "R" else []
        parts += [words.opening, words.criterion, "The grades:"]
        parts[-1] += "".join(f"\n{g} = {meaning}" for g, meaning in enumerate(words.grades[self.scale[1]]))
        if self.asked_aspects:
            parts.append(
                "Go step by step. First consider what somebody with this query most likely intends. Then "
                f"rate {_listed(self.asked_aspects)}. Only then decide on the overall grade (O)."
            )
        if self.variant[4] == "M":
            parts.append(
                f"{_COUNTS.get(self.judges, str(self.judges))} raters have judged this document, none "
                "knowing the others' grades, each by the rules above; their grades may differ."
            )
        parts.append(f"Query: {query}")
        if self.variant[1] == "D":
            parts.append(f"What the searcher wants: {description}")
        if self.variant[2] == "N":
            parts.append(f"What counts as relevant: {narrative}")
        parts.append(f"{FENCE}\n{doc.replace(FENCE, ' ')}\n{FENCE}")
        parts.append(words.request + " ")
        return "\n\n".join(parts)

    def _answer_form(self) -> str:
        named = ", ".join(f'"{name}": grade' for name in (*self.asked_aspects, "O"))
        if self.judges > 1:
            rows = f"[{{{named}}}, ...]"
            return f"Answer with one JSON list of exactly {self.judges} objects, one for each rater: {rows}"
        return f"Answer with one JSON object: {{{named}}}"


_TOPIC_FIELDS = ("description", "narrative")
_ASPECTS = {
    "M": "how well the document matches this intent (M)",
    "T": "how trustworthy the document is (T)",
}
_COUNTS = {2: "Two", 3: "Three", 4: "Four", 5: "Five"}


def _listed(aspects: Sequence[str]) -> str:
    return " and ".join(_ASPECTS.get(name, name) for name in aspects)


def umbrela() -> RelevancePrompt:
    """The zero-shot prompt for passages on the scale 0-3, with M, T and O (after UMBRELA; our wording)."""
    words = Wording(
        opening="Below are a search query and a passage. Grade how well the passage answers the query.",
        criterion="Judge the passage alone, not the page or the source it may come from.",
    )
    return RelevancePrompt("---A-", scale=(0, 3), wording=words, name="umbrela")


def named_prompt(name: str, scale: tuple[int, int] = (0, 2)) -> RelevancePrompt:
    """A prompt by its name: a variant (`-DNA-`) or `umbrela`.

    Raises:
        EtudeError: It is neither.
    """
    return umbrela() if name == "umbrela" else RelevancePrompt(name, scale)
