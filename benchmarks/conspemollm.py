"""conspemollm and its peers: labels scored in one prefill against `generate`, packed training against TRL.

Classification: 48 texts, SmolLM2, the same prompts; transformers' generate as a careful user calls it (sorted
by length, greedy, `max_new_tokens=16`) and as the release does (file order, sampled; up to 64 tokens here
instead of its 1,024, so the true ratio is larger). Training: the same rows, LoRA of the same shape, TRL's
SFTTrainer with packing and completion-only loss; tokens a second over the same number of steps
(`pip install "etude[peers]"`). Seconds are of the processor: other work does not count.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from etude.methods.conspemollm.adapters import ALPHA, DROPOUT, PROJECTIONS, RANK, make_trainable
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.label_scoring import encoded_answers, label_probabilities
from etude.methods.conspemollm.packing import AnswerLoss, PackedRows, collate_packs
from etude.methods.conspemollm.prompts import encode_prompt, encode_row, frame
from etude.methods.conspemollm.synthetic import synthetic_articles, synthetic_tweets
from etude.methods.conspemollm.tasks import task_named
from etude.models import load_causal_lm

MODEL = "smollm2"
PACK = 512


def main(*, quick: bool) -> dict[str, Any]:
    """Texts a second and tokens a second, ours and the peers'.

    Args:
        quick: Fewer texts and steps.
    """
    _, articles = synthetic_articles()
    texts = [*articles.values(), *(tweet.text for tweet in synthetic_tweets())]
    return {
        "threads": torch.get_num_threads(),
        "labelling": labelling(texts[: 12 if quick else 48]),
        "training": training(texts, 3 if quick else 10),
    }


def labelling(texts: list[str]) -> dict[str, Any]:
    """Texts a second by label scoring and by generation; answers that name a class."""
    lm = load_causal_lm(MODEL)
    task = task_named("judgment")
    prompts = [
        encode_prompt(lm.tokenizer, Instruction(task.statement(), text, ""), 512, 16)[0] for text in texts
    ]
    answers = encoded_answers(lm, task.classes)
    label_probabilities(lm, prompts[:2], answers)  # warm
    ours, chosen = _timed(lambda: label_probabilities(lm, prompts, answers).argmax(1).tolist())
    careful, said = _timed(lambda: _generate(lm, prompts, 16, sort=True, sample=False))
    release, _ = _timed(lambda: _generate(lm, prompts[:16], 64, sort=False, sample=True))
    count = len(texts)
    return {
        "texts": count,
        "ours, texts/s": count / ours,
        "generate, 16 tokens, texts/s": count / careful,
        "generate as released, 64 tokens, texts/s": 16 / release,
        "ratio to generate": careful / ours,
        "ratio to the released settings (64 of 1,024 tokens)": (release / 16) / (ours / count),
        "ours that name a class": len(chosen),
        "generate's that name a class": sum(task.read(text) is not None for text in said),
    }


def _generate(lm: Any, prompts: list[list[int]], tokens: int, *, sort: bool, sample: bool) -> list[str]:
    order = (
        sorted(range(len(prompts)), key=lambda row: -len(prompts[row])) if sort else list(range(len(prompts)))
    )
    said = [""] * len(prompts)
    options: dict[str, Any] = (
        {"do_sample": True, "temperature": 0.9, "repetition_penalty": 1.2} if sample else {"do_sample": False}
    )
    torch.manual_seed(0)
    for start in range(0, len(order), 16):
        rows = order[start : start + 16]
        width = max(len(prompts[row]) for row in rows)
        pads = [width - len(prompts[row]) for row in rows]
        ids = torch.tensor([[0] * pad + prompts[row] for pad, row in zip(pads, rows, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
        with torch.inference_mode():
            found = lm.model.generate(
                ids, attention_mask=mask, max_new_tokens=tokens, pad_token_id=0, **options
            )
        for row, one in zip(rows, found, strict=True):
            said[row] = lm.tokenizer.decode(one[width:], skip_special_tokens=True)
    return said


def training(texts: list[str], steps: int) -> dict[str, Any]:
    """Tokens a second of a training step, ours and TRL's, and the memory of the gradients' graph."""
    task = task_named("judgment")
    rows = [Instruction(task.statement(), text, task.classes[n % 2]) for n, text in enumerate(texts * 4)]
    ours = _ours(rows, steps)
    if importlib.util.find_spec("trl") is None:
        return {"ours, tokens/s": ours, "TRL": 'not installed: pip install "etude[peers]"'}
    theirs = _trl(rows, steps)
    return {"ours, tokens/s": ours, "TRL with packing, tokens/s": theirs, "ratio": ours / theirs}


def _ours(rows: list[Instruction], steps: int) -> float:
    """Tokens a second of `fit`, as the verb `train` calls it."""
    from etude.training import fit

    lm = load_causal_lm(MODEL)
    make_trainable(lm.model, "lora", 0)
    marks: list[tuple[float, int]] = []

    class Clocked(AnswerLoss):
        def forward(self, input_ids: Any, position_ids: Any, labels: Any) -> Any:
            marks.append((time.process_time(), input_ids.numel()))
            return super().forward(input_ids, position_ids, labels)

    packed = PackedRows([encode_row(lm.tokenizer, row, PACK) for row in rows], PACK, 0)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            Clocked(lm.model),
            packed,
            out=Path(folder),
            steps=steps + 2,
            batch_size=1,
            learning_rate=1e-4,
            save_every=steps + 2,
            collate=collate_packs,
        )
    return _rate(marks)


def _trl(rows: list[Instruction], steps: int) -> float:
    """The same by TRL's SFTTrainer: prompt-completion rows, packing, completion-only loss, the same LoRA."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    lm = load_causal_lm(MODEL)
    data = Dataset.from_list(
        [{"prompt": frame(row.statement, row.text), "completion": row.answer} for row in rows]
    )
    marks: list[tuple[float, int]] = []

    class Clocked(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            marks.append((time.process_time(), inputs["input_ids"].numel()))
            return super().compute_loss(model, inputs, *args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        trainer = Clocked(
            model=lm.model,
            train_dataset=data,
            processing_class=lm.tokenizer,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=list(PROJECTIONS)
            ),
            args=SFTConfig(
                output_dir=folder,
                max_steps=steps + 2,
                per_device_train_batch_size=1,
                packing=True,
                max_length=PACK,
                completion_only_loss=True,
                learning_rate=1e-4,
                report_to="none",
                save_strategy="no",
                logging_steps=10_000,
                disable_tqdm=True,
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=True,
            ),
        )
        trainer.train()
    return _rate(marks)


def _rate(marks: list[tuple[float, int]]) -> float:
    """Tokens a second between the starts of the second and the last step; the first one warms."""
    return sum(tokens for _, tokens in marks[1:-1]) / (marks[-1][0] - marks[1][0])


def _timed(work: Any) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result
