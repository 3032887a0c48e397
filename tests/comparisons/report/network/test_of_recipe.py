"""A recipe's network, as two engines computed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comparisons.report.network.of_recipe import network_of
from comparisons.steps.compare import compare_steps
from comparisons.steps.comparison import compare_whole_runs
from comparisons.steps.pair import Pair
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.training.loop import train

pytestmark = pytest.mark.slow


class Wrong(PyTorchEngine):
    """PyTorch whose encoder's first dropout forgets 1/(1 - p)."""

    name = "wrong"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.network.encoder.dropout1.forward = lambda x, keep: x if keep is None else x * keep


class Slow(PyTorchEngine):
    """PyTorch with a learning rate of its own."""

    name = "slow"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-4


@pytest.fixture(scope="module")
def compared(request):
    """A comparison of PyTorch with another engine, in its first two steps."""
    conv, digits = request.getfixturevalue("conv"), request.getfixturevalue("digits")
    known = {}

    def compare(other):
        if other not in known:
            small = {"batch_size": 12, "latent_dim": 5, "steps": 2, "dtype": "float64"}
            run = Run(conv, conv.settings(**small), digits)
            engine = other("cpu")
            engine.name = "other" if other is PyTorchEngine else engine.name
            pair = Pair(run, PyTorchEngine("cpu"), engine)
            a, b = (train(run, one) for one in pair.engines)
            steps = list(compare_steps(pair, last=2, resync=False, inspect={1, 2}))
            known[other] = replace(
                compare_whole_runs(a, b),
                stages=[one for step in steps for one in step.agreements],
                divergence=next((step.divergence for step in steps if step.divergence), None),
            )
        return known[other]

    return compare


def states(net, column):
    cells = {stage.name: net.cell(stage, column) for stage in net.stages}
    return {name: net.state(one) for name, one in cells.items() if one is not None}


def test_every_quantity_of_the_step_is_shown_once(compared):
    comparison = compared(Wrong)
    net = network_of(comparison)
    compared_keys = [one.quantity.key for one in comparison.stages if one.step == 1]
    assert sorted(one.key for stage in net.stages for one in stage.entries) == sorted(compared_keys)
    assert [one.key for one in net.order] == compared_keys
    assert net.columns == ("start", "forward", "backward", "gradient", "update")
    ((step, whole, off),) = net.later
    assert (step, whole) == (2, len(compared_keys))
    assert 0 < off < whole


def test_it_agrees_up_to_the_first_difference(compared):
    net = network_of(compared(Wrong))
    assert net.stages[net.at].name == "encoder.dropout1"
    found = states(net, "forward")
    order = list(found)
    at = order.index("encoder.dropout1")
    assert {found[name] for name in order[:at]} == {"equal"}
    assert found["total"] == "follows"
    assert net.words == compared(Wrong).divergence.words
    assert net.sentence == "step 1, encoder.dropout1, forward"


def test_the_differences_around_the_first_one_can_be_drawn(compared):
    net = network_of(compared(Wrong))
    spread = net.spread(net.first)
    assert spread.sides[0].shape == net.first.shape
    assert spread.largest == pytest.approx(net.first.max_abs)
    drawn = [one for one in net.order if net.spread(one) is not None]
    assert 7 <= len(drawn) < 20
    assert {one.key for one in net.stages[net.at].entries} <= {one.key for one in drawn}


def test_gradients_of_parameters_are_told_from_those_of_stages(compared):
    net = network_of(compared(Wrong))
    stage = next(stage for stage in net.stages if stage.name == "encoder.conv2")
    keys = {one.column: one.key for one in stage.entries}
    assert keys["gradient"] == "gradient/encoder.conv2.bias"
    assert keys["backward"].removeprefix("gradient/") in [net.stages[i].name for i in stage.inputs]


def test_an_update_has_its_place_with_the_parameters_stage(compared):
    net = network_of(compared(Slow))
    assert net.first.column == "update"
    assert net.first in net.stages[net.at].entries
    assert set(states(net, "forward").values()) == {"equal"}


def test_of_runs_that_agree_all_is_equal(compared):
    net = network_of(compared(PyTorchEngine))
    assert net.first is None
    assert {net.state(one) for one in net.order} == {"equal"}
    assert net.later == []


def test_without_inspected_steps_there_is_no_network(compared):
    assert network_of(replace(compared(PyTorchEngine), stages=[])) is None


def test_what_parts_after_training_stands_at_the_end(compared):
    from comparisons.diagnosis.first_divergence import AFTER

    comparison, wrong = compared(PyTorchEngine), compared(Wrong).divergence
    quantity = replace(wrong.agreement.quantity, key="evaluation/means", passing=AFTER)
    after = replace(
        wrong, agreement=replace(wrong.agreement, quantity=quantity), stages=("latent means",)
    )
    net = network_of(replace(comparison, divergence=after))
    assert net.stages[net.at].name == "latent means"
    assert net.at == len(net.stages) - 1
    assert set(states(net, "forward").values()) == {"equal"}
