"""What recording costs: the time of a step that is recorded, of one that is not while a recording
goes on, and of one without; disk and memory. Prints a row for each network and language.

    python -m benchmarks.recording                 # PyTorch
    Rscript benchmarks/recording.R FOLDER          # R's torch; needs the R package
"""

from __future__ import annotations

import argparse
import itertools
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from pyvae import record

WIDTHS = {"1.5 million": 745, "25 million": 3410}  # of three hidden layers
RECORDED, BATCH = 5, 64


def make(width: int) -> tuple[nn.Module, Callable[[], None], torch.optim.Optimizer]:
    """A network of three hidden layers, a step of its training, and its optimiser."""
    torch.manual_seed(1)
    sizes = [512, width, width, width, 10]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        x, y = torch.randn(BATCH, 512), torch.randint(0, 10, (BATCH,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, step, optimizer


def timed(step: Callable[[], None], steps: int) -> float:
    """The median time of a step, in milliseconds."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(width: int, steps: int) -> str:
    """One row. Plain steps come first, and after the recording again: the lesser counts."""
    model, step, optimizer = make(width)
    timed(step, 2)
    plain = timed(step, steps)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folder = Path(tempfile.mkdtemp())
    try:
        recording = record(model, optimizer, folder / "trace", steps=RECORDED)
        recorded = timed(step, RECORDED)
        disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        plain = min(plain, timed(step, steps))
        recording.stop()
        recording = record(model, optimizer, folder / "idle", steps=2, every=10 * steps)
        step()
        idle = timed(step, steps)
        recording.stop()
    finally:
        shutil.rmtree(folder)
    count = sum(p.numel() for p in model.parameters())
    return (
        f"{count:12,} {plain:9.1f} {idle:9.1f} {recorded:9.1f} "
        f"{disk / RECORDED / 1e6:9.1f} {more / 1e3:9.0f}"
    )


def bits(width: int, folder: Path | None) -> bytes:
    """The parameters after ten steps, of which three were recorded if a folder is given."""
    model, step, optimizer = make(width)
    if folder is not None:
        record(model, optimizer, folder, steps=3)
    for _ in range(10):
        step()
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description="What recording costs.")
    parser.add_argument("--steps", type=int, default=10)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        equal = bits(128, None) == bits(128, Path(folder) / "trace")
    print("bits with and without:", "equal" if equal else "DIFFERENT")
    print("  parameters  plain ms   idle ms  recorded   MB/step   more MB")
    for width in WIDTHS.values():
        print(measure(width, steps), flush=True)


if __name__ == "__main__":
    main()
