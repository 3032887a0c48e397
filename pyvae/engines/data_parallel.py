"""Data-parallel training: each process of `torchrun` computes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pyvae.errors import UserError

__all__ = ["ALONE", "Shares", "torchrun_shares"]


class Shares:
    """Which images of a batch this process computes, and how the parts are summed.

    All processes draw the same, since draws follow from the seed and the step, and each takes its
    rows of it. Losses and gradients that are sums over images are summed over processes
    (PyTorch's `DistributedDataParallel` averages, unless it is told otherwise); of those that are
    means each process has its part, weighted by its number of images.

    Arguments:
        rank: Of this process, from 0.
        number: Of processes.
    """

    def __init__(self, rank: int = 0, number: int = 1) -> None:
        self.rank = rank
        self.number = number

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports and writes."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.number > 1

    def check(self, images: int) -> None:
        """Raises UserError if a batch of so many images has fewer than one for each process."""
        if images < self.number:
            raise UserError(
                f"a batch of {images} is too small for {self.number} processes",
                f"choose torchrun --nproc-per-node {images} or less, or a larger --batch-size",
            )

    def rows(self, images: int) -> slice:
        """The rows of this process; shares differ by one image at most."""
        first, last = (images * rank // self.number for rank in (self.rank, self.rank + 1))
        return slice(first, last)

    def of(self, draws: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """This process's rows of all draws."""
        if not self.several:
            return draws
        return {name: draw[self.rows(len(draw))] for name, draw in draws.items()}

    def weight(self, images: int, mean: bool) -> float:
        """What a loss over this process's images is multiplied by before all are summed."""
        rows = self.rows(images)
        return (rows.stop - rows.start) / images if mean else 1.0

    def parallel(self, network: nn.Module) -> nn.Module:
        """A network whose gradients are summed over processes while they are computed."""
        if not self.several:
            return network
        from torch.nn.parallel import DistributedDataParallel

        wrapped = DistributedDataParallel(network)
        wrapped.register_comm_hook(None, _sum)
        return wrapped

    def total(self, losses: Tensor) -> Tensor:
        """Terms of the loss summed over processes, in place."""
        if self.several:
            dist.all_reduce(losses)
        return losses


ALONE = Shares()


def _sum(state, bucket):  # DistributedDataParallel takes no annotations that are text
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


@contextmanager
def torchrun_shares(device: str) -> Iterator[Shares]:
    """Joins the processes that `torchrun` started; `ALONE` without it.

    Arguments:
        device: As for `pyvae.engines.devices.choose_device`; decides between gloo and NCCL.

    Raises:
        UserError: If the variables that torchrun sets cannot be used.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ and "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    try:
        rank, number = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"WORLD_SIZE or TORCHELASTIC_RUN_ID is set, but RANK and WORLD_SIZE are not those of a "
            f"process that torchrun started ({error})",
            "start pyvae with torchrun, or unset WORLD_SIZE and TORCHELASTIC_RUN_ID",
        ) from error
    if number == 1:
        yield ALONE
        return
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Shares(rank, number)
    finally:
        dist.destroy_process_group()
