"""Problems for FormalGeo's forward search, in an environment of its own where etude need not be installed.

    python benchmarks/_geoeval_formalgeo.py GDL_FOLDER SECONDS < problems.jsonl

Every line of stdin is one problem in FormalGeo7k's fields; every line of stdout says whether the search
reached the known answer within the limit of CPU seconds, and how many it took. The search is random (the
best forward strategy that its authors report), with every theorem allowed; each problem has a process of
its own, so that nothing of one runs on in the next.
"""

import contextlib
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any


def _search(problem: dict[str, Any], searcher: Any) -> str:
    random.seed(0)
    try:
        with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
            searcher.init_search(problem)
            searcher.problem.check_goal()
            solved = searcher.problem.goal.solved or searcher.search()[0]
    except Exception as error:  # whatever the peer raises is its result for this problem
        return f"error: {type(error).__name__}"
    return "solved" if solved else "not solved"


def _alone(problem: dict[str, Any], searcher: Any, seconds: float) -> dict[str, Any]:
    """Search in a child that the kernel stops after the limit of CPU seconds."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        limit = int(seconds + time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        begin = time.process_time()
        status = _search(problem, searcher)
        os.write(write, json.dumps({"status": status, "seconds": time.process_time() - begin}).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    found = json.loads(said) if said else {"status": "time", "seconds": seconds}
    if found["status"] == "solved" and found["seconds"] > seconds:
        found["status"] = "time"
    return {"id": problem["problem_id"], **found}


def main() -> None:
    """Read problems, search, print."""
    from formalgeo.solver import ForwardSearcher

    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    predicates, theorems = (
        json.loads((folder / f"{name}_GDL.json").read_text(encoding="utf-8"))
        for name in ("predicate", "theorem")
    )
    uses = {name.partition("(")[0]: (1, 1) for name in theorems}
    searcher = ForwardSearcher(predicates, theorems, "rs", 15, 20, uses)
    for line in sys.stdin:
        print(json.dumps(_alone({"problem_level": 1, **json.loads(line)}, searcher, seconds)), flush=True)


if __name__ == "__main__":
    main()
