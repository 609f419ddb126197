"""Items, histories and id files in every layout that is read, and what is said of bad ones."""

import datetime
import json

import polars as pl
import pytest

from etude.errors import EtudeError
from etude.methods.idgen import Item, items_of, read_histories, read_ids, read_items
from etude.methods.idgen.histories import History, require_chronological, sorted_share
from etude.methods.idgen.items import alike
from etude.methods.idgen.textual_ids import clean_id, ids_hash, write_ids


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(histories):
    return [(user.user_id, user.items) for user in histories.users]


def test_an_items_line_names_its_fields_in_the_papers_order_lower_cased_and_without_empty_ones():
    item = Item(
        item_id=7, description="Holds  PAPER", title="Steel Clip", categories=[["Office", "Clips"]], price=2.5
    )
    assert item.item_id == "7"
    assert item.line == "title: steel clip; categories: office, clips; description: holds paper; price: 2.5"
    assert Item(item_id="8").line == ""


def test_items_are_sorted_by_id_whatever_the_file(tmp_path):
    rows = [{"item_id": "b", "title": "two"}, {"item_id": "a", "title": None, "other": 1}]
    assert [item.item_id for item in read_items(jsonl(tmp_path / "i.jsonl", rows))] == ["a", "b"]
    (tmp_path / "item_plain_text.txt").write_text("b two words\n\na one\n")
    plain = read_items(tmp_path / "item_plain_text.txt")
    assert [(item.item_id, item.line) for item in plain] == [("a", "one"), ("b", "two words")]
    pl.DataFrame({"item_id": [2, 1], "title": ["x", "y"]}).write_parquet(tmp_path / "i.parquet")
    assert [item.item_id for item in read_items(tmp_path / "i.parquet")] == ["1", "2"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"item_id": "a b"}, {"item_id": "c\td"}, {"item_id": ""}], r"i.jsonl:1: item_id: .*'a b'"),
        ([{"title": "no id"}], "i.jsonl:1: item_id"),
        ([{"item_id": "a"}, {"item_id": "a"}], "1 item ids come twice: a"),
        ([], "holds no item"),
    ],
)
def test_bad_catalogues_are_refused_with_their_line(tmp_path, rows, says):
    with pytest.raises(EtudeError, match=says):
        read_items(jsonl(tmp_path / "i.jsonl", rows))


def test_items_without_a_row_are_named_five_of_them_dropped_or_titled():
    items = [Item(item_id="a", title="x")]
    used = ["a", *(f"n{number}" for number in range(9))]
    with pytest.raises(EtudeError, match=r"9 items .*: n0, n1, n2, n3, n4\n") as error:
        items_of(used, items)
    assert "--missing" in error.value.hint
    assert list(items_of(used, items, "drop")) == ["a"]
    titled = items_of(used, items, "title-from-id")
    assert len(titled) == 10 and titled["n3"].line == "title: n3"


def test_empty_and_identical_texts_are_counted():
    items = [Item(item_id=str(n), title=title) for n, title in enumerate(["", "Same", "same", "other", ""])]
    assert alike({item.item_id: item for item in items}) == {"empty": 2, "identical": 2}


def test_one_history_reads_the_same_from_every_layout(tmp_path):
    expected = [("1", ["30", "10", "20"]), ("2", ["20", "30", "10"])]
    sequences = [{"user_id": user, "items": items} for user, items in expected]
    events = [(user, item, at) for user, items in expected for at, item in enumerate(items, start=1)]
    jsonl(tmp_path / "sequences.jsonl", sequences)
    jsonl(
        tmp_path / "events.jsonl",
        [{"user_id": int(u), "item_id": int(i), "timestamp": t} for u, i, t in events],
    )
    table = pl.DataFrame(events[::-1], schema=["user_id", "item_id", "timestamp"], orient="row")
    table.write_csv(tmp_path / "events.csv")
    table.with_columns(timestamp=pl.from_epoch("timestamp", time_unit="d")).write_parquet(
        tmp_path / "events.parquet"
    )
    table.write_csv(tmp_path / "events.tsv", separator="\t")
    rows = "".join(f"{u}\t{i}\t5.0\t{t}\n" for u, i, t in events[::-1])
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (tmp_path / "events.inter").write_text(header + rows)
    (tmp_path / "user_sequence.txt").write_text("1 30 10 20\n2 20 30 10\n")
    for name in ("sequences.jsonl", "events.jsonl", "events.csv", "events.tsv", "events.parquet"):
        assert pairs(read_histories(tmp_path / name)) == expected, name
    assert pairs(read_histories(tmp_path / "events.inter")) == expected
    assert pairs(read_histories(tmp_path / "user_sequence.txt")) == expected
    assert read_histories(tmp_path / "events.inter").timed
    assert not read_histories(tmp_path / "user_sequence.txt").timed


def test_events_are_put_in_the_order_of_time_and_duplicates_and_short_users_counted(tmp_path):
    rows = [
        {"user_id": "u", "items": ["a", "b", "c", "b"], "timestamps": [3, 1, 2, 1]},
        {"user_id": "v", "items": ["a", "b"], "timestamps": [1, 2]},
    ]
    found = read_histories(jsonl(tmp_path / "s.jsonl", rows))
    assert pairs(found) == [("u", ["b", "c", "a"])]
    assert (found.short, found.duplicates, found.reordered, found.timed) == (1, 1, 1, True)


def test_dates_are_timestamps_too(tmp_path):
    (tmp_path / "e.csv").write_text(
        "user_id,item_id,timestamp\nu,a,2024-03-01\nu,b,2023-01-01 10:00:00\nu,c,2024-02-01\n"
    )
    found = read_histories(tmp_path / "e.csv")
    assert pairs(found) == [("u", ["b", "c", "a"])]
    epoch = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC).timestamp()
    assert found.users[0].timestamps[-1] == epoch


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "e.csv",
            "user_id,item_id,timestamp\nu,a,x\nu,b c,1\nu,,2\n",
            r"e.csv:2: .*\n.*e.csv:3: .*\n.*e.csv:4",
        ),
        ("e.csv", "user_id,item_id,timestamp\nu,a,1\nu,b,\nu,c,2\n", "e.csv:3: "),
        ("e.csv", "user,thing\n1,2\n", "no column user_id and no item_id; there are user, thing"),
        ("e.csv", "user_id,item_id\nu,a\nu,b\n", "no user has 3 events"),
        ("e.csv", "user_id,item_id\nu,a,b,c\n", "not a readable table"),
        ("e.xlsx", "", "unknown kind of file"),
        ("user_sequence.txt", "u a b c\nv\n", "user_sequence.txt:2: user v has no items"),
        ("user_sequence.txt", "u a b c\nu d e f\n", "1 users have two rows: u"),
        ("s.jsonl", '{"user_id": "u", "items": ["a", "b c", "d"]}\n', "s.jsonl:1: items: .*'b c'"),
        ("s.jsonl", '{"user_id": "u", "items": ["a", "b", "c"], "timestamps": [1]}\n', "1 timestamps for 3"),
        ("s.jsonl", "", "no user has 3 events"),
    ],
)
def test_bad_histories_are_refused_with_their_line(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(EtudeError, match=says):
        read_histories(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EtudeError, match="no such file"):
        read_histories(tmp_path / "none.csv")


def test_histories_sorted_by_item_id_without_times_are_refused_unless_one_knows():
    def histories(rows, times=None):
        users = [
            {"user_id": str(n), "items": items, **({"timestamps": times} if times else {})}
            for n, items in enumerate(rows)
        ]
        return [History(**user) for user in users]

    codes = [["B1", "B2", "B3"], ["A1", "A9", "C2"]]
    numbers = [["9", "10", "11"], ["2", "30", "100"]]  # in order as numbers, not as texts
    mixed = [["B1", "B2", "B3"], ["A9", "A1", "C2"]]
    assert sorted_share(histories(codes)) == sorted_share(histories(numbers)) == 1
    assert sorted_share(histories(mixed)) == 0.5
    assert sorted_share(histories([["a", "a", "a"]])) == 0  # says nothing


def test_the_chronology_rule_reads_the_file(tmp_path):
    rows = [{"user_id": str(n), "items": ["a", "b", "c"]} for n in range(4)]
    found = read_histories(jsonl(tmp_path / "s.jsonl", rows))
    with pytest.raises(EtudeError, match="not chronological: 100%") as error:
        require_chronological(found)
    assert "--i-know" in error.value.hint
    require_chronological(found, i_know=True)
    timed = [{**row, "timestamps": [1, 2, 3]} for row in rows]
    require_chronological(read_histories(jsonl(tmp_path / "t.jsonl", timed)))


def test_dropping_items_drops_their_events_and_users_that_become_short(tmp_path):
    rows = [
        {"user_id": "u", "items": ["a", "b", "c", "d"], "timestamps": [1, 2, 3, 4]},
        {"user_id": "v", "items": ["a", "b", "d"], "timestamps": [1, 2, 3]},
    ]
    found = read_histories(jsonl(tmp_path / "s.jsonl", rows)).only(["a", "c", "d"])
    assert pairs(found) == [("u", ["a", "c", "d"])]
    assert found.users[0].timestamps == [1, 3, 4] and found.short == 1


def test_ids_go_to_a_file_and_back_and_read_the_official_layout(tmp_path):
    ids = {"a": "red clip", "b": "red clip 2"}
    write_ids(tmp_path / "ids.tsv", ids, {"a": "keywords", "b": "counter"})
    assert read_ids(tmp_path / "ids.tsv") == ids
    (tmp_path / "item_generative_indexing_phase_0.txt").write_text("b red clip 2\na red  clip\n")
    assert read_ids(tmp_path / "item_generative_indexing_phase_0.txt") == ids
    assert ids_hash(ids) == ids_hash(dict(reversed(ids.items()))) != ids_hash({**ids, "a": "red"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("item_id\ttextual_id\na\tx\nb\tx\n", "items a and b have the same id 'x'"),
        ("item_id\ttextual_id\na\tx\na\ty\n", "item a comes twice"),
        ("item_id\ttextual_id\na b\tx\n", "ids.tsv:2: item_id"),
        ("item_id\ttextual_id\na\t  \n", "ids.tsv:2: textual_id"),
    ],
)
def test_bad_id_files_are_refused(tmp_path, text, says):
    (tmp_path / "ids.tsv").write_text(text)
    with pytest.raises(EtudeError, match=says):
        read_ids(tmp_path / "ids.tsv")


def test_cleaning_keeps_word_characters_only():
    assert clean_id(' "Hair-Care",  30% (new)\n') == "Hair Care 30 new"


def test_the_papers_ids_and_histories_are_read(shared_data):
    folder = shared_data("idgen") / "beauty_core"
    assert len(read_ids(folder / "textual_ids.tsv")) == 678
    found = read_histories(folder / "sequences.jsonl")
    assert (len(found.users), len(found.items), sum(len(u.items) for u in found.users)) == (2225, 678, 34550)
