"""`pyvae train` and what may happen to it: interruptions, full disks, other runs, damage."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from processes.undrawn import UNDRAWN

from pyvae.cli.main import main
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.files import writing as files
from pyvae.runs.callbacks.signals import SIGNALS
from pyvae.runs.folder_lock import FolderLock
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "6")
RUN = ("train", "beta", *SMALL, "--rng", "torch", "--out", "out")
FEW = ("--data", "digits", "--batch-size", "4", "--latent-dim", "3", "--steps", "3")
BOTH = ("train", "conv", *FEW, "--rng", "torch", "--out", "out", "--objective", "both")


pytestmark = [
    pytest.mark.usefixtures("signals_as_in_a_program"),
    pytest.mark.slow,
]


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_step(monkeypatch):
    """And no figures, which take longer than the runs."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr("pyvae.figures.draw_run.draw_run", lambda folder, **given: None)


@pytest.fixture
def at_step(monkeypatch):
    """Does something in a step of every later run, before it is taken."""

    def start(number, do):
        step = PyTorchEngine.step
        taken = []

        def stepping(self, *arguments, **options):
            taken.append(1)
            if len(taken) == number:
                do()
            return step(self, *arguments, **options)

        monkeypatch.setattr(PyTorchEngine, "step", stepping)

    return start


def interrupt():
    raise KeyboardInterrupt


def left(folder):
    """What a run leaves, to the byte; but for the time and place of its beginning."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that nothing happens to. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
        patch.setattr("pyvae.figures.draw_run.draw_run", lambda folder, **given: None)
        assert main([*RUN[:-1], "whole"]) == 0
    return folder / "whole"


@pytest.fixture
def whole(command, finished, tmp_path):
    """What is left by a run that nothing happens to, in the folder `whole`."""
    shutil.copytree(finished, tmp_path / "whole")
    return left(tmp_path / "whole")


def assert_refused(result, said):
    code, _, err = result
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("again", [("train", "--resume", "out"), RUN])
def test_an_interrupted_run_goes_on_with_resume_or_the_same_command(
    command, tmp_path, at_step, whole, again, monkeypatch
):
    with monkeypatch.context():
        at_step(4, interrupt)
        code, out, err = command(*RUN)
    assert (code, err) == (130, "pyvae: interrupted\n")
    assert "kept after step 3: pyvae train --resume=out goes on from there" in out
    assert Trace.load(tmp_path / "out" / "beta").steps == 3
    code, out, err = command(*again)
    assert (code, err) == (0, "")
    assert "beta-VAE: going on after step 3, where it was interrupted" in out
    assert "beta-VAE on digits, cpu: 3 steps in" in out
    assert left(tmp_path / "out") == whole


@pytest.mark.parametrize("again", [("train", "--resume", "out"), BOTH])
def test_of_two_objectives_the_complete_one_is_not_run_again(command, tmp_path, at_step, again):
    assert command(*BOTH, "--out", "whole")[0] == 0
    at_step(5, interrupt)
    assert command(*BOTH)[0] == 130
    code, out, _ = command(*again)
    assert code == 0
    assert "VAE: all 3 steps were done before" in out
    assert "EMAE: going on after step 1, where it was interrupted" in out
    assert left(tmp_path / "out") == left(tmp_path / "whole")


def test_resuming_what_is_complete_changes_nothing(command, tmp_path, whole, at_step):
    at_step(1, lambda: pytest.fail("nothing is to be trained"))
    code, out, err = command("train", "--resume", "whole")
    assert (code, err) == (0, "")
    assert "beta-VAE: all 6 steps were done before" in out
    assert left(tmp_path / "whole") == whole


def test_the_same_command_trains_nothing_twice_and_overwrite_does(
    command, tmp_path, whole, at_step
):
    seen = []
    at_step(1, lambda: seen.append(1))
    code, out, _ = command(*RUN[:-1], "whole")
    assert (code, seen) == (0, [])
    assert "beta-VAE: all 6 steps were done before\n" in out
    assert "\nnothing was left to train: " in out
    assert command(*RUN[:-1], "whole", "--overwrite")[0] == 0
    assert seen
    assert left(tmp_path / "whole") == whole
    assert "overwrite" not in (tmp_path / "whole" / "run.json").read_text()  # nor does --resume


@pytest.fixture
def lengths(tmp_path, monkeypatch):
    """Options of runs whose epochs have four steps, with a checkpoint after the last one alone."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "1000")
    images = np.random.default_rng(1).integers(0, 256, (13, 784), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=images)
    return "--data", "few.npz", "--batch-size", 3, "--latent-dim", 3


@pytest.mark.parametrize(
    ("rng", "first", "resumed"),
    [
        ("torch", ("--epochs", 2), True),
        ("torch", ("--steps", 6), False),
        ("injected", ("--steps", 6), True),
    ],
)
def test_a_finished_run_goes_on_to_more_epochs_to_the_bit(
    command, tmp_path, lengths, rng, first, resumed
):
    """From an epoch's end and from its middle, as if it had had 3 epochs from the beginning."""
    run = ("train", "beta", *lengths, "--rng", rng)
    assert command(*run, "--epochs", 3, "--out", "whole")[0] == 0
    assert command(*run, *first, "--out", "out")[0] == 0
    longer = ("train", "--resume", "out") if resumed else (*run, "--out", "out")
    code, out, err = command(*longer, "--epochs", 3)
    assert (code, err) == (0, "")
    steps = 8 if "--epochs" in first else 6
    assert f"beta-VAE: going on after step {steps}, where it had ended" in out
    assert f"beta-VAE on few.npz, cpu: {12 - steps} steps in" in out
    assert left(tmp_path / "out") == left(tmp_path / "whole")
    assert "--epochs=3" in (tmp_path / "out" / "run.json").read_text()


def test_of_two_objectives_each_goes_on_from_where_it_is(command, tmp_path, lengths):
    run = ("train", "conv", *lengths, "--rng", "torch")
    assert command(*run, "--steps", 2, "--objective", "both", "--out", "whole")[0] == 0
    assert command(*run, "--steps", 1, "--objective", "emae", "--out", "out")[0] == 0
    assert command(*run, "--steps", 2, "--objective", "vae", "--out", "out")[0] == 0
    code, out, _ = command(*run, "--steps", 2, "--objective", "both", "--out", "out")
    assert code == 0
    assert "VAE: all 2 steps were done before" in out
    assert "EMAE: going on after step 1, where it had ended" in out
    assert left(tmp_path / "out") == left(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--seed", 3), "which is finished (seed 2, now 3). "),
        (("--latent-dim", 4), "which is finished (latent_dim 3, now 4). "),
        (("--steps", 5), "which is finished (6 steps are done, now 5). "),
        (("--threads", 3), "which is finished (threads "),
    ],
)
def test_a_finished_run_is_not_replaced_unasked(command, tmp_path, whole, options, why):
    result = command(*RUN[:-1], "whole", *options)
    assert_refused(result, f"'whole/beta' holds another run, {why}")
    assert "Choose another --out, or give the command with --overwrite" in result[2]
    assert left(tmp_path / "whole") == whole
    if "--seed" in options:
        assert command(*RUN[:-1], "whole", *options, "--overwrite")[0] == 0
        assert left(tmp_path / "whole") != whole


def test_a_finished_run_without_its_last_checkpoint_is_not_replaced(command, tmp_path, whole):
    """As earlier versions left them."""
    Checkpoint.remove(tmp_path / "whole" / "beta")
    before = left(tmp_path / "whole")
    assert_refused(
        command("train", "--resume", "whole", "--steps", 9),
        "which is finished (it has no checkpoint of its last step to go on from). Choose another",
    )
    assert left(tmp_path / "whole") == before
    assert command(*RUN[:-1], "whole")[0] == 0  # there is nothing to go on with
    assert left(tmp_path / "whole") == before


def test_an_interrupted_run_may_become_longer_and_not_shorter_than_it_is(
    command, tmp_path, at_step, whole
):
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    assert_refused(command(*RUN, "--steps", 2), "(3 steps are done, now 2). Finish it with pyvae t")
    assert command("train", "--resume", "out", "--steps", 5)[0] == 0
    assert command(*RUN)[0] == 0
    assert left(tmp_path / "out") == whole


def test_a_damaged_finished_run_is_not_replaced_unasked(command, tmp_path, whole):
    Checkpoint.remove(tmp_path / "whole" / "beta")
    history = tmp_path / "whole" / "beta" / "history.csv"
    history.write_text(history.read_text().replace("1", "2", 1))
    before = left(tmp_path / "whole")
    result = command(*RUN[:-1], "whole")
    assert_refused(
        result, "'whole/beta': the run in this folder cannot be used (trace 'whole/beta' cannot"
    )
    assert left(tmp_path / "whole") == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_lets_the_step_end_and_is_an_interruption(
    command, tmp_path, at_step, whole, number, monkeypatch
):
    """The step that is under way counts: nothing of it is lost."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "1000")
    at_step(4, lambda: os.kill(os.getpid(), number))
    code, out, err = command(*RUN)
    assert (code, err) == (130, "pyvae: interrupted\n")
    assert "kept after step 4: " in out
    assert command("train", "--resume", "out")[0] == 0
    assert left(tmp_path / "out") == whole


def test_a_step_that_cannot_be_shown_is_kept(command, tmp_path, at_step, whole, monkeypatch):
    """A closed terminal answers with EIO, mostly before SIGHUP arrives."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "1000")

    def closed(self, progress):
        if progress.step == 4:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("pyvae.terminal.step_progress.ShowProgress.on_step", closed)
        code, out, _ = command(*RUN)
    assert code == 2
    assert "kept after step 4: " in out
    assert command("train", "--resume", "out")[0] == 0
    assert left(tmp_path / "out") == whole


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_has_a_checkpoint_of_its_last_step(tmp_path):
    words = ("train", "beta", "--data", "digits", "--batch-size", "10", "--threads", "1")
    environment = os.environ | {"TERM": "xterm", "PYVAE_CHECKPOINT_SECONDS": "1000"}
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        program = Path(sys.executable).with_name("pyvae")
        os.execve(program, ["pyvae", *words, "--out", "out"], environment)  # noqa: S606
    seen = b""
    while not re.search(rb"step [1-9]\d* of", seen):  # the bar shows a step that was done
        seen += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    steps = Trace.load(tmp_path / "out" / "beta").steps
    assert Checkpoint.find(tmp_path / "out" / "beta").checkpoint.step == steps > 0


def test_a_signal_in_the_last_step_ends_after_a_complete_run(command, tmp_path, at_step):
    at_step(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert command(*BOTH)[0] == 130
    assert Trace.load(tmp_path / "out" / "vae").complete
    assert not (tmp_path / "out" / "emae").exists()


def test_another_run_does_not_take_the_place_of_one_that_was_interrupted(
    command, tmp_path, at_step, whole
):
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    before = left(tmp_path / "out")
    result = command(*RUN, "--seed", 3)
    assert_refused(result, "'out/beta' holds another run, which was interrupted (seed 2, now 3). ")
    assert "Finish it with pyvae train --resume=out, choose another --out, or give" in result[2]
    assert left(tmp_path / "out") == before
    assert command("train", "--resume", "out")[0] == 0
    assert left(tmp_path / "out") == whole
    assert command(*RUN, "--seed", 3, "--overwrite")[0] == 0
    assert Trace.load(tmp_path / "out" / "beta").settings.seed == 3


def test_on_other_threads_a_run_does_not_go_on(command, tmp_path, at_step):
    """Sums would have another order. `run.json` says how many it had."""
    at_step(4, interrupt)
    assert command(*RUN, "--threads", 1)[0] == 130
    before = left(tmp_path / "out")
    assert_refused(command(*RUN, "--threads", 3), "(threads 1, now 3)")
    assert left(tmp_path / "out") == before
    assert command("train", "--resume", "out")[0] == 0


def test_with_other_versions_a_run_is_not_resumed(command, tmp_path, at_step, monkeypatch):
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    before = left(tmp_path / "out")
    environment = PyTorchEngine.environment
    monkeypatch.setattr(
        PyTorchEngine, "environment", lambda self: environment(self) | {"torch": "9.9"}
    )
    result = command("train", "--resume", "out")
    assert_refused(result, ", now 9.9). Choose another --out, or give the command with")
    assert left(tmp_path / "out") == before


def test_on_data_that_has_changed_a_run_is_not_resumed(command, tmp_path, at_step):
    images = np.random.default_rng(1).integers(0, 256, (20, 784), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    at_step(4, interrupt)
    assert command(*RUN, "--data", "mine.npz")[0] == 130
    before = left(tmp_path / "out")
    images[3, 300] ^= 1
    np.savez(tmp_path / "mine.npz", images=images)
    assert_refused(
        command("train", "--resume", "out"), "holds another run, which was interrupted (sha256"
    )
    assert left(tmp_path / "out") == before
    images[3, 300] ^= 1
    np.savez(tmp_path / "mine.npz", images=images)
    assert command("train", "--resume", "out")[0] == 0


def test_from_a_damaged_checkpoint_it_falls_back_and_says_so(command, tmp_path, at_step, whole):
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    path = tmp_path / "out" / "beta" / "checkpoint-00000003.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    code, out, _ = command("train", "--resume", "out")
    assert code == 0
    assert (
        "the checkpoint of step 3 is damaged: checkpoint-00000003.safetensors does not have its "
        "checksum; going on after step 2, where it was interrupted" in out
    )
    assert left(tmp_path / "out") == whole


def test_where_both_are_damaged_nothing_begins_again_unasked(command, tmp_path, at_step, whole):
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    for path in (tmp_path / "out" / "beta").glob("checkpoint-*.json"):
        path.write_text("{}")
    before = left(tmp_path / "out")
    result = command("train", "--resume", "out")
    assert_refused(
        result, "the run in this folder cannot be used (the checkpoint of step 3 is damaged"
    )
    assert "give the command with --overwrite to train from the beginning" in result[2]
    assert left(tmp_path / "out") == before


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_loses_nothing(command, tmp_path, at_step, whole, monkeypatch, kind):
    """From some step on no file can be written."""

    def full(*arguments, **options):
        raise OSError(kind, os.strerror(kind))

    with monkeypatch.context() as patch:
        at_step(4, lambda: patch.setattr(files.tempfile, "mkstemp", full))
        code, out, err = command(*RUN)
        assert code == 2
        assert "disk full while writing 'out/beta/" in err
        assert "Free some space and run the same command again" in err
        assert err.count("\n") == 1
        assert "kept after step 3" in out
    assert Checkpoint.find(tmp_path / "out" / "beta").checkpoint.step == 3
    assert command("train", "--resume", "out")[0] == 0
    assert left(tmp_path / "out") == whole


def test_a_folder_that_is_removed_is_written_again(command, tmp_path, at_step, whole):
    at_step(4, lambda: shutil.rmtree(tmp_path / "out"))
    code, out, err = command(*RUN)
    assert (code, err) == (0, "")
    assert "'out' was removed: writing it again" in out
    assert left(tmp_path / "out") == whole
    assert json.loads((tmp_path / "out" / "run.json").read_text())["recipe"] == "beta"


def test_two_runs_do_not_write_into_one_folder(command, tmp_path):
    with FolderLock(tmp_path / "out"):
        said = f"'out' is being written by another run (process {os.getpid()}). Wait until"
        assert_refused(command(*RUN), said)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_clock_that_goes_backwards_changes_nothing(
    command, tmp_path, whole, at_step, monkeypatch
):
    """An hour each time that it is read: times between checkpoints are another clock's."""
    now = [2e9]

    def backwards():
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", backwards)
    monkeypatch.setattr(time, "time_ns", lambda: int(backwards() * 1e9))
    at_step(4, interrupt)
    assert command(*RUN)[0] == 130
    assert Checkpoint.find(tmp_path / "out" / "beta").checkpoint.step == 3
    assert command("train", "--resume", "out")[0] == 0
    assert left(tmp_path / "out") == whole


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    command, tmp_path
):
    code, out, err = command(*RUN, "--learning-rate", 1e3)
    assert code == 2
    assert "training diverged in step 3: the loss is not a finite number; it begins with " in err
    assert "reparameterise (forward), first at [" in err
    assert err.count("\n") == 1
    assert "kept after step 2: the last checkpoint whose numbers are all finite" in out
    checkpoint = Checkpoint.find(tmp_path / "out" / "beta").checkpoint
    assert checkpoint.step == 2
    assert checkpoint.is_finite
    assert Trace.load(tmp_path / "out" / "beta").steps == 2


def test_without_a_recipe_there_is_nothing_to_train(command):
    assert_refused(command("train"), "no RECIPE")
    assert_refused(command("train", "--resume", "absent"), "there is no folder 'absent'")


@pytest.mark.slow
def test_the_bits_are_the_same_however_it_is_run(command, tmp_path, pyvae, warm):
    """In another process, without and with a terminal (and so a progress bar), with and without
    checkpoints, and as a trace with probes."""
    assert command(*RUN[:-1], "here", "--threads", 1)[0] == 0
    expected = left(tmp_path / "here")
    options = (*RUN[:-1], "process", "--threads", "1")
    done = pyvae(*options, PYVAE_CHECKPOINT_SECONDS="1000")
    assert done.returncode == 0, done.stderr
    pictures = left(tmp_path / "process")
    assert {name: pictures[name] for name in expected} == expected
    reading, terminal = pty.openpty()
    done = warm.start(
        Path(sys.executable).with_name("pyvae"), *RUN[:-1], "terminal", "--threads", "1",
        folder=tmp_path, environment=os.environ | UNDRAWN | {"TERM": "xterm"}, stdout=terminal,
        stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    with suppress(OSError):  # the end, as a terminal tells it
        while some := os.read(reading, 1000):
            seen += some
    os.close(reading)
    assert done.wait() == 0
    assert re.search(rb"step \d of 6", seen)  # the bar
    assert left(tmp_path / "terminal") == pictures
    double = ("--dtype", "float64", "--threads", 1)  # a trace has PyTorch's kernels, whose bits
    assert command(*RUN[:-1], "double", *double)[0] == 0  # single precision does not keep
    probed = (*double, "--probe", "2,5", "--out", "traced")
    assert command("trace", "--recipe", "beta", *SMALL, "--rng", "torch", *probed)[0] == 0
    one, other = Trace.load(tmp_path / "traced"), Trace.load(tmp_path / "double" / "beta")
    assert one.losses.tobytes() == other.losses.tobytes()
    assert all(one.parameters[k].tobytes() == v.tobytes() for k, v in other.parameters.items())
