"""Programs of R that compute in Python, as R has them recorded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyvae.recording.given import program
from pyvae.recording.recording import running
from pyvae.trace.program import ProgramTrace
from r_bridge.from_r import recorded

OPTIONS = {"steps": 2, "every": 1, "start": None, "names": None, "replay": None, "overwrite": False}
R = {"R": "4.2.2", "keras3": "1.5.1"}


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(program, "_set", [])
    yield
    left = running()
    if left is not None:
        left.cancel()


def made():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, torch.optim.SGD(model.parameters(), 0.1)


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(5, 3)).sum().backward()
        optimizer.step()


def begin(model, optimizer, folder, **options):
    return recorded.record_model(model, optimizer, str(folder), OPTIONS | options, "train.R", R)


def test_a_model_is_recorded_as_a_program_of_r(tmp_path):
    model, optimizer = made()
    assert begin(model, optimizer, tmp_path / "r", steps=2.0) == {"value": None}
    train(model, optimizer, 3)
    trace = ProgramTrace.load(tmp_path / "r")
    assert (trace.language, trace.program, len(trace.steps), trace.complete) == (
        "r", "train.R", 2, True,
    )  # fmt: skip
    assert trace.environment.items() >= R.items()


@pytest.mark.parametrize(
    ("ended", "complete", "said"),
    [("", True, ""), ("the program ended", False, "the program made 1 of 2 steps to record")],
)
def test_a_recording_is_stopped(tmp_path, ended, complete, said):
    model, optimizer = made()
    begin(model, optimizer, tmp_path / "r")
    train(model, optimizer, 1)
    assert recorded.stop(ended) == {"value": [str(tmp_path / "r")]}
    assert recorded.stop() == {"value": []}
    trace = ProgramTrace.load(tmp_path / "r")
    assert (trace.complete, trace.ended) == (complete, said)


def test_what_is_wrong_is_said_in_r_s_words(tmp_path):
    model, optimizer = made()
    begin(model, optimizer, tmp_path / "r")
    again = begin(model, optimizer, tmp_path / "other")["error"]
    assert again["problem"] == f"the model is being recorded already, to '{tmp_path / 'r'}'"
    assert again["remedy"].endswith("or with stop_recording()")
    other = begin(nn.Linear(2, 1), None, tmp_path / "other")["error"]
    assert (
        "record(list(a = model, b = other), list(optimizer, other_optimizer), ...)"
        in (other["remedy"])
    )


def test_a_script_is_recorded_from_when_it_has_loaded_keras(tmp_path):
    script = recorded.Script("there/train.R", str(tmp_path / "r"), OPTIONS, R)
    train(*made(), 3)
    assert script.end() == {"value": 2}
    trace = ProgramTrace.load(tmp_path / "r")
    assert (trace.language, trace.program) == ("r", "train.R")
    assert nn.modules.module._global_forward_pre_hooks == {}


def test_a_script_that_failed_has_the_steps_before(tmp_path):
    script = recorded.Script("train.R", str(tmp_path / "r"), OPTIONS, R)
    train(*made(), 1)
    assert script.end("the script ended with an error") == {"value": 1}
    assert not ProgramTrace.load(tmp_path / "r").complete


def test_a_script_that_makes_no_update_is_told_so_in_r_s_words(tmp_path, capsys):
    script = recorded.Script("train.R", str(tmp_path / "r"), OPTIONS, R)
    model, optimizer = made()
    assert script.end() == {"value": 0}
    assert "use record(model, NULL, folder) in the script" in capsys.readouterr().err
    del model, optimizer
    assert not (tmp_path / "r").exists()


def test_a_start_that_fits_no_model_is_an_error_at_the_end(tmp_path):
    one = nn.Linear(7, 2)
    begin(one, None, tmp_path / "start", steps=1)
    one(torch.ones(1, 7))
    recorded.stop()
    options = OPTIONS | {"start": str(tmp_path / "start")}
    script = recorded.Script("train.R", str(tmp_path / "r"), options, R)
    model, optimizer = made()
    assert script.end()["error"]["problem"].startswith(f"trace '{tmp_path / 'start'}' has no ")
    del model, optimizer
