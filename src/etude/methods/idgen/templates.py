"""Templates: how a history is put to a sequence-to-sequence model (section 3.1).

A file has one template a line, `task; seen|unseen; input; output`, with the slots {user_id}, {history},
{target} and {dataset}. Ten templates are for training, the eleventh is held back to test other wordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data import read_lines
from etude.errors import EtudeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SLOTS = ("user_id", "history", "target", "dataset")
SEPARATOR = ";"

_WITH_USER = """
sequential; seen; user {user_id} bought {history} . what will this user buy next ?; {target}
sequential; seen; {user_id} chose {history} in this order , predict the next choice :; {target}
sequential; seen; these are the {dataset} purchases of {user_id} : {history} . the next one is; {target}
sequential; seen; after {history} , which item does {user_id} want ?; {target}
sequential; seen; shopper {user_id} , basket so far {history} , name one more item :; {target}
sequential; seen; given that {user_id} took {history} , recommend an item; {target}
sequential; seen; continue the list of {user_id} : {history}; {target}
sequential; seen; {dataset} user {user_id} with history {history} goes on with; {target}
sequential; seen; recent items of {user_id} are {history} . suggest what follows; {target}
sequential; seen; find the item that {user_id} picks after {history}; {target}
sequential; unseen; knowing that {user_id} already owns {history} , what should come now ?; {target}
"""

_WITHOUT_USER = """
sequential; seen; a user bought {history} . what will this user buy next ?; {target}
sequential; seen; someone chose {history} in this order , predict the next choice :; {target}
sequential; seen; these are {dataset} purchases : {history} . the next one is; {target}
sequential; seen; after {history} , which item is wanted ?; {target}
sequential; seen; basket so far {history} , name one more item :; {target}
sequential; seen; given that a person took {history} , recommend an item; {target}
sequential; seen; continue the list : {history}; {target}
sequential; seen; a {dataset} user with history {history} goes on with; {target}
sequential; seen; recent items are {history} . suggest what follows; {target}
sequential; seen; find the item that is picked after {history}; {target}
sequential; unseen; knowing that {history} are already owned , what should come now ?; {target}
"""


@dataclass(frozen=True)
class Template:
    """One wording.

    Args:
        task: Its kind, e.g. `sequential`.
        seen: Whether it is for training.
        text: What the model reads, with slots.
        output: What it shall write, with slots.
    """

    task: str
    seen: bool
    text: str
    output: str = "{target}"

    @property
    def wants_user(self) -> bool:
        """Whether the wording names the user."""
        return "{user_id}" in self.text


def own_templates(*, user_ids: bool) -> list[Template]:
    """Our ten wordings and the held-back one, with or without the user's id."""
    return parse_templates((_WITH_USER if user_ids else _WITHOUT_USER).strip().splitlines(), "templates")


def read_templates(path: Path) -> list[Template]:
    """Read a template file.

    Raises:
        EtudeError: A line is not `task; seen|unseen; input; output`, has an unknown slot or no {history}, or
            none is for training.
    """
    return parse_templates(read_lines(path), str(path))


def parse_templates(lines: Iterable[str], source: str) -> list[Template]:
    """Templates from lines; `source` names them in errors."""
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.strip().split(";")
        if len(parts) < 4 or parts[1].strip() not in ("seen", "unseen"):
            raise EtudeError(
                f"{source}:{number}: not a template: {line.strip()[:80]!r}",
                "A line is: task; seen|unseen; input with {history}; {target}",
            )
        text, output = ";".join(parts[2:-1]).strip(), parts[-1].strip()
        unknown = sorted(set(re.findall(r"\{(\w*)\}", text + output)) - set(SLOTS))
        if unknown or "{history}" not in text or output != "{target}":
            raise EtudeError(
                f"{source}:{number}: {'unknown slot ' + unknown[0] if unknown else 'slots are missing'}",
                "The input needs {history} and may have {user_id} and {dataset}; the output is {target}.",
            )
        found.append(Template(parts[0].strip(), parts[1].strip() == "seen", text, output))
    if not any(template.seen for template in found):
        raise EtudeError(f"{source}: no template is for training", "Mark at least one as seen.")
    return found


def template_words(templates: Sequence[Template], dataset: str) -> list[str]:
    """The words of the wordings, for a word-level vocabulary."""
    texts = [_spaced(template.text, dataset) for template in templates]
    return [SEPARATOR, *(word for text in texts for word in text.split() if not word.startswith("{"))]


class TokenTemplate:
    """A template as tokens, to be filled with the tokens of ids.

    Args:
        template: The wording.
        tokenizer: Of the model that reads it.
        dataset: What {dataset} says.
    """

    def __init__(self, template: Template, tokenizer: PreTrainedTokenizerBase, dataset: str = "") -> None:
        pieces = re.split(r"(\{history\}|\{user_id\})", _spaced(template.text, dataset))
        self.pieces: list[str | list[int]] = [
            piece if piece.startswith("{") else tokenizer.encode(piece.strip(), add_special_tokens=False)
            for piece in pieces
        ]
        self.separator: list[int] = tokenizer.encode(SEPARATOR, add_special_tokens=False)
        self.end = [tokenizer.eos_token_id]

    def fill(self, history: Sequence[Sequence[int]], user: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, and where each item of the history begins in them.

        Args:
            history: Tokens of each item's id, oldest first.
            user: Tokens of the user's id.
        """
        tokens: list[int] = []
        starts: list[int] = []
        for piece in self.pieces:
            if piece == "{user_id}":
                tokens += user
            elif piece == "{history}":
                for place, item in enumerate(history):
                    tokens += self.separator if place else []
                    starts.append(len(tokens))
                    tokens += item
            else:
                tokens += piece  # type: ignore[arg-type]
        return tokens + self.end, starts


class Stream:
    """What a causal model reads: the bare ids, each between two ends.

    Args:
        end: The token that ends an id.
    """

    def __init__(self, end: int) -> None:
        self.end = end

    def fill(self, history: Sequence[Sequence[int]], user: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """As `TokenTemplate.fill`; a stream does not name the user."""
        tokens, starts = [self.end], []
        for item in history:
            starts.append(len(tokens))
            tokens += [*item, self.end]
        return tokens, starts


def _spaced(text: str, dataset: str) -> str:
    return re.sub(r"(\{\w+\})", r" \1 ", text.replace("{dataset}", dataset))
