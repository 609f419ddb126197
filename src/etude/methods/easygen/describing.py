"""The verbs `caption` and `answer`: words about pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.bridge_folder import FILE, JoinedModel, load_bridge
from etude.methods.easygen.conversations import SHORTLY
from etude.methods.easygen.encoding import pictures_of
from etude.methods.easygen.features import DIFFUSED, PATCHES
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.pictures import load_pixels
from etude.methods.easygen.wording import Turn, plain_words, with_picture
from etude.render import table

_BATCH = 16


@dataclass(frozen=True)
class CaptionResult:
    """Captions.

    Attributes:
        model: Which model wrote them.
        captions: `id`, `caption` of each picture and, where there were, its `references`.
        out: The file, if one was written.
        seed: Of the reading: other seeds may give other captions.
    """

    model: str
    captions: Sequence[dict[str, Any]]
    out: str | None
    seed: int

    def __rich__(self) -> Any:
        """A table."""
        rows = [[row["id"], row["caption"]] for row in self.captions[:50]]
        return table(["picture", "caption"], rows, title=f"easygen caption: {self.model}, seed {self.seed}")


@dataclass(frozen=True)
class AnswerResult:
    """An answer about a picture."""

    image: str
    question: str
    answer: str
    seed: int

    def __rich__(self) -> Any:
        """A table."""
        return table(["easygen answer", ""], [[k, v] for k, v in vars(self).items()])


@verb
def caption(
    images: str,
    model: str,
    *,
    out: Path | None = None,
    folder: Path | None = None,
    split: str | None = None,
    instruction: str | None = None,
    max_tokens: int = 48,
    seed: int = 0,
) -> CaptionResult:
    """Describe pictures, by a BiDiffuser alone or by a language model that was aligned with one.

    Args:
        images: A picture, a folder of pictures, or pictures with captions as for `train-bidiffuser`.
        model: A BiDiffuser (its own text decoder writes), `emoji`, or what `align` or `tune` wrote.
        out: A `.jsonl`, `.csv` or `.parquet` file for the captions.
        folder: Folder that picture paths are relative to.
        split: Rows with this `split` only.
        instruction: What the language model is asked; default: what it was aligned with.
        max_tokens: The longest caption of a language model.
        seed: Of the reading.
    """
    pairs = pictures_of(images, folder, split)
    found = load_either(model)
    rows = []
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        for pair, text in zip(part, captions_of(part, found, instruction, max_tokens, seed), strict=True):
            row: dict[str, Any] = {"id": pair.id, "caption": text}
            rows.append({**row, "references": list(pair.captions)} if pair.captions else row)
    if out is not None:
        flat = [{**r, "references": " | ".join(r["references"])} if "references" in r else r for r in rows]
        write_records(out, rows if out.suffix == ".jsonl" else flat)
    return CaptionResult(model, rows, None if out is None else str(out), seed)


@verb
def answer(image: Path, question: str, model: Path, *, max_tokens: int = 48, seed: int = 0) -> AnswerResult:
    """Answer a question about a picture.

    Args:
        image: The picture.
        question: The question.
        model: What `align` or `tune` wrote.
        max_tokens: The longest answer.
        seed: Of the reading of the picture.
    """
    if not question.strip():
        raise EtudeError("the question is empty", "Ask something about the picture.")
    joined = load_bridge(model)
    asked = [Turn("user", with_picture(f"{plain_words(question)} {SHORTLY}"))]
    said = joined.write([asked], joined.features(pictures_of(image), seed), max_tokens=max_tokens)
    return AnswerResult(str(image), question, said[0], seed)


def load_either(name: str) -> BiDiffuser | JoinedModel:
    """A joined model where the folder holds one, else a BiDiffuser."""
    return load_bridge(name) if (Path(name) / FILE).exists() else load_bidiffuser(name)


def captions_of(
    pairs: Sequence[Pair],
    model: BiDiffuser | JoinedModel,
    instruction: str | None = None,
    max_tokens: int = 48,
    seed: int | None = None,
) -> list[str]:
    """Captions of a batch of pictures; without a seed, the reading is that of the training's features."""
    if isinstance(model, BiDiffuser):
        pixels = load_pixels([pair.picture for pair in pairs], model.size)
        return model.captions(pixels, [pair.id for pair in pairs], seed=seed or 0)
    features = model.features(pairs, seed)
    asked = Turn("user", with_picture(plain_words(instruction or model.note.instruction)))
    wanted = {name: features[name] for name in (DIFFUSED, PATCHES) if name in features}
    return model.write([[asked]] * len(pairs), wanted, max_tokens=max_tokens)
