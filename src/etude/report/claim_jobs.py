"""Claims measured side by side: in processes of this machine, or by the workers of a Ray cluster.

A job is one claim with some of its seeds. Its worker builds the claim anew, measures what is not stored yet,
and every measurement is kept at once, so that a kill loses only what was under way. With Ray, measurements
travel back as JSON and are kept here: the folder, and so the evidence, is the one that a local run leaves.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from etude.catalogue import card
from etude.errors import EtudeError
from etude.evidence import Claim, Scale, keep, measurements, stored
from etude.render import console
from etude.report.side_by_side import Job, side_by_side

Record = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """Which claim, as the command line names it; a worker can build the claim from it.

    Args:
        name: The method.
        scale: The claim's scale.
        data: Folder with its data, absolute.
        seeds: Seeds of the claim; its own by default.
        model: Another model under test.
    """

    name: str
    scale: Scale
    data: Path | None
    seeds: tuple[int, ...] | None
    model: str | None

    def claim(self) -> Claim:
        """Build it; its data are read, nothing is measured.

        Raises:
            EtudeError: Data that is missing.
        """
        return _built(self)


@cache
def _built(request: Request) -> Claim:
    module = importlib.import_module(f"{card(request.name).package}.claim")
    built: Claim = module.claim(
        scale=request.scale, data=request.data, seeds=request.seeds, model=request.model
    )
    return built


def measure_locally(
    requests: Sequence[Request], out: Path, *, workers: int
) -> dict[str, list[Record] | EtudeError]:
    """Measure claims in processes of this machine, the longest first.

    Args:
        requests: The claims.
        out: Folder with one subfolder per claim.
        workers: Processes; with 1 everything happens in this one.

    Returns:
        Claim to the records of arms that crashed, or to what kept it from being measured.
    """
    if workers == 1:
        return {request.name: _measure_here(request, out) for request in requests}
    shares = _shares(requests, workers)
    jobs = [
        Job(_title(request, seeds), partial(_measure, request, seeds, out.resolve() / request.name))
        for request, seeds in shares
    ]
    side_by_side(jobs, workers=workers, logs=out / "logs")
    found: dict[str, list[Record] | EtudeError] = {request.name: [] for request in requests}
    for (request, _), job in zip(shares, jobs, strict=True):
        so_far = found[request.name]
        if isinstance(job.error, EtudeError):
            found[request.name] = job.error
        elif job.error is not None:
            raise job.error
        elif isinstance(so_far, list):
            so_far += job.result
    return found


def measure_on_ray(
    requests: Sequence[Request], out: Path, *, workers: int
) -> dict[str, list[Record] | EtudeError]:
    """Measure claims on the cluster that `RAY_ADDRESS` names, else by Ray on this machine.

    Args:
        requests: The claims; their data must lie under the same path on every machine.
        out: Folder with one subfolder per claim, here.
        workers: Tasks at once.

    Returns:
        Claim to the records of arms that crashed, or to what kept it from being measured.

    Raises:
        EtudeError: ray is not installed.
    """
    from etude.data.batches import ray_session

    found: dict[str, list[Record] | EtudeError] = {request.name: [] for request in requests}
    with ray_session(workers) as ray:
        task = ray.remote(_measure_remotely).options(num_cpus=1, num_returns="streaming")
        streams = {
            task.remote(request, seeds, frozenset(stored(out / request.name))): request.name
            for request, seeds in _shares(requests, workers)
        }
        while streams:
            (stream,), _ = ray.wait(list(streams), num_returns=1, fetch_local=False)
            name = streams[stream]
            try:
                address, record = ray.get(next(stream))
            except (StopIteration, ray.exceptions.RayError) as end:
                del streams[stream]
                if not isinstance(end, StopIteration):
                    found[name] = EtudeError(
                        f"a Ray worker failed: {end}"[:600], "What is measured is kept; run it again."
                    )
                continue
            so_far = found[name]
            if "refused" in record:
                found[name] = EtudeError(*record["refused"])
            elif isinstance(so_far, list):
                so_far += keep(out / name, address, record)
                console().print(f"{name}: {record['arm']}, seed {record['seed']}: {record['seconds']:.0f} s")
    return found


def _shares(requests: Sequence[Request], workers: int) -> list[tuple[Request, tuple[int, ...]]]:
    """One job a claim, the longest first; with more workers than claims, one a seed of each claim.

    A claim's seeds share features and fitted parts within a process, so they stay together where they can.
    """
    ordered = sorted(requests, key=_expected_seconds, reverse=True)
    shares: list[tuple[Request, tuple[int, ...]]] = []
    for request in ordered:
        try:
            seeds = request.claim().seeds
        except EtudeError:  # the job says it
            seeds = ()
        split = len(ordered) < workers and len(seeds) > 1
        shares += [(request, (seed,)) for seed in seeds] if split else [(request, seeds)]
    return shares


def _expected_seconds(request: Request) -> float:
    recorded = card(request.name).recorded
    return float(recorded["provenance"]["seconds"]) if recorded else 0.0


def _title(request: Request, seeds: tuple[int, ...]) -> str:
    return f"{request.name}-{seeds[0]}" if len(seeds) == 1 else request.name


def _measure_here(request: Request, out: Path) -> list[Record] | EtudeError:
    try:
        return _measure(request, request.claim().seeds, out / request.name)
    except EtudeError as error:
        return error


def _measure(request: Request, seeds: Sequence[int], out: Path) -> list[Record]:
    """Measure and keep; what crashed comes back."""
    crashed: list[Record] = []
    for address, record in measurements(request.claim(), seeds, stored(out)):
        crashed += keep(out, address, record)
    return crashed


def _measure_remotely(
    request: Request, seeds: Sequence[int], known: frozenset[str]
) -> Iterator[tuple[str, Record]]:
    """In a Ray worker; a user's mistake travels back as a value, with both its lines."""
    try:
        yield from measurements(request.claim(), seeds, known)
    except EtudeError as error:
        yield "", {"refused": [error.problem, error.hint]}
