"""Computer algebra in a process of its own: it gets a question a line, and is killed when it takes too long.

As a program (`python -m etude.methods.geoeval.algebra`) it is that process: isolated from network and files
where the kernel can do it, it builds sympy objects from our own trees, and leaves LaTeX to math-verify's
grammar. No text reaches sympy's own parser, which evaluates Python.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from etude.methods.geoeval.isolation import Unavailable, restrict

_MEMORY = 2 * 2**30
_CPU_SECONDS = 3600


def identical(a: Any, b: Any) -> bool:
    """Whether the difference of two trees, as JSON, simplifies to zero."""
    import sympy

    return bool(sympy.simplify(_sympy(a) - _sympy(b)) == 0)


def same_latex(pred: str, gold: str) -> bool | None:
    """What math-verify says of two LaTeX texts; None where it cannot read one of them."""
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig

    target = [LatexExtractionConfig()]
    said, right = (parse(f"${text.strip('$')}$", target, parsing_timeout=None) for text in (pred, gold))
    if not said or not right:
        return None
    return bool(verify(right, said, timeout_seconds=None))


def _sympy(tree: Any) -> Any:
    import sympy

    kind, *rest = tree
    if kind == "number":
        return sympy.Rational(rest[0])
    if kind == "symbol":
        return sympy.Symbol(rest[0], positive=True)
    operands = [_sympy(operand) for operand in rest]
    if kind in ("pi", "inf"):
        return sympy.pi if kind == "pi" else sympy.oo
    if kind == "degree":
        return operands[0]
    if kind == "percent":
        return operands[0] / 100
    if kind == "neg":
        return -operands[0]
    if kind in ("+", "-", "*", "/", "^"):
        a, b = operands
        return {
            "+": lambda: a + b,
            "-": lambda: a - b,
            "*": lambda: a * b,
            "/": lambda: a / b,
            "^": lambda: a**b,
        }[kind]()
    return getattr(sympy, {"abs": "Abs"}.get(kind, kind))(*operands)


def main() -> None:
    """Answer questions until the input ends."""
    import logging

    import sympy

    logging.disable(logging.CRITICAL)
    sympy.simplify(sympy.Symbol("x") - 1)
    with contextlib.suppress(ImportError):
        same_latex("1", "1")
    with contextlib.suppress(Unavailable):
        restrict(_MEMORY, _CPU_SECONDS)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["ask"] == "identity":
                answer: dict[str, Any] = {"verdict": identical(question["a"], question["b"])}
            else:
                answer = {"verdict": same_latex(question["a"], question["b"])}
        except ImportError:
            answer = {"verdict": None, "note": "math-verify is not installed (pip install 'etude[geometry]')"}
        except (Exception, RecursionError) as error:  # whatever sympy or its LaTeX reader raise: not decided
            answer = {"verdict": None, "note": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
