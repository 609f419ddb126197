"""What `check` says of histories whose faults are known."""

import io
import json
import random

import pytest

from etude.errors import EtudeError
from etude.methods.idgen import check


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def histories(rows):
    return [{"user_id": f"u{n:03}", "items": items} for n, items in enumerate(rows)]


def found(result, what):
    return next(one for one in result.findings if one.what == what)


def random_rows(users=60, seed=0):
    chance = random.Random(seed)
    names = [f"i{n}" for n in range(30)]
    return [chance.sample(names, chance.randint(5, 8)) for _ in range(users)]


def test_histories_in_random_order_have_nothing_wrong(tmp_path):
    result = check(write(tmp_path / "s.jsonl", histories(random_rows())))
    assert result.fit and found(result, "order").severity == "fine"
    assert (result.users, result.items) == (60, 30)
    assert result.density == pytest.approx(result.events / (60 * 30))
    assert result.mean_length == pytest.approx(result.events / 60)


def test_sorted_histories_are_wrong_known_if_one_says_so_and_fine_with_times(tmp_path):
    rows = histories(sorted(row) for row in random_rows())
    path = write(tmp_path / "s.jsonl", rows)
    assert not check(path).fit and "Not chronological" in found(check(path), "order").meaning
    assert check(path, i_know=True).fit
    timed = [{**row, "timestamps": list(range(len(row["items"])))} for row in rows]
    assert found(check(write(tmp_path / "t.jsonl", timed)), "order").severity == "fine"


def test_some_sorted_histories_are_told_from_chance(tmp_path):
    rows = random_rows()
    rows = [sorted(row) if n % 5 == 0 else row for n, row in enumerate(rows)]
    assert found(check(write(tmp_path / "s.jsonl", histories(rows))), "order").severity == "know"


def test_repeats_seen_targets_and_cold_targets_are_counted(tmp_path):
    rows = [["a", "b", "b", "c"], ["b", "c", "a", "b"], ["c", "a", "b", "new"], ["b", "a", "c", "c"]]
    result = check(write(tmp_path / "s.jsonl", histories(rows)))
    assert found(result, "the same item twice running").value.startswith("2 events")
    # targets: c (not seen by u0), b (seen by u1), new, c (seen by u3)
    assert found(result, "test targets that the user has seen").value == "50.0%"
    # training parts: a b, b c, c a, b a: only `new` is cold
    assert found(result, "test targets without a training event").value == "25.0%"


def test_what_the_reader_mended_and_identical_users_are_told(tmp_path):
    rows = [
        {"user_id": "u", "items": ["a", "b", "c", "c"], "timestamps": [3, 2, 1, 1]},
        {"user_id": "v", "items": ["c", "b", "a"], "timestamps": [1, 2, 3]},
        {"user_id": "w", "items": ["c", "b"], "timestamps": [1, 2]},
    ]
    result = check(write(tmp_path / "s.jsonl", rows))
    told = {one.what: one.value for one in result.findings}
    assert told["short histories"].startswith("1 user")
    assert told["duplicate events"].startswith("1 event")
    assert told["events out of order"].startswith("1 user")
    assert told["identical histories"] == "2 users"


def test_a_core_filter_is_seen_from_the_fewest_events(tmp_path):
    rows = [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert found(check(write(tmp_path / "s.jsonl", histories(rows))), "fewest events").severity == "know"
    rows[0] = ["a", "b", "once"]
    assert found(check(write(tmp_path / "s.jsonl", histories(rows))), "fewest events").severity == "fine"


def test_texts_are_checked_where_a_catalogue_is_given(tmp_path):
    sequences = write(tmp_path / "s.jsonl", histories([["a", "b", "c"]]))
    items = write(tmp_path / "i.jsonl", [{"item_id": "a"}, {"item_id": "b", "title": "x"}])
    result = check(sequences, items=items)
    assert found(result, "items without a row of text").value == "1: c" and not result.fit
    assert found(result, "empty or identical texts").value == "1 empty, 0 identical"


def test_the_result_draws_itself_and_markup_in_ids_stays_text(tmp_path):
    from rich.console import Console

    sequences = write(tmp_path / "s.jsonl", histories([["a", "b", "[red]c"]]))
    items = write(tmp_path / "i.jsonl", [{"item_id": "a", "title": "x"}, {"item_id": "b", "title": "y"}])
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(check(sequences, items=items))
    drawn = console.export_text()
    assert "[red]c" in drawn and "Something is wrong" in drawn


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(EtudeError, match="no such file"):
        check(tmp_path / "none.jsonl")


def test_the_papers_beauty_extract_is_chronological(shared_data):
    result = check(shared_data("idgen") / "beauty_core" / "sequences.jsonl")
    assert result.fit and result.sorted_share < 0.13
