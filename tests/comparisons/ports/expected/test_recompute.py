import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_stage import randn, record_module
from torch import nn

from comparisons.ports.expected.recompute import expected_buffers, recompute
from comparisons.ports.expected.size import NO_LARGER
from comparisons.ports.expected.table import LAYERS
from pyvae.trace.program import ProgramStage

LINEAR = ProgramStage("fc", "linear", ("x",), {}, {"weight": "fc.weight", "bias": "fc.bias"})
ARRAYS = {
    "forward/x": randn(2, 3).numpy(),
    "start/fc.weight": randn(4, 3, seed=2).numpy(),
    "start/fc.bias": randn(4, seed=3).numpy(),
    "forward/fc": np.zeros((2, 4)),
    "gradient/fc": np.ones((2, 4)),
}


def test_a_stage_s_outputs_and_its_part_of_the_gradients():
    found = recompute(LINEAR, ARRAYS, 0)
    x, w, b = (ARRAYS[key] for key in ("forward/x", "start/fc.weight", "start/fc.bias"))
    np.testing.assert_allclose(found.outputs["fc"], x @ w.T + b, rtol=1e-14)
    np.testing.assert_allclose(found.gradients["x"], np.ones((2, 4)) @ w, rtol=1e-14)
    np.testing.assert_allclose(found.gradients["fc.weight"], np.ones((4, 2)) @ x, rtol=1e-14)
    np.testing.assert_allclose(found.gradients["fc.bias"], [2, 2, 2, 2], rtol=1e-14)
    assert found.outputs["fc"].dtype == torch.float64
    assert not found.outputs["fc"].requires_grad


@pytest.mark.parametrize("missing", ["forward/x", "start/fc.weight", "start/fc.bias"])
def test_without_a_value_that_it_needs_a_stage_is_not_recomputed(missing):
    arrays = {key: value for key, value in ARRAYS.items() if key != missing}
    assert recompute(LINEAR, arrays, 0) is None


def test_without_the_gradient_of_its_output_there_are_outputs_alone():
    arrays = {key: value for key, value in ARRAYS.items() if key != "gradient/fc"}
    found = recompute(LINEAR, arrays, 0)
    assert found.outputs.keys() == {"fc"}
    assert not found.gradients


@pytest.mark.parametrize(
    "stage",
    [
        ProgramStage("x", "input"),
        ProgramStage("noise", "draw", (), {"distribution": "randn"}),
        ProgramStage("fc", "layer_of_mine", ("x",)),
        ProgramStage("fc", "__class__", ("x",)),
        ProgramStage("fc", "load", ("x",)),
        replace(LINEAR, options={"surprise": 3}),
        replace(LINEAR, parameters={**LINEAR.parameters, "scale": "fc.bias"}),
        replace(LINEAR, inputs=("x", "x", "x")),
        replace(LINEAR, inputs=()),
        replace(LINEAR, outputs=("a", "b")),
        replace(LINEAR, inputs=("fc.bias",)),
    ],
    ids=str,
)
def test_what_does_not_follow_from_the_declaration_is_not_recomputed(stage):
    assert recompute(stage, ARRAYS, 0) is None


def test_an_option_that_is_none_or_off_has_no_effect():
    found = recompute(replace(LINEAR, options={"surprise": None, "loud": False}), ARRAYS, 0)
    assert found is not None


def test_a_parameter_may_be_what_a_stage_returned():
    """Weight normalisation computes the weight."""
    arrays = {**ARRAYS, "forward/fc.weight": np.ones((4, 3))}
    found = recompute(LINEAR, arrays, 0).outputs["fc"]
    by_hand = ARRAYS["forward/x"].sum(1, keepdims=True) + ARRAYS["start/fc.bias"]
    np.testing.assert_allclose(found, by_hand, rtol=1e-13)


LOSS = ProgramStage("loss", "mse_loss", ("x", "t"))


@pytest.mark.parametrize(
    ("total", "known"), [(1.0, True), (1.00001, True), (0.5, False), (np.nan, False), (None, False)]
)
def test_the_loss_s_own_gradient_is_one(total, known):
    arrays = {"forward/x": np.array([2.0, 3.0]), "forward/t": np.array([1.0, 2.0])}
    if total is not None:
        arrays["loss/total"] = np.array(total)
    found = recompute(LOSS, arrays, 0)
    np.testing.assert_array_equal(found.outputs["loss"], 1.0)
    assert bool(found.gradients) == known
    if known:
        np.testing.assert_array_equal(found.gradients["x"], [1.0, 1.0])


def test_half_precision_is_recomputed_from_what_was_recorded():
    arrays = {key: value.astype(np.float16) for key, value in ARRAYS.items()}
    found = recompute(LINEAR, arrays, 0).outputs["fc"]
    exact = {key: value.astype(np.float64) for key, value in arrays.items()}
    np.testing.assert_array_equal(found, recompute(LINEAR, exact, 0).outputs["fc"])


def test_an_output_whose_gradient_is_not_recorded_had_none():
    recorded = record_module(nn.LSTM(3, 4, dtype=torch.float64), "lstm", randn(5, 2, 3))
    arrays = {
        k: v for k, v in recorded.arrays.items() if k not in ("gradient/m.1.0", "gradient/m.1.1")
    }
    zeros = {f"gradient/m.1.{i}": np.zeros((1, 2, 4)) for i in (0, 1)}
    found, expected = (
        recompute(recorded.stage, arrays, 0),
        recompute(recorded.stage, {**arrays, **zeros}, 0),
    )
    for name, value in expected.gradients.items():
        np.testing.assert_array_equal(found.gradients[name], value)


def test_a_normalisation_that_is_called_twice_moves_its_buffers_twice():
    module = nn.BatchNorm1d(3, dtype=torch.float64)
    first, second = randn(5, 3), randn(7, 3, seed=2)
    start = {f"start/n.{name}": value.clone().numpy() for name, value in module.named_buffers()}
    module(first), module(second)
    roles = {role: f"n.{role}" for role, _ in module.named_buffers()}
    stages = [ProgramStage(name, "batch_norm1d", (x,), {}, roles)
              for name, x in (("n", "a"), ("n#2", "b"))]  # fmt: skip
    arrays = {**start, "forward/a": first.numpy(), "forward/b": second.numpy()}
    found = expected_buffers(stages, arrays)
    for name, value in module.named_buffers():
        np.testing.assert_allclose(found[f"n.{name}"], value, rtol=1e-14)
    assert len(found) == 3


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 4), st.floats(-2, 2),
    st.sampled_from(["mean", "same", float("nan"), float("inf")]),
    st.lists(st.integers(-2, 3), max_size=3),
)  # fmt: skip
VALUES = {
    "x": randn(2, 3, 4).numpy(), "row": randn(4).numpy(), "i": np.array([0, 2, 1]),
    "m": np.array([True, False, True]), "one": np.array(2.0), "none": np.zeros((0, 3)),
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=200)
@given(layer=st.sampled_from(sorted(LAYERS)), data=st.data())
def test_no_declaration_is_refused_with_an_error(layer, data):
    """A trace may come from anyone: whatever it declares is computed or left."""
    known = list(inspect.signature(LAYERS[layer]).parameters)
    names = st.sampled_from([*known, "surprise"])
    stage = ProgramStage(
        "s",
        layer,
        tuple(data.draw(st.lists(st.sampled_from([*VALUES]), max_size=4))),
        data.draw(st.dictionaries(names, ANY, max_size=4)),
        data.draw(st.dictionaries(names, st.sampled_from([*VALUES]), max_size=2)),
    )
    arrays = {f"forward/{name}": value for name, value in VALUES.items()}
    arrays["gradient/s"] = np.ones(data.draw(st.sampled_from([(2, 3, 4), (4,), ()])))
    found = recompute(stage, arrays, data.draw(st.integers(0, 1)))
    assert found is None or found.outputs
    if found is not None and layer in NO_LARGER:
        given = [arrays[f"forward/{one}"] for one in (*stage.inputs, *stage.parameters.values())]
        # an option may stand in the place of an input
        given += [np.array(one) for one in stage.options.values() if isinstance(one, list)]
        try:
            most = np.prod(np.broadcast_shapes(*(one.shape for one in given)))
        except ValueError:
            most = max(one.size for one in given)
        # a loss of nothing is a number, too
        assert max(one.numel() for one in found.outputs.values()) <= max(most, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_limits_of_a_type_are_no_whole_numbers(dtype):
    """As the entropy of a Categorical has them: no integer is as large."""
    least = float(np.finfo(dtype).min)
    stage = ProgramStage("clamp", "clamp", ("x",), {"min": least})
    x = np.array([-1.5, 2.0, -np.inf], dtype)
    found = recompute(stage, {"forward/x": x, "forward/clamp": x}, 0)
    np.testing.assert_array_equal(found.outputs["clamp"], [-1.5, 2.0, least])
