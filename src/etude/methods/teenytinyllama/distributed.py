"""One training over several processes: torchrun's environment, gradients averaged by DistributedDataParallel.

    torchrun --nproc-per-node 4 -m etude.cli teenytinyllama pretrain corpus --preset 160m --out runs/160m

Each process takes its share of a step's sequences, so the result is that of one process at the same tokens a
step, up to the order in which sums are taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from etude.errors import EtudeError


@dataclass(frozen=True)
class Team:
    """The processes of a training, seen from one of them.

    Attributes:
        rank: This process's number.
        world: How many there are.
        device: Where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, with its gradients averaged over the processes."""
        if self.world == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, gradient_as_bucket_view=True)

    def mean(self, value: Tensor) -> Tensor:
        """A scalar's mean over the processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world == 1:
            return flag
        said = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said.item())

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_team(device: str | None = None) -> Iterator[Team]:
    """Join the processes that torchrun started; alone without it.

    Args:
        device: `cpu`, `cuda`, `cuda:1` ...; the GPU of this process if there is one.

    Raises:
        EtudeError: The device is not there.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise EtudeError("there is no GPU that torch can use", "Leave --device out, or give cpu.")
        if place.index is None:
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if world == 1 or dist.is_initialized():
        yield Team(rank if world > 1 else 0, world, place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Team(rank, world, place)
    finally:
        dist.destroy_process_group()
