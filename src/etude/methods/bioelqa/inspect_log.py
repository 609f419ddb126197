"""An evaluation as an Inspect log, opened with `inspect view`: every question with its options and clues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.scoring import Judged
from etude.methods.bioelqa.wording import question_text
from etude.models.inspect_logs import inspect_sample, require_inspect, write_inspect_log


def write_link_log(folder: Path, linker: BioELQA, judged: Sequence[Judged]) -> Path:
    """Write one `.eval` log of all judged mentions.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    require_inspect()
    from inspect_ai.model import ChatMessageUser
    from inspect_ai.scorer import Score

    name = "retriever" if linker.selector is None else linker.selector.name
    samples = []
    for place, one in enumerate(judged):
        text = "\n\n".join(question_text(question, "numbers") for question in linker.questions(one.names))
        right = bool(set(one.linked) & set(one.gold)) if one.gold else not one.linked
        samples.append(
            inspect_sample(
                f"{one.row.doc or 'row'}:{one.row.start if one.row.start is not None else place}:{place}",
                [ChatMessageUser(content=text)],
                "|".join(one.linked) or "-1",
                model=name,
                target="|".join(one.gold) or "-1",
                scores={"symbol_scorer": Score(value=float(right), answer="|".join(one.linked) or None)},
                metadata={"mention": one.row.mention, "retriever": "|".join(one.first)},
            )
        )
    accuracy = sum(sample.scores["symbol_scorer"].value for sample in samples) / max(1, len(samples))
    return write_inspect_log(
        folder,
        f"bioelqa_{name}",
        task="bioelqa",
        model=name,
        samples=samples,
        scorer="symbol_scorer",
        metrics={"mean": accuracy},
    )
