"""How a recording ends, and what it says."""

from __future__ import annotations

import errno
import json
import pickle
import re
import shutil
import textwrap
from collections import namedtuple

import pytest
import torch
from recorded.programs import cnn, gan, mlp, vae
from torch import nn

from pyvae.files import writing
from pyvae.recording import recording as module
from pyvae.recording.record import record
from pyvae.recording.recording import running
from pyvae.trace.program import ProgramTrace


def about(folder):
    trace = ProgramTrace.load(folder)
    return trace.complete, trace.ended, [one.step for one in trace.steps]


@pytest.fixture
def said(capsys):
    return lambda: capsys.readouterr().err.splitlines()


def test_disk_use_is_said_before_it_is_taken(tmp_path, said):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=3):
        assert said() == []
        program.train(3)
    (line,) = said()
    found = re.fullmatch(
        rf"pyvae: recording 3 steps of 21 parameters to '{tmp_path}/trace': about ([0-9.]+) kB",
        line,
    )
    taken = sum(path.stat().st_size for path in (tmp_path / "trace" / "steps").iterdir())
    assert float(found[1]) * 1000 == pytest.approx(taken, rel=0.15)


def test_disk_use_of_all_steps_is_said_for_one(tmp_path, said):
    program = gan()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=None) as recording:
        program.train(3)
        recording.stop()
    (line,) = said()
    assert "recording all steps of 48 parameters" in line
    assert line.endswith("kB a step")
    assert about(tmp_path / "trace") == (True, "", [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize("full_at", [0, 2, 4, 6])
def test_a_full_disk_ends_the_recording_and_not_the_training(tmp_path, monkeypatch, said, full_at):
    alone = mlp()
    alone.train(5)
    program = mlp()
    writes, fsync = [], writing.os.fsync

    def full(handle):
        writes.append(handle)
        if len(writes) > full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(writing.os, "fsync", full)
    with record(program.model, program.optimizer, tmp_path / "trace", steps=4):
        program.train(5)
    lines = [line for line in said() if "recording 4 steps" not in line]
    assert len([line for line in lines if "The training goes on" in line]) == 1
    assert "disk full while writing" in lines[0]
    assert program.bits() == alone.bits()
    assert running() is None
    if full_at < 4:  # a step without a header is of no use; each is synced with its folder
        assert not (tmp_path / "trace").exists()
        return
    assert about(tmp_path / "trace") == (False, "the program made 1 of 4 steps to record", [1])
    assert len(list((tmp_path / "trace").rglob("*.*"))) == 2


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path, monkeypatch, said):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 60_000_000))
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace"):
        program.train(3)
    assert "disk full: a step takes" in said()[-1]
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("place", ["enter", "leave", "gradient", "backward", "update"])
def test_an_error_of_the_recorder_ends_the_recording_and_not_the_training(
    tmp_path, monkeypatch, said, place
):
    alone = cnn()
    alone.train(4)

    def broken(*args, **kwargs):
        raise RuntimeError("broken on purpose")

    program = cnn()
    recording = record(program.model, program.optimizer, tmp_path / "trace", steps=3)
    program.train(1)
    name = {
        "enter": "pyvae.recording.modules.is_layer",
        "leave": "pyvae.recording.modules.module_options",
        "gradient": "pyvae.recording.step.to_array",
        "backward": "pyvae.recording.step.Step.copy_gradients",
        "update": "pyvae.recording.step.state_arrays",
    }[place]
    monkeypatch.setattr(name, broken)
    program.train(3)
    assert running() is None
    assert recording.trace.ended == "in step 2: RuntimeError: broken on purpose"
    line = f"pyvae: recording to '{tmp_path}/trace' ended in step 2: RuntimeError: broken on "
    assert said()[1:] == [line + "purpose. The training goes on."]
    assert about(tmp_path / "trace") == (False, recording.trace.ended, [1])
    assert program.bits() == alone.bits()
    assert not torch.overrides._get_current_function_mode_stack()
    assert not nn.modules.module._global_forward_hooks


def test_no_step_leaves_nothing_but_a_line(tmp_path, said):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace"):
        program.model(torch.ones(1, 3))
    assert said() == [
        f"pyvae: no step was recorded to '{tmp_path}/trace': the optimizer's step() was not "
        "called. Call record before the training loop."
    ]
    assert list(tmp_path.iterdir()) == []


def test_fewer_steps_than_asked(tmp_path):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=5):
        program.train(2)
    ended = "the program made 2 of 5 steps to record"
    assert about(tmp_path / "trace") == (False, ended, [1, 2])


def test_stopped_by_the_program(tmp_path):
    program = mlp()
    recording = record(program.model, program.optimizer, tmp_path / "trace", steps=5)
    program.train(2)
    recording.stop()
    program.train(1)
    recording.stop()
    assert about(tmp_path / "trace") == (True, "", [1, 2])


def test_an_error_of_the_program_is_its_own(tmp_path):
    program = mlp()

    def training():
        with record(program.model, program.optimizer, tmp_path / "trace", steps=5):
            program.train(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    assert about(tmp_path / "trace") == (False, "the program ended: ZeroDivisionError", [1])


@pytest.mark.slow
def test_a_program_that_ends_or_is_killed_leaves_a_trace(tmp_path, warm):
    """At its end, `trace.json` says how many steps there are; killed, it is there as well."""
    script = """
        import os, sys
        import torch
        from torch import nn
        from pyvae import record
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        record(model, optimizer, sys.argv[1], steps=5)
        for _ in range(2):
            model(torch.ones(3, 2)).sum().backward()
            optimizer.step()
        if "kill" in sys.argv:
            os.kill(os.getpid(), 9)
    """
    for name, code in (("end", 0), ("kill", -9)):
        done = warm.run("-c", textwrap.dedent(script), name, name, folder=tmp_path)
        assert done.returncode == code
        ended = "the program made 2 of 5 steps to record"
        assert about(tmp_path / name) == (False, ended, [1, 2])


def test_of_many_steps_a_killed_program_loses_few(tmp_path, monkeypatch):
    """`trace.json` is written anew after every step at first, and more and more rarely."""
    monkeypatch.setattr("pyvae.recording.recording.STEPS_A_LISTING", 2)
    program, listed = vae(), []
    with record(program.model, program.optimizer, tmp_path / "trace", steps=9):
        for _ in range(8):
            program.train(1)
            listed.append(len(ProgramTrace.load(tmp_path / "trace").steps))
        program.train(1)
    assert listed == [1, 2, 3, 4, 4, 6, 6, 8]
    assert about(tmp_path / "trace") == (True, "", list(range(1, 10)))


def test_terms_of_the_loss_have_names(tmp_path):
    program = vae()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=2) as recording:
        for kl in (torch.tensor(1.5, requires_grad=True), 2):
            recording.losses(kl=kl, reconstruction=0.25)
            program.train(1)
        recording.losses(kl=3)  # too late: nothing happens
    trace = ProgramTrace.load(tmp_path / "trace")
    for step, kl in ((1, 1.5), (2, 2)):
        arrays = trace.arrays(step)
        assert arrays["loss/kl"] == kl
        assert arrays["loss/reconstruction"] == 0.25
        assert {arrays[f"loss/{name}"].dtype.name for name in ("kl", "total")} == {"float64"}


def test_models_can_be_copied_and_pickled_while_they_are_recorded(tmp_path):
    import copy

    program = cnn()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=2):
        program.train(1)
        other = copy.deepcopy(program.model)
        pickle.loads(pickle.dumps(program.model))  # noqa: S301 - what was just written
        other(torch.randn(6, 1, 8, 8)).sum().backward()  # is not recorded
        program.train(1)
    trace = ProgramTrace.load(tmp_path / "trace")
    assert len(trace.networks) == 1
    assert "loss/backward.1" not in trace.arrays(2)


def test_hooks_of_others_on_the_optimizer_go_on(tmp_path):
    program = mlp()
    calls = []
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1):
        program.optimizer.register_step_post_hook(lambda *_: calls.append(1))
        program.train(3)
    assert len(calls) == 3
    assert about(tmp_path / "trace") == (True, "", [1])


def test_versions_and_the_generator_are_written(tmp_path):
    import hashlib

    program = mlp()
    state = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1):
        program.train(1)
    written = json.loads((tmp_path / "trace" / "trace.json").read_text())
    assert written["steps"][0]["generator"] == state
    found = written["environment"]
    assert found.keys() == {"python", "torch", "libtorch", "threads", "platform"}
    assert torch.__version__.startswith(found["libtorch"])
    assert "+" not in found["libtorch"]
    assert found["threads"] == "1"


def test_a_scaled_loss_is_said(tmp_path, said):
    program = mlp()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer, x = program.optimizer, torch.randn(5, 3)

    def step():
        optimizer.zero_grad()
        loss = program.model(x).pow(2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    with record(program.model, optimizer, tmp_path / "trace", steps=2):
        loss = step()
        step()
    trace = ProgramTrace.load(tmp_path / "trace")
    assert trace.environment["loss_scale"] == "8"
    arrays = trace.arrays(1)
    assert arrays["loss/total"] == 8 * loss.double()
    assert (arrays["gradient/0.weight"] == 8 * arrays["given/0.weight"]).all()
    assert sum("multiplies the loss by 8" in line for line in said()) == 1


def test_values_of_fewer_digits_are_said(tmp_path):
    program = mlp()
    step = program.step

    def half():
        with torch.autocast("cpu", torch.bfloat16):
            return step()

    program.step = half
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1):
        program.train(1)
    trace = ProgramTrace.load(tmp_path / "trace")
    assert trace.environment["computed_in"] == "bfloat16"
    assert trace.arrays(1)["forward/0"].dtype.name == "float32"


def test_a_model_that_is_compiled_later_ends_the_recording(tmp_path, said):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=2):
        program.train(1)
        torch.compile(program.model, backend="eager")
        program.train(1)
    ended = "in step 2: the program compiles the model with torch.compile"
    assert about(tmp_path / "trace") == (False, ended, [1])
    assert said()[1].endswith(f"ended {ended}. The training goes on.")


def test_sizes_are_said_in_units():
    assert [module._bytes(n) for n in (1, 1_500, 2_500_000, 3_000_000_000)] == [
        "0.0 kB", "1.5 kB", "2.5 MB", "3.0 GB",
    ]  # fmt: skip
