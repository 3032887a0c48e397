"""Programs of Keras: recorded without a bit of change, and held against their ports. One test, as
Keras takes seconds to load."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from comparisons.ports.compare import compare_programs
from pyvae.trace.program import ProgramTrace

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="Keras is not installed"
)
PROGRAMS = Path(__file__).with_name("programs.py")
BIASED = r"towards the unbiased variance, where it is the biased \(Keras's way\)"
EXPECTED = {
    ("cnn", "right"): (r"buffer \(norm\.moving_variance\)", BIASED),
    ("loop", "right"): (r"norm \(batch_norm1d\), buffer \(norm\.moving_variance\)", BIASED),
}  # fmt: skip


def test_programs_of_keras_are_recorded_and_compared(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, PROGRAMS, tmp_path], check=True, env=environment)
    said = (tmp_path / "log.txt").read_text()
    for name in ("cnn", "gan", "loop", "sequence"):
        alone = (tmp_path / f"{name}.alone").read_text()
        assert (tmp_path / f"{name}.recorded").read_text() == alone, said
    for (name, port), (place, words) in EXPECTED.items():
        both = tmp_path / name, tmp_path / f"{name}-{port}"
        first = compare_programs(*both).first
        assert first is not None, (name, port)
        assert re.search(place, first.place), (name, port, first)
        assert any(re.search(words, one) for one in first.words), (name, port, first)
        accepted = compare_programs(*both, accept=["running-variance"])
        assert accepted.agrees, accepted
    # recurrent layers, started either way
    assert compare_programs(tmp_path / "sequence", tmp_path / "sequence-right").agrees
    weights = (tmp_path / "sequence.alone").read_text()
    assert (tmp_path / "sequence-back.recorded").read_text() == weights
    found = {s.name: s for s in ProgramTrace.load(tmp_path / "sequence").networks[0]}
    for name in ("gru", "add", "rnn", "lstm"):
        assert found[name].layer == name.replace("add", "gru")
        assert found[name].options["bidirectional"] == (name != "rnn")
    trace = ProgramTrace.load(tmp_path / "cnn")
    layers = {stage.name: stage for stage in trace.networks[0]}
    kinds = ("conv2d", "batch_norm2d", "dropout2d", "linear", "dropout", "linear")
    names = ("conv", "norm", "spatial_dropout2d", "a", "dropout", "square")
    for stage, kind in zip(names, kinds, strict=True):
        assert layers[stage].layer == kind
    assert layers["conv"].parameters == {"weight": "conv.kernel", "bias": "conv.bias"}
    assert not any(stage.layer == "contiguous" for stage in trace.networks[0])
    assert trace.arrays(1)["draw/spatial_dropout2d"].shape == (16, 4, 8, 8)
    gan = ProgramTrace.load(tmp_path / "gan")
    assert gan.complete
    assert [one.optimiser.name[-2:] for one in gan.steps] == [".0", ".1"] * 3
    assert any(stage.layer == "draw" for stage in gan.network_of(1))  # before the first call
    lstm = {s.name: s for s in ProgramTrace.load(tmp_path / "loop").networks[0]}["lstm"]
    assert lstm.layer == "lstm"
    assert lstm.parameters["weight_ih_l0"] == "lstm.lstm_cell.kernel"
    assert "Leave out jit_compile=True" in (tmp_path / "jit.txt").read_text()
