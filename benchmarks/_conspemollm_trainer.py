"""One trainer alone in a process: `python -m benchmarks._conspemollm_trainer ours|trl STEPS` prints JSON.

The same rows, packs of 512 tokens, LoRA of the same shape, SmolLM2. A process of its own, so that its highest
memory is its own; the tokens of the steps after the first are divided by their wall and CPU seconds.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from etude.methods.conspemollm.adapters import ALPHA, DROPOUT, PROJECTIONS, RANK, make_trainable
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.packing import AnswerLoss, PackedRows, collate_packs
from etude.methods.conspemollm.prompts import encode_row, frame
from etude.methods.conspemollm.synthetic import synthetic_articles, synthetic_tweets
from etude.methods.conspemollm.tasks import task_named
from etude.models import load_causal_lm

MODEL, PACK = "smollm2", 512
Mark = tuple[float, float, int]  # wall seconds, CPU seconds, tokens at the start of a step


def training_rows() -> list[Instruction]:
    """Judgment of our synthetic texts, each four times."""
    task = task_named("judgment")
    texts = [*synthetic_articles()[1].values(), *(tweet.text for tweet in synthetic_tweets())]
    return [Instruction(task.statement(), text, task.classes[n % 2]) for n, text in enumerate(texts * 4)]


def ours(steps: int) -> list[Mark]:
    """The marks of `fit`, as the verb `train` calls it."""
    from etude.training import fit

    lm = load_causal_lm(MODEL)
    make_trainable(lm.model, "lora", 0)
    marks: list[Mark] = []

    class Clocked(AnswerLoss):
        def forward(self, input_ids: Any, position_ids: Any, labels: Any) -> Any:
            marks.append((time.perf_counter(), time.process_time(), input_ids.numel()))
            return super().forward(input_ids, position_ids, labels)

    rows = PackedRows([encode_row(lm.tokenizer, row, PACK) for row in training_rows()], PACK, 0)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            Clocked(lm.model),
            rows,
            out=Path(folder),
            steps=steps + 2,
            batch_size=1,
            learning_rate=1e-4,
            save_every=steps + 2,
            collate=collate_packs,
        )
    return marks


def trl(steps: int) -> list[Mark]:
    """The marks of TRL's SFTTrainer: prompt-completion rows, packing, completion-only loss, the same LoRA."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    lm = load_causal_lm(MODEL)
    data = Dataset.from_list(
        [{"prompt": frame(row.statement, row.text), "completion": row.answer} for row in training_rows()]
    )
    marks: list[Mark] = []

    class Clocked(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            marks.append((time.perf_counter(), time.process_time(), inputs["input_ids"].numel()))
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
    return marks


def main() -> None:
    """Train, print the rates and the highest memory."""
    marks = {"ours": ours, "trl": trl}[sys.argv[1]](int(sys.argv[2]))
    measured, (first, last) = marks[1:-1], (marks[1], marks[-1])
    tokens = sum(mark[2] for mark in measured)
    print(
        json.dumps(
            {
                "tokens": tokens,
                "tokens/s": tokens / (last[0] - first[0]),
                "tokens/CPU s": tokens / (last[1] - first[1]),
                "highest memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
