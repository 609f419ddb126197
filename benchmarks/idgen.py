"""idgen: constrained beam search, id generation and packed training beside the usual ways, on one thread.

Constrained search: the same model, tree and beams through transformers' `generate(prefix_allowed_tokens_fn)`,
whose function looks up a ready dictionary. Id generation: the published loop, one item at a time through
transformers' group beam search, which left that library's core: an interpreter with an older release is named
by ETUDE_GROUP_BEAMS_PYTHON, made once by

    python -m venv peer && peer/bin/pip install torch "transformers==4.46.3"

Without it that part is left out. Models are untrained: what weights say does not change what a step costs.
Seconds of these two parts are the processor's, of one thread: other work on the machine does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import _idgen_catalogue as made_up
from benchmarks._idgen_training import packed_training
from etude.errors import EtudeError
from etude.methods.idgen import IdGenerator, Item, TokenTrie, constrained_beam_search, tree_decoder
from etude.methods.idgen.beam_source import BeamSource
from etude.render import console

WORKER = Path(__file__).with_name("_idgen_worker.py")
BEAMS, K = 20, 10


def main(*, quick: bool = False) -> dict[str, Any]:
    """Users, items and tokens a second, ours and the peer's, and their ratios.

    Args:
        quick: Fewer users and items, tiny models alone.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "constrained search, users/s": constrained_search(quick=quick),
            "id generation, items/s": id_generation(quick=quick),
            "packed training": packed_training(quick=quick),
        }
    finally:
        torch.set_num_threads(threads)


def constrained_search(*, quick: bool) -> list[dict[str, Any]]:
    """Users/s of the same top-k; both normalizations, with and without seen items."""
    items = 678 if quick else 12101
    rows = made_up.id_rows(items)
    vocabulary = made_up.WORDS + 3
    cases = [("causal, 64 wide", made_up.causal(vocabulary), 32, 90)]
    cases += [("T5, 64 wide", made_up.t5("tiny", vocabulary), 32, 90)]
    if not quick:
        cases += [("T5 of t5-small's size", made_up.t5("small", 32128), 8, 90)]
    found = []
    for name, model, users, length in cases:
        for normalize, filtered in (("allowed", False), ("vocabulary", False), ("vocabulary", True)):
            found.append(
                {"model": name, "items": items, "normalized over": normalize, "seen filtered": filtered}
                | _search_case(model, rows, users, length, normalize, filtered)
            )
            console().print(json.dumps(found[-1]))
    return found


def _search_case(
    model: Any, rows: list[tuple[int, ...]], users: int, length: int, normalize: str, filtered: bool
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, made_up.WORDS, (users, length), generator=generator)
    mask = torch.ones_like(ids)
    trie, decoder = TokenTrie.from_tokens(rows, made_up.EOS), tree_decoder(model)
    seen = None
    if filtered:
        seen = [torch.randperm(len(rows), generator=generator)[:10].tolist() for _ in range(users)]
        best = constrained_beam_search(decoder, ids, mask, trie, beams=BEAMS, k=3).items.tolist()
        seen = [a + b for a, b in zip(seen, best, strict=True)]  # some that would have been recommended

    def ours() -> list[list[int]]:
        return constrained_beam_search(
            decoder, ids, mask, trie, beams=BEAMS, k=K, seen=seen, normalize=normalize
        ).items.tolist()

    def peer() -> list[list[int]]:
        return _peer_search(model, ids, mask, rows, normalize, seen)

    ours()
    repeats = 5
    started = time.process_time()
    for _ in range(repeats):
        mine = ours()
    our_seconds = (time.process_time() - started) / repeats
    started = time.process_time()
    theirs = peer()
    peer_seconds = time.process_time() - started
    return {
        "ours": users / our_seconds,
        "transformers": users / peer_seconds,
        "ratio": peer_seconds / our_seconds,
        # with seen items the peer has more beams and drops items afterwards: another search, not compared
        "users with the same top 10": None
        if filtered
        else sum(a == b for a, b in zip(mine, theirs, strict=True)) / users,
    }


def _peer_search(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    rows: list[tuple[int, ...]],
    normalize: str,
    seen: list[list[int]] | None,
) -> list[list[int]]:
    """Item indices by transformers; seen items are filtered from a longer list, as the official code does."""
    prompt = 1 if model.config.is_encoder_decoder else ids.shape[1]
    index = {row: number for number, row in enumerate(rows)}
    follow: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        full = (*row, made_up.EOS)
        for at in range(len(full)):
            follow.setdefault(full[:at], []).append(full[at])
    follow = {prefix: sorted(set(after)) for prefix, after in follow.items()}

    def allowed(user: int, sentence: torch.Tensor) -> list[int]:
        return follow.get(tuple(sentence[prompt:].tolist()), [made_up.PAD])

    more = 0 if seen is None else max(map(len, seen))
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            num_beams=BEAMS + more,
            num_return_sequences=K + more,
            do_sample=False,
            prefix_allowed_tokens_fn=allowed,
            max_new_tokens=11,
            length_penalty=0.0,
            renormalize_logits=normalize == "allowed",
            pad_token_id=made_up.PAD,
            eos_token_id=made_up.EOS,
        )
    found: list[list[int]] = [[] for _ in ids]
    for number, sequence in enumerate(out.tolist()):
        user, row = number // (K + more), tuple(sequence[prompt:])
        item = index.get(row[: row.index(made_up.EOS)] if made_up.EOS in row else row, -1)
        if seen is None or item not in seen[user]:
            found[user].append(item)
    return [items[:K] for items in found]


def id_generation(*, quick: bool) -> list[dict[str, Any]] | str:
    """Items/s of unique ids for the same texts; also whether both wrote the same candidates."""
    peer = os.environ.get("ETUDE_GROUP_BEAMS_PYTHON")
    if not peer:
        return "left out: set ETUDE_GROUP_BEAMS_PYTHON"
    found = []
    for size, items in [("tiny", 64)] if quick else [("tiny", 512), ("small", 48)]:
        with tempfile.TemporaryDirectory() as folder:
            found.append(_generation_case(peer, Path(folder), size, items))
            console().print(json.dumps(found[-1]))
    return found


def _generation_case(peer: str, folder: Path, size: str, items: int) -> dict[str, Any]:
    model, tokenizer = made_up.t5(size, 5003 if size == "tiny" else 32128), made_up.tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lines = made_up.texts(items)
    job = {"model": str(folder), "texts": lines, "out": str(folder / "peer.json")}
    (folder / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [peer, str(WORKER), str(folder / "job.json")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise EtudeError(f"the peer failed: {done.stderr.strip()[-300:]}", "Run the worker by hand.")
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    theirs = json.loads((folder / "peer.json").read_text())
    source = BeamSource(model, tokenizer)
    same = source.candidates(lines, source.rounds[0])
    catalogue = [Item(item_id=f"{number:05}", text=line) for number, line in enumerate(lines)]
    generator = IdGenerator(source, batch_size=64 if size == "tiny" else 16)
    started = time.process_time()
    named = generator.generate(catalogue)
    seconds = time.process_time() - started
    ours, others = items / seconds, items / measured["seconds"]
    return {
        "model": f"T5 {size}",
        "peer": f"transformers {measured['version']}, one at a time",
        "ours": ours,
        "one at a time": others,
        "ratio": ours / others,
        "items with the same ten candidates": sum(
            a == b for a, b in zip(same, theirs["candidates"], strict=True)
        )
        / items,
        "items with the same id": sum(
            named[item.item_id] == id_ for item, id_ in zip(catalogue, theirs["ids"], strict=True)
        )
        / items,
        "unique": len(set(named.values())) == items,
    }
