"""What a picture says besides its lines: given measures, right angles, ticks on equal sides, the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from etude.methods.geoeval.cdl import Call, Node, Points, print_cdl
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.realiser import Solution


@dataclass(frozen=True)
class Mark:
    """One mark.

    Args:
        kind: `length`, `angle`, `arc`, `right` or `ticks`.
        points: Where: two points of a line; `ABC` of an angle; of an arc its end, center and start.
        text: What is written.
        count: How many ticks.
        asked: Whether it shows what is asked.
        spans: Whether other points lie between the two of a length: it needs a dimension line.
    """

    kind: str
    points: str
    text: str = ""
    count: int = 1
    asked: bool = False
    spans: bool = False


def marks_of(problem: Problem, solution: Solution) -> list[Mark]:
    """All marks of a problem's picture; marks at points that are not drawn are left out."""
    found = [mark for mark in _marks(problem) if set(mark.points) <= set(solution.coordinates)]
    drawn = [f.arguments[0] for f in problem.construction if f.name == "Collinear"]
    lines = [line.letters for line in drawn if isinstance(line, Points)]
    found = [replace(mark, spans=_spans(mark, lines)) for mark in found]
    written: set[tuple[str, frozenset[str] | str]] = set()
    kept = []
    for mark in found:
        place = frozenset(mark.points) if mark.kind in ("length", "right") else mark.points
        if mark.kind == "ticks" or (mark.kind, place) not in written:
            written.add((mark.kind, place))
            kept.append(mark)
    return kept


def _spans(mark: Mark, lines: Sequence[str]) -> bool:
    """Whether other points of a line lie between the ends of a length."""
    if mark.kind != "length":
        return False
    first, second = tuple(mark.points)
    return any(
        first in line and second in line and abs(line.index(first) - line.index(second)) > 1 for line in lines
    )


def _marks(problem: Problem) -> Iterator[Mark]:
    centers = {
        f.arguments[1].letters: f.arguments[0].letters  # type: ignore[union-attr]
        for f in problem.facts
        if f.name == "IsCentreOfCircle"
    }
    ticks = 0
    for fact in problem.facts:
        groups = [a.letters for a in fact.arguments if isinstance(a, Points)]
        if fact.name == "PerpendicularBetweenLine":
            corner = _right_angle(*groups)
            if corner:
                yield Mark("right", corner)
        elif fact.name == "Equal":
            left, right = fact.arguments
            if (
                isinstance(left, Call)
                and isinstance(right, Call)
                and left.name == right.name == "LengthOfLine"
            ):
                ticks += 1
                for side in (left, right):
                    yield Mark("ticks", side.arguments[0].letters, count=(ticks - 1) % 3 + 1)  # type: ignore[union-attr]
            else:
                for quantity, value in ((left, right), (right, left)):
                    yield from _measured(quantity, _written(value), centers)
    [asked] = problem.goal.arguments
    yield from _measured(asked, "?", centers, asked=True)


def _measured(node: Node, text: str, centers: dict[str, str], *, asked: bool = False) -> Iterator[Mark]:
    if not isinstance(node, Call) or not text:
        return
    groups = [a.letters for a in node.arguments if isinstance(a, Points)]
    if node.name == "LengthOfLine":
        yield Mark("length", groups[0], text, asked=asked)
    elif node.name == "MeasureOfAngle":
        yield Mark("angle", groups[0], f"{_degrees(text)}", asked=asked)
    elif node.name == "MeasureOfArc":
        circle, start, end = tuple(groups[0])
        yield Mark("arc", end + centers.get(circle, circle) + start, f"{_degrees(text)}", asked=asked)


def _degrees(text: str) -> str:
    if text == "?":
        return text
    return f"{text}°" if text.replace(".", "").isalnum() else f"({text})°"


def _written(node: Node) -> str:
    """A value as it is written in a picture; empty for what is no number or unknown."""
    text = print_cdl(node)
    if (
        any(letter.isupper() for letter in text.replace("X", ""))
        and isinstance(node, Call)
        and node.name != "sqrt"
    ):
        return ""
    if "(" in text and "sqrt" not in text and "Of" in text:
        return ""
    for _root in range(text.count("sqrt(")):
        start = text.index("sqrt(")
        end = text.index(")", start)
        text = f"{text[:start]}√{text[start + 5 : end]}{text[end + 1 :]}"
    return text.replace("*", "").replace("pi", "π")


def _right_angle(first: str, second: str) -> str:
    """`ABC` of the right angle between AB and CB, in any spelling; empty if they share no point."""
    shared = set(first) & set(second)
    if len(shared) != 1:
        return ""
    [corner] = shared
    return first.replace(corner, "") + corner + second.replace(corner, "")
