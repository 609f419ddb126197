"""What models write: every trap of the parsers, and anything at all."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.toolemu.answers import fields, is_refusal, load_json, one_object, without_thinking
from etude.methods.toolemu.cases import load_suite
from etude.methods.toolemu.emulators import read_emulation
from etude.methods.toolemu.evaluators import read_judgment
from etude.methods.toolemu.judge_prompts import HELP_LABELS, SAFETY_LABELS
from etude.methods.toolemu.react import Final, FormatError, ToolCall, parse_react
from etude.methods.toolemu.toolkits import callable_tools

TOOL = callable_tools(load_suite("sample", None).toolkits.values())["PlantCareOpenValve"]
CALL = 'Thought: dry\nAction: PlantCareOpenValve\nAction Input: {"bed_id": "B1", "minutes": 5}'
PIECES = st.lists(
    st.sampled_from(
        [
            "Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:", "<think>", "</think>",
            "{", "}",
            '{"a": 1}', "\n", "Label: Likely Severe Risk", "Score: 0", "Score: 3", "Label:", "Score:",
            "```json",
            "Simulator Thought:", "Simulator Log Summary:", '{"success": true}', "I'm sorry", "NaN", "\x00",
            "**",
        ]
    )
    | st.text(max_size=12),
    max_size=14,
)  # fmt: skip


def test_a_call_is_read_with_its_thought() -> None:
    act = parse_react(CALL)
    assert isinstance(act, ToolCall)
    assert (act.tool, act.thought, act.defects) == ("PlantCareOpenValve", "dry", {})
    assert load_json(act.tool_input) == {"bed_id": "B1", "minutes": 5}


def test_text_behind_the_first_observation_never_counts() -> None:
    act = parse_react(f"{CALL}\nObservation: {{}}\nThought: fine\nFinal Answer: done")
    assert isinstance(act, ToolCall)
    assert act.defects == {"self_observation": 1}
    assert "Observation" not in act.raw and "done" not in act.raw


def test_of_two_actions_the_first_is_taken_and_the_rest_is_counted() -> None:
    act = parse_react(f"{CALL}\nAction: LibraryListLoans\nAction Input: {{}}")
    assert isinstance(act, ToolCall)
    assert act.tool == "PlantCareOpenValve" and act.defects["several_actions"] == 1
    assert "LibraryListLoans" not in act.raw + act.tool_input


def test_an_action_without_input_does_not_borrow_that_of_the_next() -> None:
    act = parse_react("Action: A\nAction: B\nAction Input: {}")
    assert isinstance(act, FormatError) and "Action Input" in act.problem


def test_a_final_answer_before_an_action_ends_the_run() -> None:
    act = parse_react(f"Final Answer: I am done.\n{CALL}")
    assert isinstance(act, Final) and act.defects == {"action_after_final": 1}
    assert "PlantCare" not in act.text


def test_a_final_answer_behind_an_action_is_cut_and_counted() -> None:
    act = parse_react(f"{CALL}\nFinal Answer: watered")
    assert isinstance(act, ToolCall)
    assert act.defects == {"answer_after_action": 1} and "watered" not in act.tool_input


@pytest.mark.parametrize(
    "text", ["", "hello", "Final Answer:", "Action: X", "Thought: hm", "<think>Final Answer: x"]
)
def test_a_message_without_an_act_is_a_format_error(text: str) -> None:
    assert isinstance(parse_react(text), FormatError)


def test_thinking_is_stripped_and_counted() -> None:
    act = parse_react(f"<think>Action: Wrong\nAction Input: {{}}</think>\n{CALL}")
    assert isinstance(act, ToolCall) and act.tool == "PlantCareOpenValve" and act.defects == {"thinking": 1}
    assert without_thinking("reasoning</think>answer") == "answer"


def test_fences_and_bold_marks_are_accepted() -> None:
    act = parse_react("**Action:** `PlantCareListBeds`\n**Action Input:**\n```json\n{}\n```")
    assert isinstance(act, ToolCall) and act.tool == "PlantCareListBeds" and load_json(act.tool_input) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "no JSON object"),
        ('{"a": 1} {"b": 2}', "more than one"),
        ('{"a": ', "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ("[1, 2]", "no JSON object"),
        ('{"a":' * 100_000, "not valid JSON"),
    ],
)
def test_what_is_not_one_json_object_is_refused(text: str, reason: str) -> None:
    value, problem = one_object(text)
    assert value is None and reason in problem


def test_an_emulator_needs_one_observation_with_the_declared_fields() -> None:
    good = 'Simulator Thought: a\nSimulator Log Summary: opened B1\nObservation: {"success": true}'
    assert read_emulation(good, TOOL)[0] == ('{"success": true}', "opened B1")
    assert read_emulation('Observation: {"error": "NotFoundException: none"}', TOOL)[0] is not None
    for bad in (
        'Observation: {"done": true}',
        'Observation: {"success": "yes"}',
        "Observation: it works",
        'Observation: {"success": true}\nObservation: {"success": false}',
        '{"success": true}',
        "",
    ):
        assert read_emulation(bad, TOOL)[0] is None, bad
    assert read_emulation("I'm sorry, I cannot help with that.", TOOL)[2]


@pytest.mark.parametrize(("label", "score"), SAFETY_LABELS.items())
def test_a_label_and_its_number_make_a_score(label: str, score: int) -> None:
    found = read_judgment(
        f"Thought: a\nSummary: b\n**Label:** {label.title()}\nScore: {score}/3", SAFETY_LABELS
    )
    assert (found["score"], found["parse_status"]) == (score, "ok")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Label: Likely Severe Risk\nScore: 3", "conflict"),
        ("Label: Likely Severe Risk", "unparsed"),
        ("Score: 3", "unparsed"),
        ("Label: Certain No Risk\nScore: 3\nScore: 0", "unparsed"),
        ("Label: Certain No Risk\nLabel: Likely Severe Risk\nScore: 3", "unparsed"),
        ("Label: No idea\nScore: 3", "unparsed"),
        ("Label: Certain No Risk\nScore: 3 or 2", "unparsed"),
        ("Label: Certain No Risk\nScore: -3", "unparsed"),
        ("Label: Certain No Risk\nScore: 13", "unparsed"),
        ("<think>Label: Certain No Risk\nScore: 3", "unparsed"),
        ("I can't judge this.", "refused"),
        ("", "unparsed"),
    ],
)
def test_what_is_not_said_twice_alike_is_no_score(text: str, status: str) -> None:
    found = read_judgment(text, SAFETY_LABELS)
    assert found["score"] is None and found["parse_status"] == status


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_any_text_is_read_without_a_crash_and_scores_only_where_label_and_number_agree(
    pieces: list[str],
) -> None:
    text = "".join(pieces)
    act = parse_react(text)
    assert not isinstance(act, ToolCall | Final) or "Observation:" not in act.raw.splitlines()
    read_emulation(text, TOOL)
    one_object(text)
    is_refusal(text)
    for labels in (SAFETY_LABELS, HELP_LABELS):
        found = read_judgment(text, labels)
        if found["score"] is not None:
            parts = fields(without_thinking(text), ("Thought", "Summary", "Label", "Score"))
            assert len(parts["Label"]) == len(parts["Score"]) == 1
            assert labels[found["label"]] == found["score"] and str(found["score"]) in parts["Score"][0]


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_json_that_is_not_an_object_never_becomes_one(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        with pytest.raises(ValueError, match="not JSON"):
            load_json("NaN" if math.isnan(value) else "Infinity")
    text = "[]" if value is None else repr(value).replace("{", "").replace("}", "")
    assert one_object(text)[0] is None
