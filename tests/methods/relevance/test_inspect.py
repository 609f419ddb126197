"""The Inspect task: right answers score, an answer without a grade is counted and never a grade."""

import pytest

pytest.importorskip("inspect_ai")


@pytest.mark.slow
def test_the_task_scores_grades_and_counts_what_is_none(collection, tmp_path):
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelAPI, ModelOutput, get_model, modelapi

    from etude.methods.relevance.inspect_task import relevance

    answers = {"note 0": '{"O": 0}', "note 1": '{"O": 2}', "note 2": "a grade from 0 to 2"}

    @modelapi(name="listed")
    def listed():
        class Listed(ModelAPI):
            async def generate(self, input, tools, tool_choice, config):
                [text] = [answer for note, answer in answers.items() if note in input[-1].text]
                return ModelOutput.from_content("listed", text)

        return Listed

    collection.gold.write_text("q0 0 d0-0 0\nq0 0 d0-1 1\nq0 0 d0-2 2\n")
    task = relevance(str(collection.docs), str(collection.topics), str(collection.gold))
    [log] = inspect_eval(task, model=get_model("listed/x"), log_dir=str(tmp_path / "logs"), display="none")
    assert log.status == "success", log.error
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["unusable"] == pytest.approx(1 / 3)
    assert metrics["kappa"] == pytest.approx(1.0) and metrics["mean"] == pytest.approx(2 / 3)
