from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.one_update import recorded_updates

from comparisons.ports.expected.update import expected_update, state_before
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStep

BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-4}
PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
RATES = st.sampled_from([0.0, 0.01, 0.3])
FLAGS = st.booleans()
SETTINGS: Mapping[str, Any] = {
    "sgd": {"momentum": RATES, "dampening": RATES, "weight_decay": RATES, "maximize": FLAGS},
    "adam": {"betas": st.just([0.8, 0.99]), "eps": RATES, "weight_decay": RATES,
             "amsgrad": FLAGS, "maximize": FLAGS},
    "adamw": {"betas": st.just([0.8, 0.99]), "weight_decay": RATES, "amsgrad": FLAGS},
    "nadam": {"momentum_decay": RATES, "weight_decay": RATES, "decoupled_weight_decay": FLAGS},
    "radam": {"weight_decay": RATES, "decoupled_weight_decay": FLAGS},
    "adamax": {"weight_decay": RATES, "maximize": FLAGS},
    "rmsprop": {"alpha": st.just(0.9), "momentum": RATES, "centered": FLAGS,
                "weight_decay": RATES},
    "adagrad": {"lr_decay": RATES, "weight_decay": RATES, "initial_accumulator_value": RATES},
    "adadelta": {"rho": st.just(0.8), "weight_decay": RATES},
    "asgd": {"lambd": RATES, "alpha": RATES, "weight_decay": RATES, "t0": st.just(1.0)},
    "rprop": {"etas": st.just([0.4, 1.3]), "step_sizes": st.just([1e-3, 1.0])},
}  # fmt: skip


def residuals(steps: Any) -> Iterator[float]:
    """How far each parameter and state is from what is expected, relative to its largest."""
    before: dict[str, np.ndarray] = {}
    for step, arrays in steps:
        found = expected_update(step, arrays, before)
        assert {f"parameter/{name}" for name in found} == {k for k in arrays if "parameter/" in k}
        for name, update in found.items():
            expected = {f"state/{name}.{key}": value for key, value in update.state.items()}
            assert expected.keys() == {k for k in arrays if k.startswith(f"state/{name}.")}
            expected[f"parameter/{name}"] = update.parameter
            for key, value in expected.items():
                size = max(np.abs(arrays[key]).max(), 1e-300)
                yield np.abs(value.numpy() - arrays[key]).max() / size
        before = arrays


@PRECISIONS
@pytest.mark.parametrize("kind", SETTINGS)
@settings(max_examples=12)
@given(data=st.data())
def test_optimisers_do_what_pytorch_records(kind, dtype, data):
    chosen = {name: data.draw(values, name) for name, values in SETTINGS[kind].items()}
    if kind == "sgd" and chosen["momentum"] and not chosen["dampening"]:
        chosen["nesterov"] = data.draw(FLAGS)
    steps = recorded_updates(kind, {"lr": 0.05, **chosen}, dtype=dtype)
    assert max(residuals(steps)) <= BOUNDS[dtype]


@pytest.mark.parametrize("kind", ["ignite_sgd", "ignite_adam", "ignite_adamw", "ignite_rmsprop",
                                  "ignite_adagrad"])  # fmt: skip
def test_r_torch_s_names(kind):
    assert max(residuals(recorded_updates(kind, {"lr": 0.05}))) <= 1e-12


def adam_by_hand(steps: int, lr: float, beta1: float, beta2: float, eps: float) -> Iterator[Any]:
    """Kingma & Ba (2015), algorithm 1."""
    p, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        g = np.array([0.3 * t, -0.1])
        start = p
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        yield t, {"start/p": start, "gradient/p": g, "parameter/p": p,
                  "state/p.exp_avg": m, "state/p.exp_avg_sq": v,
                  "state/p.step": np.array(float(t))}  # fmt: skip


def one_group(kind: str, step: int = 1, **given_settings: Any) -> ProgramStep:
    group = OptimiserGroup(("p",), given_settings)
    return ProgramStep(step, 0, Optimiser("optimizer", kind, (group,)))


def test_adam_is_the_algorithm_of_the_paper():
    before: dict[str, np.ndarray] = {}
    for t, arrays in adam_by_hand(4, 0.1, 0.7, 0.9, 1e-3):
        step = one_group("adam", t, lr=0.1, betas=[0.7, 0.9], eps=1e-3)
        found = expected_update(step, arrays, before)["p"]
        np.testing.assert_allclose(found.parameter, arrays["parameter/p"], rtol=1e-14)
        np.testing.assert_allclose(found.state["exp_avg_sq"], arrays["state/p.exp_avg_sq"])
        assert found.state["step"] == t
        before = arrays


def test_sgd_is_its_formula():
    arrays = {"start/p": np.array([1.0]), "gradient/p": np.array([0.5]),
              "before/p.momentum_buffer": np.array([2.0])}  # fmt: skip
    step = one_group("sgd", 5, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.3)
    found = expected_update(step, arrays, {})["p"]
    buffer = 0.9 * 2 + (1 - 0.2) * (0.5 + 0.3 * 1)
    np.testing.assert_allclose(found.state["momentum_buffer"], [buffer], rtol=1e-15)
    np.testing.assert_allclose(found.parameter, [1 - 0.1 * buffer], rtol=1e-15)


def test_the_gradient_that_the_optimiser_got_comes_first():
    arrays = {"start/p": np.ones(2), "gradient/p": np.ones(2), "given/p": np.full(2, 0.5)}
    found = expected_update(one_group("sgd", lr=0.1), arrays, {})["p"]
    np.testing.assert_allclose(found.parameter, 1 - 0.1 * 0.5)


@pytest.mark.parametrize("prefix", ["", "state/", "before/"])
def test_the_state_before_may_be_given_in_three_ways(prefix):
    step = one_group("sgd", 2, lr=1.0, momentum=0.5)
    state = {f"{prefix}p.momentum_buffer": np.array([2.0])}
    arrays = {"start/p": np.array([1.0]), "gradient/p": np.array([0.0])}
    if prefix == "before/":
        arrays, state = {**arrays, **state}, {}
    np.testing.assert_allclose(expected_update(step, arrays, state)["p"].parameter, [0.0])


def test_groups_have_their_own_settings():
    groups = (OptimiserGroup(("a",), {"lr": 0.1}), OptimiserGroup(("b",), {"lr": 0.2}))
    step = ProgramStep(1, 0, Optimiser("optimizer", "sgd", groups))
    arrays = {f"{kind}/{name}": np.ones(1) for kind in ("start", "gradient") for name in "ab"}
    found = expected_update(step, arrays, {})
    assert [found[name].parameter.item() for name in "ab"] == [0.9, 0.8]


def test_a_frozen_parameter_is_left_out():
    step = ProgramStep(1, 0, Optimiser("o", "sgd", (OptimiserGroup(("a", "b"), {"lr": 0.1}),)))
    arrays = {"start/a": np.ones(1), "start/b": np.ones(1), "gradient/b": np.ones(1)}
    assert expected_update(step, arrays, {}).keys() == {"b"}


def test_a_state_that_was_not_recorded_is_not_guessed():
    step = one_group("adam", 7, lr=0.1)
    _, arrays = next(adam_by_hand(1, 0.1, 0.9, 0.999, 1e-8))
    assert expected_update(step, arrays, {}).keys() == {"p"}  # the state counts the first step
    arrays["state/p.step"] = np.array(7.0)
    assert state_before("p", step, arrays, {}) is None
    assert expected_update(step, arrays, {}) == {}


@pytest.mark.parametrize(
    ("kind", "given_settings"),
    [
        ("lbfgs", {"lr": 0.1}),
        ("sgd", {"lr": 0.1, "clip": 3.0}),
        ("adam", {"lr": 0.1, "decoupled_weight_decay": True, "surprise": True}),
        ("sgd", {"lr": "fast"}),
        ("sgd", {"lr": -1.0}),
        ("adam", {"lr": 0.1, "betas": 0.9}),
        ("sgd", {"lr": 0.1, "nesterov": True}),
    ],
)
def test_what_is_not_known_is_not_computed(kind, given_settings):
    arrays = {"start/p": np.ones(1), "gradient/p": np.ones(1)}
    assert expected_update(one_group(kind, **given_settings), arrays, {}) == {}


def test_shapes_that_do_not_go_together_are_not_computed():
    arrays = {"start/p": np.ones(2), "gradient/p": np.ones(3)}
    assert expected_update(one_group("sgd", lr=0.1), arrays, {}) == {}
    assert expected_update(ProgramStep(1), arrays, {}) == {}


def test_r_torch_s_names_of_settings_and_states():
    arrays = {"start/p": np.ones(1), "gradient/p": np.ones(1)}
    with_r_s_name = expected_update(one_group("asgd", lr=0.1, **{"lambda": 0.5}), arrays, {})
    with_pytorch_s = expected_update(one_group("asgd", lr=0.1, lambd=0.5), arrays, {})
    assert with_r_s_name["p"].parameter == with_pytorch_s["p"].parameter
    before = {f"p.{key}": np.array([4.0]) for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sqs")}
    step = one_group("adamw", 2, lr=0.1, amsgrad=True)
    found = expected_update(step, arrays, {**before, "p.step": np.array(1.0)})["p"]
    assert found.state["max_exp_avg_sqs"] == 4.0
    assert "max_exp_avg_sq" not in found.state


@pytest.mark.parametrize("kind", ["rmsprop", "adadelta", "rprop"])
def test_a_number_of_steps_that_changes_nothing_may_be_missing(kind):
    before: dict[str, np.ndarray] = {}
    for step, arrays in recorded_updates(kind, {"lr": 0.05}):
        kept = {key: value for key, value in arrays.items() if not key.endswith(".step")}
        found = expected_update(step, kept, before)
        for name, update in found.items():
            np.testing.assert_allclose(update.parameter, arrays[f"parameter/{name}"], rtol=1e-12)
        assert len(found) == 2
        before = kept


@pytest.mark.parametrize("kind", ["ignite_adamw", "ignite_rmsprop"])
def test_the_empty_states_of_r_torch_s_ignite_optimisers_are_none(kind):
    before: dict[str, np.ndarray] = {}
    for step, arrays in recorded_updates(kind, {"lr": 0.05}):
        for name in ("fc.weight", "fc.bias"):
            arrays[f"state/{name}.grad_avg"] = arrays[f"state/{name}.max_exp_avg_sq"] = np.zeros(0)
            arrays[f"state/{name}.step"] = np.array([step.step])  # an I64 of shape (1)
        found = expected_update(step, arrays, before)
        assert len(found) == 2
        for name, update in found.items():
            np.testing.assert_allclose(update.parameter, arrays[f"parameter/{name}"], rtol=1e-12)
        before = arrays
