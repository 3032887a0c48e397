"""Runs of two engines, or of one that is looked into or goes on: are they the same, or close?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alike.arrays import equal, same
from pyvae.model.run import Run
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train

__all__ = [
    "assert_being_looked_into_changes_nothing",
    "assert_close",
    "assert_goes_on",
    "assert_probes_alike",
    "assert_same_bits",
    "assert_same_run",
    "go_through",
]


def go_through(engine, conv, run, data, probed=()):
    """A run step by step: its trace, the probes, and where the generator stood after each step and
    at the end."""
    probes: dict = {step: {} for step in probed}
    stood = []
    trace = train(
        Run(conv, run, data), engine, probe=probes.get,
        callbacks=[lambda progress: stood.append(engine.generator_state())],
    )  # fmt: skip
    return trace, probes, [*stood, engine.generator_state()]


def assert_close(one, two, scale=1.0):
    """Two traces, to the rounding of float64."""
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-13 * scale)
    assert one.parameters.keys() == two.parameters.keys()
    for name, value in two.parameters.items():
        assert one.parameters[name].shape == value.shape
        np.testing.assert_allclose(one.parameters[name], value, atol=1e-10 * scale)
    for mode in ("training", "evaluation"):
        np.testing.assert_allclose(
            one.latent_means[mode], two.latent_means[mode], atol=1e-11 * scale
        )
    np.testing.assert_allclose(one.samples, two.samples, atol=1e-11 * scale)


def assert_same_run(one, two):
    """Two traces of complete runs, to the bit."""
    assert equal(one.losses, two.losses)
    assert equal(one.epochs, two.epochs)
    assert same(one.parameters, two.parameters)
    assert same(one.latent_means, two.latent_means)
    assert equal(one.samples, two.samples)
    assert one.complete
    assert (one.settings, one.environment) == (two.settings, two.environment)


def assert_same_bits(found, expected):
    """Two dicts of arrays; R's are float64, whatever the run's precision was."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].shape == value.shape, key
        assert np.array_equal(found[key], value.astype(np.float64)), key


def assert_probes_alike(found, expected, tolerance=1e-12):
    """The same entries, but for the draws that PyTorch's engine puts there, and close."""
    assert found.keys() == {key for key in expected if not key.startswith("draw/")}
    for key, value in found.items():
        assert value.shape == expected[key].shape, key
        # see test_every_stage_agrees_with_pytorchs
        allowed = max(1e-9, tolerance) if key.startswith("parameter/") else tolerance
        difference = np.abs(value - expected[key]).max()
        assert difference <= allowed * np.abs(expected[key]).max(), key


def assert_being_looked_into_changes_nothing(engine, conv, run, data):
    plain, _, stood = go_through(engine, conv, run, data)
    probed, _, stood_too = go_through(engine, conv, run, data, probed=(1, 2, 3))
    assert plain.losses.tobytes() == probed.losses.tobytes()
    assert same(plain.parameters, probed.parameters)
    assert np.array_equal(stood, stood_too)


def assert_goes_on(engine, conv, run, data):
    """From after the third of five steps: in the middle of the second epoch."""
    kept = []

    def observe(progress):
        if progress.step == 3:
            kept.append((progress.checkpoint(), progress.trace.losses.copy()))

    whole = train(Run(conv, run, data), engine, callbacks=[observe])
    checkpoint, losses = kept[0]
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.generator is None) == (run.rng == "injected")
    train(Run(conv, replace(run, seed=99), data), engine)  # another run in between
    rest = train(Run(conv, run, data), engine, resume=checkpoint)
    assert np.array_equal(np.concatenate([losses, rest.losses]), whole.losses)
    assert same(rest.parameters, whole.parameters)
    assert same(rest.latent_means, whole.latent_means)
    assert np.array_equal(rest.samples, whole.samples)
