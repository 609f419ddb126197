"""What a contender in a process of its own does: say that it is ready, then one round for each line asked.

It uses the standard library alone, since the peers' interpreters know nothing of etude.
"""

import json
import os
import sys


def serve(ready, work):
    """Print `ready`, then what `work()` gives for each line of standard input; both are JSON objects.

    What libraries print meanwhile goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(ready), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), file=answers, flush=True)
