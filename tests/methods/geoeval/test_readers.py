"""Problems are read from every source; what cannot be put or scored is named."""

import json
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.geoeval.complexity import levels, needs_outside_knowledge, step_band
from etude.methods.geoeval.items import Item, duplicates, read_picture
from etude.methods.geoeval.readers import read_items

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

OFFICIAL = {
    "7": {
        "text": {"Num_Exp": "Find x.", "aug_problem": "Determine x."},
        "diagram_name": "7.png",
        "diagram_description": {
            "structure": ["line A B"],
            "semantic": ["AB = 3", "BC = 4", "AC = x"],
            "backward_semantic": ["AB = X", "BC = 4", "AC = 5"],
        },
        "choice_list": ["3", "4", "5", None],
        "choice_id": "2",
        "answer_value": 5,
        "backward_text": "The answer is 5. Find X.",
        "backward_answer_value": 3.0,
        "solution": {"gpt-4": {"response": "The answer is 6.", "extraction": "6"}},
        "dataset_id": "Geometry3K",
    },
    "8": {
        "text": {"Num_Exp": "A cube has edge 2. What is its volume?", "aug_problem": None},
        "diagram_name": None, "diagram_description": None, "choice_list": ["4", "8", "16"],
        "answer_value": "B", "backward_text": None, "backward_answer_value": None, "dataset_id": "MATH",
    },
}  # fmt: skip


@pytest.fixture
def official(tmp_path):
    path = tmp_path / "geoeval.json"
    path.write_text(json.dumps(OFFICIAL))
    (tmp_path / "diagrams").mkdir()
    (tmp_path / "diagrams" / "7.png").write_bytes(PNG)
    return path


def _table(tmp_path, text, name="quiz.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_official_file_holds_main_backward_and_aug_versions(official, tmp_path):
    items = {item.id: item for item in read_items(official)}
    assert list(items) == ["7", "7-aug", "7-backward", "8"]
    assert items["7"].facts == ("line A B", "AB = 3", "BC = 4", "AC = x")
    assert items["7"].options == ("3", "4", "5") and items["7"].gold == "5"
    assert items["7-backward"].facts == ("line A B", "AB = X", "BC = 4", "AC = 5")
    assert (items["7-backward"].gold, items["7-backward"].options) == ("3.0", ())
    assert items["7-backward"].parent_id == items["7-aug"].parent_id == "7"
    assert items["7-aug"].question == "Determine x."
    assert items["7"].image == tmp_path / "diagrams" / "7.png"
    assert (items["8"].kind, items["8"].letter) == ("choice", "B")


def test_text_only_backward_items_are_scored_by_their_own_answer(official):
    """The released script compares them with the forward answer."""
    record = json.loads(official.read_text())
    record["7"]["diagram_name"] = None
    official.write_text(json.dumps(record))
    [item] = read_items(official, subsets=("backward",))
    assert item.gold == "3.0"


def test_subsets_are_chosen_and_hard_reads_the_problems_as_they_are(official):
    assert [item.id for item in read_items(official, subsets=("backward",))] == ["7-backward"]
    assert {item.subset for item in read_items(official, subsets=("hard",))} == {"hard"}
    with pytest.raises(EtudeError, match="no problems"):
        read_items(official, subsets=("sideways",))


def test_geometry3k_folders_are_read(tmp_path):
    folder = tmp_path / "test" / "2401"
    folder.mkdir(parents=True)
    row = {"id": 2401, "problem_text": "Find y.", "choices": ["3", "4", "5", "6"], "answer": "C"}
    (folder / "data.json").write_text(json.dumps(row))
    (folder / "logic_form.json").write_text(
        json.dumps({"diagram_logic_form": ["Equals(LengthOf(Line(A,B)),3)"]})
    )
    (folder / "img_diagram.png").write_bytes(PNG)
    [item] = read_items(tmp_path / "test")
    assert (item.id, item.letter, item.options[2]) == ("geometry3k-2401", "C", "(C) 5")
    assert item.facts == ("Equals(LengthOf(Line(A,B)),3)",)
    assert read_picture(item) == PNG


def test_formalgeo_folders_are_read(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "diagrams").mkdir()
    (tmp_path / "diagrams" / "5.png").write_bytes(PNG)
    row = {
        "problem_id": 5, "source": "GeoQA-9", "problem_text_en": "Find AB.", "problem_img": "5.png",
        "construction_cdl": ["Shape(AB,BC,CA)"], "text_cdl": ["Equal(LengthOfLine(BC),4)"], "image_cdl": [],
        "goal_cdl": "Value(LengthOfLine(AB))", "problem_answer": "3",
        "theorem_seqs_dag": {"START": ["a(ABC)"], "a(ABC)": ["b(ABC)"]},
    }  # fmt: skip
    (tmp_path / "problems" / "5.json").write_text(json.dumps(row))
    [item] = read_items(tmp_path)
    assert (item.id, item.source, item.gold, item.steps) == ("5", "GeoQA", "3", 2)
    assert item.image == tmp_path / "diagrams" / "5.png"
    assert any("BC" in fact and "4" in fact for fact in item.facts)


def test_tables_of_questions_and_answers_are_read(tmp_path):
    text = (
        "question,answer,options,image,subset,steps\n"
        '"A square has side 4. Area?",16,,,main,1\n'
        '"How large is it?",B,2 cm|4 cm,,hard,\n'
        '"How large?",4 cm,"[""2 cm"", ""4 cm""]",,hard,\n'
    )
    items = read_items(_table(tmp_path, text))
    assert [item.id for item in items] == ["1", "2", "3"]
    assert [item.letter for item in items] == [None, "B", "B"]
    assert [item.kind for item in items] == ["auto", "choice", "auto"]
    assert (items[0].steps, items[1].subset) == (1, "hard")


def test_the_problems_that_come_with_the_package_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = read_items(Path("samples"))
    assert len(items) == 12 and all(item.facts and item.problem is not None for item in items)


def test_the_shared_word_problems_and_problems_are_read(shared_data):
    words = read_items(shared_data("geoeval") / "text_only.jsonl")
    assert len(words) == 12 and all(item.kind == "choice" and item.letter == item.gold for item in words)
    items = read_items(shared_data("geoeval") / "problems.jsonl")
    assert len(items) == 2290 and all(item.facts for item in items)
    assert sum(item.image is not None for item in items) == 400
    assert {item.source for item in items} == {"Geometry3K"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,question,answer\n1,Area?,4\n1,Side?,2\n", "1: this id is there twice"),
        ("question,answer,options\nArea?,4,4|4\n", "fewer than two different choices"),
        ("question,answer,options\nArea?,9,4|5\n", "none of them is the answer '9'"),
        ("question,answer\nArea?,B\n", "'B' is a letter, and there are no choices"),
        ("question,answer\n,4\n", "question"),
        ("question,answer\nArea?,\n", "answer"),
        ("question,answer,image\nArea?,4,../x.png\n", "lies outside"),
        ("question,answer,image\nArea?,4,/etc/x.png\n", "lies outside"),
        ("frage,antwort\nArea?,4\n", "quiz.csv:2: question"),
        ('question,answer,options\nArea?,4,"[4, 5"\n', "JSON list"),
    ],
)
def test_problems_that_cannot_be_put_or_scored_are_named(tmp_path, rows, message):
    with pytest.raises(EtudeError, match=message.replace("(", r"\(")):
        read_items(_table(tmp_path, rows))


@pytest.mark.parametrize(
    ("name", "text", "format", "message"),
    [
        ("x.json", "[]", "auto", "not a GeoEval file"),
        ("x.json", '{"1": {"text": 3}}', "auto", "1: text"),
        ("x.json", "{", "auto", "not valid JSON"),
        ("x.csv", "question,answer\n", "auto", "no problems"),
        ("x.csv", "question,answer\na,b\n", "geometry3k", "not a folder"),
        ("x.txt", "hello", "auto", "unknown kind of file"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, name, text, format, message):
    with pytest.raises(EtudeError, match=message):
        read_items(_table(tmp_path, text, name), format=format)


def test_a_folder_of_neither_kind_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="neither"):
        read_items(tmp_path)
    with pytest.raises(EtudeError, match="no such file"):
        read_items(tmp_path / "missing.csv")


@pytest.mark.parametrize("content", [b"", b"not a picture", PNG[:40]])
def test_a_broken_picture_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    [item] = read_items(_table(tmp_path, "question,answer,image\nArea?,4,a.png\n"))
    with pytest.raises(EtudeError, match=r"a\.png: not a picture"):
        read_picture(item)


def test_a_missing_picture_is_named(tmp_path):
    [item] = read_items(_table(tmp_path, "question,answer,image\nArea?,4,b.png\n"))
    with pytest.raises(EtudeError, match=r"b\.png: no such picture"):
        read_picture(item)


def test_a_built_problem_whose_parent_changed_is_refused(tmp_path):
    from etude.methods.geoeval.problems import Problem

    parent = Problem(
        problem_id="1", problem_text_en="Find AB.", goal_cdl="Value(LengthOfLine(AB))", problem_answer="3",
        construction_cdl=("Shape(AB,BC,CA)",), text_cdl=("Equal(LengthOfLine(BC),4)",),
    )  # fmt: skip
    child = parent.model_copy(
        update={"problem_id": "1b", "subset": "backward", "parent_id": "1", "parent_hash": parent.content}
    )
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(problem.model_dump_json() for problem in (parent, child)))
    assert [item.parent_id for item in read_items(path)] == [None, "1"]
    changed = parent.model_copy(update={"problem_answer": "4"})
    path.write_text("\n".join(problem.model_dump_json() for problem in (changed, child)))
    with pytest.raises(EtudeError, match="have changed"):
        read_items(path)


def _item(id_, question, **fields):
    return Item(id=id_, question=question, gold="1", **fields)


def test_the_same_problem_from_two_sources_is_noticed(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    items = [
        _item("1", "Find x.", facts=("AB = 3", "BC = 4")),
        _item("2", "find  x.", facts=("BC = 4", "AB = 3"), source="PGPS9K"),
        _item("3", "Find x.", facts=("AB = 3", "BC = 5")),
        _item("4", "Find x."),
        _item("5", "Find x."),
        _item("6", "Find x.", image=tmp_path / "a.png"),
        _item("7", "Find x.", image=tmp_path / "b.png"),
    ]
    assert duplicates(items) == [("1", "2"), ("6", "7")]


def test_complexity_grows_with_question_and_solution():
    items = [_item(str(n), "word " * n, solution_length=n) for n in range(1, 10)]
    assert levels(items) == ["easy"] * 3 + ["middle"] * 3 + ["hard"] * 3
    assert len(set(levels([_item(str(n), "Find x.") for n in range(5)]))) == 1
    assert levels([]) == []
    assert [step_band(steps) for steps in (None, 1, 2, 3, 4, 5, 7, 8, 30)] == [
        None, "1-2", "1-2", "3-4", "3-4", "5-7", "5-7", "8+", "8+"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "gold", "needed"),
    [
        ("What is the area of a circle of radius 3?", "28.27", True),
        ("How large is it?", "9*pi", True),
        ("A board of 3 ft is cut at 20 inches.", "16", True),
        ("A side of 3 cm and one of 4 cm: find the hypotenuse.", "5", False),
        ("The circle has the chord AB. Find the angle.", "40", False),
    ],
)
def test_knowledge_from_outside_is_noticed(question, gold, needed):
    assert needs_outside_knowledge(Item(id="1", question=question, gold=gold)) == needed
