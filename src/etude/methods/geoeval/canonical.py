"""A problem in letters, order and orientation of its own choice, so that a search for its picture does not
depend on how it was written.

Letters are told apart by the facts they stand in (color refinement); where several look alike, each in turn
is told apart by decree and the smallest text is kept (individualization, McKay & Piperno 2014).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from etude.methods.geoeval.cdl import Call, Node, Points, print_cdl, variables_of, walk
from etude.methods.geoeval.mirroring import turn_over
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.renaming import rename

_LEAVES = 64
"""Orders tried where letters look alike; beyond it the first is kept."""

Skeleton: TypeAlias = tuple[str, tuple[str, ...]]
"""A fact without its letters, and the letters in order."""
Colors: TypeAlias = dict[str, int]
Written: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class CanonicalForm:
    """A problem as the search sees it.

    Args:
        problem: The facts in canonical letters, sorted.
        letters: Original to canonical letter.
        mirrored: Whether it is the mirror image that is searched.
    """

    problem: Problem
    letters: Mapping[str, str]
    mirrored: bool

    def original(self, node: Node) -> str:
        """A fact of the canonical problem as the original one has it."""
        back = rename(node, {new: old for old, new in self.letters.items()})
        return print_cdl(turn_over(back) if self.mirrored else back)


def canonical_form(problem: Problem) -> CanonicalForm:
    """The same form for every renaming, reordering and mirror image of a problem.

    Args:
        problem: With parseable facts and goal; one of more letters than there are keeps its own.
    """
    parts = (("drawn", problem.construction), ("known", problem.facts), ("asked", (problem.goal,)))
    plain = [(part, fact) for part, facts in parts for fact in facts]
    turned = [(part, turn_over(fact)) for part, fact in plain]
    unknowns = {name for _, fact in plain for name in variables_of(fact)}
    names = [letter for letter in string.ascii_uppercase if letter not in unknowns]
    forms = [_smallest(facts) for facts in (plain, turned)]
    mirrored = forms[1][0] < forms[0][0]
    _, colors = forms[mirrored]
    if len(colors) > len(names):
        return CanonicalForm(problem, {}, False)
    letters = {letter: names[rank] for rank, letter in enumerate(sorted(colors, key=colors.__getitem__))}

    def said(part: str) -> tuple[str, ...]:
        facts = (fact for place, fact in (turned if mirrored else plain) if place == part)
        return tuple(sorted({print_cdl(rename(fact, letters)) for fact in facts}))

    [goal] = said("asked")
    changed = problem.changed(
        construction_cdl=said("drawn"), text_cdl=said("known"), image_cdl=(), goal_cdl=goal, points_px=None
    )
    return CanonicalForm(changed, letters, mirrored)


def _smallest(facts: Sequence[tuple[str, Node]]) -> tuple[Written, Colors]:
    """The smallest text that any order of the letters gives, and that order."""
    skeletons = sorted({_skeleton(part, fact) for part, fact in facts}, key=lambda s: s[0])
    left = [_LEAVES]

    def search(colors: Colors) -> tuple[Written, Colors]:
        colors = _refined(skeletons, colors)
        alike: dict[int, list[str]] = {}
        for letter, color in colors.items():
            alike.setdefault(color, []).append(letter)
        tied = next((alike[color] for color in sorted(alike) if len(alike[color]) > 1), None)
        if tied is None:
            left[0] -= 1
            return tuple(sorted((text, tuple(colors[one] for one in of)) for text, of in skeletons)), colors
        found: list[tuple[Written, Colors]] = []
        for chosen in tied:
            if found and left[0] <= 0:
                break
            found.append(search({one: 2 * color - (one == chosen) for one, color in colors.items()}))
        return min(found, key=lambda one: one[0])

    return search(dict.fromkeys("".join("".join(of) for _, of in skeletons), 0))


def _refined(skeletons: Sequence[Skeleton], colors: Colors) -> Colors:
    """Colors made finer until letters of one color stand in the same facts beside the same colors."""
    while True:
        seen: dict[str, list[tuple[str, tuple[int, ...], tuple[int, ...]]]] = {one: [] for one in colors}
        for text, of in skeletons:
            painted = tuple(colors[one] for one in of)
            for one in set(of):
                seen[one].append((text, painted, tuple(i for i, other in enumerate(of) if other == one)))
        signed = {one: (colors[one], sorted(seen[one])) for one in colors}
        ranks: list[tuple[int, list[tuple[str, tuple[int, ...], tuple[int, ...]]]]] = []
        for signature in sorted(signed.values()):
            if not ranks or ranks[-1] != signature:
                ranks.append(signature)
        finer = {one: ranks.index(signature) for one, signature in signed.items()}
        if len(ranks) == len(set(colors.values())):
            return finer
        colors = finer


def _skeleton(part: str, fact: Node) -> Skeleton:
    letters = tuple("".join(node.letters for node in walk(fact) if isinstance(node, Points)))
    return f"{part}:{print_cdl(_blank(fact))}", letters


def _blank(node: Node) -> Node:
    """A fact with every letter replaced by one that says nothing."""
    return rename(node, dict.fromkeys(string.ascii_uppercase, "_")) if isinstance(node, Call) else node
