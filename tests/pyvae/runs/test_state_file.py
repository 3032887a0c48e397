"""A trained state in two files."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from pyvae.errors import UserError
from pyvae.runs.state_file import read_state, write_state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "conv.safetensors"


def write(path, trace, dtype="float16"):
    write_state(path, trace, trace.steps, trace.parameters, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_come_back_rounded_to_the_type(path, trained, dtype):
    write(path, trained["vae"], dtype)
    about, parameters = read_state(path)
    assert sorted(parameters) == sorted(trained["vae"].parameters)
    for name, value in trained["vae"].parameters.items():
        assert parameters[name].dtype == dtype
        assert np.array_equal(parameters[name], value.astype(dtype))
    assert (about["steps"], about["recipe"], about["dtype"]) == (3, "conv", dtype)


def test_it_says_how_to_get_it_again(path, trained):
    """Word by word: the first command is a run of the same settings."""
    write(path, trained["emae"])
    about = json.loads(path.with_suffix(".json").read_text())
    train, weights = map(shlex.split, about["commands"])
    assert train[:3] == ["pyvae", "train", "conv"]
    options = dict(word.removeprefix("--").split("=") for word in train[3:])
    settings = trained["emae"].settings
    for name in ("objective", "batch_size", "latent_dim", "learning_rate", "seed", "dtype"):
        assert options[name.replace("_", "-")] == str(getattr(settings, name)), name
    assert (options["steps"], options["data"]) == ("3", "digits")
    assert weights == ["pyvae", "weights", options["out"], "--dtype=float16", f"--to={path.name}"]


def test_what_a_type_cannot_hold_is_refused(path, trained):
    parameters = trained["vae"].parameters | {"decoder.fc1.bias": np.full(128, 1e6)}
    with pytest.raises(UserError, match=r"--dtype float16: decoder\.fc1\.bias has numbers"):
        write_state(path, trained["vae"], 3, parameters, "float16")
    assert not path.exists()


@pytest.mark.parametrize("part", ["numbers", "about", "sha256", "absent", "format"])
def test_a_damaged_state_is_one_line(path, trained, part):
    write(path, trained["vae"])
    about = path.with_suffix(".json")
    if part == "numbers":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif part == "absent":
        about.unlink()
    elif part == "about":
        about.write_text("{")
    else:
        told = json.loads(about.read_text())
        about.write_text(json.dumps(told | {part: "f" * 64}))
    with pytest.raises(UserError, match=r"conv\.safetensors' cannot be read") as error:
        read_state(path)
    assert "\n" not in str(error.value)
