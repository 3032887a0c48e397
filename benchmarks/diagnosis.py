"""What it takes to say where two programs of 25 million parameters part, and what the mistake is:
a ResNet-50 with random weights, small images, one recorded step, a mistake in the middle of one.
Prints a row for each mistake: seconds of the CPU and on the clock, and what was said.

    python -m benchmarks.diagnosis
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50

from comparisons import compare_programs
from pyvae import record

ROWS, SIDE, CLASSES = 4, 64, 1000


NORM, LAYER = "layer3.2.bn2", "layer3.2.conv2"  # in the middle


def declared(model: nn.Module) -> None:
    """Batch norm's epsilon."""
    setattr(model.get_submodule(NORM), "eps", 1e-3)  # noqa: B010


def undeclared(model: nn.Module) -> None:
    """A layer that returns something else than it declares."""
    layer = model.get_submodule(LAYER)
    forward = layer.forward
    setattr(layer, "forward", lambda x: 1.25 * forward(x))  # noqa: B010


def weights(model: nn.Module) -> None:
    """Weights whose kernels are flipped."""
    kernel = model.get_parameter(f"{LAYER}.weight")
    kernel.data = kernel.data.flip(2, 3)


def gradient(model: nn.Module) -> None:
    """A gradient that is changed on its way."""
    model.get_parameter(f"{LAYER}.weight").register_hook(lambda value: 1.01 * value)


MISTAKES: dict[str, Callable[[nn.Module], None]] = {
    "none": lambda model: None,
    "declared": declared,
    "undeclared": undeclared,
    "weights": weights,
    "gradient": gradient,
}


def train(folder: Path, change: Callable[[nn.Module], None]) -> int:
    """Records one step; the number of parameters."""
    torch.manual_seed(1)
    model = resnet50()
    change(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(ROWS, 3, SIDE, SIDE, generator=drawn)
    y = torch.randint(0, CLASSES, (ROWS,), generator=drawn)
    with record(model, optimizer, folder, steps=1, overwrite=True):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return sum(one.numel() for one in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("mistakes", nargs="*", default=list(MISTAKES))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.threads} threads, {ROWS} images of {SIDE} x {SIDE}")
    with tempfile.TemporaryDirectory() as folder:
        paper, port = Path(folder) / "paper", Path(folder) / "port"
        print(f"{train(paper, MISTAKES['none']):,} parameters")
        for name in given.mistakes:
            train(port, MISTAKES[name])
            cpu, wall = time.process_time(), time.perf_counter()
            found = compare_programs(paper, port)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            said = "; ".join([found.verdict, *(found.first.words if found.first else ())])
            said = said.replace(str(port), "port").replace(str(paper), "paper")
            print(f"{name:12} {cpu:7.1f} s CPU {wall:7.1f} s on the clock  {said}", flush=True)


if __name__ == "__main__":
    main()
