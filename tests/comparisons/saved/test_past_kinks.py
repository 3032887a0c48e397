"""Two saved traces that part where rounding decides a kink: told from what a mistake does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW_CONV
from stand_ins.verdicts import Mistaken, OnAKink
from torch import nn

from comparisons.saved import compare as saved
from comparisons.saved import past_kinks
from comparisons.saved.compare import compare_traces
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.model.start import Start
from pyvae.training.feeds import InjectedFeed
from pyvae.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_conv")]

STEPS = 4
PROVEN = "gives both to their ends"


class Beside(Mistaken):
    """Begins a few units in the last place above or below a kink, and is right.

    Arguments:
        name: Of the engine.
        above: Whether the pre-activation is above zero.
    """

    def __init__(self, name: str, above: bool) -> None:
        super().__init__()
        self.name, self.above = name, above

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.next_step = 1

    def restore(self, state) -> None:
        super().restore(state)
        with torch.no_grad():
            bias = self.network.encoder.conv1.bias
            units = 64 * np.spacing(abs(float(bias[0])))
            bias[0] += units if self.above else -units

    @property
    def group(self):
        return self.optimizer.param_groups[0]

    def step(self, *arguments, **options):
        self.before(self.next_step)
        losses = super().step(*arguments, **options)
        with torch.no_grad():
            self.after(self.next_step)
        self.next_step += 1
        return losses

    def before(self, step: int) -> None:
        """What is done before a step."""

    def after(self, step: int) -> None:
        """What is done after it."""


class OtherRateLater(Beside):
    def before(self, step: int) -> None:
        self.group["lr"] = self.settings.learning_rate * (1 + (1e-6 if step >= 3 else 0))


class OtherRateOnTheKink(Beside):
    def before(self, step: int) -> None:
        self.group["lr"] = self.settings.learning_rate * (1.0001 if step == 1 else 1)


class OtherEpsilon(Beside):
    def before(self, step: int) -> None:
        self.group["eps"] = 1.1e-8


class Drifts(Beside):
    def after(self, step: int) -> None:
        for parameter in self.network.parameters():
            parameter *= 1 + 5e-11


class MovedAfterTheKink(Beside):
    """After the step was recorded."""

    def after(self, step: int) -> None:
        if step == 1:
            self.network.encoder.fc1.bias += 1e-9


class MovedALittle(Beside):
    def after(self, step: int) -> None:
        if step == 1:
            self.network.encoder.fc1.bias *= 1 + 5e-11


class ForgetsMoments(Beside):
    def after(self, step: int) -> None:
        if step == 1:
            for kept in self.optimizer.state.values():
                kept["exp_avg"] *= 0.999


class Maximum(Beside):
    def start(self, *arguments) -> None:
        super().start(*arguments)
        rate = self.settings.learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, amsgrad=True)

    def before(self, step: int) -> None:
        for kept in self.optimizer.state.values():
            kept.setdefault("max_exp_avg_sq", torch.zeros_like(kept["exp_avg_sq"]))


class LastStepLess(Beside):
    def before(self, step: int) -> None:
        self.group["lr"] = self.settings.learning_rate * (0.999 if step == STEPS else 1)


class OtherMeans(Beside):
    def latent_means(self, *arguments, **options):
        return super().latent_means(*arguments, **options) * (1 + 1e-6)


class OtherSamples(Beside):
    def decode(self, z):
        return super().decode(z) * (1 - 1e-6)


class _HalfAtZero(torch.autograd.Function):
    """A ReLU that passes half of the gradient around zero."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * torch.where(x.abs() < 1e-10, 0.5, (x > 0).double())


def _passes_above(bound):
    """A ReLU that passes a gradient for what is above a bound."""

    class PassesAbove(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * (x > bound)

    return PassesAbove


class _Module(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


class HalfAtZero(Beside):
    function = _HalfAtZero

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.network.encoder.relu1 = _Module(self.function)


class FartherFromZero(HalfAtZero):
    function = _passes_above(-1e-4)  # somewhat more than rounding


class JustBelowZero(HalfAtZero):
    function = _passes_above(-1e-12)  # as rounding does


@pytest.fixture(scope="module")
def run(digits):
    """A run that starts where a pre-activation of the first batch is zero up to rounding."""
    settings = NARROW_CONV.settings(batch_size=4, latent_dim=5, steps=STEPS, dtype="float64")
    initial = NARROW_CONV.initial_parameters(settings.seed, settings.latent_dim)
    x = InjectedFeed(Run(NARROW_CONV, settings, digits)).images(1)[:1].reshape(1, 1, 28, 28)
    found = torch.conv2d(x, initial["encoder.conv1.weight"].double())[0, 0].flatten()
    parameters = {name: value.double().numpy() for name, value in initial.items()}
    value = float(found[found.abs().argmax()])
    parameters["encoder.conv1.bias"][0] = -value + 8 * np.spacing(abs(value))
    return Run(NARROW_CONV, settings, digits, Start("run", "on a kink", parameters))


@pytest.fixture
def compared(run, tmp_path, monkeypatch):
    """The comparison of what two engines have recorded."""

    def compare(a, b, probed=(1,), known=True):
        monkeypatch.setattr(saved, "_run", lambda *traces: run if known else None)
        monkeypatch.setattr(saved, "measure_rounding", _not_measured)
        for place, engine in (("a", a), ("b", b)):
            record(tmp_path / place, engine, run, probed)
        return compare_traces(tmp_path / "a", tmp_path / "b")

    return compare


def _not_measured(*arguments) -> None:
    """That rounding drives two runs apart is not asked here, and takes longer than all else."""
    raise UserError("", "")


def record(folder: Path, engine, run: Run, probed) -> None:
    folder.mkdir()
    seen: dict[int, dict] = {step: {} for step in probed}
    trace = train(run, engine, probe=seen.get)
    for step, probe in seen.items():
        trace.save_probe(folder, step, probe)
    trace.save(folder)


@pytest.mark.parametrize("probed", [(1,), (1, 3), range(1, STEPS + 1)])
def test_a_recorded_kink_is_gone_past(compared, probed):
    found = compared(Beside("below", False), Beside("above", True), probed)
    assert found.agrees
    assert found.divergence is None
    assert found.joined_after == (1,)
    assert found.note.startswith("rounding decides whether a gradient passes in encoder.")
    assert "encoder.relu1 (1 in step 1)" in found.note
    assert PROVEN in found.note
    assert "; left to themselves they part: loss " in found.note
    assert found.inspected_steps == list(probed)


def test_a_kink_that_was_not_recorded_is_named_with_the_step_to_record(compared):
    found = compared(Beside("below", False), Beside("above", True), (2,))
    assert not found.agrees
    assert "in step 1, which was not recorded, PyTorch's own run has a pre-activation" in found.note
    assert "encoder.relu1" in found.note
    assert "compare the two engines themselves: pyvae compare goes on past" in found.note
    assert found.divergence.wrong == ""  # they began the step apart


def test_without_the_images_a_recorded_kink_is_said_and_what_decides_it(compared):
    found = compared(Beside("below", False), Beside("above", True), known=False)
    assert not found.agrees
    assert "encoder.relu1 (1 in step 1): a pre-activation is zero" in found.note
    assert "compare the two engines themselves: pyvae compare goes on past" in found.note


@pytest.mark.parametrize(
    "mistake",
    [
        OtherRateLater, OtherRateOnTheKink, OtherEpsilon, Drifts, MovedAfterTheKink,
        ForgetsMoments, Maximum, LastStepLess, OtherMeans, OtherSamples, HalfAtZero,
        FartherFromZero,
    ],
)  # fmt: skip
def test_a_mistake_beside_a_kink_still_disagrees(compared, mistake):
    found = compared(Beside("below", False), mistake("above", True))
    assert not found.agrees
    assert PROVEN not in found.note


@pytest.mark.parametrize("mistake", [MovedAfterTheKink, OtherSamples, JustBelowZero])
def test_so_does_one_of_the_other_trace(compared, mistake):
    found = compared(mistake("below", False), Beside("above", True), (1, STEPS))
    assert not found.agrees
    assert PROVEN not in found.note


def test_what_is_moved_between_two_recorded_steps_is_found_where_both_begin(compared):
    found = compared(MovedALittle("below", False), Beside("above", True), (1, 2))
    assert not found.agrees
    assert (found.divergence.step, found.divergence.passing) == (2, "start")


def test_a_mistake_that_both_share_is_not_proven_right(compared):
    found = compared(OtherRateLater("below", False), OtherRateLater("above", True))
    assert not found.agrees
    assert "does not give its trace from step 4" in found.note


def test_a_mistake_after_a_kink_is_placed_where_it_is(compared):
    found = compared(Beside("below", False), OtherRateLater("above", True), range(1, STEPS + 1))
    assert (found.divergence.step, found.divergence.stage) == (3, "adam.update")
    assert (found.divergence.wrong, found.divergence.names[1]) == ("above", "above")
    assert (
        "that is not all: PyTorch, run again, does not give above's trace from step 3" in found.note
    )


class DriftsOnKinks(OnAKink):
    """Less than a few steps show, and more than a whole run may differ by."""

    def step(self, *arguments, **options):
        losses = super().step(*arguments, **options)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter *= 1 + 3e-13
        return losses


@pytest.mark.parametrize("kind", [DriftsOnKinks, OnAKink])
def test_between_many_kinks_too_few_steps_in_a_row_tell(compared, monkeypatch, kind):
    kinks = (1, 3)
    monkeypatch.setattr(past_kinks, "_engine", lambda trace: OnAKink("pytorch", False, kinks))
    found = compared(OnAKink("below", False, kinks), kind("above", True, kinks), kinks)
    assert not found.agrees
    assert "encoder.relu1 (2 in steps 1 and 3)" in found.note
    assert "too few steps in a row are left to tell a mistake from what follows" in found.note
    assert "that is not all" not in found.note
