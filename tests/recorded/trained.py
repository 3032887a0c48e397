"""A small program that is recorded, with what may be done wrong around its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyvae.recording.record import record
from pyvae.trace.program import ProgramTrace


class Net(nn.Module):
    """An encoder and a decoder with a norm between; two weights have the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 6))
        self.norm = nn.BatchNorm1d(6)
        self.decoder = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 9))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.norm(self.encoder(x)))


def adam(network: nn.Module, **about) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), **{"lr": 1e-3} | about)


def nothing(network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    pass


@dataclass
class Training:
    """What is trained, and how.

    Attributes:
        network: Makes the network.
        optimiser: Makes its optimiser.
        start: Called before the first step.
        before: Called with the number of each step before its backward pass.
        between: Called between backward and the update.
        after: Called after the update.
        steps: How many.
        resumed: From which step on it is recorded.
        dtype: The type of number.
        batch: Of a step's images.
        parts: Backward passes for each update.
    """

    network: Callable[[], nn.Module] = Net
    optimiser: Callable = adam
    start: Callable = nothing
    before: Callable = nothing
    between: Callable = nothing
    after: Callable = nothing
    steps: int = 3
    resumed: int = 1
    dtype: torch.dtype = torch.float32
    batch: Callable[[Tensor, int], Tensor] = lambda x, step: x
    parts: int = 1

    def record(self, folder: Path) -> None:
        torch.manual_seed(1)
        network = self.network().to(self.dtype)
        optimiser = self.optimiser(network)
        self.start(network, optimiser, 0)
        for step in range(1, self.resumed):
            self._step(network, optimiser, step)
        with record(network, optimiser, folder, steps=None, overwrite=True):
            for step in range(self.resumed, self.steps + 1):
                self._step(network, optimiser, step)

    def _step(self, network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
        optimiser.zero_grad()
        self.before(network, optimiser, step)
        drawn = torch.Generator().manual_seed(7 * step)
        for _ in range(self.parts):
            x = torch.randn(8, 9, generator=drawn, dtype=torch.float64).to(self.dtype)
            x = self.batch(x, step)
            F.mse_loss(network(x), x).backward()
        self.between(network, optimiser, step)
        optimiser.step()
        self.after(network, optimiser, step)


Rule = Callable[[Tensor, Tensor, dict, dict, int], None]


class ByHand(torch.optim.Optimizer):
    """An optimiser of a program's own.

    Arguments:
        parameters: Of the network.
        rule: Called with each parameter, its gradient, its state, the settings and the number of
            the step; changes the parameter and the state in place.
        state: Names of the state, which begins at zero.
        settings: What it says of itself.
    """

    def __init__(self, parameters, rule: Rule, state: tuple[str, ...] = (), **settings) -> None:
        super().__init__(parameters, settings)
        self.rule, self.names = rule, state

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in (one for one in group["params"] if one.grad is not None):
                state = self.state[p]
                for name in self.names:
                    state.setdefault(name, torch.zeros_like(p))
                count = int(state.get("step", 0)) + 1
                state["step"] = torch.tensor(float(count))
                self.rule(p, p.grad, state, group, count)


def say(folder: Path | str, kind: str, source: Path | str) -> None:
    """Makes a trace declare the optimiser that another one declares, as a program in another
    language does that computes something else."""
    trace, other = ProgramTrace.load(folder), ProgramTrace.load(source)
    said = {step.step: step.optimiser for step in other.steps}
    trace.steps = [
        replace(step, optimiser=replace(said[step.step], kind=kind)) for step in trace.steps
    ]
    trace.save(Path(folder))


def kinds(trace: ProgramTrace) -> Iterator[str]:
    for step in trace.steps:
        yield step.optimiser.kind if step.optimiser is not None else ""
