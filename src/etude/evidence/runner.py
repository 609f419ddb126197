"""Run a claim: every arm on every seed, each measurement stored by content address, then the verdicts."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.evidence.blocks import evidence_sections
from etude.evidence.claim import Arm, Claim, Measurement
from etude.evidence.evidence import ArmResult, Evidence, finite
from etude.evidence.verdict import settle
from etude.render import TableBlock, console, save_page
from etude.runs import content_hash, read_json, source_hash, write_json
from etude.runs.run import host_facts, versions


def run_claim(claim: Claim, out: Path) -> Evidence:
    """Run every arm on every seed (or reuse what is stored), compare, and judge.

    An arm that crashes is reported with its error and the others are kept. Measurements lie in `out/arms`
    under the hash of claim, arm, seed and the method's source; `out/evidence.json` and `out/report.html` are
    written at the end.

    Args:
        claim: The claim.
        out: Folder for measurements and evidence; it may be shared by runs with other seeds.

    Returns:
        The evidence, with verdicts.
    """
    started = time.monotonic()
    source = _sources(claim.name)
    arms = [_measure_arm(arm, claim, out, source) for arm in claim.arms]
    evidence = Evidence(
        name=claim.name,
        statement=claim.statement,
        parts=(),
        arms=arms,
        metrics=dict(claim.metrics),
        seeds=claim.seeds,
        config=finite(dict(claim.config)),
        columns=claim.columns,
        notes=claim.notes,
        provenance={
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(sum(sum(arm.seconds.values()) for arm in arms), 1),
            "seconds_this_time": round(time.monotonic() - started, 1),
            "host": host_facts(),
            "versions": versions(),
        },
    )
    evidence = replace(evidence, parts=settle(claim, evidence))
    extra = claim.blocks(evidence) if claim.blocks and any(arm.measurements for arm in arms) else []
    tables = [
        {"caption": b.caption, "columns": list(b.columns), "rows": [list(row) for row in b.rows]}
        for b in extra
        if isinstance(b, TableBlock)
    ]
    evidence = replace(evidence, tables=finite(tables))
    evidence.save(out / "evidence.json")
    figures = [block for block in extra if not isinstance(block, TableBlock)]
    save_page(out / "report.html", f"{claim.name}: the claim", evidence_sections(evidence, figures))
    return evidence


def _measure_arm(arm: Arm, claim: Claim, out: Path, source: str) -> ArmResult:
    measurements: dict[int, Measurement] = {}
    errors: dict[int, str] = {}
    seconds: dict[int, float] = {}
    for seed in claim.seeds if arm.seeded else claim.seeds[:1]:
        address = content_hash(
            {
                "claim": claim.name,
                "config": finite(dict(claim.config)),
                "arm": arm.name,
                "arm_config": finite(dict(arm.config)),
                "seed": seed if arm.seeded else None,
                "source": source,
            }
        )
        path = out / "arms" / f"{address[:32]}.json"
        if path.exists():
            stored: dict[str, Any] = read_json(path)
            measurements[seed], seconds[seed] = Measurement(**stored["measurement"]), stored["seconds"]
            continue
        console().print(f"{claim.name}: {arm.name}" + (f", seed {seed}" if arm.seeded else ""))
        started = time.monotonic()
        try:
            measurement = arm.run(seed)
        except EtudeError:
            raise
        except Exception as error:
            errors[seed] = f"{type(error).__name__}: {error}"[:500]
            console().print(f"{claim.name}: {arm.name}, seed {seed} crashed: {errors[seed]}")
            continue
        seconds[seed] = round(time.monotonic() - started, 3)
        stored = finite(asdict(measurement))
        write_json(path, {"arm": arm.name, "seed": seed, "seconds": seconds[seed], "measurement": stored})
        measurements[seed] = Measurement(**stored)
    return ArmResult(arm.name, arm.seeded, measurements, errors, seconds)


def _sources(name: str) -> str:
    """A hash of the code a measurement depends on: the method's package and the floors that compute."""
    package = f"etude.methods.{name.replace('-', '_')}"
    if importlib.util.find_spec(package) is None:
        return ""
    return content_hash([source_hash(p) for p in (package, "etude.models", "etude.training", "etude.data")])
