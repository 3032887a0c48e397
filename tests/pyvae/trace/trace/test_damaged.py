"""A trace whose files are damaged or do not fit together is the user's error."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from shown.figures_help import finished_trace
from written_files.traces import cut, partial, rewrite, without_checksums

from pyvae.errors import UserError
from pyvae.trace.trace import Trace


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "trace.json"])
def test_a_file_cut_short_is_the_users_error(saved, file):
    cut(saved / file)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "history.csv"])
def test_an_absent_file_is_the_users_error(saved, file):
    (saved / file).unlink()
    with pytest.raises(UserError, match=rf"cannot be read \({file} is missing\)"):
        Trace.load(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "step,loss\n1,2\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,x\n",
        "epoch,total,reconstruction,regulariser\none,2,3,4\n",
        "epoch,total,reconstruction,regulariser\n99999999999999999999,2,3,4\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,4,5,6\n1,2\n",
    ],
)
def test_a_broken_history_is_the_users_error(saved, text):
    rewrite(saved, without_checksums)
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
def test_a_broken_trace_json_is_the_users_error(saved, wrong):
    path = saved / "trace.json"
    path.write_text(json.dumps(wrong(json.loads(path.read_text()))))
    with pytest.raises(UserError):
        Trace.load(saved)


def test_bytes_that_are_not_text_are_the_users_error(saved):
    (saved / "trace.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


def test_a_trace_json_without_an_end_of_brackets_is_the_users_error(saved):
    (saved / "trace.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("lines", [2, 1])
def test_a_history_that_lost_steps_is_the_users_error(saved, lines):
    rewrite(saved, without_checksums)
    path = saved / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))
    with pytest.raises(UserError):
        Trace.load(saved)


@pytest.mark.parametrize("file", ["history.csv", "parameters.safetensors", "latents.safetensors"])
def test_a_changed_byte_of_a_complete_trace_is_found_and_the_file_named(saved, file):
    path = saved / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # a digit, or a bit of a number: it could be read all the same
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{file} is damaged: its SHA-256"):
        Trace.load(saved)
    rewrite(saved, without_checksums)
    Trace.load(saved)


def test_checksums_are_those_of_the_files_and_of_complete_traces_alone(saved, tmp_path):
    about = json.loads((saved / "trace.json").read_text())
    assert about["sha256"] == {
        file: hashlib.sha256((saved / file).read_bytes()).hexdigest()
        for file in ("history.csv", "parameters.safetensors", "latents.safetensors")
    }
    partial(np.ones((2, 3))).save(tmp_path)
    assert "sha256" not in json.loads((tmp_path / "trace.json").read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"../../secret": "0" * 64}, id="another file"),
        pytest.param({"history.csv": "0" * 63}, id="too short"),
        pytest.param({"history.csv": 1}, id="a number"),
        pytest.param([], id="a list"),
    ],
)
def test_broken_checksums_are_the_users_error(saved, wrong):
    rewrite(saved, lambda about: about | {"sha256": wrong})
    with pytest.raises(UserError, match="sha256"):
        Trace.load(saved)


def test_a_folder_without_a_trace_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="holds no trace"):
        Trace.load(tmp_path)


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_an_incomplete_trace_may_have_a_history_that_is_ahead(tmp_path, steps):
    """It is written before trace.json, and a run may be killed in between."""
    partial(np.ones((2, 3))).save(tmp_path)
    about = (tmp_path / "trace.json").read_text()
    ahead = partial(np.arange(3.0 * steps))
    ahead.save(tmp_path)
    (tmp_path / "trace.json").write_text(about)
    loaded = Trace.load(tmp_path)
    assert (loaded.steps, loaded.complete) == (steps, False)
    assert np.array_equal(loaded.losses, ahead.losses)


def test_an_incomplete_trace_with_a_history_that_is_behind_is_the_users_error(tmp_path):
    partial(np.ones((3, 3))).save(tmp_path)
    about = (tmp_path / "trace.json").read_text()
    partial(np.ones((2, 3))).save(tmp_path)
    (tmp_path / "trace.json").write_text(about)
    with pytest.raises(UserError, match=r"history.csv has 2 of 3 steps"):
        Trace.load(tmp_path)


def test_a_complete_trace_with_a_history_that_is_ahead_is_the_users_error(saved):
    about = without_checksums(json.loads((saved / "trace.json").read_text()))
    partial(np.ones((5, 3))).save(saved)
    (saved / "trace.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"history.csv has 5 of 4 steps"):
        Trace.load(saved)


def test_a_history_without_a_further_term_is_the_users_error(tmp_path):
    finished_trace("clustering-toy").save(tmp_path)
    table = pd.read_csv(tmp_path / "history.csv").drop(columns="gaussian_kl")
    table.to_csv(tmp_path / "history.csv", index=False)
    rewrite(tmp_path, without_checksums)
    with pytest.raises(UserError, match=r"cannot be read .*gaussian_kl"):
        Trace.load(tmp_path)
