"""What a run starts from in place of initial parameters."""

from __future__ import annotations

import numpy as np
import pytest

from pyvae.errors import UserError
from pyvae.model.start import INITIAL, Start, start_name
from pyvae.recipes import get_recipe


@pytest.fixture
def parameters(conv):
    made = conv.initial_parameters(5, 4)
    return {name: value.numpy() for name, value in made.items()}


def test_its_state_has_the_precision_of_the_run_and_moments_of_zero(parameters):
    state = Start("trained", "a state", parameters).state("float64")
    assert state.pop("step") == 0
    assert {key.partition("/")[0] for key in state} == {"parameter", "moment1", "moment2"}
    assert {value.dtype for value in state.values()} == {np.dtype("float64")}
    for name, value in parameters.items():
        assert np.array_equal(state[f"parameter/{name}"], value)
        assert not state[f"moment1/{name}"].any()
        assert state[f"moment2/{name}"].shape == value.shape


def test_moments_and_their_steps_are_handed_on(parameters):
    moments = {f"{kind}/{name}": value + 1 for name, value in parameters.items()
               for kind in ("moment1", "moment2")}  # fmt: skip
    start = Start("run", "a run", parameters, moments, 7)
    state = start.state("float32")
    assert state["step"] == 7
    assert all(np.array_equal(state[key], value) for key, value in moments.items())
    assert start.describe()["taken"] == 7


def test_running_statistics_are_buffers():
    recipe = get_recipe("mlp")
    parameters = {k: v.numpy() for k, v in recipe.initial_parameters(1, 3).items()}
    state = Start("run", "a run", parameters).state("float64")
    buffers = recipe.buffer_names(3)
    assert buffers
    assert {key for key in state if key.startswith("buffer/")} == {f"buffer/{n}" for n in buffers}


def test_its_checksum_is_that_of_the_numbers_alone(parameters):
    one = Start("trained", "a state", parameters)
    assert one.sha256 == Start("run", "another title", dict(parameters)).sha256
    moved = parameters | {"decoder.fc1.bias": parameters["decoder.fc1.bias"] + 1}
    assert one.sha256 != Start("trained", "a state", moved).sha256
    assert one.sha256 != Start("trained", "a state", parameters, taken=1).sha256
    assert (start_name(one.describe()), start_name({})) == ("trained", INITIAL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.pop("encoder.fc1.bias"), "the recipe has encoder.fc1.bias, it does not"),
        (lambda p: p.update(odd=np.zeros(2)), "it has odd, the recipe does not"),
        (
            lambda p: p.update({"decoder.fc1.bias": np.zeros(3)}),
            r"decoder.fc1.bias has shape \(3,\) where the recipe has \(128,\)",
        ),
        (
            lambda p: p.update({"decoder.fc1.bias": np.full(128, np.nan)}),
            "decoder.fc1.bias has numbers that are not finite",
        ),
    ],
)
def test_parameters_of_another_network_are_refused(conv, parameters, change, said):
    settings = conv.settings(latent_dim=4)
    Start("run", "a run", parameters).check(conv, settings)
    change(parameters)
    with pytest.raises(UserError, match=said):
        Start("run", "a run", parameters).check(conv, settings)
