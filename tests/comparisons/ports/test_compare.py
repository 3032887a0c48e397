"""Two recorded programs: where they part, what it looks like, and that rounding is no mistake."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded.ported import Classifier, Program, adam, sgd
from torch import nn

from comparisons.ports import compare_programs
from pyvae.errors import UserError
from pyvae.files.arrays import write_arrays
from pyvae.recording.record import record
from pyvae.trace.program import ProgramParameter, ProgramStage, ProgramTrace

pytestmark = pytest.mark.slow

FLOAT64 = {"dtype": torch.float64}


def swap_rows(step, x, y):
    order = torch.arange(len(x))
    order[3], order[7] = 7, 3
    return (x[order], y[order]) if step == 2 else (x, y)


def transpose(network):
    with torch.no_grad():
        network.hidden.weight.copy_(network.hidden.weight.T.clone())


def with_layer(layer):
    def make():
        network = Classifier()
        network.act = layer
        return network

    return make


# what the second program does differently: the place, and what it looks like
MISTAKES = {
    "batch norm's epsilon": (
        Program(network=lambda: Classifier(eps=1e-3)),
        r"step 1, norm \(batch_norm2d\), forward",
        "r: eps = 0.001 where it is 1e-05",
    ),
    "an epsilon within rounding": (
        Program(network=lambda: Classifier(eps=1.01e-5)),
        r"step 1, norm \(batch_norm2d\), forward",
        "r: eps = 1.01e-05 where it is 1e-05",
    ),
    "batch norm's momentum": (
        Program(network=lambda: Classifier(momentum=0.9)),
        r"step 1, norm \(batch_norm2d\), buffer \(norm.running_mean\)",
        "r: momentum = 0.9 where it is 0.1",
    ),
    "dropout's rate": (
        Program(network=lambda: Classifier(p=0.3)),
        r"step 1, drop \(dropout\), random draw",
        "r: p = 0.3 where it is 0.2",
    ),
    "no relu": (
        Program(network=lambda: Classifier(relu=False)),
        r"step 1, second \(conv2d\), forward",
        r"only python has act \(relu\) between norm and second",
    ),
    "no skip connection": (
        Program(network=lambda: Classifier(skip=False)),
        r"step 1, relu \(relu\), forward",
        r"only python has add \(add\) between second and relu",
    ),
    "another activation": (
        Program(network=with_layer(nn.GELU())),
        r"step 1, act \(relu; in r act, gelu\), forward",
        "r: gelu where it is relu",
    ),
    "initial weights": (
        Program(start=lambda network: nn.init.normal_(network.out.weight, std=0.02)),
        r"step 1, out.weight, what the step starts from",
        r"other numbers: standard deviation 0\.07\d+ in python, 0\.0\d+ in r",
    ),
    "a transposed kernel": (
        Program(start=transpose),
        r"step 1, hidden.weight, what the step starts from",
        "r has it transposed",
    ),
    "learning rate": (
        Program(optimiser=lambda parameters: sgd(parameters, lr=0.1001)),
        r"step 1, optimizer \(sgd\), update of out.weight \(parameter\)",
        "r: lr = 0.1001 where it is 0.1",
    ),
    "weight decay": (
        Program(optimiser=lambda parameters: sgd(parameters, weight_decay=1e-4)),
        r"step 1, optimizer \(sgd\), update of out.weight \(momentum_buffer\)",
        "r: weight_decay = 0.0001 where it is 0",
    ),
    "another optimiser": (
        Program(optimiser=adam),
        r"step 1, optimizer \(sgd\), update of out.weight \(parameter\)",
        "r: .*adam where it is sgd",
    ),
    "rows of a batch": (
        Program(batch=swap_rows),
        r"step 2, input \(input\), input",
        "the same rows in another order: row 3 of python is row 7 of r",
    ),
    "pixels": (
        Program(batch=lambda step, x, y: (x * (255 / 256), y)),
        r"step 1, input \(input\), input",
        r"r is python times 255/256 \(divided by 256 where it is 255\)",
    ),
    "pixels within rounding's rule": (
        Program(batch=lambda step, x, y: (x * 1.0001, y)),
        r"step 1, input \(input\), input",
        r"r is python times \(1 \+0\.0001\d*\)",
    ),
    "a constant added to a start value": (
        Program(start=lambda network: network.out.bias.data.add_(1e-4)),
        r"step 1, out.bias, what the step starts from",
        "r is python plus 0.0001",
    ),
    "seed": (
        Program(seed=6),
        r"step 1, drop \(dropout\), random draw",
        "other random numbers",
    ),
    "clipping": (
        Program(clip=0.5),
        r"step 1, out.weight, gradient that the optimiser gets",
        r"r: between backward and the update it clips the gradients of all \d+ parameters, all "
        r"together, to norm 0\.5; python does not change them",
    ),
    "zero_grad": (
        Program(zero_grad=False),
        r"step 2, out \(linear\), backward \(gradient of out.weight\)",
        "r adds the gradient of the step before",
    ),
    "an index": (
        Program(about={"index_base": 1}),
        r"step 1, input#2 \(input\), input",
        "indices are off by 1: r's are 1 less",
    ),
    "the loss's reduction": (
        Program(loss=lambda x, y: F.cross_entropy(x, y, reduction="sum")),
        r"step 1, cross_entropy_loss \(cross_entropy_loss\), forward",
        "r: reduction = sum where it is mean",
    ),
    "half the loss": (
        Program(loss=lambda x, y: F.cross_entropy(x, y) * 0.5),
        "step 1, loss",
        r"r: halved \(in cross_entropy_loss\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_placed_and_named(pair, name):
    program, place, words = MISTAKES[name]
    found = compare_programs(*pair(Program(), program))
    assert not found.agrees
    assert re.fullmatch(place, found.first.place)
    assert re.match(words, found.first.words[0])
    assert found.verdict == f"part at {found.first.place}"


@pytest.mark.parametrize("name", ["batch norm's epsilon", "learning rate", "zero_grad"])
def test_the_place_is_the_same_whichever_side_comes_first(pair, name):
    program, place, _ = MISTAKES[name]
    found = compare_programs(*reversed(pair(program, Program())))
    other = compare_programs("python", "r")
    assert re.fullmatch(place, found.first.place)
    assert found.first.judged.quantity.key == other.first.judged.quantity.key


def test_the_wrong_side_is_told_by_computing_again(pair):
    found = compare_programs(*pair(Program(), Program(zero_grad=False)))
    assert found.first.wrong == "r"
    found = compare_programs("r", "python")
    assert found.first.wrong == "r"


def no_dropout():
    """Masks are drawn in the order of memory."""
    return Classifier(p=0.0)


# What two right programs may do differently
CLEAN = {
    "float64": (Program(steps=6), Program(steps=6, **FLOAT64)),
    "Adam in float64": (
        Program(steps=6, optimiser=adam),
        Program(steps=6, optimiser=adam, **FLOAT64),
    ),
    "weight decay and clipping": (
        Program(optimiser=lambda p: adam(p, weight_decay=0.01), clip=0.5),
        Program(optimiser=lambda p: adam(p, weight_decay=0.01), clip=0.5, **FLOAT64),
    ),
    "another order of sums": (
        Program(steps=6, optimiser=adam, network=no_dropout),
        Program(steps=6, optimiser=adam, network=no_dropout, reverse=True),
    ),
    "the same in float64": (
        Program(steps=6, optimiser=adam, network=no_dropout, **FLOAT64),
        Program(steps=6, optimiser=adam, network=no_dropout, reverse=True, **FLOAT64),
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_rounding_is_no_mistake(pair, name):
    """Not even where it is amplified: by batch norm, by Adam, by runs that go their own ways."""
    found = compare_programs(*pair(*CLEAN[name]))
    assert found.agrees, found.verdict
    assert found.verdict.startswith("agree: ")
    counts = Counter(one.verdict for one in found.judged)
    assert counts["within"] > 0
    assert counts["parted"] == 0
    assert found.lacking == (0, 0)


def test_a_mistake_is_seen_through_the_rounding(pair):
    """Between float32 and float64, in the fourth step, where the two have drifted apart."""

    def batch(step, x, y):
        return (x, y.roll(1)) if step == 4 else (x, y)

    found = compare_programs(*pair(Program(steps=6), Program(steps=6, batch=batch, **FLOAT64)))
    assert found.first.place == "step 4, input#2 (input), input"
    assert found.first.words[0].startswith("the same rows in another order")
    found = compare_programs(*pair(Program(steps=5), Late(steps=5, **FLOAT64)))
    assert found.first.place == "step 4, optimizer (sgd), update of out.weight (parameter)"
    assert found.first.words == ("r: lr = 0.09 where it is 0.1",)


@dataclass
class Late(Program):
    """Changes the learning rate before a step."""

    change: int = 4
    rate: float = 0.09
    count: int = 0

    def _step(self, network, optimiser, x, y):
        self.count += 1
        if self.count == self.change:
            optimiser.param_groups[0]["lr"] = self.rate
        super()._step(network, optimiser, x, y)


def test_equal_in_every_bit(pair):
    found = compare_programs(*pair(Program(), Program()))
    assert re.fullmatch(r"equal: every bit of \d+ quantities in 2 steps", found.verdict)
    assert all(one.verdict == "equal" for one in found.judged)
    assert found.lacking == (0, 0)


def test_exactly_rounding_is_a_difference(pair):
    found = compare_programs(*pair(*CLEAN["another order of sums"]), exact=True)
    assert not found.agrees
    assert re.match(r"rounding: [\d,]+ of [\d,]+ elements differ, by at most", found.first.words[0])
    assert compare_programs("python", "python", exact=True).agrees


def test_one_side_may_have_more_steps(pair):
    found = compare_programs(*pair(Program(), Program(steps=5)))
    assert found.agrees
    assert found.steps == (1, 2)
    assert found.notes == ["3 of 5 steps are recorded in r alone"]


def test_steps_between_that_were_not_recorded(pair):
    """Where two may have drifted apart is said so; where they are too far apart, they part."""
    about = {"steps": 7, "every": 3, "optimiser": adam}
    found = compare_programs(*pair(Program(**about), Program(**about, **FLOAT64)))
    assert found.steps == (1, 4, 7)
    assert found.agrees, found.verdict
    drifted = [one for one in found.judged if one.why == "within what unrecorded steps may drift"]
    assert {one.quantity.passing for one in drifted} == {"start"}
    late = Late(steps=4, every=3, change=2, rate=1.0, **FLOAT64)
    found = compare_programs(*pair(Program(steps=4, every=3), late))
    assert re.match(r"step 4, .* what the step starts from", found.first.place)
    assert found.first.words == ("the two have parted in steps that were not recorded",)


def test_a_language_that_counts_from_1(pair):
    """Classes that are recorded as 1 to 5 are those that are recorded as 0 to 4."""
    pair(Program(), Program())
    as_r(Path("r"))
    found = compare_programs("python", "r")
    assert found.agrees, found.verdict
    found = compare_programs("r", "python")
    assert found.agrees, found.verdict


def ignoring(counted_from_0):
    return Program(loss=lambda x, y: F.cross_entropy(x, y, ignore_index=counted_from_0))


def test_another_class_that_is_ignored_has_the_same_number_where_counting_begins_with_1(pair):
    """2 in R is the second class, in Python the third."""
    pair(ignoring(2), ignoring(1))
    as_r(Path("r"), ignored=2)
    for first, second in (("python", "r"), ("r", "python")):
        found = compare_programs(first, second)
        assert found.verdict.startswith("part at step 1, cross_entropy_loss")
        assert any("ignore_index = 2 (counted from" in words for words in found.first.words)
    pair(ignoring(2), ignoring(2))
    as_r(Path("r"), ignored=3)
    found = compare_programs("python", "r")
    assert (found.agrees, found.declared) == (True, [])


def test_r_torch_that_ignores_the_class_after_is_at_fault(pair):
    """Up to 0.17.0, 3 in R is the fourth class."""
    pair(ignoring(2), ignoring(3))
    as_r(Path("r"), ignored=3)
    found = compare_programs("python", "r")
    assert found.verdict == "part at step 1, cross_entropy_loss (cross_entropy_loss), forward"
    assert found.first.words[0].startswith("r: R torch's ignore_index = 3 is at fault")
    assert "ignores class 4" in found.first.words[0]


def as_r(folder, shift=1, ignored=None):
    trace = ProgramTrace.load(folder)
    if ignored is not None:
        trace.networks = [
            tuple(
                replace(stage, options={**stage.options, "ignore_index": ignored})
                if stage.layer == "cross_entropy_loss"
                else stage
                for stage in network
            )
            for network in trace.networks
        ]
    for step in trace.steps:
        arrays = trace.arrays(step.step)
        arrays["forward/input#2"] = arrays["forward/input#2"] + shift
        write_arrays(folder / "steps" / f"step-{step.step:06d}.safetensors", arrays)
    trace.index_base, trace.language, trace.engine = 1, "r", "r-torch"
    trace.save(folder)


@pytest.mark.parametrize("classes", ["torch", "keras"])
def test_the_worst_element_is_counted_as_each_language_does(pair, classes):
    pair(Program(), Program(network=lambda: Classifier(eps=1e-3)))
    as_r(Path("r"))
    if classes == "keras":  # whose classes count from 0 in R as well
        trace = ProgramTrace.load("r")
        trace.index_base, trace.engine = 0, "pytorch"
        for step in trace.steps:
            arrays = trace.arrays(step.step)
            arrays["forward/input#2"] = arrays["forward/input#2"] - 1
            write_arrays(Path("r/steps") / f"step-{step.step:06d}.safetensors", arrays)
        trace.save(Path("r"))
    element = compare_programs("python", "r").first.element
    counted = re.match(r"\[(.*)\] in Python, \[(.*)\] in R: .* in python, .* in r", element)
    first, second = ([int(i) for i in part.split(", ")] for part in counted.groups())
    assert second == [i + 1 for i in first]


def test_two_shapes_are_told(tmp_path, monkeypatch):
    """Of two graphs, one has an edge less."""
    monkeypatch.chdir(tmp_path)
    for name, edges in (("paper", [0, 1, 2, 0]), ("port", [0, 1, 2])):
        torch.manual_seed(1)
        layer = nn.Linear(2, 3)
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        with record(layer, optimizer, name, steps=1):
            out = layer(torch.randn(4, 2))
            out[torch.tensor(edges)].square().sum().backward()
            optimizer.step()
    first = compare_programs("paper", "port").first
    assert first.element == "shape (4,) in paper, (3,) in port"


def test_names_alone_say_where_two_part(pair):
    """Without stages: by the names of the values."""
    pair(Program(), Program(network=lambda: Classifier(eps=1e-3)))
    for name in ("python", "r"):
        trace = ProgramTrace.load(name)
        trace.networks = [()]
        trace.save(Path(name))
    found = compare_programs("python", "r")
    assert not found.agrees
    assert found.first.judged.step == 1
    assert found.first.judged.quantity.key.startswith("forward/")
    assert compare_programs("python", "python").agrees


BAD = {
    "nothing in common": (
        lambda: rename_all(Path("r")),
        "python and r have nothing in common: .*--map",
    ),
    "the loss alone": (
        lambda: other_network(Path("r")),
        "python and r have nothing in common: .*--map",
    ),
    "no step": (
        lambda: no_steps(Path("r")),
        "no step was recorded in 'r': the disk is full",
    ),
    "other steps": (
        lambda: other_steps(Path("r")),
        "python and r have no recorded step in common",
    ),
    "cut": (
        lambda: Path("r/steps/step-000002.safetensors").unlink(),
        "trace 'r' is cut: step-000002.safetensors is missing",
    ),
    "damaged": (
        lambda: Path("r/steps/step-000002.safetensors").write_bytes(b"1234"),
        "step-000002.safetensors' cannot be read",
    ),
}


def rename_all(folder):
    trace = ProgramTrace.load(folder)
    trace.networks, trace.parameters = [()], []
    arrays = {"forward/elsewhere": np.ones(3)}
    for step in trace.steps:
        write_arrays(folder / "steps" / f"step-{step.step:06d}.safetensors", arrays)
    trace.save(folder)


def other_network(folder):
    """An embedding of indices: any two programs have an input and a loss."""
    stages = (
        ProgramStage("input", "input"),
        ProgramStage("words", "embedding", ("input",), {}, {"weight": "words.weight"}),
    )
    trace = ProgramTrace.load(folder)
    trace.networks, trace.parameters = [stages], [ProgramParameter("words.weight", (2, 7))]
    arrays = {
        "start/words.weight": np.ones((2, 7)), "forward/input": np.array([0, 1]),
        "forward/words": np.ones((2, 7)), "loss/total": np.array(1.0),
    }  # fmt: skip
    for step in trace.steps:
        write_arrays(folder / "steps" / f"step-{step.step:06d}.safetensors", arrays)
    trace.save(folder)


def no_steps(folder):
    trace = ProgramTrace.load(folder)
    trace.steps, trace.complete, trace.ended = [], False, "the disk is full"
    trace.save(folder)


def other_steps(folder):
    trace = ProgramTrace.load(folder)
    trace.steps = [replace(step, step=step.step + 7) for step in trace.steps]
    for path in sorted((folder / "steps").iterdir(), reverse=True):
        number = int(path.stem.removeprefix("step-")) + 7
        path.rename(path.with_name(f"step-{number:06d}.safetensors"))
    trace.save(folder)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_compared_is_said_in_a_line(pair, name):
    spoil, words = BAD[name]
    pair(Program(), Program())
    spoil()
    with pytest.raises(UserError, match=words):
        compare_programs("python", "r")


# Mistakes that the trace does not declare: the program says one thing and does another
UNDECLARED = {
    "epsilon": (
        Program(network=lambda: Classifier(eps=1e-3)),
        r"step 1, norm \(batch_norm2d\), forward",
        "r: eps = 0.001 where it is 1e-05",
    ),
    "momentum": (
        Program(network=lambda: Classifier(momentum=0.01)),
        r"step 1, norm \(batch_norm2d\), buffer \(norm.running_mean\)",
        "r: momentum = 0.01 where it is 0.1",
    ),
    "activation": (
        Program(network=with_layer(nn.LeakyReLU())),
        r"step 1, act \(relu\), forward",
        "r: leaky_relu where it is relu",
    ),
    "learning rate": (
        Program(optimiser=lambda parameters: sgd(parameters, lr=0.01)),
        r"step 1, optimizer \(sgd\), update of out.weight \(parameter\)",
        "r: lr = 0.01 where it is 0.1",
    ),
    "weight decay": (
        Program(optimiser=lambda parameters: sgd(parameters, weight_decay=0.01)),
        r"step 1, optimizer \(sgd\), update of out.weight \(momentum_buffer\)",
        "r: weight_decay = 0.01 where it is 0",
    ),
    "reduction": (
        Program(loss=lambda x, y: F.cross_entropy(x, y, reduction="sum")),
        r"step 1, cross_entropy_loss \(cross_entropy_loss\), forward",
        "r: reduction = sum where it is mean",
    ),
}


@pytest.mark.parametrize("name", UNDECLARED)
def test_what_is_not_declared_is_found_by_computing_again(pair, name):
    program, place, words = UNDECLARED[name]
    pair(Program(), program)
    right, wrong = ProgramTrace.load("python"), ProgramTrace.load("r")
    wrong.networks = right.networks
    wrong.steps = [replace(step, optimiser=right.steps[0].optimiser) for step in wrong.steps]
    wrong.save(Path("r"))
    for sides in (("python", "r"), ("r", "python")):
        found = compare_programs(*sides)
        assert re.fullmatch(place, found.first.place)
        assert found.first.wrong == "r"
        assert found.first.words == (words,)


class InOtherStages(Classifier):
    """The same network, written in other functions."""

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.maximum(torch.add(self.second(x), x), torch.zeros_like(x))
        x = self.drop(self.pool(x))
        x = x.permute(1, 2, 3, 0).permute(3, 0, 1, 2).flatten(1)
        hidden = F.linear(x, self.hidden.weight) + self.hidden.bias
        return self.out(hidden.clamp(min=0))


def in_other_stages(x, y):
    return -F.log_softmax(x, 1)[torch.arange(len(y)), y].sum() / len(y)


@pytest.mark.parametrize("optimiser", [sgd, adam])
def test_the_same_in_other_stages(pair, optimiser):
    """Also where the two have drifted apart: one side's stages are computed for the other's
    values."""
    other = Program(
        network=InOtherStages, loss=in_other_stages, optimiser=optimiser, steps=8, **FLOAT64
    )
    pair(Program(optimiser=optimiser, steps=8), other)
    for sides in (("python", "r"), ("r", "python")):
        found = compare_programs(*sides)
        assert found.agrees, found.verdict
        assert found.networks[0].only[0]
        assert found.networks[0].only[1]


def test_a_mistake_in_other_stages(pair):
    def batch_mean(x, y):
        return in_other_stages(x, y) * len(y) / (len(y) - 1)

    found = compare_programs(*pair(Program(), Program(network=InOtherStages, loss=batch_mean)))
    assert found.first.place == "step 1, loss"
    assert re.match("only python has cross_entropy_loss", found.first.words[0])


def test_another_libtorch_is_mentioned_where_there_is_a_batch_norm(pair):
    pair(*CLEAN["another order of sums"])
    for folder, version in (("python", "2.13.0"), ("r", "2.8.0")):
        trace = ProgramTrace.load(folder)
        trace.environment["libtorch"] = version
        trace.save(Path(folder))
    (note,) = compare_programs("python", "r", exact=True).notes
    assert note.startswith("libtorch: 2.13.0 against 2.8.0; another LibTorch may round otherwise")
    for folder in ("python", "r"):
        trace = ProgramTrace.load(folder)
        trace.networks = [
            tuple(replace(one, layer=one.layer.replace("batch_norm", "mine")) for one in network)
            for network in trace.networks
        ]
        trace.save(Path(folder))
    assert compare_programs("python", "r", exact=True).notes == []


def test_what_is_computed_without_gradients_is_held_to_the_rule_of_what_is_computed(pair):
    """A teacher's output is no input from outside: it rounds as everything does."""
    pair(Program(), Program(batch=lambda step, x, y: (x * (1 + 3e-5), y)))
    assert compare_programs("python", "r").first.judged.quantity.passing == "input"
    trace = ProgramTrace.load("r")
    trace.networks = [
        tuple(
            replace(one, options={"without_gradients": True}) if one.name == "input" else one
            for one in network
        )
        for network in trace.networks
    ]
    trace.save(Path("r"))
    found = compare_programs("python", "r")
    judged = [one for one in found.judged if one.quantity.key == "forward/input"]
    assert {one.verdict for one in judged} == {"within"}
