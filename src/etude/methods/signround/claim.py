"""The paper's claim against its baselines: KL to the reference at W4, W3 and W2, per document, paired.

Two models at laptop scale. The primary one was never quantized before, and all its blocks are tuned: a
model of your own, or `small`, a Llama of 0.8 million parameters trained here on the calibration text. The
other is the embedded SmolLM2-135M-Instruct, first four blocks only; its reference is the dequantized Q4_1
file, not the original bfloat16 model. The slow scale tunes all its blocks. Nothing is tuned on the
evaluation text, whose documents in and out of the calibration domain are reported apart.
"""

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from etude.data import read_documents
from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Comparison, Contrast, Measurement, Part, Scale
from etude.methods.signround.blockwise import Method, quantize_model
from etude.methods.signround.calibration import encode, make_samples
from etude.methods.signround.evaluation import Reference, evaluation_texts, summarize
from etude.methods.signround.quantizer import mean_loss
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.tuner import RoundingConfig
from etude.models import load_causal_lm, model_origin
from etude.runs import atomic_path, content_hash, file_hash
from etude.training import fit

METHODS: tuple[Method, ...] = ("rtn", "gptq", "awq", "signround")
SMALL = {
    "vocabulary": 512, "hidden": 128, "inner": 352, "layers": 4, "heads": 4, "kv_heads": 2,
    "seqlen": 128, "steps": 400, "batch": 8, "rate": 2e-3,
}  # fmt: skip


@dataclass(frozen=True)
class Contest:
    """One model on which the methods meet.

    Args:
        label: Name of the model in arms and metrics.
        model: A model's name, or "small" for the one trained here.
        calib, evaluation: The two files of text.
        bits, group_size: The schemes, asymmetric.
        config: Tuning parameters; the seed is set per run.
        first_blocks: Quantize only so many blocks.
        documents, tokens: Evaluation documents per source, and tokens of each.
    """

    label: str
    model: str
    calib: Path
    evaluation: Path
    bits: tuple[int, ...]
    group_size: int
    config: RoundingConfig
    first_blocks: int | None
    documents: int
    tokens: int

    @cached_property
    def lm(self) -> tuple[Any, Any]:
        """Model and tokenizer."""
        if self.model == "small":
            return train_small(self.calib)
        lm = load_causal_lm(self.model, dtype="float32", device="cpu")
        return lm.model, lm.tokenizer

    @cached_property
    def reference(self) -> Reference:
        """The full-precision model's answers on the evaluation documents, whose sources become in and out."""
        domain = {document.source for document in read_documents(self.calib)}
        documents = [
            document.model_copy(update={"source": "in" if document.source in domain else "out"})
            for document in evaluation_texts(self.evaluation, self.documents)
        ]
        return Reference(*self.lm, documents, self.tokens)

    @cached_property
    def calibration(self) -> list[list[int]]:
        """Tokenized calibration documents."""
        return encode(read_documents(self.calib), self.lm[1])

    def measure(self, seed: int, bits: int, method: Method, changes: Mapping[str, Any]) -> Measurement:
        """Quantize a copy of the model and score it on every document."""
        model, tokenizer = self.lm
        config = replace(self.config, seed=seed, **changes)
        samples = make_samples(
            self.calibration,
            seqlen=config.seqlen,
            nsamples=config.nsamples,
            vocabulary=model.config.vocab_size,
            end=tokenizer.eos_token_id,
            seed=seed,
        ).samples
        started = time.perf_counter()
        quantized = quantize_model(
            copy.deepcopy(model),
            tokenizer,
            samples,
            QuantScheme(bits, self.group_size),
            method=method,
            config=config,
            first_blocks=self.first_blocks,
        )
        seconds = time.perf_counter() - started
        scores = self.reference.score(quantized.model)
        facts: dict[str, Any] = {
            "block error": mean_loss(quantized.report["blocks"], "loss_best"),
            "bits": round(quantized.bits_per_weight, 3),
            "seconds": round(seconds, 1),
        }
        for source, figures in summarize(scores).items():
            facts |= {
                f"KL {source}": figures["kl_ref_q"],
                f"ppl {source}": figures["ppl_q"],
                f"ppl ref {source}": figures["ppl_ref"],
            }
        return Measurement({self.metric: {score.id: score.kl / score.tokens for score in scores}}, facts)

    @property
    def metric(self) -> str:
        """Name of the metric on this model."""
        return f"KL {self.label}"

    def name(self, bits: int, method: str) -> str:
        """Name of an arm."""
        return f"{self.label} w{bits} {method}"

    def arms(self) -> list[Arm]:
        """Every method at every width."""
        return [
            self.arm(self.name(bits, method), bits, method, {}, seeded=method != "rtn")
            for bits in self.bits
            for method in METHODS
        ]

    def ablations(self) -> list[Arm]:
        """SignRound at the smallest width with one thing changed, one seed each."""
        changes: dict[str, dict[str, Any]] = {
            "V only": {"tune_minmax": False},
            "alpha, beta only": {"tune_rounding": False},
            "full-precision inputs": {"quantized_input": False},
            "best mini-batch kept": {"select": "minibatch"},
        }
        bits = min(self.bits)
        return [
            self.arm(f"{self.name(bits, 'signround')}, {what}", bits, "signround", change, seeded=False)
            for what, change in changes.items()
        ]

    def arm(self, name: str, bits: int, method: Method, changes: dict[str, Any], *, seeded: bool) -> Arm:
        """One method at one width, with changes to the tuning parameters."""
        settings = {"contest": self.settings, "bits": bits, "method": method, "changes": changes}
        return Arm(name, lambda seed: self.measure(seed, bits, method, changes), settings, seeded)

    @property
    def settings(self) -> dict[str, Any]:
        """What the measurements depend on besides arm and seed."""
        return {
            "model": self.model, "small": SMALL if self.model == "small" else None,
            "group_size": self.group_size,
            "rounding": asdict(self.config), "first_blocks": self.first_blocks, "documents": self.documents,
            "tokens": self.tokens,
        }  # fmt: skip

    def parts(self) -> list[Part]:
        """The claim's questions on this model."""
        low = min(self.bits)
        below_four = [bits for bits in sorted(self.bits, reverse=True) if bits < 4]
        parts = [
            Part(
                f"{self.label}: RTN",
                "SignRound keeps more of the reference model than round-to-nearest, on every seed",
                [self.comparison(bits, "rtn", every_seed=True) for bits in below_four],
            )
        ]
        if len(self.bits) > 1:
            high = max(self.bits)
            arms = tuple(self.name(bits, method) for bits in (high, low) for method in ("rtn", "signround"))
            parts.append(
                Part(
                    f"{self.label}: gap",
                    f"The gap to round-to-nearest grows from W{high} to W{low}",
                    [
                        Contrast(
                            f"KL(rtn) / KL(signround) is larger at W{low} than at W{high}",
                            self.metric,
                            arms,
                            lambda means: ratio_growth(means, *arms),
                        )
                    ],
                )
            )
        parts.append(
            Part(
                f"{self.label}: GPTQ, AWQ",
                f"SignRound beats GPTQ and AWQ at W{low}",
                [self.comparison(low, baseline) for baseline in ("gptq", "awq")],
            )
        )
        return parts

    def comparison(self, bits: int, baseline: str, *, every_seed: bool = False) -> Comparison:
        """SignRound against a baseline at one width."""
        arm = self.name(bits, "signround")
        return Comparison(self.metric, arm, self.name(bits, baseline), better="lower", every_seed=every_seed)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim at one of its scales.

    Args:
        scale: laptop: the primary model at W4/W3/W2 and four blocks of SmolLM2 at W2. slow: all blocks of
            SmolLM2, or of `model`, at W3/W2 (T = 100). paper: the paper's settings (T = 200, 512 samples of
            2048 tokens, batch 8, groups of 128) on all blocks of SmolLM2, or of `model`, at W4/W3/W2.
        data: Folder with one calib*.jsonl and one eval*.jsonl, rows with `id`, `source`, `text`. Evaluation
            documents from a source that the calibration text has too are in domain, others out.
        seeds: Seeds of samples and mini-batches.
        model: A model of your own; at laptop scale it is the primary one, otherwise trained here.

    Raises:
        EtudeError: The data is missing.
    """
    calib, evaluation = _one(data, "calib"), _one(data, "eval")
    texts = {"calib": calib, "evaluation": evaluation}
    if scale == "laptop":
        tuned = RoundingConfig(steps=200, batch_size=4, seqlen=128, nsamples=64)
        subset = RoundingConfig(steps=50, batch_size=4, seqlen=128, nsamples=32)
        contests = [
            Contest(_label(model or "small"), model or "small", **texts, bits=(4, 3, 2), group_size=32,
                    config=tuned, first_blocks=None, documents=20, tokens=256),
            Contest("smollm2", "smollm2", **texts, bits=(2,), group_size=64,
                    config=subset, first_blocks=4, documents=8, tokens=128),
        ]  # fmt: skip
    else:
        chosen = model or "smollm2"
        tuned = RoundingConfig(steps=100, batch_size=4, seqlen=128, nsamples=64)
        contests = [
            Contest(_label(chosen), chosen, **texts, bits=(3, 2), group_size=64,
                    config=tuned, first_blocks=None, documents=20, tokens=256)
            if scale == "slow" else
            Contest(_label(chosen), chosen, **texts, bits=(4, 3, 2), group_size=128,
                    config=RoundingConfig(nsamples=512), first_blocks=None, documents=100, tokens=2048)
        ]  # fmt: skip
    origins = {c.label: model_origin(c.model) for c in contests if c.model != "small"}
    return Claim(
        name="signround",
        statement=(
            "At the same format SignRound keeps more of the reference model than round-to-nearest, the more "
            "so the fewer the bits, and it beats or matches GPTQ and AWQ at 2 bits."
        ),
        arms=[arm for contest in contests for arm in contest.arms()]
        + (contests[0].ablations() if scale != "slow" else []),
        parts=[part for contest in contests for part in contest.parts()],
        metrics={contest.metric: "lower" for contest in contests},
        seeds=seeds if seeds is not None else (0, 1, 2),
        config={
            "scale": scale,
            "data": {name: file_hash(path) for name, path in texts.items()},
            "models": origins,
        },
        columns=(
            "KL in",
            "KL out",
            "ppl in",
            "ppl out",
            "ppl ref in",
            "ppl ref out",
            "block error",
            "bits",
            "seconds",
        ),
        notes=(
            "in: sources that the calibration text has too; out: all other sources.",
            *(f"The reference of {name} is {o['precision']} ({o['source']})." for name, o in origins.items()),
            *(
                f"{contest.label}: only the first {contest.first_blocks} blocks are quantized."
                for contest in contests
                if contest.first_blocks
            ),
        ),
    )


def _one(data: Path | None, name: str) -> Path:
    """The only file NAME*.jsonl of the folder."""
    found = sorted(data.glob(f"{name}*.jsonl")) if data is not None else []
    if len(found) == 1:
        return found[0]
    there = "no --data was given" if data is None else f"{data} has {len(found)} files {name}*.jsonl"
    raise EtudeError(
        f"the signround claim needs one calib*.jsonl and one eval*.jsonl in --data: {there}",
        "Any text in the model's language will do: rows with id, source, text.",
    )


def _label(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def ratio_growth(means: Mapping[str, np.ndarray], high_rtn: str, high: str, low_rtn: str, low: str) -> float:
    """KL(rtn)/KL(signround) at the low width minus the same at the high width."""
    return float(means[low_rtn].mean() / means[low].mean() - means[high_rtn].mean() / means[high].mean())


class _Windows(Dataset[dict[str, torch.Tensor]]):
    """Samples as training items."""

    def __init__(self, samples: torch.Tensor) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.samples[index], "labels": self.samples[index]}


def train_small(text: Path) -> tuple[Any, Any]:
    """The small Llama trained on a text, with its own BPE tokenizer; cached by content."""
    key = content_hash({"text": file_hash(text), "small": SMALL, "version": 1})[:16]
    folder = cache_root() / "signround" / f"small-{key}"
    if not (folder / "config.json").is_file():
        documents = read_documents(text)
        tokenizer = train_tokenizer([document.text for document in documents])
        samples = make_samples(
            encode(documents, tokenizer),
            seqlen=int(SMALL["seqlen"]),
            nsamples=1 << 30,
            vocabulary=int(SMALL["vocabulary"]),
            end=tokenizer.eos_token_id,
            seed=0,
        ).samples
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=int(SMALL["vocabulary"]),
                hidden_size=int(SMALL["hidden"]),
                intermediate_size=int(SMALL["inner"]),
                num_hidden_layers=int(SMALL["layers"]),
                num_attention_heads=int(SMALL["heads"]),
                num_key_value_heads=int(SMALL["kv_heads"]),
                max_position_embeddings=512,
                tie_word_embeddings=True,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
        fit(
            model,
            _Windows(samples),
            out=folder.with_name(folder.name + "-training"),
            steps=int(SMALL["steps"]),
            batch_size=int(SMALL["batch"]),
            learning_rate=SMALL["rate"],
            warmup=0.05,
            label="small model",
        )
        with atomic_path(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    lm = load_causal_lm(str(folder), dtype="float32", device="cpu")
    return lm.model, lm.tokenizer


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 512 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=int(SMALL["vocabulary"]),
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
