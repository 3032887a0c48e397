"""Layers that Keras computes step by step, put together from calls as they are recorded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pyvae.recording.keras.bidirectional import bidirectional
from pyvae.recording.keras.channels import returned
from pyvae.recording.keras.kernels import constant
from pyvae.recording.keras.layer_calls import LayerCalls
from pyvae.recording.keras.recurrent import recurrent
from pyvae.recording.seen.values import Call

BATCH, TIME, INPUTS, UNITS = 2, 3, 4, 5
random = np.random.default_rng(1)
W, U = random.normal(size=(INPUTS, UNITS)), random.normal(size=(UNITS, UNITS))
X = random.normal(size=(BATCH, TIME, INPUTS))
STEPS = (1, 0, 2)


def of_keras(kind, /, **attributes):
    """A layer of a class that Keras has."""
    return type(kind, (), {"__module__": "keras.src.layers"} | attributes)()


def cell(**other):
    plain = {"name": "cell", "units": UNITS, "use_bias": False, "activation": np.tanh}
    no_drops = {"dropout": 0.0, "recurrent_dropout": 0.0}
    return SimpleNamespace(**plain | no_drops | other)


def simple_rnn(backwards=False, sequences=True, **other):
    settings = {"return_state": False, "stateful": False, "cell": cell()} | other
    return of_keras("SimpleRNN", go_backwards=backwards, return_sequences=sequences, **settings)


class Calls(list):
    """Calls as Keras makes them."""

    def add(self, layer, inputs, array, **options):
        self.append(Call(f"r.{layer}", layer, list(inputs), {}, options))
        return constant(array, self[-1])

    def steps(self, x, start, path="r", backwards=False):
        """What a layer computes of a sequence."""
        array = x.array.transpose(STEPS)
        first = self.add("permute", [x], array, dims=list(STEPS))
        if backwards:
            first = self.add("flip", [first], array[::-1], dims=[0])
        states, h = [], start
        for step in first.array:
            product = self.add("matmul", [first, f"{path}.cell.kernel"], step @ W)
            over = self.add("matmul", [h, f"{path}.cell.recurrent_kernel"], h.array @ U)
            total = self.add("add", [product, over], product.array + over.array)
            h = self.add("tanh", [total], np.tanh(total.array))
            states.append(h)
        stack = self.add("stack", states, np.stack([one.array for one in states]), dim=0)
        self.add("index", [stack], stack.array[-1], index=[-1])
        return self.add("permute", [stack], stack.array.transpose(STEPS), dims=list(STEPS))


def given(array, layer="input"):
    return constant(array, Call(layer, layer))


def folded(layer, start=None, more=()):
    calls = Calls()
    out = calls.steps(
        given(X), start or given(np.zeros((BATCH, UNITS))), backwards=layer.go_backwards
    )
    calls += more
    arrays = {"start/r.cell.kernel": W, "start/r.cell.recurrent_kernel": U}
    return recurrent(LayerCalls(layer, "r", calls, {}, arrays)), out


def expected(x):
    h, found = np.zeros((BATCH, UNITS)), []
    for step in x.transpose(STEPS):
        h = np.tanh(step @ W + h @ U)
        found.append(h)
    return np.stack(found, 1)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_sequence(backwards):
    found, out = folded(simple_rnn(backwards))
    assert [call.layer for call in found] == ["flip", "rnn"][1 - backwards :]
    x = found[-1].inputs[0]
    assert np.array_equal(x.array, X[:, ::-1] if backwards else X)
    assert returned(found[-1]) is out
    assert np.allclose(out.array, expected(x.array))
    assert found[-1].options["input_size"] == INPUTS


def test_the_last_state_is_taken_of_all():
    found, _ = folded(simple_rnn(sequences=False))
    assert [call.layer for call in found] == ["rnn", "index"]
    whole, last = returned(found[0]), returned(found[1])
    assert np.allclose(whole.array, expected(X))
    assert np.array_equal(last.array, whole.array[:, -1])
    assert whole.gradient() is None
    last.gradients.append(np.ones((BATCH, UNITS)))
    assert np.array_equal(whole.gradient()[:, -1], last.gradient())
    assert not whole.gradient()[:, :-1].any()


STAYS = {
    "a state that is given": {"start": given(np.ones((BATCH, UNITS)))},
    "a state that is computed": {"start": given(np.zeros((BATCH, UNITS)), "linear")},
    "a mask": {"more": [Call("r.where", "where")]},
    "dropout": {"layer": simple_rnn(cell=cell(dropout=0.1))},
    "another activation": {"layer": simple_rnn(cell=cell(activation=np.sin))},
    "states that are returned": {"layer": simple_rnn(return_state=True)},
    "a layer of the program's": {"layer": type("SimpleRNN", (), vars(type(simple_rnn())) | {
        "__module__": "train"})()},
}  # fmt: skip


@pytest.mark.parametrize("name", STAYS)
def test_what_pytorch_has_not_stays(name):
    found, _ = folded(**{"layer": simple_rnn()} | STAYS[name])
    assert found is None


def both(sequences, merge="concat", end="cat"):
    """A bidirectional layer, and the calls that are left of it."""
    halves = [simple_rnn(way, sequences, name=name) for way, name in ((False, "f"), (True, "b"))]
    layer = of_keras(
        "Bidirectional", forward_layer=halves[0], backward_layer=halves[1], merge_mode=merge,
        return_sequences=sequences,
    )  # fmt: skip
    x, calls, outs = given(X), Calls(), []
    for half in halves:
        path = f"r.{half.name}"
        own = Calls()
        zeros = given(np.zeros((BATCH, UNITS)))
        own.steps(x, zeros, path, half.go_backwards)
        arrays = {f"start/{path}.cell.kernel": W, f"start/{path}.cell.recurrent_kernel": U}
        calls += recurrent(LayerCalls(half, path, own, {}, arrays))
        outs.append(returned(calls[-1]))
    if sequences:
        outs[1] = calls.add("flip", outs[1:], outs[1].array[:, ::-1], dims=[1])
    made = {"cat": lambda a, b: np.concatenate([a, b], -1), "add": np.add}[end]
    out = calls.add(end, outs, made(outs[0].array, outs[1].array), dim=-1)
    return bidirectional(LayerCalls(layer, "r", calls, {}, {})), outs, out


def whole():
    return np.concatenate([expected(X), expected(X[:, ::-1])[:, ::-1]], -1)


def test_both_directions_side_by_side():
    found, _, out = both(sequences=True)
    (stage,) = found
    assert stage.layer == "rnn"
    assert stage.options["bidirectional"]
    assert stage.roles["weight_ih_l0_reverse"] == "r.b.cell.kernel"
    assert returned(stage) is out
    assert np.allclose(out.array, whole())


@pytest.mark.parametrize("sequences", [False, True])
def test_what_is_made_of_both_directions_comes_after_them(sequences):
    found, parts, out = both(sequences, "sum" if sequences else "concat", "add")
    assert [call.layer for call in found] == ["rnn", "index", "index", "add"]
    first, *index, last = found
    assert np.allclose(returned(first).array, whole())
    assert returned(last) is out
    for call, part, at in zip(index, parts, (-1, 0), strict=True):
        where = call.options["index"]
        assert returned(call) is part
        side = slice(None, UNITS) if where[-1] == f":{UNITS}" else slice(UNITS, None)
        taken = whole()[..., side] if sequences else whole()[:, at, side]
        assert np.allclose(part.array, taken)
        part.gradients.append(np.full_like(part.array, 2.0 + at))
    gradient = returned(first).gradient()
    assert gradient[:, -1, 0].tolist() == [1.0] * BATCH
    assert gradient[:, 0, -1].tolist() == [2.0] * BATCH
    assert bool(gradient[:, 1:-1].any()) == sequences
