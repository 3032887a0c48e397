"""A run as a whole, and its command line."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks import suite
from benchmarks.__main__ import main
from benchmarks.given.case import Case
from benchmarks.measured.conv import SIDES, measure_conv
from benchmarks.measured.recipes import measure_recipes
from benchmarks.suite import PARTS, Plan, run_suite, write_results
from pyvae.errors import UserError
from r_bridge.installed.r_torch import RTorch

ROOT = Path(__file__).parents[2]


def numbers(value):
    """All numbers of a result, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "cnv"], "unknown part 'cnv'"),
        (["--threads", "0"], "--threads 0: expected 1 to 1000"),
        (["--rounds", "0"], "--rounds 0: expected 1 to 1000"),
        (["--data", "kmnist"], "--data kmnist"),
        (["--what"], "--what"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, capsys, tmp_path):
    assert main(["--out", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_plan_takes_all_parts_and_all_cores_unless_told():
    assert Plan.of(False, None, None, None).parts == PARTS
    assert Plan.of(False, None, None, None).threads >= 1
    assert Plan.of(True, "conv,growth", 3, 2) == Plan(("conv", "growth"), True, 3, 2)
    assert Plan.of(True, None, None, None).rounds < Plan.of(False, None, None, None).rounds


def test_results_hold_no_nan(tmp_path, results):
    write_results(results, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == results
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_results({"about": math.nan}, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == results  # as it was


def test_without_rs_torch_it_is_said_and_left_out(monkeypatch):
    monkeypatch.setattr(suite, "check_r", lambda: None)
    monkeypatch.setattr(suite, "find_r_torch", lambda: RTorch())
    said = []
    assert suite._what_there_is_of_r(said.append) == (True, False)
    assert len(said) == 1
    assert said[0].startswith("without R's torch: R has no package torch. In R: install.packages(")


def test_without_r_it_is_said_and_left_out(monkeypatch):
    def none():
        raise UserError("R was not found")

    monkeypatch.setattr(suite, "check_r", none)
    said = []
    assert suite._what_there_is_of_r(said.append) == (False, False)
    assert said == ["without R: R was not found"]


@pytest.fixture
def short_run(tmp_path, monkeypatch, warm_sides):
    """Runs parts of the suite, and returns the results that it leaves."""
    monkeypatch.setattr(suite, "_what_there_is_of_r", lambda say: (False, False))
    monkeypatch.setattr(suite, "QUICK_RECIPES", ("mlp",))
    small = partial(measure_conv, case=Case(batch_size=10))
    monkeypatch.setattr(suite, "measure_conv", small)

    def a_round_of_a_step(folder, threads, rounds, steps, *others):
        return measure_recipes(folder, threads, 1, 1, *others)

    monkeypatch.setattr(suite, "measure_recipes", a_round_of_a_step)

    def run(*parts: str):
        plan = Plan(parts, quick=True, threads=1, rounds=1)
        run_suite(plan, "digits", tmp_path / "spare", tmp_path, tmp_path / "tables.md")
        results = json.loads((tmp_path / "results.json").read_text())
        assert set(results) == {"about", *PARTS}
        assert all(math.isfinite(number) for number in numbers(results))
        return results

    return run


@pytest.mark.slow
def test_a_short_run_leaves_results_and_tables(short_run, tmp_path, capsys):
    results = short_run("recipes")
    assert results["about"]["data"] == "digits"
    assert results["recipes"]["mlp"]["ratio_plain"] > 0
    assert results["recipes"]["mlp"]["ratio_floor"] > 0
    assert results["conv"] is results["growth"] is None
    assert "mlp" in (tmp_path / "tables.md").read_text()
    assert "mlp" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_so_does_one_of_all_that_is_drawn(short_run, tmp_path, capsys):
    """With the conv of the article, and a picture of it."""
    results = short_run("conv", "recipes")
    conv = results["conv"]
    assert conv["pyvae_ms"] > 0
    assert conv["plain_ms"] > 0
    assert conv["floor_ms"] > 0
    assert conv["rtorch_ms"] is None
    assert conv["ratio_rtorch"] is None
    assert all(set(conv[name]) == set(SIDES) for name in ("images_per_second", "peak_mb"))
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")
    assert "### Recipe conv" in (tmp_path / "tables.md").read_text()
    assert "Recipe conv" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process(tmp_path, warm):
    out, written = os.pipe()
    run = warm.start(
        "-m", "benchmarks", "--only", "conv", "--data", "digits", "--threads", "1", "--out",
        tmp_path, folder=ROOT, stdout=written,
    )  # fmt: skip
    os.close(written)
    with os.fdopen(out) as said:
        for line in said:
            if line.startswith("conv ..."):
                break
        children = []
        while len(children) < 3:
            time.sleep(0.1)
            children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate()
    assert run.returncode == 130
    assert error == "benchmarks: interrupted\n"
    _, alive = psutil.wait_procs(children, timeout=600)
    assert not alive
