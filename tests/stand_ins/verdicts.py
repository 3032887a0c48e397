"""Engines with a mistake, and a way to compare."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import torch
from torch import nn

from comparisons.runs.live import CompareOptions, compare
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.modules import BatchNorm, Dropout
from pyvae.model.run import Run

__all__ = [
    "R_TORCHS",
    "AMSGrad",
    "Averaged",
    "Drifting",
    "Failing",
    "InEvaluation",
    "Late",
    "Mistaken",
    "OnAKink",
    "OnASchedule",
    "compare_engines",
    "named",
]

R_TORCHS = "exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1), R torch's order of operations in Adam"


class Mistaken(PyTorchEngine):
    """PyTorch under another name, for those below to go wrong."""

    name = "port"

    def __init__(self) -> None:
        super().__init__("cpu")


class InEvaluation(Mistaken):
    """Something is done to the network, or to what it returns, in evaluation mode alone.

    Arguments:
        leave_on: The kinds of modules that stay in training mode.
        means: Changes the latent means.
        pixels: Changes decoded pixels.
    """

    def __init__(self, leave_on: tuple[type[nn.Module], ...] = (), means=None, pixels=None) -> None:
        super().__init__()
        self.leave_on, self.means, self.pixels = leave_on, means, pixels

    def start(self, *arguments) -> None:
        super().start(*arguments)
        evaluate = self.network.eval
        kept_on = [m for m in self.network.modules() if isinstance(m, self.leave_on)]

        def mistaken():
            evaluate()
            for module in kept_on:
                module.training = True
            return self.network

        self.network.eval = mistaken

    def latent_means(self, x, draws, training):
        if not training and Dropout in self.leave_on:  # as a port that never says eval()
            return super().latent_means(x, self.draws, True)
        if not training and BatchNorm in self.leave_on:
            return self._with_batch_statistics(x)
        self.draws = draws
        found = super().latent_means(x, draws, training)
        return found if training or self.means is None else self.means(found)

    @torch.no_grad()
    def _with_batch_statistics(self, x):
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        self.network.eval()
        found = self.network.posterior(x, {})[0].numpy()
        for name, buffer in self.network.named_buffers():
            buffer.copy_(kept[name])
        return found

    def decode(self, z):
        found = super().decode(z)
        return found if self.pixels is None else self.pixels(found)


class Averaged(Mistaken):
    """What is evaluated is an average of the weights over the steps (EMA, decay 0.9)."""

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}

    def step(self, *arguments, **options):
        losses = super().step(*arguments, **options)
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 0.1)
        return losses

    def _on_average(self, compute):
        kept = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        found = compute()
        self.network.load_state_dict(kept)
        return found

    def latent_means(self, x, draws, training):
        mine = super().latent_means
        return self._on_average(lambda: mine(x, draws, training))

    def decode(self, z):
        mine = super().decode
        return self._on_average(lambda: mine(z))


class AMSGrad(Mistaken):
    """Adam with AMSGrad's maximum, which no state that is handed over holds."""

    def start(self, *arguments) -> None:
        super().start(*arguments)
        rate = self.settings.learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, amsgrad=True)

    def restore(self, state) -> None:
        super().restore(state)
        for kept in self.optimizer.state.values():
            kept["max_exp_avg_sq"] = torch.zeros_like(kept["exp_avg_sq"])


class Drifting(Mistaken):
    """Parameters are off by a little after each step: within what a single step may differ by."""

    def step(self, *arguments, **options):
        losses = super().step(*arguments, **options)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter *= 1 + 5e-12
        return losses


class Late(Mistaken):
    """A learning rate that is off by 1 % from one step on."""

    name = "late"

    def __init__(self, step: int) -> None:
        super().__init__()
        self.wrong_from = step

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.steps = 0

    def step(self, *arguments, **options):
        self.steps += 1
        if self.steps == self.wrong_from:
            self.optimizer.param_groups[0]["lr"] *= 1.01
        return super().step(*arguments, **options)


class OnASchedule(Mistaken):
    """A learning rate of a tenth after a few steps, which a state that it is given makes the engine
    forget."""

    full = 2  # steps at the full rate

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.age = 0

    def restore(self, state) -> None:
        super().restore(state)
        self.age = 0

    def step(self, *arguments, **options):
        self.age += 1
        rate = self.settings.learning_rate
        self.optimizer.param_groups[0]["lr"] = rate * (1 if self.age <= self.full else 0.1)
        return super().step(*arguments, **options)


class OnAKink(Mistaken):
    """Before some steps a bias is set so that a pre-activation of the first layer, by far not zero
    otherwise, is zero up to rounding: a few units in the last place above it or below.

    Arguments:
        name: Of the engine.
        above: Whether the pre-activation is above zero, so that its gradient passes.
        steps: Counted from 1.
    """

    def __init__(self, name: str, above: bool, steps: Container[int] = (1,)) -> None:
        super().__init__()
        self.name, self.above, self.on_kink = name, above, steps

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.next_step = 1

    def restore(self, state) -> None:
        super().restore(state)
        self.next_step = int(state["step"]) + 1

    def step(self, x, *arguments, **options):
        if self.next_step in self.on_kink:
            self._balance(x)
        self.next_step += 1
        return super().step(x, *arguments, **options)

    @torch.no_grad()
    def _balance(self, x) -> None:
        layer = self.network.encoder.conv1
        layer.bias[0] = 0.0
        found = torch.nn.functional.conv2d(x[:1].reshape(1, 1, 28, 28), layer.weight)[0, 0]
        value = found.flatten()[found.abs().argmax()].numpy()
        units = 64 * np.spacing(abs(value))
        layer.bias[0] = float(-value + (units if self.above else -units))


class Failing(Mistaken):
    """A layer of the wrong size."""

    name = "failing"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.network.encoder.conv2.stride = (2, 2)


def named(name: str, adam: str = "torch") -> PyTorchEngine:
    """PyTorch without a mistake, under another name."""
    engine = PyTorchEngine("cpu", adam)
    engine.name = name
    return engine


def compare_engines(under_test, reference, recipe, settings, data, out, **options):
    """One comparison of two engines, with options of `CompareOptions`."""
    run = Run(recipe, settings, data)
    (comparison,) = compare(
        run, under_test, reference, out, CompareOptions(**options), log=lambda line: None
    )
    assert np.isfinite(comparison.reference.losses).all()
    return comparison
