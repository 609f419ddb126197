"""One folder per run: what was asked, what is finished, what came out. A killed run goes on where it stopped.

with Run(out, {"model": "smollm2", "bits": 4}, command="signround quantize") as run:
    loss = run.step("block-0", lambda: tune_first_block())
    run.complete({"loss": loss})
"""

from etude.runs.atomic import atomic_path, read_json, write_json, write_text
from etude.runs.file_trouble import file_trouble
from etude.runs.hashing import content_hash, file_hash, source_hash
from etude.runs.launcher import leads, processes
from etude.runs.run import Run

__all__ = [
    "Run",
    "atomic_path",
    "content_hash",
    "file_hash",
    "file_trouble",
    "leads",
    "processes",
    "read_json",
    "source_hash",
    "write_json",
    "write_text",
]
