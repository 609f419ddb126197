"""`words`: one sentence, every token shaded by how far changing it moves a place of a model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.word_sensitivity.corpus import token_texts
from etude.methods.word_sensitivity.model_site import ModelSite, Output
from etude.methods.word_sensitivity.perturbation import fingerprint, generator
from etude.methods.word_sensitivity.site_table import check_length, embed_ids, replacement_tokens
from etude.methods.word_sensitivity.supremum import Found, check_settings, worst_token, worst_vector
from etude.models import load_causal_lm, load_encoder
from etude.render import Block, Shaded, TableBlock, Text, console, save_page, show
from etude.runs import write_json

PAGE = "words.html"


@dataclass(frozen=True)
class WordsResult:
    """Every token of a sentence with its sensitivity.

    Args:
        model: The model.
        site: The place.
        method: `vocabulary` or `ascent`.
        output: What of the site counted.
        text: The sentence.
        tokens: Its tokens.
        values: Sensitivity at each.
        replacements: The worst replacement of each, for `vocabulary`.
        causal: Whether rows before the changed one are out of its reach.
        page: The HTML page, if one was asked for.
    """

    model: str
    site: str
    method: str
    output: str
    text: str
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    replacements: tuple[str | None, ...]
    causal: bool
    page: str | None

    def __rich__(self) -> Any:
        """The shaded sentence, the table, where the page is."""
        from rich.console import Group

        where = [show(Text(f"The page: {self.page}"))] if self.page else []
        return Group(show(self.sentence()), show(self.table()), show(Text(self.note())), *where)

    def sentence(self) -> Shaded:
        """The sentence, shaded relative to its most sensitive token."""
        most = max(self.values)
        notes = [
            f"{value:.3g}" + (f", by {new!r}" if new is not None else "")
            for value, new in zip(self.values, self.replacements, strict=True)
        ]
        strengths = [value / most if most > 0 else 0.0 for value in self.values]
        caption = f"{self.model}, {self.site}: the darker, the farther a change moves it (most: {most:.3g})"
        return Shaded(list(zip(self.tokens, strengths, strict=True)), caption, notes)

    def table(self) -> TableBlock:
        """One row a token."""
        worst = "worst replacement"
        rows = [
            (i, token, value, new)
            for i, (token, value, new) in enumerate(
                zip(self.tokens, self.values, self.replacements, strict=True)
            )
        ]
        if self.method == "vocabulary":
            return TableBlock(("position", "token", "sensitivity", worst), rows)
        return TableBlock(("position", "token", "sensitivity"), [row[:3] for row in rows])

    def note(self) -> str:
        """How to read it."""
        what = "the worst real token tried" if self.method == "vocabulary" else "the worst vector in the ball"
        note = f"Sensitivity: relative change of the site's output ({self.output}) under {what}."
        if self.causal:
            note += " A causal model: a token moves only itself and what follows."
        return note


@verb
def words(
    model: str,
    *,
    text: str,
    site: str = "final",
    method: Literal["vocabulary", "ascent"] = "vocabulary",
    output: Output = "frobenius",
    head: int | None = None,
    candidates: int = 64,
    radius: float = 1.0,
    starts: int = 4,
    steps: int = 20,
    encoder: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> WordsResult:
    """Shade each word of a text by how far changing it moves a layer, and name the worst replacement.

    Args:
        model: An embedded name (smollm2), a directory, or a hub id.
        text: The sentence.
        site: A module name (layers.3.self_attn, layers.3.mlp, layers.3), or final.
        method: vocabulary: the worst real token; ascent: the worst vector in the ball.
        output: What counts: all rows (frobenius), the last_token, or their mean.
        head: Only this attention head, before the output projection.
        candidates: Replacement tokens tried at each position, a seeded sample; 0 tries the whole vocabulary.
        radius: Of the ball of Δ, in units of the token's own norm; for ascent.
        starts: Ascents at each position.
        steps: Steps of each ascent, at most.
        encoder: The model is a sentence encoder (minilm), not a causal one.
        seed: Of replacements and starts.
        out: Folder for words.html and words.json.

    Raises:
        EtudeError: An empty text, an unknown model or site.
    """
    check_settings(radius, starts, steps)
    if not text.strip():
        raise EtudeError("--text is empty", "Give a sentence.")
    loaded: Any = load_encoder(model) if encoder else load_causal_lm(model)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    check_length(loaded, len(ids), "--text has")
    place = ModelSite(loaded.model, site, output, head)
    x = embed_ids(loaded.model, ids)
    tried = replacement_tokens(loaded.tokenizer, loaded.model, candidates, seed)
    found: list[Found] = []
    for position in range(len(ids)):
        around = place.perturbed(x, position)
        if method == "vocabulary":
            found.append(worst_token(around, position, tried))
        else:
            random = generator(seed, position, fingerprint(x))
            found.append(worst_vector(around, position, radius, random, method, starts, steps, place.site))
        if (position + 1) % 16 == 0:
            console().print(f"{position + 1} of {len(ids)} tokens")
    result = WordsResult(
        model, place.site, method, output, text, _pieces(loaded.tokenizer, text, ids),
        tuple(f.value for f in found), tuple(f.token for f in found), place.probe.causal,
        None if out is None else str(out / PAGE),
    )  # fmt: skip
    if out is not None:
        write_page(result, out)
    return result


def write_page(result: WordsResult, out: Path) -> None:
    """Write `words.html` and `words.json`; text of the user or the vocabulary is escaped."""
    blocks: list[Block] = [result.sentence(), Text(result.note()), result.table()]
    save_page(out / PAGE, "Which word holds the output?", [(result.site, blocks)])
    rows = [
        {"position": i, "token": token, "value": value, "replacement": new}
        for i, (token, value, new) in enumerate(
            zip(result.tokens, result.values, result.replacements, strict=True)
        )
    ]
    write_json(
        out / "words.json",
        {"model": result.model, "site": result.site, "method": result.method, "tokens": rows},
    )


def _pieces(tokenizer: Any, text: str, ids: list[int]) -> tuple[str, ...]:
    """The text cut at its tokens, as written; a token's own spelling where the tokenizer keeps no offsets."""
    if not tokenizer.is_fast:
        return token_texts(tokenizer, ids)
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    starts = [0, *(begin for begin, _ in spans[1:]), len(text)]
    if any(later < sooner for sooner, later in pairwise(starts)):
        return token_texts(tokenizer, ids)
    return tuple(text[a:b] for a, b in pairwise(starts))
