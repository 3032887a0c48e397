"""Who is killed while a run is being kept leaves no mixture."""

from __future__ import annotations

import itertools

import pytest
from alike.runs import assert_same_run
from stand_ins.kept_runs import LITTLE, Killed, Runs

from pyvae.files import arrays as arrays_module
from pyvae.trace import trace as trace_module
from pyvae.trace.trace import Trace
from pyvae.training import checkpoint as checkpoint_module


def kill_at_write(monkeypatch, number):
    """Ends the run at the n-th file that it writes."""
    written = itertools.count(1)
    write_file = trace_module.write_file

    def write(path, content):
        if next(written) == number:
            raise Killed
        write_file(path, content)

    for module in (trace_module, checkpoint_module, arrays_module):
        monkeypatch.setattr(module, "write_file", write)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "first"), [(2, 4), (3, 1), (3, 4)])
def test_a_run_that_is_killed_while_it_is_being_kept_is_no_mixture(
    tmp_path, few, monkeypatch, seed, first
):
    """At each file that it writes, into a folder where that run, or one with another seed, was
    kept before; with a first checkpoint before the earlier run's, and after it."""
    plain = {}
    for number in itertools.count(1):
        runs = Runs(tmp_path / str(number), LITTLE, few)
        earlier, later = (runs.settings(rng="torch", seed=k, steps=6) for k in (2, seed))
        for settings in (earlier, later):
            if settings.seed not in plain:
                plain[settings.seed] = runs.plain(settings)
        runs.killed(earlier, 3)
        with monkeypatch.context() as patch:
            kill_at_write(patch, number)
            try:
                runs.go(later, first=first)
            except Killed:
                pass
            else:
                break
        assert_same_run(runs.go(later).trace, plain[later.seed])
        assert_same_run(Trace.load(runs.folder), plain[later.seed])
        assert_same_run(runs.go(earlier).trace, plain[earlier.seed])
    # four files for each checkpoint, and for a complete trace
    assert number - 1 >= 4 * 2 + 4


def test_who_is_killed_in_writing_leaves_nothing_for_good(runs):
    """What a killed writer leaves beside its file goes with the checkpoint and the trace."""
    settings = runs.settings()
    runs.killed(settings, 3)
    remains = ".checkpoint-00000003.safetensors.abcd_123"
    (runs.folder / remains).write_text("half")
    (runs.folder / ".history.csv.abcd_123").write_text("half")
    runs.go(settings)
    assert not (runs.folder / remains).exists()
    Trace.remove(runs.folder)
    assert not runs.folder.exists()
