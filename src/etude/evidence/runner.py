"""Run a claim: every arm on every seed, each measurement stored by content address, then the verdicts."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from etude.errors import EtudeError
from etude.evidence.blocks import evidence_sections
from etude.evidence.claim import Arm, Claim, Measurement
from etude.evidence.evidence import ArmResult, Evidence, finite
from etude.evidence.verdict import settle
from etude.render import TableBlock, console, save_page
from etude.runs import content_hash, read_json, source_hash, write_json
from etude.runs.run import host_facts, versions

Record: TypeAlias = dict[str, Any]


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
    crashed = []
    for address, record in measurements(claim, claim.seeds, stored(out)):
        crashed += keep(out, address, record)
    return settle_claim(claim, out, crashed)


def measurements(
    claim: Claim, seeds: Sequence[int], known: Container[str] = ()
) -> Iterator[tuple[str, Record]]:
    """Run arms on some of the claim's seeds and give each measurement as it is done.

    What is not seeded belongs to the claim's first seed.

    Args:
        claim: The claim.
        seeds: Some of its seeds.
        known: Addresses that need not be measured.

    Yields:
        Address, and a record with arm, seed, seconds and either the measurement (as JSON) or the error.
    """
    for arm, seed, address in _runs(claim):
        if seed not in seeds or address in known:
            continue
        console().print(f"{claim.name}: {arm.name}" + (f", seed {seed}" if arm.seeded else ""))
        started = time.monotonic()
        record: Record = {"arm": arm.name, "seed": seed}
        try:
            record["measurement"] = finite(asdict(arm.run(seed)))
        except EtudeError:
            raise
        except Exception as error:
            record["error"] = f"{type(error).__name__}: {error}"[:500]
            console().print(f"{claim.name}: {arm.name}, seed {seed} crashed: {record['error']}")
        yield address, {**record, "seconds": round(time.monotonic() - started, 3)}


def stored(out: Path) -> set[str]:
    """Addresses of the measurements in a claim's folder."""
    return {path.stem for path in (out / "arms").glob("*.json")}


def keep(out: Path, address: str, record: Record) -> list[Record]:
    """Store a measurement; a crash is not stored but handed back, for the evidence."""
    if "error" in record:
        return [record]
    write_json(out / "arms" / f"{address}.json", record)
    return []


def settle_claim(claim: Claim, out: Path, crashed: Sequence[Record] = ()) -> Evidence:
    """The evidence of stored measurements, with verdicts; writes `evidence.json` and `report.html`.

    Args:
        claim: The claim.
        out: The folder that holds `arms`.
        crashed: Records of arms that crashed.
    """
    addresses: dict[str, dict[int, str]] = {arm.name: {} for arm in claim.arms}
    for arm, seed, address in _runs(claim):
        addresses[arm.name][seed] = address
    arms = [_gathered(arm, addresses[arm.name], out, crashed) for arm in claim.arms]
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


def _gathered(arm: Arm, addresses: Mapping[int, str], out: Path, crashed: Sequence[Record]) -> ArmResult:
    paths = {seed: out / "arms" / f"{address}.json" for seed, address in addresses.items()}
    found: dict[int, Record] = {seed: read_json(path) for seed, path in paths.items() if path.exists()}
    return ArmResult(
        arm.name,
        arm.seeded,
        {seed: Measurement(**record["measurement"]) for seed, record in found.items()},
        {record["seed"]: record["error"] for record in crashed if record["arm"] == arm.name},
        {seed: record["seconds"] for seed, record in found.items()},
    )


def _runs(claim: Claim) -> Iterator[tuple[Arm, int, str]]:
    """Every arm with every seed it runs on, and the address of what is then measured."""
    source = _sources(claim.name)
    for arm in claim.arms:
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
            yield arm, seed, address[:32]


@cache
def _sources(name: str) -> str:
    """A hash of the code a measurement depends on: the method's package and the floors that compute."""
    package = f"etude.methods.{name.replace('-', '_')}"
    if importlib.util.find_spec(package) is None:
        return ""
    return content_hash([source_hash(p) for p in (package, "etude.models", "etude.training", "etude.data")])
