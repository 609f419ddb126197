"""The picture turned over: what ran counter-clockwise is written the other way round."""

from __future__ import annotations

from etude.methods.geoeval.cdl import Call, Node, Operation, Points

_AGAINST_THE_CLOCK = {
    "MeasureOfAngle",
    "MeasureOfArc",
    "LengthOfArc",
    "AreaOfSector",
    "PerimeterOfSector",
    "Angle",
}


def turn_over(node: Node) -> Node:
    """A fact, or a part of one, for the mirror image; turned over twice it is itself again."""
    if not isinstance(node, Call):
        if isinstance(node, Operation):
            return Operation(node.symbol, turn_over(node.left), turn_over(node.right))
        return node
    groups = [a.letters for a in node.arguments if isinstance(a, Points)]
    if node.name == "Shape":
        edges = [g[::-1] if len(g) == 2 else g[0] + g[:0:-1] for g in reversed(groups)]
        return Call("Shape", tuple(map(Points, edges)))
    if node.name == "Cocircular":
        return Call(node.name, (Points(groups[0]), Points(groups[1][::-1])))
    if node.name == "PerpendicularBetweenLine":
        return Call(node.name, node.arguments[::-1])
    if node.name in ("MeasureOfAngle", "Angle"):
        return Call(node.name, (Points(groups[0][::-1]),))
    if node.name in _AGAINST_THE_CLOCK:
        return Call(node.name, (Points(groups[0][0] + groups[0][:0:-1]),))
    return Call(node.name, tuple(turn_over(argument) for argument in node.arguments))
