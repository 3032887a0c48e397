"""What a run leaves besides its steps: latent means in both modes, and decoded samples.

They are computed once, after the last step: no stage of a step shows a mistake in them, such as
dropout left on in evaluation mode, the batch's statistics in place of the running ones, an average
of the weights, 1 - q in place of q. Each side's are held against what its *own* final parameters
give, computed in float64 by the recipe's network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comparisons.agreement.arrays import compare_arrays
from comparisons.agreement.stage import StageAgreement
from comparisons.agreement.tolerances import is_normalised, run_rules
from comparisons.diagnosis.closeness import distance, same
from comparisons.diagnosis.first_divergence import AFTER, Divergence, is_r
from comparisons.diagnosis.relations import relation
from comparisons.expected.layers import float64
from pyvae.errors import UserError
from pyvae.model.modules import BatchNorm, Dropout
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import VAE
from pyvae.model.run import Run
from pyvae.model.stages import Quantity
from pyvae.trace.trace import Trace
from pyvae.training.feeds import final_inputs

__all__ = ["AFTER_TRAINING", "part_after_training"]

AFTER_TRAINING = {"latent_mean", "evaluation_mean", "samples"}  # quantities of a comparison

# What is computed from the same parameters in float64, relative to the largest magnitude: float32
# runs measured at most 2e-6, float64 runs 3e-14.
SAME = {"float64": 1e-10, "float32": 1e-4}
REST = 1e-3  # of a mistake's size: what a suspected mistake may leave unexplained
KINDS = ("training", "evaluation", "samples")
TITLES = {
    "training": "latent means in training mode",
    "evaluation": "latent means in evaluation mode",
    "samples": "decoded samples, in evaluation mode",
}
LOOK_AT = {
    "training": "they are not what its own parameters give for the last batch, with the masks of "
    "the step after the last one: look at the batch, the masks, the mode, and at whose weights are "
    "used (an average?)",
    "evaluation": "they are not what its own parameters give in evaluation mode: look at how "
    "evaluation mode is entered, at a factor, and at whose weights are evaluated (an average?)",
    "samples": "they are not what its own parameters give for these draws in evaluation mode: look "
    "at the last layer, the mode, and at whose weights are evaluated (an average?)",
}
BATCH_STATISTICS = "batch norm with the batch's statistics, not the running ones"
Suspects = Iterator[tuple[str, Tensor]]


def part_after_training(
    a: Trace, b: Trace, run: Run, exact: bool = False, judge: bool = False
) -> Divergence | None:
    """The first of latent means and samples that a side's own parameters do not give.

    Arguments:
        a, b: The traces, under test and reference.
        run: What both trained, with injected draws.
        exact: Every bit has to be equal.
        judge: Ask also of what agrees by the rules of the whole run, which are wide in float32 and
            with batch norm, whether one side alone is not what its own parameters give.

    Returns:
        Where they part and what it looks like; None if nothing differs, what differs follows from
        the parameters, or it cannot be computed (draws that an engine made itself, parameters of
        another network).
    """
    if a.settings.rng != "injected" or not (a.complete and b.complete):
        return None
    names = (a.engine, b.engine)
    try:
        expected = [_Expected(trace, run) for trace in (a, b)]
    except (RuntimeError, KeyError, TypeError, UserError):  # another network's, or other data
        return None
    rtol = SAME[a.settings.dtype]
    for kind in KINDS:
        x, y = (_found(trace, kind) for trace in (a, b))
        if x is None or y is None or not (judge or _differ(run, kind, x, y, exact)):
            continue
        wrong = [
            (one, found, name)
            for one, found, name in zip(expected, (x, y), names, strict=True)
            if not one.is_right(kind, found, rtol)
        ]
        if wrong and not (judge and len(wrong) == 2):
            agreement = _agreement(a, kind, x, y, exact)
            side = wrong[0][2] if len(wrong) == 1 else ""
            words = tuple(words for one in wrong for words in _words(*one, kind, rtol))
            r = any("R" in trace.environment for trace in (a, b)) or any(map(is_r, names))
            return Divergence(agreement, names, (TITLES[kind],), side, words, (), (0, 0), r)
    return None


def _found(trace: Trace, kind: str) -> NDArray | None:
    return trace.samples if kind == "samples" else trace.latent_means.get(kind)


def _differ(run: Run, kind: str, x: NDArray, y: NDArray, exact: bool) -> bool:
    """Whether two sides' values disagree by the rules of the whole run."""
    dtype, normalised = run.settings.dtype, is_normalised(run.recipe.stages)
    rules = run_rules(dtype, exact, normalised)
    name = "samples" if kind == "samples" else "latent_mean"
    if kind == "evaluation" and normalised:
        name = "evaluation_mean"
    return not compare_arrays({kind: x}, {kind: y}, rules[name], dtype).agrees


class _Expected:
    """What a trace's own parameters give, in float64, and what usual mistakes would."""

    def __init__(self, trace: Trace, run: Run) -> None:
        settings = replace(trace.settings, steps=trace.steps)
        with torch.random.fork_rng(devices=[]):
            network = run.recipe.network(settings.latent_dim, **settings.hyper).double()
        network.load_state_dict(
            {name: float64(np.array(value)) for name, value in trace.parameters.items()}
        )
        self.network: VAE = network
        x, drawn, z = final_inputs(replace(run, settings=settings))
        self.x, self.z = x.double(), float64(z)
        self.drawn = {
            name: torch.as_tensor(value) if value.dtype == np.bool_ else float64(value)
            for name, value in drawn.items()
        }
        self.bernoulli = not OBJECTIVES[settings.objective].unit.endswith("point")
        self.values = {
            "training": self.means(_training, self.drawn),
            "evaluation": self.means(_evaluation),
            "samples": self.samples(_evaluation),
        }

    def is_right(self, kind: str, found: NDArray, rtol: float) -> bool:
        """Whether a trace's values are those that its own parameters give."""
        right = self.values[kind]
        return found.shape == tuple(right.shape) and same(float64(found), right, rtol)

    @torch.no_grad()
    def means(self, mode: Callable[[VAE], None], drawn: dict[str, Tensor] | None = None) -> Tensor:
        with _untouched(self.network):
            mode(self.network)
            return self.network.posterior(self.x, drawn or {})[0]

    @torch.no_grad()
    def samples(self, mode: Callable[[VAE], None]) -> Tensor:
        with _untouched(self.network):
            mode(self.network)
            return self.network.decode(self.z)

    def suspects(self, kind: str) -> Suspects:
        """Usual mistakes, in words, and what they would return."""
        if kind == "training":
            yield "dropout off", self.means(_batch_statistics)
            yield "evaluation mode: dropout off, running statistics", self.values["evaluation"]
            return
        if kind == "evaluation":
            dropout_on = self.means(_dropout, self.drawn)
            yield "dropout left on, with the masks of the means in training mode", dropout_on
            yield BATCH_STATISTICS, self.means(_batch_statistics)
            yield "training mode: dropout on, the batch's statistics", self.values["training"]
            return
        yield BATCH_STATISTICS, self.samples(_batch_statistics)
        if self.bernoulli:
            q = self.values["samples"]
            yield "1 - q where it is q: dark and light exchanged", 1 - q
            yield "without the last sigmoid: logits in place of probabilities", torch.logit(q)
            yield "the sigmoid taken twice", torch.sigmoid(q)


def _words(expected: _Expected, value: NDArray, name: str, kind: str, rtol: float) -> Iterator[str]:
    right, found = expected.values[kind], float64(value)
    if tuple(found.shape) != tuple(right.shape):
        yield f"{name} has shape {tuple(found.shape)} where it is {tuple(right.shape)}"
        return
    size = distance(found, right)
    fitting: list[tuple[str, Tensor]] = []
    for words, returned in expected.suspects(kind):
        told_apart = all(not same(returned, other, rtol) for _, other in fitting)
        if distance(returned, found) <= REST * size and told_apart:
            fitting.append((words, returned))
    if fitting:
        yield f"{name}: {', or '.join(words for words, _ in fitting)}"
        return
    related = relation(("what its parameters give", name), right, found, {}, rtol)
    yield from related
    yield f"{name}: {LOOK_AT[kind]}"


def _training(network: VAE) -> None:
    network.train()


def _evaluation(network: VAE) -> None:
    network.eval()


def _batch_statistics(network: VAE) -> None:
    """Evaluation mode but for batch norm."""
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.train()


def _dropout(network: VAE) -> None:
    """Evaluation mode but for dropout, whose masks are given."""
    network.eval()
    for module in network.modules():
        if isinstance(module, Dropout):
            module.train()


@contextmanager
def _untouched(network: VAE) -> Iterator[None]:
    """Restores the running statistics afterwards."""
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in network.named_buffers():
            buffer.copy_(kept[name])


def _agreement(a: Trace, kind: str, x: NDArray, y: NDArray, exact: bool) -> StageAgreement:
    key = f"{'sample' if kind == 'samples' else 'latent mean'}/{kind}"
    quantity = Quantity(key, AFTER, (TITLES[kind],))
    rtol = 0.0 if exact else SAME[a.settings.dtype]
    if x.shape != y.shape:
        nan = float("nan")
        problem = f"shape {tuple(x.shape)} against {tuple(y.shape)}"
        return StageAgreement(a.steps, quantity, x.shape, nan, nan, nan, rtol, problem=problem)
    u, v = float64(x), float64(y)
    size = (u - v).abs().nan_to_num(nan=torch.inf)
    index = tuple(int(i) for i in np.unravel_index(int(size.argmax()), tuple(size.shape)))
    worst = float((u - v).abs()[index])
    largest = float(torch.maximum(u.abs().max(), v.abs().max()))
    values = (float(u[index]), float(v[index]))
    problem = "" if np.isfinite(values).all() else f"{values[0]} against {values[1]}"
    return StageAgreement(
        a.steps, quantity, x.shape, largest, worst, worst, rtol, index, values, problem=problem
    )
