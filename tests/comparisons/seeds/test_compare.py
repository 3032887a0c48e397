"""`pyvae compare --rng native` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from distributed import LocalCluster
from processes.warm import SERVED, Warm
from stand_ins.gated import GATE, install

from comparisons.seeds.equivalence import UNITS
from comparisons.seeds.many_seeds import SeedOptions
from pyvae.cli.main import main
from pyvae.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "narrow_recipes")]

TINY = ("--data", "digits", "--batch-size", "12", "--latent-dim", "4", "--steps", "2")
NATIVE = ("compare", "--rng", "native", *TINY)
ITSELF = ("--engine", "pytorch", "--objective", "vae")
RESULTS = {"run.json", "comparison.json", "equivalence.png", "history.csv", "measures.csv", "seeds"}


def run(capsys, folder, *arguments):
    """The exit code, and what was said; standard error is one line or none."""
    code = main([*NATIVE, *ITSELF, *arguments, "--out", str(folder)])
    out, error = capsys.readouterr()
    assert error.count("\n") <= 1
    return code, out, error


def read(folder):
    return json.loads((folder / "comparison.json").read_text())


@pytest.mark.slow
def test_an_engine_is_equivalent_to_itself_where_the_margin_is_wide(inline, tmp_path, capsys):
    out = tmp_path / "a folder, ü"
    code, said, error = run(
        capsys, out, "--seeds", "3", "--margin", "5", "--objective", "both", "--jobs", "2"
    )
    assert (code, error) == (0, "")
    assert said.rstrip().endswith("verdict: equivalent")
    assert "3 seeds each with their own randomness, margin 5 nats per image" in said
    assert "VAE: equivalent" in said
    assert "EMAE: equivalent" in said
    assert "pytorch (A)" in said
    assert "pytorch (B)" in said

    assert {path.name for path in out.iterdir()} == RESULTS
    assert len(list((out / "seeds").iterdir())) == 2 * 2 * 3
    about = read(out)
    assert about["verdict"] == "equivalent"
    assert (about["engine"], about["under_test"], about["rng"]) == ("pytorch", "pytorch", "native")
    assert (about["dtype"], about["steps"], about["batch_size"], about["seeds"]) == (
        "float32", 2, 12, 3,
    )  # fmt: skip
    assert about["settings"]["objective"] == ["vae", "emae"]
    assert about["environment"]["pytorch"]["threads"] == "1"
    assert list(about["objectives"]) == ["vae", "emae"]
    for objective in about["objectives"].values():
        assert list(objective["measures"]) == list(UNITS)
        loss = objective["measures"]["loss"]
        assert loss["margin"] == 5
        assert loss["under_test"]["seeds"] == [2, 3, 4]
        assert loss["reference"]["seeds"] == [5, 6, 7]

    table = pd.read_csv(out / "measures.csv")
    assert table.groupby(["objective", "engine"]).size().tolist() == [3] * 4
    values = about["objectives"]["emae"]["measures"]["regulariser"]["reference"]["values"]
    mine = table.query("objective == 'emae' and engine == 'pytorch (B)'")
    assert mine["regulariser"].tolist() == values
    history = pd.read_csv(out / "history.csv")
    assert len(history) == 2 * 2 * 3 * 2
    last = history.query("objective == 'emae' and engine == 'pytorch (B)'")
    means = last.groupby("seed")["regulariser"].mean() / 12  # one epoch
    assert np.allclose(means, values, rtol=1e-12)
    assert np.allclose(history["nats_per_image"], history["total"] / 12)


@pytest.mark.slow
def test_a_margin_that_seeds_cannot_tell_is_exit_code_1_and_nothing_runs_twice(
    inline, tmp_path, capsys
):
    code, said, _ = run(capsys, tmp_path, "--seeds", "3", "--margin", "5")
    assert code == 0
    assert "6 runs in" in said
    code, said, _ = run(
        capsys, tmp_path, "--seeds", "3", "--margin", "1e-6", "--margin-spread", "0.5"
    )
    assert code == 1
    assert re.search(r"\b0 runs in \d+ s, 6 were done before", said)
    assert said.rstrip().endswith("verdict: inconclusive")
    about = read(tmp_path)
    assert about["verdict"] == "inconclusive"
    margins = {name: m["margin"] for name, m in about["objectives"]["vae"]["measures"].items()}
    assert margins == {
        "loss": 1e-6, "reconstruction": 1e-6, "regulariser": 1e-6, "active_units": 2,
        "latent_spread": 0.5,
    }  # fmt: skip


def test_a_diverged_seed_makes_two_sides_different(inline, tmp_path, capsys):
    code, said, _ = run(
        capsys, tmp_path, "--seeds", "3", "--margin", "5", "--learning-rate", "1e6", "--steps", "3"
    )
    assert code == 1
    assert said.rstrip().endswith("verdict: different")
    assert "nan" in said
    loss = read(tmp_path)["objectives"]["vae"]["measures"]["loss"]
    assert loss["difference"] is None
    assert loss["under_test"]["values"] == [None] * 3
    assert "diverged" in loss["problem"] or "nan" in loss["problem"]
    assert {path.name for path in tmp_path.iterdir()} == RESULTS


@pytest.mark.slow
def test_a_cluster_gives_the_bits_of_this_process(inline, tmp_path, capsys):
    """Its one worker is a thread of this process; with processes of their own and one that is
    killed: tests/pyvae/reproduction/test_side_by_side.py."""
    arguments = ("--seeds", "3", "--margin", "5")
    assert run(capsys, tmp_path / "here", *arguments)[0] == 0
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:  # fmt: skip
        there = ("--scheduler", cluster.scheduler_address)
        code, said, error = run(capsys, tmp_path / "there", *arguments, *there)
        assert (code, error) == (0, "")
        assert said.count(", on worker 0 (") == 6
        code, said, error = run(capsys, tmp_path / "there", *arguments, *there)
        assert re.search(r"\b0 runs in \d+ s, 6 were done before", said)
    one, other = (
        {
            path.relative_to(out): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and path.name != "run.json"  # says how it was done, and when
        }
        for out in (tmp_path / "here", tmp_path / "there")
    )
    assert one == other


@pytest.mark.slow
def test_repetitions_count_verdicts(inline, tmp_path, capsys):
    arguments = ("--seeds", "3", "--margin", "5", "--repetitions", "4")
    code, said, _ = run(capsys, tmp_path, *arguments)
    assert code == 0
    assert "24 runs in" in said
    told = re.search(
        r"VAE: 4 repetitions, (\d) equivalent, (\d) inconclusive, (\d) different", said
    )
    assert told
    about = read(tmp_path)
    assert (about["verdict"], about["repetitions"], about["seeds"]) == ("calibrated", 4, 3)
    counted = about["vae"]["counts"]
    names = ("equivalent", "inconclusive", "different")
    assert [int(number) for number in told.groups()] == [counted.get(name, 0) for name in names]
    assert sum(counted.values()) == 4
    rates = about["vae"]["expected_rate"]
    assert 0 <= rates["least"] <= rates["most"] == min(rates["by_measure"].values()) <= 1
    # each repetition has seeds of its own
    table = pd.read_csv(tmp_path / "measures.csv")
    assert sorted(table["seed"]) == list(range(2, 2 + 24))
    assert table.groupby(["repetition", "engine"]).size().tolist() == [3] * 8
    # a wide margin: all of them are equivalent, as is to be expected
    code, _, _ = run(capsys, tmp_path, *arguments, "--margin", "1000", "--margin-spread", "9")
    about = read(tmp_path)
    assert about["vae"]["counts"] == {"equivalent": 4}
    assert about["vae"]["expected_rate"]["least"] == pytest.approx(1)


BAD = {
    "no seeds": (("--margin", "1"), "--rng native needs --seeds, .* Add --seeds 10"),
    "no margin": (("--seeds", "3"), "--rng native needs --margin, .* Add --margin 2 .nats"),
    "seeds": (("--seeds", "2", "--margin", "1"), "--seeds 2: expected 3 to 10000"),
    "zero seeds": (("--seeds", "0", "--margin", "1"), "--seeds 0: expected 3 to 10000"),
    "seeds in words": (("--seeds", "x", "--margin", "1"), "--seeds x: expected a whole number"),
    "margin": (("--seeds", "3", "--margin", "0"), "--margin 0: expected a finite number above 0"),
    "nan": (("--seeds", "3", "--margin", "nan"), "--margin nan: expected a finite number above 0"),
    "inf": (("--seeds", "3", "--margin", "inf"), "--margin inf: expected a finite number above 0"),
    "negative": (("--seeds", "3", "--margin", "-1"), "--margin -1: expected a finite number"),
    "units": (("--seeds", "3", "--margin", "1", "--margin-units", "-2"), "--margin-units -2: exp"),
    "spread": (("--seeds", "3", "--margin", "1", "--margin-spread", "0"), "--margin-spread 0: exp"),
    "jobs": (("--seeds", "3", "--margin", "1", "--jobs", "0"), "--jobs 0: expected 1 to 1000"),
    "jobs and scheduler": (
        ("--seeds", "3", "--margin", "1", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"),
        "--jobs 2 together with --scheduler tcp://127.0.0.1:1. Leave out --jobs",
    ),
    "scheduler": (
        ("--seeds", "3", "--margin", "1", "--scheduler", "tcp://127.0.0.1:1"),
        "--scheduler tcp://127.0.0.1:1 cannot be reached",
    ),
    "threads": (("--seeds", "3", "--margin", "1", "--threads", "0"), "--threads 0: expected 1 to"),
    "repetitions": (
        ("--seeds", "3", "--margin", "1", "--repetitions", "0"),
        "--repetitions 0: expected 1 to 1000",
    ),
    "mode": (
        ("--seeds", "3", "--margin", "1", "--mode", "resync"),
        "--mode cannot be used with --rng native. Leave out --mode, or use --rng injected",
    ),
    "probe": (("--seeds", "3", "--margin", "1", "--probe", "1"), "--probe cannot be used with"),
    "report": (("--seeds", "3", "--margin", "1", "--report"), "--report cannot be used with"),
    "exact": (("--seeds", "3", "--margin", "1", "--exact"), "--exact cannot be used with"),
    "last seed": (
        ("--seeds", "3", "--margin", "1", "--seed", str(2**63 - 3)),
        r"--seed 9223372036854775808: expected 0 to 2\^63 - 1",
    ),
    "batch": (
        ("--seeds", "3", "--margin", "1", "--batch-size", "2000"),
        "1797 images are fewer than one batch of 2000",
    ),
    "objective": (("--seeds", "3", "--margin", "1", "--objective", "vea"), "objective 'vea'"),
    "engine": (("--seeds", "3", "--margin", "1", "--under-test", "r"), "engine under test 'r'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(name, tmp_path, capsys, inline, monkeypatch):
    arguments, words = BAD[name]
    monkeypatch.setenv("PYVAE_DASK_TIMEOUT", "0.2")
    code, said, error = run(capsys, tmp_path / "out", *arguments)
    assert code == 2
    assert re.search(words, error), error
    assert error.startswith("pyvae: ")
    assert said == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rng", ["injected", "seeded"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--seeds", "3"), ("--margin", "1"), ("--margin-units", "1"), ("--margin-spread", "1"),
        ("--jobs", "1"), ("--scheduler", "tcp://127.0.0.1:1"), ("--repetitions", "2"),
    ],
)  # fmt: skip
def test_options_of_many_seeds_go_with_no_other_rng(tmp_path, capsys, rng, arguments):
    out = tmp_path / "out"
    assert main(["compare", *TINY, "--rng", rng, *arguments, "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"pyvae: {arguments[0]} applies to --rng native only. Leave out {arguments[0]}, or use "
        "--rng native.\n"
    )
    assert not out.exists()


def test_an_output_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    code, _, error = run(capsys, tmp_path / "file" / "out", "--seeds", "3", "--margin", "1")
    assert code == 2
    assert "is a file. Choose a folder" in error


@pytest.mark.parametrize("name", ["threads", "repetitions"])
def test_numbers_have_a_range(name):
    for number in (1, 1000):
        SeedOptions(**{"seeds": 3, "margins": None, "threads": 1} | {name: number})
    for number in (-1, 0, 1001):
        with pytest.raises(UserError, match=f"--{name} {number}: expected 1 to 1000"):
            SeedOptions(**{"seeds": 3, "margins": None, "threads": 1} | {name: number})


# The command itself, with its processes


SIX = (
    *NATIVE, "--recipe", "beta", "--under-test", "gated", "--engine", "base-r", "--seeds", "3",
    "--margin", "500", "--margin-units", "9", "--margin-spread", "9", "--out", "out",
)  # fmt: skip


IN_A_GROUP = """
import os, sys
os.setsid()
from pyvae.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Command:
    """The command, six runs of which one waits, in a process group of its own, as a terminal
    starts it."""

    def __init__(self, folder: Path, warm: Warm, **changes: str) -> None:
        install(folder / "installed")
        environment = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(folder / "installed")} | changes
        said, says = os.pipe()
        self.said = os.fdopen(said)
        self.process = warm.start(
            "-c", IN_A_GROUP, *SIX, "--jobs", "2",
            folder=folder, environment=os.environ | environment, stdout=says,
        )  # fmt: skip
        os.close(says)
        self.seen: set[psutil.Process] = set()

    def until(self, words: str) -> None:
        """Waits until it says this."""
        for line in self.said:
            if words in line:
                break
        self.look()

    def until_there_is(self, kind) -> None:
        """Waits for a process of a kind."""
        while not any(map(kind, self.seen)):
            assert self.process.poll() is None
            time.sleep(0.02)
            self.look()

    def look(self) -> None:
        """Remembers its processes, R's included."""
        self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))

    def interrupt(self) -> tuple[str, str]:
        """Presses Ctrl-C, and waits until all its processes have ended by themselves."""
        self.look()
        os.killpg(self.process.pid, signal.SIGINT)
        out = self.said.read()
        self.said.close()
        _, error = self.process.communicate()
        psutil.wait_procs(self.seen)
        return out, error


@pytest.fixture
def start(tmp_path, warm):
    """Starts the command; kills what is left of it in the end."""
    commands = []

    def one(**changes: str) -> Command:
        commands.append(Command(tmp_path, warm, **changes))
        return commands[-1]

    yield one
    for command in commands:
        for process in (command.process, *command.seen):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _is_r(process: psutil.Process) -> bool:
    return "r_bridge.process.server" in _words(process)


def _imports_for_workers(process: psutil.Process) -> bool:
    """On Linux the fork server; elsewhere each worker imports for itself."""
    return "multiprocessing.forkserver" in _words(process) or "spawn_main" in _words(process)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.r
@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_keeps_what_was_done(
    start, tmp_path, inline, monkeypatch, capsys
):
    command = start(**SERVED)
    command.until("(2 of 6, ")
    command.until_there_is(_is_r)  # both runs that are done may have been PyTorch's
    out, error = command.interrupt()
    assert command.process.returncode == 130
    assert error.splitlines() == ["pyvae: interrupted"]
    assert "then interrupted. Run the same command again to continue" in out
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "seeds").iterdir()}
    assert 2 <= len(kept) < 6
    assert not (tmp_path / "out" / "comparison.json").exists()

    (tmp_path / GATE).touch()
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.chdir(tmp_path)
    assert main([*SIX, "--jobs", "1"]) == 0  # in this process: those of its own have been seen
    out, error = capsys.readouterr()
    assert error == ""
    assert re.search(rf"\b{6 - len(kept)} runs? in", out)
    assert f"{len(kept)} were done before" in out
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    found = read(tmp_path / "out")["objectives"]["beta"]
    assert found["measures"]["loss"]["reference"]["n"] == 3


@pytest.mark.r
@pytest.mark.slow
def test_ctrl_c_before_the_processes_have_started_is_quiet_too(start):
    command = start()
    command.until("with their own randomness")
    command.until_there_is(_imports_for_workers)
    _, error = command.interrupt()
    assert command.process.returncode == 130
    assert error.splitlines() == ["pyvae: interrupted"]
