"""Small programs that are recorded, with and without a mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyvae.files.arrays import write_arrays
from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace


class Classifier(nn.Module):
    """A small convolutional classifier that uses functions beside modules."""

    def __init__(self, **other):
        super().__init__()
        about = {"eps": 1e-5, "momentum": 0.1, "relu": True, "p": 0.2, "skip": True} | other
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=about["eps"], momentum=about["momentum"])
        self.act = nn.ReLU() if about["relu"] else None
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(about["p"])
        self.hidden = nn.Linear(64, 64)
        self.out = nn.Linear(64, 5)
        self.skip = about["skip"]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        x = self.act(x) if self.act is not None else x
        y = self.second(x)
        x = F.relu(y + x) if self.skip else F.relu(y)
        x = self.drop(self.pool(x)).reshape(len(x), -1)
        return self.out(F.relu(self.hidden(x)))


def sgd(parameters, **other):
    return torch.optim.SGD(parameters, **{"lr": 0.1, "momentum": 0.9} | other)


def adam(parameters, **other):
    return torch.optim.Adam(parameters, **{"lr": 1e-3} | other)


@dataclass
class Program:
    """What is trained, and recorded.

    Attributes:
        network: Makes the network.
        optimiser: Makes its optimiser.
        dtype: The type of number.
        steps: How many.
        every: Of how many steps one is recorded.
        start: Called with the network before the first step.
        batch: Called with each step's number and batch; returns what is trained on.
        loss: Of what the network returned and the targets.
        clip: The largest norm of the gradients.
        zero_grad: Whether gradients are set to zero before each backward.
        seed: Of the draws.
        reverse: Whether kernels are stored in another order in memory, so that sums are added up in
            another order.
        about: Fields of the trace.
    """

    network: Callable[[], nn.Module] = Classifier
    optimiser: Callable = sgd
    dtype: torch.dtype = torch.float32
    steps: int = 2
    every: int = 1
    start: Callable[[nn.Module], object] = lambda network: None
    batch: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda step, x, y: (x, y)
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    clip: float | None = None
    zero_grad: bool = True
    seed: int = 5
    reverse: bool = False
    about: dict = field(default_factory=dict)

    def record(self, folder) -> ProgramTrace:
        torch.manual_seed(1)
        network = self.network().to(self.dtype)
        self.start(network)
        if self.reverse:
            network.to(memory_format=torch.channels_last)
        optimiser = self.optimiser(network.parameters())
        batches = [self.batch(step, *self.data(step)) for step in range(1, self.steps + 1)]
        torch.manual_seed(self.seed)
        with record(network, optimiser, folder, steps=None, every=self.every, overwrite=True):
            for x, y in batches:
                self._step(network, optimiser, x, y)
        trace = ProgramTrace.load(folder)
        for name, value in self.about.items():
            setattr(trace, name, value)
        trace.save(folder)
        return trace

    def data(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: images and classes."""
        drawn = torch.Generator().manual_seed(7 * step)
        x = torch.randn(12, 1, 8, 8, generator=drawn, dtype=torch.float64)
        return x.to(self.dtype), torch.randint(0, 5, (12,), generator=drawn)

    def _step(self, network, optimiser, x: Tensor, y: Tensor) -> None:
        if self.zero_grad:
            optimiser.zero_grad()
        self.loss(network(x), y).backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.clip)
        optimiser.step()


def rewrite(folder: Path, rename=lambda name: name, turn=lambda name, x: x, join=None) -> None:
    """Rewrites a trace as another framework would have written it.

    Arguments:
        folder: The trace.
        rename: Of stages and parameters.
        turn: Called with a parameter's name and what belongs to it; returns how it is stored.
        join: Parameters that are stored as rows of one.
    """
    trace = ProgramTrace.load(folder)
    join = join or {}
    whole = {part: name for name, parts in join.items() for part in parts}
    known = {one.name for one in trace.parameters}
    for step in trace.steps:
        arrays = {}
        for key, value in trace.arrays(step.step).items():
            kind, _, rest = key.partition("/")
            name, _, state = rest.rpartition(".") if kind == "state" else (rest, "", "")
            if name in whole and kind != "forward":
                parts = join[whole[name]]
                if name != parts[0]:
                    continue
                end = f".{state}" if state else ""
                every = [trace.arrays(step.step)[f"{kind}/{part}{end}"] for part in parts]
                arrays[f"{kind}/{whole[name]}{end}"] = np.stack(every)
                continue
            value = turn(name, value) if name in known else value
            arrays[f"{kind}/{rename(name)}" + (f".{state}" if state else "")] = value
        write_arrays(folder / "steps" / f"step-{step.step:06d}.safetensors", arrays)
    shapes = {key.removeprefix("start/"): x.shape for key, x in arrays.items()}
    kinds = {whole.get(one.name, rename(one.name)): one for one in trace.parameters}
    trace.parameters = [replace(o, name=n, shape=shapes[n]) for n, o in kinds.items()]

    def renamed(stage):
        roles = {r: whole.get(n, rename(n)) for r, n in stage.parameters.items()}
        return replace(
            stage,
            name=rename(stage.name),
            inputs=tuple(map(rename, stage.inputs)),
            outputs=tuple(map(rename, stage.outputs)),
            parameters={r if n not in join else "bias": n for r, n in roles.items()},
        )

    trace.networks = [tuple(map(renamed, network)) for network in trace.networks]
    trace.steps = [
        replace(step, optimiser=replace(step.optimiser, groups=tuple(
            replace(g, parameters=tuple(dict.fromkeys(
                whole.get(n, rename(n)) for n in g.parameters))) for g in step.optimiser.groups)))
        for step in trace.steps
    ]  # fmt: skip
    trace.save(folder)
