"""The published loop of id generation: one item at a time through transformers' own group beam search.

    python benchmarks/_idgen_worker.py JOB.json

Group beam search left the core of transformers, so this runs in an interpreter with an older release (see
benchmarks/idgen.py). The job names the model directory and the texts; the process
gives processor seconds of the loop each time it is asked (imports and loading left out), and what was found.
"""

import json
import re
import sys
import time
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from _worker_rounds import serve


def load(job: dict):
    torch.set_num_threads(1)
    model = T5ForConditionalGeneration.from_pretrained(job["model"]).eval()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{job['model']}/tokenizer.json",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    return model, tokenizer


@torch.inference_mode()
def name_all(model, tokenizer, texts: list[str]) -> dict:
    used: set[str] = set()
    ids, candidates = [], []
    started = time.process_time()
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        penalty, shortest, found = 1.0, 1, None
        while found is None:
            out = model.generate(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                num_beams=10,
                num_beam_groups=10,
                diversity_penalty=penalty,
                min_length=shortest,
                max_length=shortest + 10,
                num_return_sequences=10,
            )
            written = [
                " ".join(re.findall(r"\w+", tokenizer.decode(one, skip_special_tokens=True))) for one in out
            ]
            if penalty == 1.0 and shortest == 1:
                candidates.append(written)
            found = next((one for one in written if one and one.casefold() not in used), None)
            penalty += 1.0
            if penalty == 10.0:
                penalty, shortest = 1.0, shortest + 10
        used.add(found.casefold())
        ids.append(found)
    seconds = time.process_time() - started
    return {"seconds": seconds, "ids": ids, "candidates": candidates}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    loaded = load(asked)
    serve({}, lambda: name_all(*loaded, asked["texts"]))
