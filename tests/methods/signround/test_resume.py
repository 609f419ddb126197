"""kill -9 in the middle of `quantize`, then the same command again: bit-identical to an uninterrupted run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.signround import compare, quantize
from etude.runs import read_json

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from etude.methods.signround import quantize
quantize(sys.argv[1], out=Path(sys.argv[2]), scheme="w2g32a", steps=40, seqlen=32, nsamples=16, batch_size=4,
         format="gptq,dequantized", eval_documents=2, eval_tokens=32)
"""


def start(model: str, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, model, str(out)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*.safetensors"))
        if not any(part.startswith(".") for part in path.relative_to(out).parts)
    }


def test_killed_after_the_first_block_and_resumed_gives_the_same_bytes(model_folder, tmp_path, run_here):
    run_here(SCRIPT, model_folder, tmp_path / "whole")

    killed = start(model_folder, tmp_path / "cut")
    first = tmp_path / "cut" / "blocks" / "block-0.safetensors"
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=30) == -signal.SIGKILL
    assert not (tmp_path / "cut" / "result.json").exists()
    stamp = first.stat().st_mtime_ns

    run_here(SCRIPT, model_folder, tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    whole, cut = (read_json(tmp_path / name / "result.json") for name in ("whole", "cut"))
    assert whole["eval"] == cut["eval"]
    assert stamp <= first.stat().st_mtime_ns


def test_every_method_resumes_to_the_same_codes(model_folder, tmp_path, monkeypatch):
    """Cut after block 0 inside this process, also for methods that keep more than codes."""
    from etude.methods.signround import blockwise

    options = {
        "scheme": "w3g32a",
        "steps": 6,
        "seqlen": 32,
        "nsamples": 8,
        "batch_size": 4,
        "eval_documents": 0,
    }
    real = blockwise.save_block
    for method in ("gptq", "awq", "signround"):
        quantize(model_folder, method=method, out=tmp_path / f"{method}-whole", **options)

        def cut(path: Path, *arguments: object) -> None:
            if path.stem == "block-1":
                raise KeyboardInterrupt
            real(path, *arguments)

        monkeypatch.setattr(blockwise, "save_block", cut)
        with pytest.raises(KeyboardInterrupt):
            quantize(model_folder, method=method, out=tmp_path / f"{method}-cut", **options)
        monkeypatch.setattr(blockwise, "save_block", real)
        quantize(model_folder, method=method, out=tmp_path / f"{method}-cut", **options)
        assert contents(tmp_path / f"{method}-cut") == contents(tmp_path / f"{method}-whole")


def test_a_finished_run_answers_at_once_and_another_configuration_is_refused(model_folder, tmp_path):
    options = {"method": "rtn", "seqlen": 16, "eval_documents": 0, "out": tmp_path / "q"}
    first = quantize(model_folder, scheme="w4g32s", **options)
    assert quantize(model_folder, scheme="w4g32s", **options) == first
    with pytest.raises(EtudeError, match="another configuration"):
        quantize(model_folder, scheme="w3g32s", **options)


def test_compare_measures_every_method_and_keeps_finished_rows(model_folder, tmp_path):
    options = {"schemes": "w2g32a", "methods": "rtn,signround", "steps": 20, "seqlen": 32, "nsamples": 16,
               "documents": 3, "tokens": 64}  # fmt: skip
    result = compare(model_folder, out=tmp_path / "c", **options)
    found = {(row["method"], row["source"]): row["kl_ref_q"] for row in result.rows}
    assert set(found) == {(m, s) for m in ("rtn", "signround") for s in ("python-prose", "sklearn-datasets")}
    assert found["signround", "sklearn-datasets"] < found["rtn", "sklearn-datasets"]
    assert compare(model_folder, out=tmp_path / "c", **options) == result
    with pytest.raises(EtudeError, match="method 'magic'"):
        compare(model_folder, out=tmp_path / "d", methods="magic")
