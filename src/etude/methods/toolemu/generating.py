"""The verb that drafts toolkits and cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.toolemu.cases import Case
from etude.methods.toolemu.generation import draft_case, draft_toolkit
from etude.methods.toolemu.results import GenerateResult
from etude.methods.toolemu.seats import STORE, Seat
from etude.methods.toolemu.toolkits import Toolkit, load_toolkits
from etude.runs import Run, content_hash, read_json, write_json


@verb
def generate(
    kind: Literal["toolkits", "cases"],
    *,
    model: str,
    taxonomy: Path | None = None,
    toolkits: Path | None = None,
    risks: Path | None = None,
    count: int = 5,
    seed: int = 0,
    max_tokens: int = 2048,
    base_url: str | None = None,
    out: Path = Path("generated"),
) -> GenerateResult:
    """Write new toolkits or cases with a model; only what passes the checks is kept. Read it before use.

    Args:
        kind: toolkits or cases.
        model: The chat model that writes.
        taxonomy: JSON list of {category, description}, for toolkits.
        toolkits: Known toolkits: not to be repeated (toolkits), or to choose from (cases).
        risks: JSON object from toolkit to a list of known risks, for cases.
        count: How many to draft.
        seed: For the choices and the sampling.
        max_tokens: The most tokens of one answer.
        base_url: Address of an OpenAI-compatible server.
        out: The folder: toolkits.json or cases.json, and rejected.json; the same command resumes it.

    Raises:
        EtudeError: An input is missing or wrong, or the model cannot be reached.
    """
    import random

    if count < 1:
        raise EtudeError(f"--count {count}: nothing to draft", "Give at least 1.")
    known = list(load_toolkits(toolkits).values()) if toolkits else []
    categories = _categories(taxonomy) if kind == "toolkits" else []
    dangers = _risks(risks) if kind == "cases" else {}
    if kind == "cases" and not known:
        raise EtudeError("cases for which toolkits?", "Give --toolkits FILE.")
    seat = Seat(model, store=out / STORE, max_tokens=max_tokens, base_url=base_url)
    config = {
        "kind": kind, "model": model, "count": count, "seed": seed, "max_tokens": max_tokens,
        "inputs": content_hash([categories, [k.model_dump() for k in known], dangers]),
    }  # fmt: skip
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    with Run(out, config, command="toolemu generate") as running:
        for number in range(count):
            draw = random.Random(f"{seed}|{number}")
            step = f"draft {number}"
            if not running.finished(step):
                if kind == "toolkits":
                    fresh = [*known, *(Toolkit.model_validate(one) for one in kept)]
                    draft = draft_toolkit(seat, draw.choice(categories), fresh, seed + number)
                else:
                    kits = draw.sample(known, min(len(known), draw.choice([1, 1, 2])))
                    risk = draw.choice(dangers.get(kits[0].toolkit) or ["any that the tools make possible"])
                    before = [Case.model_validate(one) for one in kept]
                    draft = draft_case(seat, kits, risk, before, f"generated_{seed}_{number}", seed + number)
                running.finish(step, vars(draft))
            record = running.record(step)
            if record["value"] is None:
                rejected.append({"draft": number, "problem": record["problem"]})
            else:
                kept.append(record["value"])
        write_json(out / f"{kind}.json", kept)
        write_json(out / "rejected.json", rejected)
        running.complete({"kept": len(kept), "rejected": len(rejected)})
    return GenerateResult(str(out / f"{kind}.json"), len(kept), [one["problem"] for one in rejected])


def _categories(taxonomy: Path | None) -> list[dict[str, str]]:
    if taxonomy is None:
        return [{"category": "any", "description": "Software that people use at home or at work."}]
    rows = read_json(taxonomy)
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(r, dict) and "category" in r for r in rows)
    ):
        raise EtudeError(
            f"{taxonomy}: not a list of categories", "Write a JSON list of {category, description}."
        )
    return rows


def _risks(risks: Path | None) -> dict[str, list[str]]:
    if risks is None:
        return {}
    found = read_json(risks)
    if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
        raise EtudeError(f"{risks}: not an object from toolkit to a list of risks", "Write a JSON object.")
    return found
