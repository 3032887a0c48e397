"""Two recorded programs as one network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded.ported import Classifier, Program, adam, rewrite
from recorded.teachers import Average, Learning
from torch import nn

from comparisons.ports import compare_programs
from comparisons.report.network.model import ShownNetwork
from comparisons.report.ports.network import LOSS, network_of
from pyvae.files.arrays import write_arrays
from pyvae.trace.program import ProgramTrace, step_path


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Records two programs, compares them, and shows their network."""
    monkeypatch.chdir(tmp_path)

    def compare(a: Program, b: Program, change=lambda: None):
        a.record(Path("python"))
        b.record(Path("r"))
        change()
        found = compare_programs("python", "r")
        return found, network_of(found)

    return compare


def names(net: ShownNetwork) -> list[str]:
    return [stage.name for stage in net.stages]


def states(net: ShownNetwork, column: str) -> dict[str, str]:
    cells = {stage.name: net.cell(stage, column) for stage in net.stages}
    return {name: net.state(one) for name, one in cells.items() if one is not None}


def test_every_quantity_of_the_step_is_shown_once(compared):
    found, net = compared(Program(steps=3), Program(steps=3, network=lambda: Classifier(eps=1e-3)))
    judged = [one.quantity.key for one in found.judged if one.step == 1]
    shown = [one.key for stage in net.stages for one in stage.entries]
    assert sorted(shown) == sorted(judged)
    assert [one.key for one in net.order] == judged
    assert net.step == 1
    assert [step for step, _, _ in net.later] == [2, 3]
    assert all(0 < off <= whole for _, whole, off in net.later)


def test_forward_agrees_up_to_the_first_difference_and_follows_after_it(compared):
    _, net = compared(Program(), Program(network=lambda: Classifier(eps=1e-3)))
    assert net.stages[net.at].name == "norm"
    found = states(net, "forward")
    assert found["conv"] == "equal"
    assert found["norm"] == "first"
    assert {found[name] for name in ("act", "second", "pool", "out")} == {"follows"}
    assert set(states(net, "backward").values()) == {"follows"}
    assert net.sentence == "step 1, norm (batch_norm2d), forward"


def test_a_stage_takes_what_the_program_gave_it(compared):
    _, net = compared(Program(), Program())
    place = {name: at for at, name in enumerate(names(net))}
    stage = net.stages[place["second"]]
    assert [net.stages[at].name for at in stage.inputs] == ["act"]
    add = next(stage for stage in net.stages if stage.layer == "add")
    assert {net.stages[at].name for at in add.inputs} == {"act", "second"}
    assert net.first is None
    assert set(states(net, "forward").values()) == {"equal"}


def test_a_stage_of_one_side_stands_where_it_was_computed(compared):
    short = Program(network=lambda: Classifier(relu=False))
    for pair, side in (((Program(), short), "python"), ((short, Program()), "r")):
        _, net = compared(*pair)
        order = names(net)
        at = order.index("act")
        assert order[at - 1 : at + 2] == ["norm", "act", "second"]
        assert net.stages[at].only == side
        assert at - 1 in net.stages[at].inputs
        assert at in net.stages[at + 1].inputs
        assert net.stages[net.at].name == "second"


def test_other_names_are_said(compared):
    _, net = compared(
        Program(), Program(),
        lambda: rewrite(Path("r"), lambda name: name.replace("hidden", "dense")),
    )  # fmt: skip
    assert net.stages[names(net).index("hidden")].other == "in r dense (linear)"


def test_a_gradient_stands_with_the_stage_whose_backward_computes_it(compared):
    class Detached(Classifier):
        def forward(self, x):
            x = self.act(self.norm(self.conv(x)))
            y = self.second(x)
            x = F.relu(y + x.detach())
            x = self.drop(self.pool(x)).reshape(len(x), -1)
            return self.out(F.relu(self.hidden(x)))

    found, net = compared(Program(), Program(network=Detached))
    assert found.first.judged.quantity.passing == "backward"
    assert net.first.column == "backward"
    assert net.first in net.stages[net.at].entries
    earlier = [net.stages[i].name for i in range(net.at + 1, len(net.stages) - 1)]
    assert "follows" not in {states(net, "backward").get(name) for name in earlier}


def test_an_update_stands_with_the_stage_of_its_parameter(compared):
    _, net = compared(
        Program(optimiser=adam), Program(optimiser=lambda p: adam(p, lr=2e-3))
    )  # fmt: skip
    assert net.first.column == "update"
    assert set(states(net, "forward").values()) == {"equal"}
    beside = {net.state(one) for one in net.order if one.column == "update" and not one.agrees}
    assert beside == {"first", "own", "follows"} or beside == {"first", "own"}


def test_the_spread_of_an_entry_is_that_of_the_recorded_tensors(compared):
    found, net = compared(Program(), Program(network=lambda: Classifier(eps=1e-3)))
    spread = net.spread(net.first)
    a, b = (side.trace.arrays(1)["forward/norm"].astype(float) for side in found.sides)
    assert spread.largest == np.abs(a - b).max()
    assert spread.total == a.size
    assert spread.sides[0].mean == pytest.approx(a.mean())


def test_classes_that_count_from_1_do_not_differ(compared):
    def from_one():
        trace = ProgramTrace.load(Path("r"))
        for step in trace.steps:
            arrays = trace.arrays(step.step)
            whole = {k: x + 1 for k, x in arrays.items() if x.dtype == np.int64 and x.ndim}
            assert len(whole) == 1  # the classes
            write_arrays(step_path(Path("r"), step.step), {**arrays, **whole})
        trace.index_base, trace.language = 1, "r"
        trace.save(Path("r"))

    found, net = compared(Program(), Program(), from_one)
    assert found.agrees
    assert all(net.spread(entry).differing == 0 for entry in net.order)


def test_of_several_networks_the_one_of_the_step_is_shown(compared):
    class Turns(nn.Module):
        """Every second step goes through another layer."""

        def __init__(self, slope=0.1):
            super().__init__()
            self.one, self.two = nn.Linear(64, 5), nn.Linear(64, 5)
            self.act = nn.LeakyReLU(slope)
            self.count = 0

        def forward(self, x):
            self.count += 1
            x = x.reshape(len(x), -1)
            return self.one(x) if self.count % 2 else self.act(self.two(x))

    torch.manual_seed(0)
    found, net = compared(Program(network=Turns), Program(network=lambda: Turns(0.2)))
    assert len(found.networks) == 2
    assert net.step == 2
    assert "two" in names(net)
    assert net.stages[net.at].name == "act"


def test_names_alone_have_no_lines_between_them(compared):
    def without_network():
        for name in ("python", "r"):
            trace = compare_programs("python", "r").sides[0].trace.load(name)
            trace.networks = [()]
            trace.save(Path(name))

    _, net = compared(Program(), Program(network=lambda: Classifier(eps=1e-3)), without_network)
    assert not any(stage.inputs for stage in net.stages if stage.name != LOSS)
    assert net.first is not None


def test_a_teachers_parameters_stand_with_the_input_that_it_computes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair = Learning().record("a"), Learning(follow=Average(decay=0.9)).record("b")
    net = network_of(compare_programs(*pair))
    stage = net.stages[net.at]
    assert stage.layer == "input"
    assert all("untrained/teacher/" in one.key for one in stage.entries if one.column == "start")
    assert states(net, "forward")["mse_loss"] == "follows"
