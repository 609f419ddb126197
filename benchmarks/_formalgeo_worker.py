"""One problem for FormalGeo's forward search, in an environment of its own where etude need not be installed.

    python benchmarks/_formalgeo_worker.py GDL_FOLDER SECONDS < problems.jsonl

Every line of stdin is one problem in FormalGeo7k's fields; every line of stdout says whether the search
reached the known answer within the limit of CPU seconds, and how many it took. The search is random (the
best forward strategy that its authors report), with every theorem allowed.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any


class _TooLongError(Exception):
    pass


def _stop(*_: Any) -> None:
    raise _TooLongError


def main() -> None:
    """Read problems, search, print."""
    from formalgeo.solver import ForwardSearcher

    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    predicates, theorems = (
        json.loads((folder / f"{name}_GDL.json").read_text(encoding="utf-8"))
        for name in ("predicate", "theorem")
    )
    uses = {name.partition("(")[0]: (1, 1) for name in theorems}
    signal.signal(signal.SIGPROF, _stop)
    for line in sys.stdin:
        problem = {"problem_level": 1, **json.loads(line)}
        random.seed(0)
        searcher = ForwardSearcher(predicates, theorems, "rs", 15, 20, uses)
        begin, status = time.process_time(), "not solved"
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
                searcher.init_search(problem)
                searcher.problem.check_goal()
                solved = searcher.problem.goal.solved or searcher.search()[0]
            status = "solved" if solved else "not solved"
        except _TooLongError:
            status = "time"
        except Exception as error:  # whatever the peer raises is its result for this problem
            status = f"error: {type(error).__name__}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        found = {"id": problem["problem_id"], "status": status, "seconds": time.process_time() - begin}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
