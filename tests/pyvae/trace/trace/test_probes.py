"""Probes and states in a trace: what was saved, or the user's error."""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from alike.arrays import same
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from written_files.traces import cut, make_trace, save_probed

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

modest = hypothesis.settings(max_examples=25)
FINITE_OR_NOT = st.floats(allow_nan=True, width=32)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
probes = st.dictionaries(
    st.sampled_from(["forward/input", "forward/total", "gradient/a.b.weight", "moment1/ä"]),
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, shapes, elements=FINITE_OR_NOT)
    ),
)


@modest
@given(probes, st.integers(1, 2_000_000))
def test_probes_survive_saving_to_the_bit(probe, step):
    with tempfile.TemporaryDirectory() as folder:
        kept = {key: value.copy() for key, value in probe.items()}
        loaded = save_probed(Path(folder), {step: probe})
        assert loaded.probed == [step]
        assert same(loaded.probe(step), kept)


def test_probes_that_are_not_contiguous_survive_saving(tmp_path):
    array = np.random.default_rng(1).normal(size=(4, 3, 5))
    probe = {
        "transposed": array.transpose(2, 0, 1),
        "column-major": np.asfortranarray(array),
        "every second": array[::2, :, ::-1],
        "repeated": np.broadcast_to(array[0], (2, 3, 5)),
        "one number": np.array(0.1),
        "one float32": np.float32([0.1]).reshape(()),
    }
    loaded = save_probed(tmp_path, {1: probe}).probe(1)
    assert same(loaded, probe)
    assert loaded["one number"].shape == ()


def test_each_step_has_a_probe_of_its_own(probed):
    trace, seen = probed
    for step in (4, 2):
        assert same(trace.probe(step), seen[step])


def test_the_state_after_a_step_is_what_the_next_one_starts_from(probed):
    trace, seen = probed
    for step in (2, 4):
        state = trace.state_after(step)
        kinds = ("parameter", "moment1", "moment2")
        assert state.keys() == {"step", *(f"{kind}/encoder.fc1.bias" for kind in kinds)}
        assert state["step"].shape == ()
        assert state["step"] == step
        for key in state.keys() - {"step"}:
            assert state[key].tobytes() == seen[step][key].tobytes()


@pytest.mark.parametrize("step", [0, 1, 3, 5, 99])
@pytest.mark.parametrize("ask", [Trace.probe, Trace.state_after])
def test_a_step_that_was_not_probed_is_the_users_error(probed, ask, step):
    with pytest.raises(UserError, match=f"step {step} of the trace was not probed"):
        ask(probed[0], step)


def test_a_trace_that_is_not_on_disk_has_no_probes(tmp_path):
    trace = make_trace(np.ones((5, 3)))
    trace.save_probe(tmp_path, 1, {"forward/total": np.array(1.0)})
    with pytest.raises(UserError, match="step 1 of the trace was not probed"):
        trace.probe(1)


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_text("no numbers here"),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["cut short", "absent", "empty", "other bytes", "text", "a folder"],
)
@pytest.mark.parametrize("ask", [Trace.probe, Trace.state_after])
def test_a_spoiled_probe_is_the_users_error(probed, tmp_path, spoil, ask):
    trace, seen = probed
    spoil(tmp_path / "probes" / "step-000002.safetensors")
    with pytest.raises(UserError, match=r"step-000002.*cannot be read"):
        ask(trace, 2)
    assert same(trace.probe(4), seen[4])


def test_the_state_after_a_step_has_the_running_statistics(tmp_path, small, data_of):
    recipe, probe = get_recipe("mlp"), {}
    settings, data = small(recipe, steps=1), data_of(recipe)
    trace = train(Run(recipe, settings, data), PyTorchEngine("cpu"), probe=lambda step: probe)
    trace.save_probe(tmp_path, 1, probe)
    trace.save(tmp_path)
    state = Trace.load(tmp_path).state_after(1)
    for name in ("running_mean", "running_var"):
        found = state[f"buffer/encoder.bn1.{name}"]
        assert np.array_equal(found, trace.parameters[f"encoder.bn1.{name}"])
