"""How the time of a step grows with what is asked for: batch size, latent dimensions, images,
threads. Recipe conv, everything else as published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.given.case import Case
from benchmarks.given.images import Images
from benchmarks.sides.arithmetic import Series, ratio, rounded
from benchmarks.sides.child import start_python
from benchmarks.sides.rounds import Pace, in_rounds, running

__all__ = ["Sizes", "measure_growth", "thread_counts"]

SECONDS = 12.0  # after which no further round of one size begins
LARGE = 1000  # images in a batch from which on a turn has fewer steps
BOTH = ("pyvae", "plain")


@dataclass(frozen=True)
class Sizes:
    """What is tried.

    Attributes:
        batch_sizes, latent_dims, images, threads: The numbers of each.
        beside_plain: Whether the plain loop is measured, too, and memory: each batch size then has
            processes of its own.
    """

    batch_sizes: Sequence[int]
    latent_dims: Sequence[int] = ()
    images: Sequence[int] = ()
    threads: Sequence[int] = ()
    beside_plain: bool = True


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... and the most."""
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def measure_growth(
    images: Images,
    threads: int,
    sizes: Sizes,
    rounds: int,
    steps: int,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, list[dict[str, Any]]]:
    """Measures along each of the four, and leaves out what there are too few images for.

    Arguments:
        images: To train on.
        threads: Of every side, where it is not they that are tried.
        sizes: What is tried.
        rounds: How often each side has its turn.
        steps: What counts of a turn; of large batches a third of it.
        say: Told what is done.

    Raises:
        UserError: If a side cannot be started, or ends.
    """
    run = _Runs(images.folder, threads, rounds, steps)
    batch = Case().chosen()[1].batch_size
    batch_sizes = {size: Case(batch_size=size) for size in sizes.batch_sizes if size <= images.size}
    latent_dims = {size: Case(latent_dim=size) for size in sizes.latent_dims}
    counts = {size: Case(images=size) for size in sizes.images if batch <= size <= images.size}
    found: dict[str, list[dict[str, Any]]] = {}
    if sizes.beside_plain:
        found["batch_size"] = []
        for size, case in batch_sizes.items():
            found["batch_size"].append({"batch_size": size} | run.alone(case))
            say(f"batch size {size:,}")
    else:
        found["batch_size"] = [
            {"batch_size": size} | _one(series, size)
            for size, series in run.together(batch_sizes).items()
        ]
    found["latent_dim"] = [
        {"latent_dim": size} | _one(series, batch)
        for size, series in run.together(latent_dims).items()
    ]
    found["images"] = [
        {"images": size} | _one(series, batch) | {"epoch_s": _epoch_s(size, batch, series)}
        for size, series in run.together(counts).items()
    ]
    if latent_dims or counts:
        say("latent dimensions, images")
    found["threads"] = []
    for count in sizes.threads:
        found["threads"].append({"threads": count} | run.alone(Case(), count))
        say(f"threads {count}")
    return found


@dataclass(frozen=True)
class _Runs:
    folder: Path
    threads: int
    rounds: int
    steps: int

    def alone(self, case: Case, threads: int | None = None) -> dict[str, Any]:
        """One case, in processes of its own: memory taken for one is not there for the next."""
        batch = case.chosen()[1].batch_size
        steps = self.steps if batch < LARGE else max(1, self.steps // 3)
        children = [
            start_python(side, {"conv": case}, self.folder, threads or self.threads)
            for side in BOTH
        ]
        paces = [Pace("conv", steps, skip=0 if batch >= LARGE else 1, warm=1)]
        with running(children) as ready:
            found = in_rounds(ready, dict.fromkeys(BOTH, paces), self.rounds, seconds=SECONDS)
        mine, plain = (found[side, "conv"] for side in BOTH)
        return _one(mine, batch) | {
            "peak_mb": rounded(mine.peak_mb),
            "plain_ms": rounded(plain.ms),
            "plain_peak_mb": rounded(plain.peak_mb),
            "ratio_plain": rounded(ratio(mine, plain)),
        }

    def together(self, cases: dict[int, Case]) -> dict[int, Series]:
        """Several cases of pyvae, in turn, in one process: their memory cannot be told apart."""
        if not cases:
            return {}
        named = {str(size): case for size, case in cases.items()}
        children = [start_python("pyvae", named, self.folder, self.threads)]
        paces = {"pyvae": [Pace(name, self.steps) for name in named]}
        with running(children) as ready:
            found = in_rounds(ready, paces, self.rounds, seconds=SECONDS)
        return {size: found["pyvae", str(size)] for size in cases}


def _one(series: Series, batch: int) -> dict[str, Any]:
    return {
        "pyvae_ms": rounded(series.ms),
        "images_per_second": rounded(batch / series.ms * 1000),
    }


def _epoch_s(images: int, batch: int, series: Series) -> float | None:
    """Seconds of an epoch, from its whole batches and the median step."""
    return rounded(images // batch * series.ms / 1000)
