"""What long runs use: memory, files and processes stay what they were. With the full counts:
`pytest -m long -s`."""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import pytest

from pyvae.model.run import Run
from pyvae.recipes import RECIPES
from pyvae.training.loop import train
from r_bridge.engines.base_r import BaseREngine
from r_bridge.errors import RProcessError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

MEGABYTES = 2**20


class Use(NamedTuple):
    """What two processes use after a step; the R process second."""

    step: int
    memory: tuple[int, int]  # bytes, resident
    files: tuple[int, int]  # open descriptors
    threads: tuple[int, int]
    children: int  # of this process, dead ones that nobody has asked for included


def use(step: int, r: psutil.Process) -> Use:
    here = psutil.Process()
    both = (here, r)
    return Use(
        step,
        tuple(one.memory_info().rss for one in both),
        tuple(one.num_fds() for one in both),
        tuple(one.num_threads() for one in both),
        len(here.children()),
    )


def live(engine: BaseREngine) -> list[float]:
    """R's objects and their numbers after a collection, in cells; names in its workspace."""
    code = "c(gc(full = TRUE)[, 1], length(ls(globalenv(), all.names = TRUE)))"
    return engine.process.evaluate(code).tolist()


def medians(seen: list[Use], side: int, warm_up: int) -> list[float]:
    """The resident memory of a process, in MB, of the windows of 500 steps after the warm-up."""
    windows: dict[int, list[int]] = {}
    for one in seen:
        if one.step > warm_up:
            windows.setdefault((one.step - 1) // 500, []).append(one.memory[side])
    return [statistics.median(window) / MEGABYTES for window in windows.values()]


@pytest.mark.parametrize(
    ("name", "batch", "steps", "warm_up"),
    [
        ("conv", 4, 8, 8),
        ("mlp", 20, 8, 8),
        pytest.param("conv", 4, 2000, 500, marks=pytest.mark.long),
        pytest.param("mlp", 20, 4000, 2000, marks=pytest.mark.long),
    ],
)
def test_a_run_takes_no_more_from_step_to_step(digits, name, batch, steps, warm_up):
    """R collects garbage when its vectors have 200 MB (`r_environment`), so that its memory has
    teeth: medians are compared. Small steps take long until they have been everywhere in these."""
    recipe = RECIPES[name]
    few = {"batch_size": batch, "steps": steps, "epochs": steps, "dtype": "float64"}
    settings = recipe.settings(**few)
    seen: list[Use] = []
    cells: list[list[float]] = []
    with BaseREngine(threads=1) as engine:
        r = psutil.Process(engine.process.pid)

        def observe(progress):
            if progress.step in (steps // 2, steps):
                cells.append(live(engine))
            if progress.step % (10 if steps > 100 else 2) == 0:
                seen.append(use(progress.step, r))

        trace = train(Run(recipe, settings, digits), engine, callbacks=[observe])
        assert r.status() != psutil.STATUS_ZOMBIE
    assert trace.steps == steps
    assert len({(one.files, one.threads, one.children) for one in seen[1:]}) == 1
    for early, late in zip(*cells, strict=True):  # cons cells, numbers, names
        assert late <= 1.01 * early
    for one in seen[:: max(1, len(seen) // 4)] + seen[-1:]:
        print(one.step, [round(m / MEGABYTES, 1) for m in one.memory], one.files, one.threads)
    for side in (0, 1):
        flat = medians(seen, side, warm_up)
        print("medians", [round(m, 1) for m in flat], "R's cells", cells)
        if flat:
            assert max(flat) - min(flat) <= max(0.02 * min(flat), 10)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Iterator:
    """A folder for temporary files of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.parametrize("starts", [4, pytest.param(200, marks=pytest.mark.long)])
def test_starting_and_ending_r_leaves_nothing(temporary, starts):
    """Ended when it is idle; killed when it is idle, or computes; where a source cannot be read."""
    here = psutil.Process()
    before = here.num_fds(), threading.active_count(), here.num_threads(), here.children()
    pids = []
    for number in range(starts):
        kind = number % 4
        if kind == 3:
            with pytest.raises(Exception, match="cannot open"):
                RProcess((temporary / "none.R",))
        else:
            with RProcess(timeout=60) as r:
                pids.append(r.pid)
                r.evaluate("writeLines('kept', tempfile()); NULL")
                assert len(list(temporary.iterdir())) == 1
                if kind == 1:
                    max(here.children(), key=psutil.Process.create_time).kill()
                if kind == 2:
                    with pytest.raises(RProcessError, match="signal 9, SIGKILL"):
                        r.evaluate("tools::pskill(Sys.getpid(), 9); Sys.sleep(60)")
        after = here.num_fds(), threading.active_count(), here.num_threads(), here.children()
        assert after == before, number
        assert not list(temporary.iterdir()), number
    assert not any(psutil.pid_exists(pid) and _is_r(pid) for pid in pids)
    print(starts, "starts:", after)


def _is_r(pid: int) -> bool:
    """Not another process that has got its number since."""
    try:
        return "r_bridge.process.server" in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
