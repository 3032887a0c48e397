"""`pyvae weights`, as it is typed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pyvae.cli.main import main
from pyvae.runs.state_file import read_state


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder with a state dict, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    torch.manual_seed(0)
    torch.save({"net": nn.GRU(2, 1).state_dict(), "epoch": 3}, "a.pt")

    def run(*words):
        code = main(["weights", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_what_was_done_is_printed(typed, tmp_path):
    code, out, err = typed("a.pt", "--to", "b.safetensors", "--for", "r")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines() if line.strip()]
    assert lines[0] == "weight shape type what was done"
    assert lines[2] == "weight_ih_l1 (3, 2) float32 R counts layers from 1; was weight_ih_l0"
    assert lines[-3:] == [
        "left out: epoch",
        "written: b.safetensors (4 weights, from torch.save() of PyTorch)",
        'to load it: model$load_state_dict(safetensors::safe_load_file("b.safetensors", '
        'framework = "torch"))',
    ]
    assert (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone.pt", "--to", "b.pt"), "'gone.pt' does not exist. Check the path."),
        (("a.pt", "--to", "a.pt"), "'a.pt' exists already"),
        (("a.pt", "--to", "b.onnx"), "--to b.onnx: expected a file that ends in .safetensors"),
        (("a.pt", "--to", "b.pt", "--map", "no.csv"), "there is no map 'no.csv'"),
        (("a.pt", "--to", "b.pt", "--for", "python3"), "did you mean 'python'"),
        (("a.pt", "--to", "b.pt", "--part", "x"), "'a.pt' has no state dict 'x'"),
        (("a.pt", "--to", "no/b.pt"), "folder 'no' does not exist"),
        (("a.pt",), "--to"),
        (("a.pt", "--to", "b.pt", "--dtype", "float16"), "--dtype is for a run"),
        ((".", "--to", "b.safetensors"), "'.' holds no run. Name the folder"),
        ((".", "--to", "b.pt"), "--to b.pt: expected a file that ends in .safetensors, for a run"),
        ((".", "--to", "b.safetensors", "--for", "r"), "--for cannot be used with a run"),
    ],
)
def test_bad_input_is_one_line(typed, tmp_path, words, said):
    code, out, err = typed(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said.lower() in err.lower()
    assert [one.name for one in tmp_path.iterdir()] == ["a.pt"]


def test_a_runs_parameters_are_written_with_how_to_get_them_again(typed, tmp_path, trained):
    for name, trace in trained.items():
        trace.save(tmp_path / "runs" / name)
    code, _, err = typed("runs", "--to", "b.safetensors")
    assert (code, "name one of them, such as 'runs" in err.lower()) == (2, True)
    code, out, err = typed("runs/emae", "--to", "b.safetensors", "--dtype", "float16")
    assert (code, err) == (0, "")
    assert out == "written: b.safetensors (18 weights after step 3) and b.json\n"
    about, parameters = read_state(tmp_path / "b.safetensors")
    assert about["settings"]["objective"] == "emae"
    for name, value in trained["emae"].parameters.items():
        assert np.array_equal(parameters[name], value.astype(np.float16))
    assert typed("runs/emae", "--to", "b.safetensors")[0] == 2  # exists already
    assert typed("runs/emae", "--to", "c.safetensors", "--dtype", "int8")[0] == 2
