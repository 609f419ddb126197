"""The grading task through the whole of Inspect: an oracle, its opposite, one that answers half the time."""

from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from etude.methods.semcsr.inspect_task import grading_task
from etude.methods.semcsr.sts import STSPair

PAIRS = [STSPair(score=i % 6, sentence1=f"sentence {i}", sentence2="other") for i in range(12)]


@pytest.mark.parametrize(
    ("answers", "correlation", "readable"),
    [
        ([str(p.score) for p in PAIRS], 1.0, 1.0),
        ([str(5 - p.score) for p in PAIRS], -1.0, 1.0),
        (["no idea" if i % 2 else str(p.score) for i, p in enumerate(PAIRS)], 1.0, 0.5),
    ],
)
def test_graders_of_known_quality_get_their_correlation(
    tmp_path: Path, answers, correlation, readable
) -> None:  # type: ignore[no-untyped-def]
    outputs = [ModelOutput.from_content("mockllm", text) for text in answers]
    for output in outputs:  # else Inspect counts tokens with a tokenizer that it downloads
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    [log] = inspect_eval(
        grading_task(PAIRS), model=get_model("mockllm/model", custom_outputs=outputs, memoize=False),
        log_dir=str(tmp_path),
        display="none", max_connections=1, max_samples=1,
    )  # fmt: skip
    assert log.status == "success", log.error
    assert log.results is not None
    metrics = log.results.scores[0].metrics
    assert metrics["grade_spearman"].value == pytest.approx(correlation)
    assert metrics["readable"].value == pytest.approx(readable)
