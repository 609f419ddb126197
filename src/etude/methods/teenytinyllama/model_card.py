"""The model card, written from a run's logs: the model, its text and the licences, what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.methods.teenytinyllama import run_logs
from etude.methods.teenytinyllama.configs import ModelConfig, parameters
from etude.methods.teenytinyllama.energy import read_emissions
from etude.methods.teenytinyllama.shards import Manifest
from etude.render.terminal import cell, plain
from etude.runs import read_json


def write_card(run: Path | None, config: ModelConfig, *, name: str) -> str:
    """The text of README.md for a model's folder.

    Args:
        run: The run that made it; without one only the shape is told.
        config: The shape.
        name: The model's name.
    """
    sections = [f"# {_inline(name)}\n", _shape(config)]
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if run is not None:
        manifest = Manifest.model_validate(read_json(run / "manifest.json"))
        licenses = manifest.licenses
        languages = sorted({s.language for s in manifest.sources if s.language})
        head |= {"license": "other", "license_name": ", ".join(licenses)}
        if languages:
            head["language"] = sorted({language.partition("-")[0] for language in languages})
        sections += [_text(manifest), _training(run), _held_out(run), _cost(run), _samples(run)]
    sections.append(_LIMITS)
    front = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items())
    return f"---\n{front}---\n\n" + "\n".join(section for section in sections if section)


_LIMITS = """## Limits

A small base model, trained on the text above and nothing else: it continues text, it does not follow
instructions, and what it writes may be false or unfair. The licences above are those of its training text;
whether they bind the weights is for the user to judge.
"""

_USE = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained(PATH), AutoModelForCausalLM.from_pretrained(PATH)
```
"""


def _shape(config: ModelConfig) -> str:
    rows: list[list[Any]] = [
        ["parameters", parameters(config)],
        ["hidden, feed-forward", f"{config.hidden}, {config.mlp}"],
        ["layers, heads, heads of keys", f"{config.layers}, {config.heads}, {config.key_heads}"],
        ["context", config.context],
        ["vocabulary", config.vocab_size],
        ["embeddings", "tied" if config.tied else "untied"],
    ]
    facts = _table(["", ""], rows)
    return f"A Llama-2 decoder, pretrained from nothing with `etude teenytinyllama`.\n\n{facts}\n{_USE}"


def _text(manifest: Manifest) -> str:
    rows = [
        [Path(s.file).name, s.license or "unknown", s.language, s.documents, s.bytes, s.tokens, s.sha256[:12]]
        for s in manifest.sources
    ]
    columns = ["source", "licence", "language", "documents", "bytes", "tokens", "SHA-256"]
    removed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(manifest.removed.items()) if count)
    note = f"\nRemoved documents: {removed}.\n" if removed else ""
    return f"## Text\n\n{_table(columns, rows)}{note}"


def _training(run: Path) -> str:
    stored = read_json(run / "run.json")["config"]["training"]
    rows = run_logs.read_log(run / run_logs.METRICS)
    facts: list[list[Any]] = []
    if rows:
        last, tokens = (
            rows[-1],
            Manifest.model_validate(read_json(run / "manifest.json")).splits["train"].tokens,
        )
        facts = [
            ["steps", last["step"]],
            ["tokens seen", last["tokens_seen"]],
            ["epochs", last["tokens_seen"] / tokens],
            ["last loss (nats a token)", last["loss"]],
            ["seconds", last["seconds"]],
        ]
    wanted = ("tokens_per_step", "learning_rate", "weight_decay", "betas", "eps", "clip", "seed", "dtype")
    facts += [[key, str(stored[key])] for key in (*wanted, "document_mask")]
    return f"## Training\n\nAdamW, cosine to zero after a linear warm-up.\n\n{_table(['', ''], facts)}"


def _held_out(run: Path) -> str:
    rows = run_logs.read_log(run / run_logs.EVALUATIONS)
    if not rows:
        return ""
    columns = ["step", "loss", "perplexity", "bits_per_byte"]
    table = _table(columns, [[row[name] for name in columns] for row in rows])
    return f"## Held-out text\n\nLoss in nats a token, perplexity e^loss, bits per UTF-8 byte.\n\n{table}"


def _cost(run: Path) -> str:
    path = run / run_logs.EMISSIONS
    rows = read_emissions(path) if path.exists() else []
    if not rows:
        return ""
    last = rows[-1]
    found = "an estimate" if last.get("tracking_mode") == "estimate" else "measured by CodeCarbon"
    return (
        f"## Energy\n\n{last['energy_consumed']:.4g} kWh and {last['emissions']:.4g} kg CO2eq in "
        f"{last['duration']:.0f} s ({found}), all resumes together.\n"
    )


def _samples(run: Path) -> str:
    rows = run_logs.read_log(run / run_logs.SAMPLES)
    if not rows:
        return ""
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    lines = [f"- {_inline(row['prompt'])} → {_inline(row['text'])}" for row in last]
    return "## Samples\n\nGreedy continuations of held-out text.\n\n" + "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *([_inline(cell(v)) for v in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _inline(text: str) -> str:
    """Text of data on one line of Markdown, as text: nothing in it is markup."""
    flat = " ".join(plain(text).split())
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!" else c for c in flat)
