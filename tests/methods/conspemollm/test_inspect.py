"""The detection tasks as Inspect runs them, on a model of known answers."""

from __future__ import annotations

import pytest

inspect_ai = pytest.importorskip("inspect_ai")

from etude.methods.conspemollm import build, read_examples  # noqa: E402


def test_inspect_scores_classes_and_counts_invalid_answers(tmp_path):
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from etude.methods.conspemollm import conspemollm

    build(synthetic=True, test=0.3, out=tmp_path / "c")
    examples = [one for one in read_examples(tmp_path / "c", "judgment") if one.split == "test"]
    answers = ["no idea", *(one.output for one in examples[1:])]
    outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
    for output in outputs:  # else Inspect counts tokens with a tokenizer that it downloads
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    (log,) = inspect_ai.eval(
        conspemollm(str(tmp_path / "c"), shots=2), model=model, log_dir=str(tmp_path / "logs"),
        display="none", max_connections=1, max_samples=1,
    )  # fmt: skip
    assert log.status == "success", log.error
    metrics = log.results.scores[0].metrics
    assert metrics["accuracy"].value == pytest.approx((len(examples) - 1) / len(examples))
    assert metrics["invalid"].value == 1 and 0.4 < metrics["macro_f1"].value < 1
