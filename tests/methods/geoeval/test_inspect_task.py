"""The same items through the whole of Inspect: task, pictures, tool, scorer, log."""

import pytest
from PIL import Image

from etude.methods.geoeval import run
from etude.methods.geoeval.readers import read_items
from etude.models import register_scripted

pytest.importorskip("inspect_ai")

from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from etude.methods.geoeval.inspect_task import geoeval, items_task

QUIZ = (
    "id,question,answer,options,subset,image,facts,parent_id\n"
    "1,A square has side 4. What is its area?,16,,main,,,\n"
    "2,Find x.,5,,main,2.png,AC = x|AB = 3|BC = 4,\n"
    "3,Which is larger than 4?,5,3|5,backward,,,1\n"
)


@pytest.fixture
def quiz(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "2.png")
    path = tmp_path / "quiz.csv"
    path.write_text(QUIZ)
    return path


def _model(*outputs):
    made = []
    for output in outputs:
        output = ModelOutput.from_content("mock", output) if isinstance(output, str) else output
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        made.append(output)
    return get_model("mockllm/model", custom_outputs=made, memoize=False)


def _evaluate(task, model, folder):
    [log] = inspect_eval(task, model=model, log_dir=str(folder), display="none", max_samples=1)
    assert log.status == "success", log.error
    return log


def test_a_task_shows_pictures_scores_answers_and_groups_them(quiz, tmp_path):
    task = geoeval(str(quiz), input="all")
    log = _evaluate(task, _model("The answer is 16.", "The answer is 7.", "(B)"), tmp_path / "il")
    values = {sample.id: sample.scores["answer_scorer"].value for sample in log.samples}
    assert values == {"1": "C", "2": "I", "3": "C"}
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert (metrics["subset main"], metrics["subset backward"]) == (0.5, 1.0)
    shown = next(sample for sample in log.samples if sample.id == "2").input[0].content
    assert [part.type for part in shown] == ["image", "text"] and "AC = x" in shown[1].text
    assert next(sample for sample in log.samples if sample.id == "3").metadata["parent_id"] == "1"


def test_with_programs_the_model_has_a_sandboxed_tool(quiz, tmp_path):
    task = items_task(read_items(quiz)[:2], "text", "pot")
    call = ModelOutput.for_tool_call("mock", "run_python", {"program": "import os\nprint(4 * 4)\nos.fork()"})
    model = _model(call, "The answer is 16.", "```python\nprint(3 + 2)\n```")
    log = _evaluate(task, model, tmp_path / "il")
    first, second = log.samples
    assert [message.role for message in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert "Operation not permitted" in first.messages[2].text and "16" in first.messages[2].text
    assert [sample.scores["answer_scorer"].value for sample in (first, second)] == ["C", "C"]
    assert second.scores["answer_scorer"].metadata["read_by"] == "program"


def test_a_finished_run_becomes_an_inspect_log(quiz, tmp_path):
    register_scripted("right", lambda conversation: "The answer is 16.")
    result = run(quiz, model=("scripted/right",), input=("text",), export="inspect", out=tmp_path / "logs")
    log = read_eval_log(result.exports[0])
    assert (log.eval.task, log.eval.model, log.status) == ("etude/geoeval", "scripted/right", "success")
    assert [sample.scores["answer_scorer"].value for sample in log.samples] == ["C", "I", "I"]
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(1 / 3)


def test_one_module_registers_the_tasks_of_all_methods():
    import tomllib
    from importlib import import_module
    from pathlib import Path

    from inspect_ai._util.registry import registry_find

    settings = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    import_module(settings["project"]["entry-points"]["inspect_ai"]["etude"])
    names = {
        found.__registry_info__.name.split("/")[-1]
        for found in registry_find(lambda info: info.type == "task")
    }
    assert {"geoeval", "counting_stars"} <= names
