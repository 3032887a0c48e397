"""An engine that cannot compute what the other one can is a disagreement; a full disk is not."""

from __future__ import annotations

import pytest
from stand_ins.verdicts import Mistaken, compare_engines
from torch import nn

from comparisons.report.write import conclude
from comparisons.steps.comparison import summary
from pyvae.engines.engine import DivergedError
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.terminal.console import Terminal
from r_bridge.errors import RProcessError

pytestmark = pytest.mark.slow


class Changed(Mistaken):
    """One module of the network is another."""

    def __init__(self, path, module):
        super().__init__()
        self.path, self.module = path, module

    def start(self, *arguments):
        super().start(*arguments)
        parent, _, name = self.path.rpartition(".")
        changed = self.module(self.network.get_submodule(self.path))
        setattr(self.network.get_submodule(parent), name, changed)


def padded(conv):
    conv.padding = (1, 1)
    return conv


def dilated(conv):
    conv.dilation = (2, 2)
    return conv


class NaN(Mistaken):
    """NaN from its second step on, as a loss without its clamp has it."""

    def start(self, *arguments):
        super().start(*arguments)
        self.count = 0

    def step(self, *arguments, **options):
        self.count += 1
        return super().step(*arguments, **options)

    def restore(self, state):
        super().restore(state)
        self.count = int(state["step"])

    def _losses(self, *arguments):
        losses = super()._losses(*arguments)
        if self.count < 2:
            return losses
        bad = losses["reconstruction"] * float("nan")
        return losses | {"reconstruction": bad, "total": bad + losses["regulariser"]}


class Blind(Mistaken):
    """Has no evaluation mode."""

    def latent_means(self, x, draws, training):
        if not training:
            raise ValueError("mat1 and mat2 shapes cannot be multiplied")
        return super().latent_means(x, draws, training)


FAILURES = {  # engine, what is said to fail, where the two part
    "padding": (
        lambda: Changed("encoder.conv1", padded), "port fails in step 1: ", "encoder.conv1"),
    "dilation": (
        lambda: Changed("encoder.conv2", dilated), "port fails in step 1: ", "encoder.conv2"),
    "ceil mode": (
        lambda: Changed("encoder.pool", lambda pool: nn.MaxPool2d(5, 5, ceil_mode=True)),
        "port fails in step 1: ", "encoder.pool"),
    "NaN": (NaN, "port: training diverged in step 2: the loss is not", "reconstruction"),
    "evaluation": (Blind, "port fails in latent means: mat1 and mat2", None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "side", "mode"),
    [
        *((name, at % 2, "free") for at, name in enumerate(FAILURES)),
        ("NaN", 0, "free"),
        ("padding", 1, "resync"),
        ("NaN", 0, "resync"),
    ],
)
def test_a_failure_of_one_engine_is_a_disagreement(
    name, side, mode, conv, settings, digits, tmp_path, undrawn
):
    make, said, stage = FAILURES[name]
    engines = [PyTorchEngine("cpu"), PyTorchEngine("cpu")]
    engines[side] = make()
    comparison = compare_engines(*engines, conv, settings(steps=2), digits, tmp_path, mode=mode)
    assert not comparison.agrees
    assert comparison.failure.startswith(said)
    assert (comparison.divergence and comparison.divergence.stage) == stage
    console = Terminal(width=100, record=True)
    assert conclude(console, [comparison], tmp_path, report=True) == 1
    shown = console.export_text()
    assert comparison.failure[:30] in shown
    assert shown.endswith("verdict: disagree\n")
    about = summary([comparison])["objectives"]["vae"]
    assert (about["verdict"], about["failure"]) == ("disagree", comparison.failure)
    assert {"comparison.json", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert comparison.failure[:30] in (tmp_path / "report.html").read_text()


def test_two_engines_that_both_diverge_do_not_disagree(conv, settings, digits, tmp_path):
    """A learning rate that is too large is the user's."""
    other = NaN()
    other.name = "other"
    with pytest.raises(DivergedError, match="Try a smaller --learning-rate"):
        compare_engines(other, NaN(), conv, settings(), digits, tmp_path)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (RProcessError("the R process died"), RProcessError),
        (MemoryError("no room"), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_says_nothing_of_the_network_is_no_disagreement(
    error, raised, conv, settings, digits, tmp_path
):
    class Failing(Mistaken):
        def step(self, *arguments, **options):
            raise error

    with pytest.raises(raised):
        compare_engines(PyTorchEngine("cpu"), Failing(), conv, settings(), digits, tmp_path)


def test_a_full_disk_is_no_disagreement(conv, settings, digits, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise UserError("no space is left for 'x'")

    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr("pyvae.training.checkpoint.Checkpoint.save", full)
    with pytest.raises(UserError, match="no space is left"):
        compare_engines(PyTorchEngine("cpu"), Mistaken(), conv, settings(), digits, tmp_path)


def test_settings_that_an_engine_cannot_take_are_no_disagreement(conv, settings, digits, tmp_path):
    class Unwilling(Mistaken):
        def start(self, *arguments):
            raise UserError("engine port has no recipe 'conv'")

    with pytest.raises(UserError, match="has no recipe"):
        compare_engines(PyTorchEngine("cpu"), Unwilling(), conv, settings(), digits, tmp_path)
