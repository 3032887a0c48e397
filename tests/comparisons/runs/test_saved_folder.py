"""What a comparison of two saved traces may write into, and what describes it there."""

from __future__ import annotations

import json

import pytest

SMALL = ("--data", "digits", "--batch-size", "12", "--latent-dim", "3", "--steps", "2")


@pytest.fixture
def two(pyvae, tmp_path):
    """Two traces in the folders a and b."""
    for name in "ab":
        done = pyvae("trace", *SMALL, "--objective", "vae", "--out", name, "--threads", "1")
        assert done.returncode == 0, done.stderr
    return tmp_path


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", ["a", "./a/", "a/vae", "b"])
def test_no_trace_is_written_over(pyvae, two, out):
    before = files(two)
    done = pyvae("compare", "a", "b", "--out", out)
    assert done.returncode == 2
    assert "the results would be written among its files; choose another folder" in done.stderr
    assert files(two) == before
    assert pyvae("compare", "a", "b").returncode == 0  # both can still be read


def test_a_folder_describes_its_newest_comparison_alone(pyvae, two):
    """The traces and run.json of an earlier one are kept apart."""
    live = pyvae(
        "compare", *SMALL, "--objective", "vae", "--under-test", "pytorch", "--engine", "base-r"
    )
    if live.returncode == 2:
        pytest.skip(live.stderr)
    before = files(two / "comparison" / "traces")
    run = (two / "comparison" / "run.json").read_bytes()
    done = pyvae("compare", "a", "b")
    assert done.returncode == 0, done.stderr
    assert "the traces of an earlier comparison are now in comparison/earlier" in done.stdout
    kept = two / "comparison" / "earlier"
    assert sorted(files(kept / "traces").values()) == sorted(before.values())
    assert (kept / "run.json").read_bytes() == run
    about = json.loads((two / "comparison" / "run.json").read_text())
    assert about["arguments"][0] == "compare"
    assert about["arguments"][-2:] == [str(two / "a"), str(two / "b")]
    assert not (two / "comparison" / "traces").exists()
    again = pyvae("compare", "comparison/earlier/traces/vae-pytorch", "a", "--out", "c")
    assert again.returncode == 0, again.stderr


def test_an_interrupted_comparison_is_not_written_over(pyvae, two):
    (two / "comparison" / "interrupted").mkdir(parents=True)
    done = pyvae("compare", "a", "b")
    assert done.returncode == 2
    assert "finish it: pyvae compare --resume=comparison" in done.stderr
