"""A run goes on with the kernels, and so with the bits, that it began with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.kernels import as_begun, kept_kernels
from pyvae.runs.train import train_into
from pyvae.runs.verify import verify_trace
from pyvae.trace.trace import Trace


@pytest.fixture
def run(digits):
    """A run of so many steps, of which fast kernels change the bits."""

    def make(steps):
        recipe = get_recipe("strided-conv")
        return Run(recipe, recipe.settings(batch_size=7, steps=steps, dtype="float32"), digits)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["torch", "fast"])
def test_a_run_is_made_longer_with_the_kernels_it_began_with(run, tmp_path, kernels):
    train_into(tmp_path / "run", run(2), PyTorchEngine("cpu", kernels=kernels))
    place = tmp_path / "run" / "elbo"
    assert kept_kernels(place) == kernels
    for engine in (PyTorchEngine("cpu"), PyTorchEngine("cpu", kernels="torch")):
        chosen = engine.kernels
        (longer,) = train_into(tmp_path / "run", run(3), engine)
        assert engine.kernels == chosen
    (whole,) = train_into(tmp_path / "whole", run(3), PyTorchEngine("cpu", kernels=kernels))
    assert longer.environment == whole.environment
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(longer.parameters[name], value)
    other = PyTorchEngine("cpu", kernels={"torch": "fast", "fast": "torch"}[kernels])
    again = [
        verify_trace(Trace.load(place), engine, run(3).data, 3).same
        for engine in (PyTorchEngine("cpu", kernels=kernels), other)
    ]
    assert again == [True, False]


def test_a_run_in_place_of_another_has_the_kernels_that_are_asked_for(run, tmp_path):
    train_into(tmp_path, run(1), PyTorchEngine("cpu", kernels="torch"))
    (trace,) = train_into(tmp_path, run(1), PyTorchEngine("cpu"), overwrite=True)
    assert trace.environment["kernels"] == kept_kernels(tmp_path / "elbo") == "fast"


def test_what_cannot_be_read_says_nothing(run, tmp_path):
    assert kept_kernels(tmp_path) is None
    (tmp_path / "trace.json").write_text("{}")
    assert kept_kernels(tmp_path) is None
    train_into(tmp_path / "run", run(1), PyTorchEngine("cpu"))
    place = tmp_path / "run" / "elbo"
    for path in place.glob("checkpoint-*"):
        path.unlink()
    assert kept_kernels(place) == "fast"
    about = json.loads((place / "trace.json").read_text())
    for changed in ({"kernels": "unheard of"}, {"kernels": ["fast"]}):
        about["environment"] |= changed
        (place / "trace.json").write_text(json.dumps(about))
        assert kept_kernels(place) is None
    about["format"] = 99  # of a newer pyvae
    (place / "trace.json").write_text(json.dumps(about))
    assert kept_kernels(place) is None
    with pytest.raises(UserError, match="format"):
        Trace.load(place)


def test_an_engine_without_a_choice_is_left_alone(run, tmp_path):
    train_into(tmp_path, run(1), PyTorchEngine("cpu"))
    engine = object()
    with as_begun(engine, [tmp_path / "elbo"]):
        assert not hasattr(engine, "kernels")
