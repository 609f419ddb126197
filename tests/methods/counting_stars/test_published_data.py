"""Against the published data, where it is at hand."""

from __future__ import annotations

import json

from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import rebuild
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import load_haystack
from etude.methods.counting_stars.official import (
    OFFICIAL_LENGTHS,
    OFFICIAL_STARS,
    official_counts,
    official_wrong,
)
from etude.methods.counting_stars.scoring import score_answer
from etude.methods.counting_stars.templates import find_stars


def test_the_packaged_counts_are_the_published_ones(shared_data):
    path = shared_data("counting-stars") / "official_star_counts.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    for stars in OFFICIAL_STARS:
        assert official_counts(stars) == published["correct"][str(stars)]
        assert official_wrong(stars) == published["wrong"][str(stars)]


def test_the_whole_published_grid_is_built_from_the_chinese_novel(shared_data):
    novel = load_haystack(shared_data("counting-stars") / "haystack_zh_story_of_the_stone.txt")
    grid = StarGrid(OFFICIAL_LENGTHS, 32, task="reason", lang="zh", counts="official", unit="official")
    cells = list(build_cells(grid, novel, None))
    assert len(cells) == 32
    longest = rebuild(cells[-1], novel)
    found = find_stars(longest.context)
    assert [star.count for star in found] == official_counts(32)
    assert [star.wrong for star in found] == official_wrong(32)
    assert len(longest.context) == cells[-1].context_units
    assert score_answer(cells[-1], str(official_counts(32))).score == 1


def test_a_grid_of_1024_stars_is_exact(shared_data, tokenizer):
    speeches = load_haystack(shared_data("counting-stars") / "haystack_en_state_of_the_union_1945_1985.txt")
    grid = StarGrid((100_000,), 1024, counts="official", placement="centred")
    [cell] = build_cells(grid, speeches, tokenizer)
    context = rebuild(cell, speeches).context
    assert cell.length_tokens == 100_000 == len(tokenizer.encode(context, add_special_tokens=False).ids)
    assert [star.count for star in find_stars(context)] == official_counts(1024)
