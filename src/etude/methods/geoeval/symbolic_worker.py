"""Questions to the `algebra` process, each under a time limit; a process that takes longer is killed."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import etude
from etude.methods.geoeval.arithmetic import Node, Number, Symbol

_START = 120.0  # seconds to import sympy on a busy machine

_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def is_identity(a: Node, b: Node, time_limit: float) -> tuple[bool | None, str]:
    """Whether two expressions are the same for all values of their variables.

    Returns:
        The verdict (None if not decided in time) and a note.
    """
    return _ask({"ask": "identity", "a": _tree(a), "b": _tree(b)}, time_limit)


def same_latex(pred: str, gold: str, time_limit: float) -> tuple[bool | None, str]:
    """Whether math-verify reads two LaTeX answers and finds them equivalent.

    Returns:
        The verdict (None if it cannot read them, or not in time) and a note.
    """
    return _ask({"ask": "latex", "a": pred, "b": gold}, time_limit)


def _ask(question: dict[str, Any], time_limit: float) -> tuple[bool | None, str]:
    with _lock:
        process = _running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            answer = _line(process, time_limit)
        except (BrokenPipeError, EOFError):
            stop()
            return None, "the algebra process ended (out of memory)"
        if answer is None:
            stop()
            return None, f"not decided in {time_limit:g} s"
        return answer["verdict"], str(answer.get("note", ""))


def stop() -> None:
    """End the process, if there is one."""
    global _process
    if _process is not None:
        _process.kill()
        _process.wait()
        for stream in (_process.stdin, _process.stdout):
            if stream is not None:
                stream.close()
        _process = None


def _running() -> subprocess.Popen[bytes]:
    global _process
    if _process is not None and _process.poll() is None:
        return _process
    stop()
    paths = [str(Path(etude.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    _process = subprocess.Popen(
        [sys.executable, "-m", "etude.methods.geoeval.algebra"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        bufsize=0,
    )
    atexit.register(stop)
    try:
        ready = _line(_process, _START)
    except EOFError:
        ready = None
    if ready is None:
        stop()
        raise RuntimeError("the algebra process does not start")
    return _process


def _line(process: subprocess.Popen[bytes], seconds: float) -> Any | None:
    """The next line as JSON, or None when the time is over."""
    assert process.stdout is not None
    deadline, text = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not text.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            piece = os.read(process.stdout.fileno(), 65_536)
            if not piece:
                raise EOFError
            text += piece
    return json.loads(text)


def _tree(node: Node) -> list[Any]:
    if isinstance(node, Number):
        return ["number", f"{node.value:.{node.decimals}f}"]
    if isinstance(node, Symbol):
        return ["symbol", node.name]
    return [node.operation, *map(_tree, node.operands)]
