"""The verb `evaluate`: captions, answers, pictures or dialogs against references; resumes item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import wilson_interval
from etude.methods import verb
from etude.methods.easygen.bidiffuser import BiDiffuser
from etude.methods.easygen.bridge_folder import JoinedModel
from etude.methods.easygen.caption_metrics import bleu, cider_d, exact, vqa_accuracy, word_accuracy
from etude.methods.easygen.conversations import read_dialogs, read_questions
from etude.methods.easygen.describing import captions_of, load_either
from etude.methods.easygen.dialog import parse_reply
from etude.methods.easygen.drawing import Painter
from etude.methods.easygen.pairs import Pair, pairs_hash, read_pairs
from etude.methods.easygen.picture_metrics import Look, frechet_distance, nearest_pictures
from etude.methods.easygen.pictures import Picture, load_pixels
from etude.render import table
from etude.runs import Run, content_hash, file_hash

Task = Literal["caption", "vqa", "draw", "dialog"]
_BATCH = 16


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of a model.

    Attributes:
        task: What was evaluated.
        items: How many.
        scores: Measure to value.
        pretraining: Block to what it had seen before; print it beside any comparison.
        items_file: Every item with its output and scores.
    """

    task: str
    items: int
    scores: dict[str, float]
    pretraining: dict[str, str]
    items_file: str

    def __rich__(self) -> Any:
        """A table."""
        rows: list[list[Any]] = [["items", self.items], *([k, v] for k, v in self.scores.items())]
        rows += [[f"pretraining: {block}", seen] for block, seen in self.pretraining.items()]
        return table([f"easygen evaluate: {self.task}", ""], [*rows, ["items in", self.items_file]])


@verb
def evaluate(
    model: str,
    data: str,
    *,
    task: Task,
    out: Path,
    images: Path | None = None,
    split: str | None = None,
    seed: int = 0,
    look: Look = "pixels",
    max_tokens: int = 48,
    steps: int | None = None,
    guidance: float | None = None,
) -> EvaluateResult:
    """Measure a model. The same command goes on after a kill; no item is asked twice.

    Args:
        model: A BiDiffuser (tasks `caption` and `draw`), `emoji`, or what `align`, `tune` or `adapt` wrote.
        data: Pairs for `caption` and `draw`; for `vqa` rows `question_id, image, question, answers`; for
            `dialog` LLaVA's dialogs, whose last answers are the references.
        task: `caption`: CIDEr-D, BLEU, exact and word accuracy. `vqa`: accuracy. `draw`: Frechet distance,
            pixel error, how often the nearest picture is the right one. `dialog`: BLEU-1, and whether a
            picture is shown when it should be.
        out: Folder for the items and `result.json`.
        images: Folder that picture paths are relative to.
        split: Rows with this `split` only.
        seed: Of reading and drawing: results are random, so evaluate with several.
        look: Features of the Frechet distance: `inception` (the FID; needs a download) or coarse `pixels`.
        max_tokens: The longest text of a language model.
        steps: Solver steps of drawing.
        guidance: Guidance of drawing.
    """
    found = load_either(model)
    if isinstance(found, BiDiffuser) and task in ("vqa", "dialog"):
        raise EtudeError(
            f"{model} is a BiDiffuser without a language model", "Give what align or tune wrote."
        )
    bidiffuser = found if isinstance(found, BiDiffuser) else found.bidiffuser
    joined = None if isinstance(found, BiDiffuser) else found
    pairs = read_pairs(data, images=images, split=split) if task in ("caption", "draw") else []
    content = pairs_hash(pairs) if pairs else file_hash(data)
    config = {
        "task": task, "model": bidiffuser.identity, "data": content, "seed": seed, "look": look,
        "joined": None if joined is None else _joined_hash(joined),
        "max_tokens": max_tokens, "steps": steps, "guidance": guidance,
    }  # fmt: skip
    with Run(out, config, command="easygen evaluate") as run:
        if run.result is None:
            if task == "caption":
                rows, scores = _captions(run, pairs, found, max_tokens, seed)
            elif task == "draw":
                painter = Painter(bidiffuser, joined, steps, guidance)
                rows, scores = _drawings(run, pairs, painter, seed, look)
            else:
                assert joined is not None
                ask = _answers if task == "vqa" else _dialogs
                rows, scores = ask(run, data, images, joined, max_tokens, seed)
            write_records(out / "items.jsonl", rows)
            run.complete({"items": len(rows), "scores": scores})
        assert run.result is not None
        seen = {"BiDiffuser": bidiffuser.pretraining} if joined is None else joined.note.pretraining
        return EvaluateResult(task, run.result["items"], run.result["scores"], seen, str(out / "items.jsonl"))


Rows = list[dict[str, Any]]


def _captions(
    run: Run, pairs: Sequence[Pair], model: BiDiffuser | JoinedModel, max_tokens: int, seed: int
) -> tuple[Rows, dict[str, float]]:
    waiting = [pair for pair in pairs if not run.finished(f"caption {pair.id}")]
    for start in range(0, len(waiting), _BATCH):
        part = waiting[start : start + _BATCH]
        for pair, text in zip(part, captions_of(part, model, None, max_tokens, seed), strict=True):
            run.finish(f"caption {pair.id}", text)
    written = [str(run.record(f"caption {pair.id}")) for pair in pairs]
    references = [pair.captions for pair in pairs]
    ciders = cider_d(written, references)
    rows: Rows = [
        {
            "id": pair.id,
            "caption": text,
            "references": list(pair.captions),
            "cider": cider,
            "exact": exact(text, pair.captions),
            "word_accuracy": word_accuracy(text, pair.captions),
        }
        for pair, text, cider in zip(pairs, written, ciders, strict=True)
    ]
    scores = {"CIDEr-D x 100": 100 * _mean(ciders)}  # as papers print it
    scores |= {f"BLEU-{n}": value for n, value in enumerate(bleu(written, references), start=1)}
    return rows, scores | {name: _mean([r[name] for r in rows]) for name in ("exact", "word_accuracy")}


def _drawings(
    run: Run, pairs: Sequence[Pair], painter: Painter, seed: int, look: Look
) -> tuple[Rows, dict[str, float]]:
    folder = run.path / "pictures"
    prompts = [pair.captions[0] for pair in pairs]
    files: list[Path] = []
    for start in range(0, len(prompts), _BATCH):  # pictures that are there already are kept
        files += painter.paint(prompts[start : start + _BATCH], folder, seed=seed)
    size = painter.bidiffuser.size
    real = load_pixels([pair.picture for pair in pairs], size)
    drawn = load_pixels([Picture(file) for file in files], size)
    near = nearest_pictures(drawn, real, range(len(pairs)))
    rows: Rows = [
        {
            "id": pair.id,
            "prompt": prompt,
            "file": str(file.relative_to(run.path)),
            "pixel_error": float(error),
            "nearest": pairs[int(index)].id,
        }
        for pair, prompt, file, error, index in zip(
            pairs, prompts, files, near.error, near.index, strict=True
        )
    ]
    scores = {
        "pixel error": float(near.error.mean()),
        "nearest is the right one": _mean([float(row["id"] == row["nearest"]) for row in rows]),
    }
    if len(pairs) > 1:
        name = "FID" if look == "inception" else "Frechet distance of 8 x 8 pixels (not FID)"
        scores[name] = frechet_distance(real, drawn, look=look)
    return rows, scores


def _answers(
    run: Run, data: str, images: Path | None, joined: JoinedModel, max_tokens: int, seed: int
) -> tuple[Rows, dict[str, float]]:
    questions = read_questions(data, images=images)
    for question in questions:
        step = f"answer {question.id}"
        if not run.finished(step):
            features = joined.features([Pair(question.image, question.picture, ())], seed)
            run.finish(step, joined.write([question.turns], features, max_tokens=max_tokens)[0])
    rows: Rows = []
    for question in questions:
        said = str(run.record(f"answer {question.id}"))
        score = vqa_accuracy(said, question.answers)
        rows.append({"id": question.id, "question": question.question, "answer": said, "accuracy": score})
    return rows, {"VQA accuracy": _mean([row["accuracy"] for row in rows])}


def _dialogs(
    run: Run, data: str, images: Path | None, joined: JoinedModel, max_tokens: int, seed: int
) -> tuple[Rows, dict[str, float]]:
    rows: Rows = []
    for dialog in read_dialogs(data, images=images):
        last = max(n for n, turn in enumerate(dialog.turns) if turn.role == "assistant")
        step = f"reply {dialog.id}"
        if not run.finished(step):
            shown = (
                []
                if dialog.picture is None or dialog.image is None
                else [Pair(dialog.image, dialog.picture, ())]
            )
            features = joined.features(shown, seed) if shown else None
            run.finish(step, joined.write([dialog.turns[:last]], features, max_tokens=max_tokens)[0])
        said, wanted = parse_reply(str(run.record(step))), parse_reply(dialog.turns[last].text)
        rows.append(
            {
                "id": dialog.id,
                "reply": str(run.record(step)),
                "reference": dialog.turns[last].text,
                "picture_as_wanted": float(bool(said.prompts) == bool(wanted.prompts)),
                "notes": list(said.notes),
            }
        )
    agreed = sum(int(row["picture_as_wanted"]) for row in rows)
    interval = wilson_interval(agreed, len(rows))
    assert interval is not None
    scores = bleu([row["reply"] for row in rows], [[row["reference"]] for row in rows])
    return rows, {
        "BLEU-1": scores[0],
        "picture shown when wanted": agreed / len(rows),
        "picture shown when wanted, low": interval.low,
        "picture shown when wanted, high": interval.high,
    }


def _joined_hash(joined: JoinedModel) -> str:
    assert joined.folder is not None
    files = sorted(p for p in joined.folder.glob("*.safetensors")) + sorted(
        joined.folder.glob("l*/*.safetensors")
    )
    return content_hash([asdict(joined.note), [file_hash(file) for file in files]])[:16]


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).mean()) if values else 0.0
