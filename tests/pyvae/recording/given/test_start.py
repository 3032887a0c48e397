"""A model that starts from another trace's parameters and buffers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded.programs import PROGRAMS, cnn, mlp
from torch import nn

from pyvae.errors import UserError
from pyvae.recording.record import record
from pyvae.trace.program import ProgramParameter, ProgramStep, ProgramTrace


@pytest.mark.parametrize("name", ["cnn", "transformer", "gan"])
def test_the_other_side_starts_alike_and_trains_alike(name, recorded, tmp_path):
    first = PROGRAMS[name]()
    torch.manual_seed(9)
    recorded(first, 2, "first")
    second = PROGRAMS[name]()
    with torch.no_grad():
        for value in second.network.state_dict().values():
            value.copy_(value * 3 + 1)
    torch.manual_seed(9)
    recorded(second, 2, "second", start=tmp_path / "first")
    assert second.losses == first.losses
    assert second.bits() == first.bits()


def write(folder, arrays=(), /, environment=(), engine="base-r", **more):
    """A trace with these values to start from, as another language writes it."""
    arrays = dict(arrays) | more
    trace = ProgramTrace(engine, networks=[()], environment=dict(environment))
    trace.parameters = [ProgramParameter(name, value.shape) for name, value in arrays.items()]
    started = {f"start/{name}": value for name, value in arrays.items()}
    trace.save_step(folder, ProgramStep(1), started)
    trace.save(folder)
    return folder


def begin(model, folder, **options):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    record(model, optimizer, folder, **options).cancel()


@pytest.mark.parametrize("turned", [False, True])
def test_a_map_says_what_parameters_are_called(tmp_path, turned):
    weight, bias = np.array([[1.5, 2.5]], np.float32), np.array([3.5], np.float64)
    theirs = write(tmp_path / "r", W=weight, bias=bias)
    rows = [("weight", "W"), ("something", "else")]
    lines = ["b,a" if turned else "a,b", *(",".join(row) for row in rows)]
    (tmp_path / "names.csv").write_text("\n".join(lines) + "\n")
    model = nn.Linear(2, 1)
    begin(model, tmp_path / "python", start=theirs, names=tmp_path / "names.csv")
    assert model.weight.tolist() == weight.tolist()
    assert model.bias.tolist() == bias.tolist()


def test_keras_names_are_known(tmp_path):
    """Its kernels stand in a trace in the order in which PyTorch keeps them."""
    weight, place = torch.randn(2, 2).numpy(), torch.randn(2, 3, 2, 2).numpy()
    of_keras = {
        "a.kernel": weight, "a.bias": weight[0], "c.kernel": place, "c.bias": weight[0],
        "n.gamma": weight[0], "n.beta": weight[1], "n.moving_mean": weight[0],
        "n.moving_variance": weight[1],
    }  # fmt: skip
    theirs = write(tmp_path / "keras", of_keras, environment={"keras": "3.4"})
    model = nn.ModuleDict({"b": nn.Linear(2, 2), "c": nn.Conv2d(3, 2, 2), "n": nn.BatchNorm1d(2)})
    (tmp_path / "names.csv").write_text("a,b\nb,a\n")
    begin(model, tmp_path / "python", start=theirs, names=tmp_path / "names.csv")
    assert torch.equal(model["b"].weight, torch.tensor(weight))
    assert torch.equal(model["c"].weight, torch.tensor(place))
    for name, row in (("weight", 0), ("bias", 1), ("running_mean", 0), ("running_var", 1)):
        assert torch.equal(getattr(model["n"], name), torch.tensor(weight[row]))


def test_names_that_say_nothing_are_taken_in_their_order(tmp_path, capsys):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    statistics = {"n.mean": weight[:, 1], "n.var": weight[:, 2]}
    arrays = {"w1": weight, "b1": weight[:, 0], "g": weight[:, 1], "b": weight[:, 2]} | statistics
    theirs = write(tmp_path / "r", arrays, engine="r-torch")
    trace = ProgramTrace.load(theirs)
    trace.parameters = [
        replace(one, kind="buffer" if one.name in statistics else "parameter")
        for one in trace.parameters
    ]
    trace.save(theirs)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    begin(model, tmp_path / "python", start=theirs)
    assert torch.equal(model[0].weight, torch.tensor(weight))
    assert model[1].running_var.tolist() == weight[:, 2].tolist()
    said = "in its order: 0.weight = w1, 0.bias = b1, 1.weight = g, 1.bias = b, 1.running_mean"
    assert said in capsys.readouterr().err
    begin(model, tmp_path / "quiet", start=theirs, quiet=True)
    assert "order" not in capsys.readouterr().err


def test_what_it_has_besides_is_listed(tmp_path):
    weight = np.ones((2, 3), np.float32)
    theirs = write(tmp_path / "r", {"w": weight, "v": weight}, engine="r-torch")
    with pytest.raises(UserError, match=r"no 'weight' to start from; .* besides: w 2x3, v 2x3"):
        begin(nn.Linear(3, 2), tmp_path / "python", start=theirs)


def test_names_of_keras_are_known_of_its_traces_alone(tmp_path):
    weight = np.eye(2, dtype=np.float32)
    theirs = write(tmp_path / "r", {"a.kernel": weight, "a.bias": weight[0]})
    with pytest.raises(UserError, match=r"has no 'a\.weight' to start from"):
        begin(nn.ModuleDict({"a": nn.Linear(2, 2)}), tmp_path / "python", start=theirs)


def test_one_number_may_have_another_shape(tmp_path):
    """R's torch counts batches in a tensor of shape (1)."""
    values = {name: value.numpy() for name, value in nn.BatchNorm1d(2).state_dict().items()}
    theirs = write(tmp_path / "r", **values | {"num_batches_tracked": np.array([4])})
    model = nn.BatchNorm1d(2)
    begin(model, tmp_path / "python", start=theirs)
    assert model.num_batches_tracked.item() == 4
    assert model.num_batches_tracked.shape == ()


def test_a_batch_norm_by_hand_counts_no_batches(tmp_path):
    values = {name: 1 + value.numpy() for name, value in nn.BatchNorm1d(2).state_dict().items()}
    values.pop("num_batches_tracked")
    theirs = write(tmp_path / "r", **values)
    model = nn.BatchNorm1d(2)
    begin(model, tmp_path / "python", start=theirs)
    assert model.running_var.tolist() == [2, 2]
    assert model.num_batches_tracked.item() == 0


def test_bad_starts_change_nothing(tmp_path):
    good, bad = np.ones((1, 2), np.float32), np.ones((2, 1), np.float32)
    cases = {
        "lacks": ({"weight": good}, "", "has no 'bias' to start from"),
        "shape": (
            {"weight": bad, "bias": np.ones(1, np.float32)}, "",
            r"'weight' has shape \(1, 2\), and \(2, 1\) in trace",
        ),
        "map": (
            {"weight": good, "bias": np.ones(1, np.float32)}, "a,b\nbias,c\n",
            "the map names 'c', which trace '.*' does not have",
        ),
        "columns": ({"weight": good}, "x,y\nbias,c\n", "map '.*' has no column a and no column b"),
    }  # fmt: skip
    for name, (arrays, names, message) in cases.items():
        theirs = write(tmp_path / name, **arrays)
        options = {"start": theirs}
        if names:
            (tmp_path / "names.csv").write_text(names)
            options["names"] = tmp_path / "names.csv"
        model = nn.Linear(2, 1)
        before = model.weight.tolist(), model.bias.tolist()
        with pytest.raises(UserError, match=message):
            begin(model, tmp_path / "python", **options)
        assert (model.weight.tolist(), model.bias.tolist()) == before
        assert not (tmp_path / "python").exists()


def test_a_cut_trace_is_said(recorded, tmp_path):
    recorded(mlp(), 2)
    (tmp_path / "trace" / "steps" / "step-000002.safetensors").unlink()
    with pytest.raises(UserError, match=r"is cut: step-000002.safetensors is missing"):
        begin(cnn().model, tmp_path / "python", start=tmp_path / "trace")
