"""`run.json`: what it says, and that nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
import torch

from pyvae.errors import UserError
from pyvae.runs.run_json import RUN_FILE, machine, read_arguments, write_run


@pytest.fixture
def written(settings, digits):
    """Writes the run.json of a command into a folder; returns what it says."""

    def write(folder, arguments=("train", "--seed=5", "--report", "conv", "--data=auto")):
        runs = [settings(), settings(objective="emae")]
        write_run(folder, arguments, "conv", runs, digits.describe(), {"pytorch": {"threads": "4"}})
        return json.loads((folder / RUN_FILE).read_text())

    return write


def test_a_run_says_what_it_is(written, tmp_path, settings, digits):
    about = written(tmp_path)
    assert about["command"] == "pyvae train --seed=5 --report conv --data=digits"
    assert about["recipe"] == "conv"
    assert about["runs"] == [settings().as_dict(), settings(objective="emae").as_dict()]
    assert about["data"] == digits.describe()
    assert about["data"]["sha256"] == digits.checksum
    assert about["engines"] == {"pytorch": {"threads": "4"}}
    assert about["machine"]["torch"] == torch.__version__
    assert about["machine"].keys() >= {"pyvae", "python", "blas", "instructions", "processor"}
    assert all(isinstance(v, str) and v for v in machine().values())


def test_the_arguments_are_those_that_were_written(written, tmp_path):
    written(tmp_path)
    expected = ["--seed=5", "--report", "conv", "--data=digits"]
    assert read_arguments(tmp_path, "train") == expected


def change(**changes):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "holds no run.json"),
        (lambda path: path.write_bytes(path.read_bytes()[:99]), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read"),
        (lambda path: path.write_text("[]"), "cannot be read"),
        (lambda path: path.write_text(" " * (1 << 24) + "{}"), "has more than 16777216 bytes"),
        (lambda path: path.write_text("{}"), "no 'format'"),
        (change(arguments=[]), "arguments is no list of texts"),
        (change(arguments="train"), "arguments is no list of texts"),
        (change(arguments=["train", 5]), "arguments is no list of texts"),
        (change(arguments=["compare"]), "was written by pyvae compare"),
        (change(format=2), "has format 2, and this version of pyvae reads format 1"),
    ],
)
def test_a_run_file_that_cannot_be_used_is_one_line(written, tmp_path, spoil, said):
    written(tmp_path)
    spoil(tmp_path / RUN_FILE)
    with pytest.raises(UserError, match=said) as raised:
        read_arguments(tmp_path, "train")
    assert raised.value.remedy
    assert "\n" not in str(raised.value)
