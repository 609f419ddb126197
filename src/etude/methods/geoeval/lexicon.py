"""How each predicate is said in English: one or more templates, all of which the verbalizer can read back.

`{0}` is the first argument. The first template is the plain one; the others are its synonyms.
"""

from __future__ import annotations

FACTS: dict[str, tuple[str, ...]] = {
    "Shape": ("the region bounded by {0}", "the closed region with boundary {0}"),
    "Collinear": ("{0} lie on one line in this order", "in this order, {0} are on a line"),
    "Cocircular": ("{1} lie on circle {0}", "circle {0} passes through {1}"),
    "ParallelBetweenLine": ("{0} is parallel to {1}", "{0} ∥ {1}", "line {0} runs parallel to line {1}"),
    "PerpendicularBetweenLine": (
        "{0} is perpendicular to {1}",
        "{0} ⟂ {1}",
        "{0} and {1} meet at a right angle",
    ),
    "IsMidpointOfLine": (
        "{0} is the midpoint of {1}",
        "{0} bisects segment {1}",
        "{0} lies halfway along {1}",
    ),
    "IsPerpendicularBisectorOfLine": (
        "{0} is the perpendicular bisector of {1}",
        "{0} bisects {1} at a right angle",
    ),
    "IsBisectorOfAngle": ("{0} bisects angle {1}", "{0} is the bisector of angle {1}"),
    "IsMedianOfTriangle": ("{0} is a median of triangle {1}", "triangle {1} has the median {0}"),
    "IsAltitudeOfTriangle": ("{0} is an altitude of triangle {1}", "triangle {1} has the altitude {0}"),
    "IsAltitudeOfQuadrilateral": (
        "{0} is an altitude of quadrilateral {1}",
        "quadrilateral {1} has the altitude {0}",
    ),
    "IsMidsegmentOfTriangle": ("{0} is a midsegment of triangle {1}", "triangle {1} has the midsegment {0}"),
    "IsMidsegmentOfQuadrilateral": (
        "{0} is the midsegment of quadrilateral {1}",
        "quadrilateral {1} has the midsegment {0}",
    ),
    "IsIncenterOfTriangle": ("{0} is the incenter of triangle {1}", "triangle {1} has the incenter {0}"),
    "IsCentroidOfTriangle": ("{0} is the centroid of triangle {1}", "triangle {1} has the centroid {0}"),
    "IsCircumcenterOfTriangle": (
        "{0} is the circumcenter of triangle {1}",
        "triangle {1} has the circumcenter {0}",
    ),
    "IsOrthocenterOfTriangle": (
        "{0} is the orthocenter of triangle {1}",
        "triangle {1} has the orthocenter {0}",
    ),
    "IsIncenterOfQuadrilateral": (
        "{0} is the incenter of quadrilateral {1}",
        "quadrilateral {1} has the incenter {0}",
    ),
    "IsCircumcenterOfQuadrilateral": (
        "{0} is the circumcenter of quadrilateral {1}",
        "quadrilateral {1} has the circumcenter {0}",
    ),
    "IsCentreOfCircle": ("{0} is the center of circle {1}", "circle {1} has its center at {0}"),
    "IsTangentOfCircle": ("{0} touches circle {1}", "{0} is tangent to circle {1}"),
    "IsDiameterOfCircle": ("{0} is a diameter of circle {1}", "circle {1} has the diameter {0}"),
    "Angle": ("angle {0} is drawn", "the picture shows angle {0}"),
    "EquilateralTriangle": ("triangle {0} is equilateral", "{0} is an equilateral triangle"),
    "IsoscelesTriangle": ("triangle {0} is isosceles", "{0} is an isosceles triangle"),
    "RightTriangle": ("triangle {0} is a right triangle", "{0} is a right triangle"),
    "IsoscelesRightTriangle": (
        "triangle {0} is an isosceles right triangle",
        "{0} is an isosceles right triangle",
    ),
    "Parallelogram": ("{0} is a parallelogram", "quadrilateral {0} is a parallelogram"),
    "Rectangle": ("{0} is a rectangle", "quadrilateral {0} is a rectangle"),
    "Rhombus": ("{0} is a rhombus", "quadrilateral {0} is a rhombus"),
    "Square": ("{0} is a square", "quadrilateral {0} is a square"),
    "Kite": ("{0} is a kite", "quadrilateral {0} is a kite"),
    "Trapezoid": ("{0} is a trapezoid", "quadrilateral {0} is a trapezoid"),
    "IsoscelesTrapezoid": ("{0} is an isosceles trapezoid", "quadrilateral {0} is an isosceles trapezoid"),
    "RightTrapezoid": ("{0} is a right trapezoid", "quadrilateral {0} is a right trapezoid"),
    **{
        f"{mirror}{kind}Between{figure}": (
            f"{figure.lower()}s {{0}} and {{1}} are {said}{image}",
            f"{figure.lower()} {{0}} is {said} to {figure.lower()} {{1}}{image}",
        )
        for mirror, image in (("", ""), ("Mirror", " as mirror images"))
        for kind, said in (("Similar", "similar"), ("Congruent", "congruent"))
        for figure in ("Triangle", "Quadrilateral")
    },
    "Equal": ("{0} = {1}", "{0} equals {1}", "{0} is equal to {1}"),
    "Value": ("Find {0}.", "What is {0}?", "Determine {0}.", "Calculate {0}."),
}

QUANTITIES: dict[str, tuple[str, ...]] = {
    "LengthOfLine": ("{0}", "the length of {0}", "the length of segment {0}"),
    "MeasureOfAngle": ("angle {0}", "∠{0}", "the measure of angle {0}"),
    "MeasureOfArc": ("arc {1} of circle {0}", "the measure of arc {1} of circle {0}"),
    "LengthOfArc": ("the length of arc {1} of circle {0}",),
    "RadiusOfCircle": ("the radius of circle {0}",),
    "DiameterOfCircle": ("the diameter of circle {0}",),
    "PerimeterOfCircle": ("the circumference of circle {0}", "the perimeter of circle {0}"),
    "AreaOfCircle": ("the area of circle {0}",),
    "AreaOfTriangle": ("the area of triangle {0}",),
    "AreaOfQuadrilateral": ("the area of quadrilateral {0}",),
    "AreaOfSector": ("the area of sector {0}",),
    "PerimeterOfTriangle": ("the perimeter of triangle {0}",),
    "PerimeterOfQuadrilateral": ("the perimeter of quadrilateral {0}",),
    "PerimeterOfSector": ("the perimeter of sector {0}",),
    "HeightOfTriangle": ("the height of triangle {0}",),
    "HeightOfQuadrilateral": ("the height of quadrilateral {0}",),
    "RatioOfSimilarTriangle": ("the scale of triangle {0} to triangle {1}",),
    "RatioOfMirrorSimilarTriangle": ("the scale of triangle {0} to its mirror image {1}",),
    "RatioOfSimilarQuadrilateral": ("the scale of quadrilateral {0} to quadrilateral {1}",),
    "RatioOfMirrorSimilarQuadrilateral": ("the scale of quadrilateral {0} to its mirror image {1}",),
}

OPERATORS: dict[str, tuple[str, str]] = {
    "Add": ("the sum of ", " and "),
    "Sub": ("the difference of ", " and "),
    "Mul": ("the product of ", " and "),
    "Div": ("the ratio of ", " to "),
    "Pow": ("the power of ", " to "),
}
"""Opening words and the word before the last operand; the operands before it are set off by commas."""
