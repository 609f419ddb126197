"""The vocabulary of the fact language: every predicate with what its arguments are.

An argument is a group of point letters of a fixed length (`3` for `ABC`), any number of letters (`POINTS`), a
side, an arc or a lone point of a region (`EDGE`), or an expression (`EXPRESSION`). A trailing `MANY` repeats
the last.
"""

from __future__ import annotations

from typing import Final

POINTS: Final = -1
EDGE: Final = -2
EXPRESSION: Final = -3
MANY: Final = -4

_TRIANGLES = ("EquilateralTriangle", "IsoscelesTriangle", "RightTriangle", "IsoscelesRightTriangle")
_QUADRILATERALS = (
    "Parallelogram",
    "Rectangle",
    "Rhombus",
    "Square",
    "Kite",
    "Trapezoid",
    "IsoscelesTrapezoid",
    "RightTrapezoid",
)

CONSTRUCTIONS: dict[str, tuple[int, ...]] = {
    "Shape": (EDGE, MANY),
    "Collinear": (POINTS,),
    "Cocircular": (1, POINTS),
}

QUANTITIES: dict[str, tuple[int, ...]] = {
    "LengthOfLine": (2,),
    "MeasureOfAngle": (3,),
    "MeasureOfArc": (3,),
    "LengthOfArc": (3,),
    "RadiusOfCircle": (1,),
    "DiameterOfCircle": (1,),
    "PerimeterOfCircle": (1,),
    "AreaOfCircle": (1,),
    "AreaOfTriangle": (3,),
    "AreaOfQuadrilateral": (4,),
    "AreaOfSector": (3,),
    "PerimeterOfTriangle": (3,),
    "PerimeterOfQuadrilateral": (4,),
    "PerimeterOfSector": (3,),
    "HeightOfTriangle": (3,),
    "HeightOfQuadrilateral": (4,),
    "RatioOfSimilarTriangle": (3, 3),
    "RatioOfMirrorSimilarTriangle": (3, 3),
    "RatioOfSimilarQuadrilateral": (4, 4),
    "RatioOfMirrorSimilarQuadrilateral": (4, 4),
}

OPERATORS: dict[str, tuple[int, ...]] = {
    "Add": (EXPRESSION, MANY),
    "Mul": (EXPRESSION, MANY),
    "Sub": (EXPRESSION, EXPRESSION),
    "Div": (EXPRESSION, EXPRESSION),
    "Pow": (EXPRESSION, EXPRESSION),
    "Sin": (EXPRESSION,),
    "Cos": (EXPRESSION,),
    "Tan": (EXPRESSION,),
    "Sqrt": (EXPRESSION,),
}

RELATIONS: dict[str, tuple[int, ...]] = {
    "ParallelBetweenLine": (2, 2),
    "PerpendicularBetweenLine": (2, 2),
    "IsMidpointOfLine": (1, 2),
    "IsPerpendicularBisectorOfLine": (2, 2),
    "IsBisectorOfAngle": (2, 3),
    "IsMedianOfTriangle": (2, 3),
    "IsAltitudeOfTriangle": (2, 3),
    "IsAltitudeOfQuadrilateral": (2, 4),
    "IsMidsegmentOfTriangle": (2, 3),
    "IsMidsegmentOfQuadrilateral": (2, 4),
    "IsIncenterOfTriangle": (1, 3),
    "IsCentroidOfTriangle": (1, 3),
    "IsCircumcenterOfTriangle": (1, 3),
    "IsOrthocenterOfTriangle": (1, 3),
    "IsIncenterOfQuadrilateral": (1, 4),
    "IsCircumcenterOfQuadrilateral": (1, 4),
    "IsCentreOfCircle": (1, 1),
    "IsTangentOfCircle": (2, 1),
    "IsDiameterOfCircle": (2, 1),
    "Angle": (3,),
    **dict.fromkeys(_TRIANGLES, (3,)),
    **dict.fromkeys(_QUADRILATERALS, (4,)),
    **{
        f"{mirror}{kind}Between{figure}": (corners, corners)
        for mirror in ("", "Mirror")
        for kind in ("Similar", "Congruent")
        for figure, corners in (("Triangle", 3), ("Quadrilateral", 4))
    },
}

STATEMENTS: dict[str, tuple[int, ...]] = {"Equal": (EXPRESSION, EXPRESSION), "Value": (EXPRESSION,)}

SIGNATURES: dict[str, tuple[int, ...]] = {
    **CONSTRUCTIONS,
    **QUANTITIES,
    **OPERATORS,
    **RELATIONS,
    **STATEMENTS,
}

ANGLES = frozenset({"MeasureOfAngle", "MeasureOfArc"})
AREAS = frozenset({"AreaOfCircle", "AreaOfTriangle", "AreaOfQuadrilateral", "AreaOfSector"})
