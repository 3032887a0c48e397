"""Which stage is which: by name, and by order, layer and shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.ports.matching.matched import matched_outputs
from comparisons.ports.matching.stages import match_stages
from comparisons.ports.side import RecordedStep, Side
from pyvae.trace.program import ProgramStage, ProgramStep, ProgramTrace

SAME = (("a", "linear", 3), ("relu", "relu", 3), ("b", "linear", 2))
LAYERS = ("linear", "relu", "add", "view", "conv2d")


def network(*stages):
    """A step of stages, each (name, layer, size of its output)."""
    made = tuple(ProgramStage(name, layer) for name, layer, _ in stages)
    arrays = {f"forward/{name}": np.zeros(size) for name, _, size in stages}
    return RecordedStep(Side("side", ProgramTrace("any")), ProgramStep(1), made, arrays)


def counted(layers):
    """Functions in the order of their calls, named as recorders do."""
    count: dict[str, int] = {}
    for layer, size in layers:
        count[layer] = count.get(layer, 0) + 1
        yield (layer if count[layer] == 1 else f"{layer}#{count[layer]}", layer, size)


calls = st.lists(st.tuples(st.sampled_from(LAYERS), st.integers(1, 3)), max_size=25)


def found(a, b, names=None):
    return {(pair.a.name, pair.b.name) for pair in match_stages(a, b, names).pairs}


@given(calls)
def test_a_network_is_itself(layers):
    one = network(*counted(layers))
    match = match_stages(one, one)
    assert [(pair.a.name, pair.b.name) for pair in match.pairs] == [
        (s.name, s.name) for s in one.network
    ]
    assert match.only == ((), ())


@given(calls, st.data())
def test_what_is_left_out_moves_nothing_else(layers, data):
    """The longest common subsequence: as many stages are matched as there can be, in their order,
    each with one of its layer and shape."""
    kept = data.draw(st.lists(st.booleans(), min_size=len(layers), max_size=len(layers)))
    some = [layer for layer, keep in zip(layers, kept, strict=True) if keep]
    a, b = network(*counted(layers)), network(*counted(some))
    match = match_stages(a, b)
    assert len(match.pairs) == len(some)
    assert not match.only[1]
    places = [b.network.index(pair.b) for pair in match.pairs]
    assert places == sorted(places)
    for pair in match.pairs:
        assert pair.a.layer == pair.b.layer
        shapes = [s.arrays[f"forward/{one.name}"].shape for s, one in ((a, pair.a), (b, pair.b))]
        assert shapes[0] == shapes[1]


@given(st.permutations(["encoder", "mu", "log_var", "decoder", "out"]))
def test_modules_of_one_name_belong_together_in_any_order(order):
    names = ["encoder", "mu", "log_var", "decoder", "out"]
    a = network(*((name, "linear", 4) for name in names))
    b = network(*((name, "linear", 4) for name in order))
    assert found(a, b) == {(name, name) for name in names}


@pytest.mark.parametrize("evaluates", ["before", "after"])
@pytest.mark.parametrize("other_way", [False, True])
def test_where_one_side_evaluates_too_calls_of_one_mode_belong_together(evaluates, other_way):
    once = network(*SAME)
    names = [(f"{name}{n}", layer, size) for n in ("", "#2") for name, layer, size in SAME]
    twice = network(*names)
    modes = (False, True) if evaluates == "before" else (True, False)
    stages = tuple(
        replace(stage, training=modes["#2" in stage.name]) for stage in twice.network
    )  # fmt: skip
    twice = replace(twice, network=stages)
    trained = "#2" if evaluates == "before" else ""
    expected = {(name, f"{name}{trained}") for name, *_ in SAME}
    if other_way:
        assert found(twice, once) == {(two, one) for one, two in expected}
    else:
        assert found(once, twice) == expected


def test_names_do_not_outweigh_shapes():
    a = network(*counted([("add", 1), ("add", 2), ("add", 2), ("add", 2)]))
    b = network(*counted(3 * [("add", 2)]))
    assert found(a, b) == {("add#2", "add"), ("add#3", "add#2"), ("add#4", "add#3")}


def test_the_second_relu_is_missing():
    """The third, which is called the second there, is not taken for it."""
    a = network(
        ("c1", "conv2d", 4), ("relu", "relu", 4), ("c2", "conv2d", 4), ("relu#2", "relu", 4),
        ("c3", "conv2d", 4), ("relu#3", "relu", 4),
    )  # fmt: skip
    b = network(
        ("c1", "conv2d", 4), ("relu", "relu", 4), ("c2", "conv2d", 4), ("c3", "conv2d", 4),
        ("relu#2", "relu", 4),
    )  # fmt: skip
    match = match_stages(a, b)
    assert ("relu#3", "relu#2") in found(a, b)
    assert [stage.name for stage in match.only[0]] == ["relu#2"]


def test_other_names_are_found_by_order_layer_and_shape():
    a = network(("features.0", "conv2d", 8), ("features.1", "batch_norm2d", 8), ("fc", "linear", 3))
    b = network(("conv", "conv2d", 8), ("bn", "batch_norm", 8), ("dense", "linear", 3))
    match = match_stages(a, b)
    assert found(a, b) == {("features.0", "conv"), ("features.1", "bn"), ("fc", "dense")}
    assert {pair.how for pair in match.pairs} == {"order"}


def test_a_map_decides():
    a = network(("x", "linear", 3), ("y", "linear", 3))
    b = network(("p", "linear", 3), ("q", "linear", 3))
    assert found(a, b) == {("x", "p"), ("y", "q")}
    assert found(a, b, {"x": "q", "y": "p"}) == {("x", "q"), ("y", "p")}
    assert found(a, b, {"x": "q"}) == {("x", "q")}


def test_a_module_whose_layer_is_another_one_is_still_that_module():
    a = network(("fc", "linear", 4), ("act", "relu", 4), ("out", "linear", 2))
    b = network(("fc", "linear", 4), ("act", "gelu", 4), ("out", "linear", 2))
    assert ("act", "act") in found(a, b)


@pytest.mark.parametrize("layer", ["linear", "lstm"])
def test_outputs_of_a_module_are_matched_by_their_place(layer):
    a = network(("rnn", layer, 4))
    pair = match_stages(a, a).pairs[0]
    assert list(matched_outputs(pair)) == [("rnn", "rnn")]
    several = ProgramStage("rnn", "lstm", outputs=("rnn.0", "rnn.1.0", "rnn.1.1"))
    other = ProgramStage("layer", "lstm", outputs=("layer.0", "layer.1.0"))
    one, two = (
        RecordedStep(Side("side", ProgramTrace("any")), ProgramStep(1), (stage,), {})
        for stage in (several, other)
    )
    pair = match_stages(one, two).pairs[0]
    assert list(matched_outputs(pair)) == [("rnn.0", "layer.0"), ("rnn.1.0", "layer.1.0")]


def test_inputs_are_known_by_their_numbers():
    """In whatever order they are used, and if one side draws what the other is given."""
    a = network(("input", "input", 4), ("input#2", "input", 4), ("randint", "draw", 4))
    b = network(("input", "input", 4), ("input#2", "input", 4), ("input#3", "input", 4))
    for step, names in ((a, ("input", "input#2", "randint")), (b, ("input#3", "input", "input#2"))):
        for number, name in enumerate(names):
            step.arrays[f"forward/{name}"][:] = number
    assert found(a, b) == {("input", "input#3"), ("input#2", "input"), ("randint", "input#2")}


def test_masks_of_r_are_those_of_python():
    """R's `&`, `|` and `!` are logical functions, Python's `&`, `|` and `~` bitwise ones."""
    python = network(("gt", "gt", 4), ("bitwise_not", "bitwise_not", 4))
    r = network(("gt", "gt", 4), ("logical_not", "logical_not", 4))
    assert ("bitwise_not", "logical_not") in found(python, r)


def test_inputs_of_the_same_numbers_by_who_returned_and_who_takes_them():
    """A function of the program's own that hands back another gradient returns what it is given; a
    mask may be what another mask is."""

    def side(*inputs):
        """Inputs, each with the function that returned it and the stage that takes it."""
        given = [
            ProgramStage(f"input#{at}", "input", options={"grad_fn": function} if function else {})
            for at, (function, _) in enumerate(inputs)
        ]
        takers = [
            ProgramStage(taker, "linear", (one.name,))
            for one, (_, taker) in zip(given, inputs, strict=True)
        ]
        arrays = {f"forward/{stage.name}": np.ones(3) for stage in (*given, *takers)}
        return RecordedStep(
            Side("side", ProgramTrace("any")), ProgramStep(1), (*given, *takers), arrays
        )

    one = side(("ReverseBackward", "domain"), ("", "mask"))
    other = side(("RoundBackward", "class"), ("", "mask"), ("ReverseBackward", "domain"))
    assert {("input#0", "input#2"), ("input#1", "input#1")} <= found(one, other)
    one, other = side(("", "first"), ("", "second")), side(("", "second"), ("", "first"))
    assert {("input#0", "input#1"), ("input#1", "input#0")} <= found(one, other)
