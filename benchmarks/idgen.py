"""idgen: constrained beam search, id generation and packed training beside the usual ways, on one thread.

Constrained search: the same model, tree and beams through transformers' `generate(prefix_allowed_tokens_fn)`,
whose function looks up a ready dictionary. Id generation: the published loop, one item at a time through
transformers' group beam search, which left that library's core: an interpreter with an older release does
it. Models are untrained: what weights say does not change what a step costs. Seconds of these two parts are
the processor's, of one thread: other work on the machine does not count.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import _idgen_catalogue as made_up
from benchmarks._comparison import Comparison, Figure, Missing, Worker, in_turn, ratios
from benchmarks._idgen_training import packed_training
from benchmarks._peers import GROUP_BEAMS, TRANSFORMERS
from etude.methods.idgen import IdGenerator, Item, TokenTrie, constrained_beam_search, tree_decoder
from etude.methods.idgen.beam_source import BeamSource
from etude.render import console

WORKER = Path(__file__).with_name("_idgen_worker.py")
BEAMS, K = 20, 10
PEERS = (TRANSFORMERS, GROUP_BEAMS)
DECODER = (
    "With t5-small's width the decoder itself, which both sides must run, is most of the work, and "
    "normalizing over the whole vocabulary needs every logit."
)
ARITHMETIC = (
    "A batch removes overhead and repeated reading of weights, not arithmetic: with the model of "
    "t5-small's size one core multiplies at 55 GFLOP/s in the first round, near what it can do. These "
    "weights are random, so the few items whose candidates are all taken go through many rounds alone, on"
    " both sides."
)


def main(*, full: bool, repetitions: int) -> Comparison:
    """Users and items a second, ours over the peers'; `full` has larger models and trains packed, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures, details = constrained_search(full, repetitions)
        found: dict[str, Any] = {"constrained search": details}
        missing = []
        if peer := GROUP_BEAMS.python():
            more, found["id generation"] = id_generation(peer, full, repetitions)
            figures += more
        else:
            missing.append(Missing("making unique ids", GROUP_BEAMS))
        if full:
            found["packed training"] = packed_training()
        return Comparison(figures, missing, found)
    finally:
        torch.set_num_threads(threads)


def constrained_search(full: bool, repetitions: int) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Users/s of the same top-k; both normalizations, with and without seen items."""
    items = 12101
    rows = made_up.id_rows(items)
    vocabulary = made_up.WORDS + 3
    users = 32 if full else 8
    cases = [
        ("causal, 64 wide", made_up.causal(vocabulary), users, 90),
        ("T5, 64 wide", made_up.t5("tiny", vocabulary), users, 90),
        ("T5 of t5-small's size", made_up.t5("small", 32128), 8 if full else 2, 90),
    ]
    figures, found = list[Figure](), list[dict[str, Any]]()
    for name, model, count, length in cases:
        for normalize, filtered in (("allowed", False), ("vocabulary", False), ("vocabulary", True)):
            taken, same = _search_case(model, rows, count, length, normalize, filtered, repetitions)
            how = f"{name}, over {'allowed tokens' if normalize == 'allowed' else 'the vocabulary'}"
            figures.append(
                Figure(
                    f"constrained search, {items:,} items: {how}" + (", seen items filtered" * filtered),
                    "transformers' generate(prefix_allowed_tokens_fn=...)",
                    "processor seconds",
                    ratios(taken["transformers"], taken["etude"]),
                    5,
                    if_missed=DECODER,
                )
            )
            rates = {f"{who}, users/s": count / median(one) for who, one in taken.items()}
            found.append({"model": how, "seen filtered": filtered, **rates, "same top 10": same})
            console().print(json.dumps(found[-1]))
    return figures, found


def _search_case(
    model: Any,
    rows: list[tuple[int, ...]],
    users: int,
    length: int,
    normalize: str,
    filtered: bool,
    repetitions: int,
) -> tuple[dict[str, list[float]], float | None]:
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

    said: dict[str, list[list[int]]] = {}
    taken = in_turn(
        {
            "etude": lambda: said.__setitem__("etude", ours()),
            "transformers": lambda: said.__setitem__("transformers", peer()),
        },
        repetitions,
    )
    same = sum(a == b for a, b in zip(said["etude"], said["transformers"], strict=True)) / users
    # with seen items the peer has more beams and drops items afterwards: another search, not compared
    return taken, None if filtered else same


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


def id_generation(peer: str, full: bool, repetitions: int) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Items/s of unique ids for the same texts; also whether both wrote the same candidates."""
    figures, found = list[Figure](), list[dict[str, Any]]()
    for size, items in (("tiny", 512 if full else 256), ("small", 48 if full else 4)):
        with tempfile.TemporaryDirectory() as folder:
            taken, more = _generation_case(peer, Path(folder), size, items, repetitions)
        figures.append(
            Figure(
                f"unique ids for {items} items, {'T5, 64 wide' if size == 'tiny' else 't5-small by size'}",
                "transformers' group beam search, one item at a time",
                "processor seconds",
                ratios(taken["transformers"], taken["etude"]),
                20,
                if_missed=ARITHMETIC,
            )
        )
        found.append(more)
        console().print(json.dumps(more))
    return figures, found


def _generation_case(
    peer: str, folder: Path, size: str, items: int, repetitions: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    model, tokenizer = made_up.t5(size, 5003 if size == "tiny" else 32128), made_up.tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lines = made_up.texts(items)
    job = {"model": str(folder), "texts": lines}
    (folder / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    worker = Worker([peer, str(WORKER), str(folder / "job.json")], environment=environment, cwd=folder)
    source = BeamSource(model, tokenizer)
    catalogue = [Item(item_id=f"{number:05}", text=line) for number, line in enumerate(lines)]
    generator = IdGenerator(source, batch_size=64 if size == "tiny" else 16)
    taken: dict[str, list[float]] = {"etude": [], "transformers": []}
    for _ in range(repetitions):
        theirs = worker.round()
        taken["transformers"].append(theirs["seconds"])
        started = time.process_time()
        named = generator.generate(catalogue)
        taken["etude"].append(time.process_time() - started)
    worker.close()
    same = source.candidates(lines, source.rounds[0])
    return taken, {
        "model": f"T5 {size}",
        **{f"{who}, items/s": items / median(one) for who, one in taken.items()},
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
