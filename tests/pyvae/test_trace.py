from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvae.errors import UserError
from pyvae.settings import Settings
from pyvae.trace import LOSSES, Trace

modest = hypothesis.settings(max_examples=25, deadline=None)
SETTINGS = Settings("vae", epochs=4, batch_size=7, latent_dim=3, learning_rate=0.1 + 0.2, seed=5)
numbers = st.floats(allow_nan=False, width=64)


def make_trace(losses, epochs=None):
    losses = np.asarray(losses, np.float64).reshape(-1, 3)
    steps = len(losses)
    rng = np.random.default_rng(steps)
    return Trace(
        engine="pytorch",
        recipe="conv",
        settings=SETTINGS,
        data={"name": "a, “b”", "images": 9, "source": "here\nand there"},
        environment={"torch": "1"},
        losses=losses,
        epochs=np.ones(steps, np.int64) if epochs is None else np.asarray(epochs),
        latent_means={
            "training": rng.normal(size=(3, 7)).T,  # not contiguous
            "evaluation": rng.normal(size=(7, 3)).astype(np.float32),
        },
        samples=rng.uniform(size=(16, 784)),
        parameters={"b": rng.normal(size=(5, 4, 3))[::2, :, ::-1], "a": np.float32([1.5, np.inf])},
    )


def same(one, two):
    return one.keys() == two.keys() and all(
        np.array_equal(one[k], two[k]) and one[k].dtype == two[k].dtype for k in one
    )


@pytest.fixture
def saved(tmp_path):
    make_trace(np.arange(12) / 7).save(tmp_path)
    return tmp_path


@modest
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=numbers))
def test_losses_survive_saving_to_the_bit(losses):
    with tempfile.TemporaryDirectory() as folder:
        make_trace(losses).save(Path(folder))
        loaded = Trace.load(Path(folder)).losses
    assert loaded.dtype == np.float64
    assert loaded.tobytes() == losses.tobytes()


def test_everything_else_survives_saving(tmp_path):
    trace = make_trace(np.ones((5, 3)), epochs=[1, 1, 2, 2, 3])
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    for name in ("engine", "recipe", "settings", "data", "environment", "steps", "complete"):
        assert getattr(loaded, name) == getattr(trace, name)
    assert np.array_equal(loaded.epochs, trace.epochs)
    assert same(loaded.latent_means, trace.latent_means)
    assert same(loaded.parameters, trace.parameters)
    assert np.array_equal(loaded.samples, trace.samples)


def test_a_trained_trace_survives_saving(tmp_path, trained):
    trained["emae"].save(tmp_path)
    loaded = Trace.load(tmp_path)
    assert same(loaded.parameters, trained["emae"].parameters)
    assert np.array_equal(loaded.losses, trained["emae"].losses)
    assert loaded.settings == trained["emae"].settings


def test_an_interrupted_trace_is_its_history_alone(tmp_path):
    trace = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    trace.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "history.csv"}
    loaded = Trace.load(tmp_path)
    assert not loaded.complete
    assert loaded.parameters == {}
    assert np.array_equal(loaded.losses, trace.losses)


def test_an_interrupted_trace_takes_nothing_from_an_older_one(saved):
    partial = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    partial.save(saved)
    assert Trace.load(saved).parameters == {}
    assert Trace.load(saved).steps == 2


def test_a_second_trace_replaces_the_first(saved):
    second = make_trace(np.full((2, 3), 0.1))
    second.save(saved)
    assert np.array_equal(Trace.load(saved).losses, second.losses)


def test_history_has_a_row_for_each_step(tmp_path):
    trace = make_trace(np.arange(12.0), epochs=[1, 1, 2, 2])
    trace.save(tmp_path)
    for table in (trace.history(), pd.read_csv(tmp_path / "history.csv")):
        assert table["step"].tolist() == [1, 2, 3, 4]
        assert table["epoch"].tolist() == [1, 1, 2, 2]
        assert np.array_equal(table[list(LOSSES)], np.arange(12.0).reshape(4, 3))
        assert np.array_equal(table["nats_per_image"], np.arange(0, 12, 3) / 7)
        assert set(table["engine"]) == {"pytorch"}
        assert set(table["objective"]) == {"vae"}


@modest
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_an_epochs_row_sums_its_batches(epochs, data):
    epochs = sorted(epochs)
    moderate = st.floats(0, 1e6)
    losses = data.draw(hnp.arrays(np.float64, (len(epochs), 3), elements=moderate))
    table = make_trace(losses, epochs).epoch_table().set_index("epoch")
    assert list(table.index) == sorted(set(epochs))
    for epoch, row in table.iterrows():
        chosen = losses[np.array(epochs) == epoch]
        sums = [math.fsum(column) for column in chosen.T]
        assert row["steps"] == len(chosen)
        assert row[list(LOSSES)].tolist() == pytest.approx(sums, rel=1e-13)
        assert row["nats_per_image"] == pytest.approx(sums[0] / (7 * len(chosen)), rel=1e-13)


def test_extending_counts_epochs_from_1():
    trace = make_trace(np.empty((0, 3)))
    trace.extend(0, [torch.tensor([3.0, 2.0, 1.0])] * 2)
    trace.extend(1, [torch.tensor([6.0, 5.0, 1.0])])
    assert trace.epochs.tolist() == [1, 1, 2]
    assert trace.losses.tolist() == [[3, 2, 1], [3, 2, 1], [6, 5, 1]]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "trace.json"])
def test_a_file_cut_short_is_the_users_error(saved, file):
    cut(saved / file)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "history.csv"])
def test_an_absent_file_is_the_users_error(saved, file):
    (saved / file).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "step,loss\n1,2\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,x\n",
        "epoch,total,reconstruction,regulariser\none,2,3,4\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,4,5,6\n1,2\n",
    ],
)
def test_a_history_that_is_none_is_the_users_error(saved, text):
    (saved / "history.csv").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda about: [], id="a list"),
        pytest.param(lambda about: about | {"settings": {}}, id="no settings"),
        pytest.param(lambda about: about | {"settings": None}, id="null settings"),
        pytest.param(
            lambda about: about | {"settings": about["settings"] | {"lr": 1}}, id="a setting more"
        ),
        pytest.param(
            lambda about: about | {"settings": about["settings"] | {"latent_dim": "x"}},
            id="a setting of another type",
        ),
        pytest.param(lambda about: {k: about[k] for k in about if k != "engine"}, id="no engine"),
    ],
)
def test_a_trace_json_that_is_none_is_the_users_error(saved, wrong):
    path = saved / "trace.json"
    path.write_text(json.dumps(wrong(json.loads(path.read_text()))))
    with pytest.raises(UserError):
        Trace.load(saved)


def test_bytes_that_are_no_text_are_the_users_error(saved):
    (saved / "trace.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("lines", [2, 1])
def test_a_history_that_lost_steps_is_the_users_error(saved, lines):
    path = saved / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))
    with pytest.raises(UserError):
        Trace.load(saved)


def test_a_folder_without_a_trace_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="holds no trace"):
        Trace.load(tmp_path)
