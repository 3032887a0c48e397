"""What one side should have returned for its own inputs, and how far off it is.

Each quantity is computed again in float64 from that side's own recorded values
(`comparisons.ports.expected`). What is off by more than the rule is a mistake of that side, or
something that its declaration does not say. Where large numbers cancel, the difference is held
against what relative errors of the size of the rule in the summands would make of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.optimisers import settings_of, standing_in, state_name
from comparisons.ports.expected.recompute import Recomputed, expected_buffers, recompute
from comparisons.ports.expected.state_names import Renamed, with_known_states
from comparisons.ports.expected.update import Update, expected_update, state_before
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.updates import update_noise
from comparisons.ports.side import Overlaid, RecordedStep
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStage

__all__ = ["Own", "Residual", "distance", "unseen_words"]

AVERAGES = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "grad_avg", "sum",
}  # fmt: skip
ROUNDINGS = 64  # that may go into a number of these, at most
SMALLEST = 1e-36  # below which float32 has less than its bits
DRAWS = 3  # of rounding errors; a single one may be small by chance


@dataclass(frozen=True)
class Residual:
    """How far a recorded quantity is from what it should be.

    Attributes:
        expected: What it should be, float64.
        size: The largest difference.
        allowed: What rounding may make of it.
    """

    expected: NDArray
    size: float
    allowed: float

    @property
    def is_right(self) -> bool:
        return self.size <= self.allowed


class Own:
    """What one side of a step should have returned.

    Arguments:
        step: The step.
        rtol: What may be off, relative to the largest magnitude.
        precision: The type of number that both sides computed with, or the coarser of two.
        before: The step before, if it is known.
        stand_in: The other side's optimiser, which is taken where nothing is known of the step's
            own but its name: a class of the program's own.

    Attributes:
        alone: Names of stages that the other side does not have.
    """

    alone: Set[str] = frozenset()

    def __init__(
        self,
        step: RecordedStep,
        rtol: float,
        precision: str,
        before: RecordedStep | None = None,
        stand_in: Optimiser | None = None,
    ) -> None:
        self.step, self.rtol, self.precision, self.before = step, rtol, precision, before
        self.stand_in = stand_in
        taken_for = self.optimiser
        if taken_for is not None:
            self.step = with_known_states(step, taken_for.kind)
            self.before = None if before is None else with_known_states(before, taken_for.kind)
        self.known: dict[str, Recomputed | None] = {}
        self.newest: tuple[str, Update | None] = ("", None)
        self.latest: tuple[str, Residual | None] = ("", None)
        self.random = np.random.default_rng(1)

    @cached_property
    def arrays(self) -> Mapping[str, NDArray]:
        """The step's values, shared parameters under each of their names, with the gradients of the
        loss itself and of what layers return, where a program by hand leaves them out."""
        recorded, further = self.step.arrays, {}
        for name, first in self.step.side.shared.items():
            if f"start/{first}" in recorded and f"start/{name}" not in recorded:
                further[f"start/{name}"] = recorded[f"start/{first}"]
        loss = self.loss
        if loss and f"gradient/{loss}" not in recorded:
            further[f"gradient/{loss}"] = np.ones_like(recorded[f"forward/{loss}"])
        arrays = Overlaid(recorded, further)
        for stage in reversed(self.step.network):
            weights = stage.parameters.values()
            if self._reaches(stage, arrays) or not any(f"gradient/{w}" in arrays for w in weights):
                continue
            for output in stage.outputs:
                gradient = self._handed_back(output, arrays)
                if gradient is not None:
                    arrays = Overlaid(arrays, {f"gradient/{output}": gradient})
        return arrays

    @staticmethod
    def _reaches(stage: ProgramStage, arrays: Mapping[str, NDArray]) -> bool:
        return any(f"gradient/{output}" in arrays for output in stage.outputs)

    def _handed_back(self, value: str, arrays: Mapping[str, NDArray]) -> NDArray | None:
        """The gradient with respect to a value, of those of the stages that take it; None if
        backward reached none, or one of them cannot be computed again."""
        total = None
        for taker in self.step.takers.get(value, ()):
            if not self._reaches(taker, arrays):
                continue
            found = recompute(taker, arrays, self.step.side.trace.index_base)
            if found is None or value not in found.gradients:
                return None
            one = found.gradients[value].numpy()
            total = one if total is None else total + one
        return total

    @cached_property
    def loss(self) -> str:
        """The value that `backward` was called on; empty if it cannot be told."""
        total = self.step.arrays.get("loss/total")
        if total is None:
            return ""
        for stage in reversed(self.step.network):
            for name in stage.outputs:
                value = self.step.arrays.get(f"forward/{name}")
                if (
                    value is not None
                    and value.size == 1
                    and float(value.item()) == float(total.item())
                ):
                    return name
        return ""

    @cached_property
    def unseen(self) -> tuple[str, ...]:
        """What computed values that backward went through, and was not recorded: what autograd
        calls it, each once; `grad` if they are derivatives themselves."""
        found = [
            stage.layer if stage.layer == "grad" else str(stage.options["grad_fn"])
            for stage in self.step.network
            if stage.layer == "grad" or (stage.layer == "input" and stage.options.get("grad_fn"))
            if self.has_gradient(stage)
        ]
        return tuple(dict.fromkeys(found))

    def stage(self, stage: ProgramStage) -> Recomputed | None:
        """Computes a stage again; None if its layer is not known or a value is missing."""
        if stage.name not in self.known:
            self.known[stage.name] = self.computed(stage, self.arrays)
        return self.known[stage.name]

    def computed(
        self, stage: ProgramStage, arrays: Mapping[str, NDArray] | None = None
    ) -> Recomputed | None:
        """Computes any stage from these arrays, or from the step's own."""
        arrays = self.arrays if arrays is None else arrays
        return recompute(stage, arrays, self.step.side.trace.index_base)

    def forward(self, value: str) -> Residual | None:
        """The residual of what a stage returned; None if it cannot be computed again."""
        return self._kept(f"forward/{value}", lambda: self._forward(value))

    def _kept(self, key: str, compute: Callable[[], Residual | None]) -> Residual | None:
        """The last residual is kept: several questions are asked of the place where two part."""
        if self.latest[0] != key:
            self.latest = key, compute()
        return self.latest[1]

    def _forward(self, value: str) -> Residual | None:
        stage = self.step.producer.get(value)
        recorded = self.step.arrays.get(f"forward/{value}")
        if stage is None or recorded is None:
            return None

        def compute(arrays: Mapping[str, NDArray]) -> NDArray | None:
            found = self.stage(stage) if arrays is self.arrays else self.computed(stage, arrays)
            if found is None or value not in found.outputs:
                return None
            return found.outputs[value].numpy()

        keys = [f"{kind}/{name}" for name in (*stage.inputs, *stage.parameters.values())
                for kind in ("forward", "start")]  # fmt: skip
        return self._residual(recorded, compute, keys)

    def backward(self, name: str) -> Residual | None:
        """The residual of the gradient with respect to a value or parameter, which is the sum of
        what all the stages that take it contribute."""
        return self._kept(f"gradient/{name}", lambda: self._backward(name))

    def is_gradient(self, name: str, value: NDArray) -> bool:
        """Whether a value is the gradient with respect to another value or parameter, but for what
        rounding may make of it."""
        found = self._backward(name, value)
        return found is not None and found.is_right

    def _backward(self, name: str, recorded: NDArray | None = None) -> Residual | None:
        if recorded is None:
            recorded = self.step.arrays.get(f"gradient/{name}")
        takers = [stage for stage in self.step.takers.get(name, ()) if self.has_gradient(stage)]
        if recorded is None or not takers:
            return None
        aliases = self.aliases(name)

        def compute(arrays: Mapping[str, NDArray]) -> NDArray | None:
            total = np.zeros(recorded.shape)
            for stage in takers:
                found = self.stage(stage) if arrays is self.arrays else self.computed(stage, arrays)
                there = aliases & set(found.gradients) if found is not None else set()
                if found is None or not there:
                    return None
                for one in there:
                    total = total + found.gradients[one].numpy().reshape(recorded.shape)
            return total

        keys = [f"gradient/{output}" for stage in takers for output in stage.outputs]
        return self._residual(recorded, compute, keys)

    def aliases(self, name: str) -> set[str]:
        """All names of a value or parameter, with that under which it is listed first."""
        return {name, *(n for n, first in self.step.side.shared.items() if first == name)}

    def has_gradient(self, stage: ProgramStage) -> bool:
        """Whether backward reached what a stage returned."""
        return self._reaches(stage, self.arrays)

    def after(self, kind: str, name: str) -> Residual | None:
        """The residual of what the step left: `state` (NAME.KEY), `parameter` or `buffer`."""
        recorded = self.step.arrays.get(f"{kind}/{name}")
        if recorded is None:
            return None
        if kind == "buffer":
            found = self.buffers.get(name)
            return None if found is None else self._of_change(name, recorded, found.numpy())
        parameter, _, key = name.rpartition(".") if kind == "state" else (name, "", "")
        update = self.update(parameter)
        if update is None:
            return None
        if kind == "state":
            state = update.state.get(key)
            if state is None:
                return None
            expected = state.numpy()
            return self._residual(recorded, lambda _: expected, [])
        return self._of_change(name, recorded, update.parameter.numpy().reshape(recorded.shape))

    def _of_change(self, name: str, recorded: NDArray, expected: NDArray) -> Residual | None:
        """The residual of what a step has changed, which may be small against the whole."""
        begun = self.step.arrays.get(f"start/{name}")
        if begun is None or recorded.shape != expected.shape or begun.size != recorded.size:
            return self._residual(recorded, lambda _: expected, [])
        start = begun.astype(np.float64).reshape(recorded.shape)
        step = max(_largest(expected - start), _largest(recorded - start))
        kept = self.kept_of(name) * start
        step = min(step, max(_largest(expected - kept), _largest(recorded - kept)))
        noise = update_noise(_largest(recorded), self.precision)
        size = distance(recorded.astype(np.float64), expected)
        return Residual(expected, size, max(self.rtol * step, noise))

    def kept_of(self, name: str) -> float:
        """How much of the earlier value stays in what a step leaves of it: of a running variance
        what its momentum says, else 1."""
        for stage in self.step.takers.get(name, ()):
            momentum = stage.options.get("momentum")
            if stage.parameters.get("running_var") == name and isinstance(momentum, float):
                return 1 - momentum
        return 1.0

    def keeps_each_number(self, name: str, key: str) -> bool:
        """Whether each number of an optimiser's average of gradients, or of their squares, is what
        it should be, but for its own rounding; true if it cannot be told. A small one matters as
        much as a large one where the update is divided by it, and a rule that goes by the largest
        does not see it."""
        if state_name(key) not in AVERAGES or self.precision == "float16":
            return True
        recorded = self.step.arrays.get(f"state/{name}.{key}")
        update, before = self.update(name), self.state_before(name)
        start, gradient = (
            next(
                (
                    one
                    for kind in kinds
                    if (one := self.step.arrays.get(f"{kind}/{name}")) is not None
                ),
                None,
            )
            for kinds in (("start",), ("given", "gradient"))
        )
        expected = None if update is None else update.state.get(key)
        if recorded is None or expected is None or start is None or gradient is None:
            return True
        if not expected.numel() == recorded.size == start.size == gradient.size:
            return True
        decay = self._decay_in_gradient(name) * np.abs(start.astype(np.float64).ravel())
        if state_name(key) not in ("exp_avg", "grad_avg", "exp_inf") and decay.any():
            decay = (decay + np.abs(gradient.astype(np.float64).ravel())) ** 2
        earlier = (before or {}).get(key, np.zeros(recorded.size)).astype(np.float64).ravel()
        wanted, found = expected.numpy().ravel(), recorded.astype(np.float64).ravel()
        size = np.abs(wanted) + np.abs(earlier) + decay
        if not (np.isfinite(found) & np.isfinite(wanted)).all():
            return True
        allowed = ROUNDINGS * EPSILON[self.precision] * size + SMALLEST
        return bool((np.abs(found - wanted) <= allowed).all())

    def keeps_what_gradients_give(self, name: str, key: str) -> bool:
        """Whether it is known that an optimiser's state is what the step should leave."""
        found = self.after("state", f"{name}.{key}")
        return found is not None and found.is_right and self.keeps_each_number(name, key)

    def _decay_in_gradient(self, name: str) -> float:
        """The weight decay that is added to a parameter's gradient."""
        optimiser = self.optimiser
        for number, group in enumerate(optimiser.groups if optimiser else ()):
            if optimiser is not None and name in group.parameters:
                settings = settings_of(optimiser, number) or {}
                if optimiser.kind.endswith("adamw") or settings.get("decoupled_weight_decay"):
                    return 0.0
                return abs(float(settings.get("weight_decay") or 0))
        return 0.0

    @cached_property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers that the step should leave."""
        trace = self.step.side.trace
        names = {one.name for one in trace.parameters if one.kind == "buffer"}
        stages = [one for one in self.step.network if names & set(one.parameters.values())]
        taken = {name for one in stages for name in (*one.inputs, *one.parameters.values())}
        keys = {f"{kind}/{name}" for kind in ("forward", "start") for name in taken}
        keys |= {f"forward/{name}" for one in stages for name in one.outputs}
        arrays = {key: self.arrays[key] for key in sorted(keys) if key in self.arrays}
        return expected_buffers(stages, arrays, trace.index_base)

    @cached_property
    def optimiser(self) -> Optimiser | None:
        """The step's optimiser; one of a kind that is not known as the other side's kind."""
        return standing_in(self.step.about.optimiser, self.stand_in)

    @property
    def has_own_states(self) -> bool:
        """Whether the optimiser's state goes by names of the program's own."""
        return isinstance(self.step.arrays, Renamed)

    def state_before(self, name: str) -> dict[str, NDArray] | None:
        """The optimiser's state of a parameter before the step, by key; None if it is not known."""
        before = self.before.arrays if self.before is not None else {}
        return state_before(name, self.step.about, self.step.arrays, before)

    def update(self, name: str, optimiser: Optimiser | None = None) -> Update | None:
        """What the optimiser should leave of a parameter; None if it cannot be told.

        Arguments:
            name: The parameter.
            optimiser: Another one than the step's own.
        """
        if optimiser is None:  # kept for a parameter's states, which come one after the other
            if self.newest[0] != name:
                self.newest = name, self._update(name, self.optimiser)
            return self.newest[1]
        return self._update(name, optimiser)

    def _update(self, name: str, optimiser: Optimiser | None) -> Update | None:
        groups = optimiser.groups if optimiser is not None else ()
        group = next((one for one in groups if name in one.parameters), None)
        if optimiser is None or group is None:
            return None
        alone = replace(optimiser, groups=(OptimiserGroup((name,), group.settings),))
        recorded = self.step.arrays
        keys = [f"{kind}/{name}" for kind in ("start", "gradient", "given")]
        keys += [key for key in recorded if key.startswith(f"before/{name}.")]
        keys += [key for key in recorded if key.startswith(f"state/{name}.")]
        before = self.before.arrays if self.before is not None else {}
        found = expected_update(
            replace(self.step.about, optimiser=alone),
            {key: recorded[key] for key in keys if key in recorded},
            {key: before[key] for key in before if key.startswith(f"state/{name}.")},
        )
        return found.get(name)

    def _residual(
        self,
        recorded: NDArray,
        compute: Callable[[Mapping[str, NDArray]], NDArray | None],
        summands: list[str],
    ) -> Residual | None:
        expected = compute(self.arrays)
        if expected is None:
            return None
        if expected.shape != recorded.shape and expected.size != recorded.size:
            return Residual(expected, np.inf, 0.0)
        expected = expected.reshape(recorded.shape)
        size = distance(recorded.astype(np.float64), expected)
        allowed = self.rtol * max(_largest(recorded), _largest(expected))
        if allowed < size < np.inf:
            allowed = max(allowed, self._noise(expected, compute, summands))
        return Residual(expected, size, allowed)

    def _noise(
        self,
        expected: NDArray,
        compute: Callable[[Mapping[str, NDArray]], NDArray | None],
        summands: list[str],
    ) -> float:
        """What relative errors of the size of the rule in the summands make of a sum."""
        most = 0.0
        for _ in range(DRAWS):
            changed = {}
            for key in dict.fromkeys(summands):
                value = self.arrays.get(key)
                if value is not None and value.dtype.kind == "f":
                    signs = self.random.choice([-1.0, 1.0], value.shape)
                    changed[key] = value.astype(np.float64) * (1 + self.rtol * signs)
            moved = compute(Overlaid(self.arrays, changed))
            if moved is not None and moved.size == expected.size:
                most = max(most, distance(moved.reshape(expected.shape), expected))
        return most


def unseen_words(grad_fn: str) -> str:
    """What is known of something that was not recorded by what autograd calls it."""
    if grad_fn == "CopySlices":
        return "a change in place through a part of a tensor"
    if grad_fn == "grad":
        return "the derivative of what torch.autograd.grad computed"
    if grad_fn.endswith("Backward"):  # PyTorch's own have a number: ReluBackward0
        return f"the program's own function {grad_fn.removesuffix('Backward')}"
    return f"something that ends in {grad_fn} (of torch.jit, torch.func or torch.autograd?)"


def distance(a: NDArray, b: NDArray) -> float:
    """The largest difference; infinite where NaN or an infinity is on one side alone."""
    if a.size == 0 or np.array_equal(a, b, equal_nan=True):
        return 0.0
    bad = ~(np.isfinite(a) & np.isfinite(b))
    if bad.any():
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if not (same | ~bad).all():
            return np.inf
        a, b = np.where(bad, 0, a), np.where(bad, 0, b)
    return float(np.abs(a - b).max())


def _largest(x: NDArray) -> float:
    finite = np.abs(x[np.isfinite(x)].astype(np.float64))
    return float(finite.max(initial=0.0))
