"""Steps that are looked into, and that start from a state that is told."""

from __future__ import annotations

import numpy as np
import pytest
from alike.arrays import same
from stand_ins.recording_engines import ProbedEngine, RecordingEngine

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes.conv import CONV
from pyvae.training.loop import train

every_objective = pytest.mark.parametrize("objective", CONV.objectives)


def test_before_every_step_it_is_asked_where_to_start_and_whether_to_look(step_by_step):
    engine = ProbedEngine()
    states = {step: {"step": np.array(step - 1)} for step in (2, 3, 5)}
    probes = {step: {} for step in (1, 3, 6)}

    def state(step):
        engine.log.append(("asked for the state of", step))
        return states.get(step)

    def probe(step):
        engine.log.append(("asked for the probe of", step))
        return probes.get(step)

    running, _ = step_by_step(engine, probe, state, steps=6)
    for now in running:
        step = now.step
        log, engine.log = engine.log, []
        assert log[-1] == ("stepped", probes.get(step))
        assert log[-1][1] is probes.get(step)
        questions = {("asked for the state of", step), ("asked for the probe of", step)}
        assert {entry for entry in log[:-1] if entry[0].startswith("asked")} == questions
        restored = [entry[1] for entry in log if entry[0] == "restored"]
        assert restored == ([states[step]] if step in states else [])
        assert len(log) == 3 + len(restored)
    assert engine.log == []  # latent means and samples are no step
    assert probes == {step: {"step": step} for step in (1, 3, 6)}


def test_an_engine_that_is_not_looked_into_need_not_know_probes(step_by_step):
    running, trace = step_by_step(RecordingEngine(), probe=lambda step: None, steps=3)
    assert len(list(running)) == trace.steps == 3


@pytest.mark.slow
@every_objective
def test_a_run_that_is_looked_into_is_the_same_to_the_bit(digits, trained, objective):
    plain = trained[objective]
    probes = {1: {}, 3: {}}
    probed = train(Run(CONV, plain.settings, digits), PyTorchEngine("cpu"), probe=probes.get)
    assert np.array_equal(probed.losses, plain.losses)
    assert same(probed.parameters, plain.parameters)
    assert same(probed.latent_means, plain.latent_means)
    assert np.array_equal(probed.samples, plain.samples)
    for step, probe in probes.items():
        names = ("total", "reconstruction", "regulariser")
        assert [probe[f"forward/{name}"] for name in names] == plain.losses[step - 1].tolist()
    for name, value in plain.parameters.items():
        assert np.array_equal(probes[3][f"parameter/{name}"], value)


def test_a_run_from_its_own_states_is_the_same_to_the_bit(digits, trained):
    plain = trained["vae"]
    engine = PyTorchEngine("cpu")
    again = train(
        Run(CONV, plain.settings, digits), engine, state=lambda s: engine.state() if s > 1 else None
    )
    assert np.array_equal(again.losses, plain.losses)
    assert same(again.parameters, plain.parameters)


def test_a_step_starts_from_the_state_that_is_told(conv, settings, digits):
    """From the initial state every time: each step is as good as a first one on its batch."""
    engine = PyTorchEngine("cpu")
    wanted = settings(steps=3)
    engine.start(conv, wanted, conv.initial_parameters(wanted.seed, wanted.latent_dim))
    initial = engine.state()
    probes = {step: {} for step in (1, 2, 3)}
    train(
        Run(conv, wanted, digits),
        PyTorchEngine("cpu"),
        probe=probes.get,
        state=lambda step: initial,
    )
    for probe in probes.values():
        for name in conv.parameter_names(wanted.latent_dim):
            assert np.array_equal(probe[f"start/{name}"], initial[f"parameter/{name}"])
            gradient = probe[f"gradient/{name}"]
            np.testing.assert_allclose(probe[f"moment1/{name}"], 0.1 * gradient, rtol=1e-12)
    assert probes[1]["forward/total"] != probes[2]["forward/total"]
