"""What the run of a seed leaves on disk, and who may read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from comparisons.seeds.saved_outcome import SeedRun, load_outcome, save_outcome
from pyvae.errors import UserError
from pyvae.trace.trace import Trace

ABOUT = {"environment": {"torch": "2.6", "threads": "1"}, "data": {"name": "digits", "images": 30}}
LOSSES = np.array([[3.5, 2.25, 1.25], [3.0, 2.0, np.pi / 3], [2.5, 1.75, 0.1]])
MU = np.random.default_rng(1).normal(size=(12, 5))


@pytest.fixture
def run(settings):
    return SeedRun("under-test", "pytorch", settings(seed=7, rng="torch"), ABOUT)


def trace(run, losses=LOSSES, mu=MU):
    made = Trace(run.engine, "conv", run.settings, {"name": "digits"}, {})
    made.losses, made.epochs = losses, np.array([1, 1, 2])
    made.latent_means = {"training": mu + 1, "evaluation": mu}
    return made


def test_what_is_written_is_read_to_the_bit(run, tmp_path):
    save_outcome(run, trace(run), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [run.file]
    found = load_outcome(run, tmp_path)
    assert (found.engine, found.objective, found.seed, found.batch_size) == (
        "pytorch", "vae", 7, 12,
    )  # fmt: skip
    for mine, given in ((found.losses, LOSSES), (found.mu, MU), (found.epochs, [1, 1, 2])):
        assert np.array_equal(mine, given)
    assert found.losses.dtype == np.float64


def test_arrays_in_rs_order_stay_what_they_are(run, tmp_path):
    """R's arrays are column-major; safetensors writes memory as it lies."""
    save_outcome(run, trace(run, np.asfortranarray(LOSSES), np.asfortranarray(MU)), tmp_path)
    found = load_outcome(run, tmp_path)
    assert np.array_equal(found.mu, MU)
    assert np.array_equal(found.losses, LOSSES)
    save_outcome(run, trace(run, mu=MU[::-1, ::2].astype(np.float32).T), tmp_path)
    assert np.array_equal(load_outcome(run, tmp_path).mu, MU[::-1, ::2].astype(np.float32).T)


def test_a_run_that_diverged_is_kept_as_it_is(run, tmp_path):
    losses = np.where(LOSSES == 2.5, np.nan, LOSSES)
    losses[1, 2] = np.inf
    save_outcome(run, trace(run, losses, np.full((1, 5), np.nan)), tmp_path)
    found = load_outcome(run, tmp_path)
    assert np.array_equal(found.losses, losses, equal_nan=True)
    assert np.isnan(found.mu).all()


def test_a_run_that_is_not_there_is_none(run, tmp_path):
    assert load_outcome(run, tmp_path) is None
    assert load_outcome(run, tmp_path / "absent") is None
    (tmp_path / run.file).mkdir()
    assert load_outcome(run, tmp_path) is None


def others(run):
    """Runs that differ from one in a single thing."""
    yield replace(run, side="reference")
    yield replace(run, engine="r-torch")
    yield replace(run, about={})
    yield replace(run, about=ABOUT | {"environment": {"torch": "2.7", "threads": "1"}})
    yield replace(run, about=ABOUT | {"data": {"name": "digits", "images": 31}})
    for changes in (
        {"objective": "emae"}, {"seed": 8}, {"steps": 4}, {"epochs": 2}, {"batch_size": 13},
        {"latent_dim": 6}, {"learning_rate": 2e-3}, {"dtype": "float32"}, {"rng": "injected"},
    ):  # fmt: skip
        yield replace(run, settings=replace(run.settings, **changes))


def test_another_runs_file_is_not_used(run, tmp_path):
    """Nor where it has the same name: that has side, engine, objective and seed alone."""
    save_outcome(run, trace(run), tmp_path)
    content = (tmp_path / run.file).read_bytes()
    differing = list(others(run))
    assert len({other.file for other in differing} | {run.file}) == 5
    for other in differing:
        (tmp_path / other.file).write_bytes(content)
        found = load_outcome(other, tmp_path)
        # its place in the comparison is in the name alone
        assert (found is None) == (other.side == run.side), other
    assert load_outcome(run, tmp_path) is not None


def test_what_is_known_of_it_may_be_written_in_any_order(run, tmp_path):
    save_outcome(run, trace(run), tmp_path)
    assert load_outcome(replace(run, about=dict(reversed(ABOUT.items()))), tmp_path) is not None


@pytest.mark.parametrize("damage", ["cut", "cut in the head", "empty", "text", "no means", "bare"])
def test_a_damaged_file_is_not_used_and_is_written_again(run, tmp_path, damage):
    save_outcome(run, trace(run), tmp_path)
    path = tmp_path / run.file
    whole = path.read_bytes()
    if damage in ("no means", "bare"):
        arrays = safetensors.numpy.load(whole)
        del arrays["latent_means"]
        about = {"run": run.description()} if damage == "no means" else None
        safetensors.numpy.save_file(arrays, path, about)
    else:
        path.write_bytes(
            {"cut": whole[:-1], "cut in the head": whole[:5], "empty": b"", "text": b"no"}[damage]
        )
    assert load_outcome(run, tmp_path) is None
    save_outcome(run, trace(run), tmp_path)
    assert path.read_bytes() == whole


def test_a_changed_bit_of_a_number_is_found(run, tmp_path):
    save_outcome(run, trace(run), tmp_path)
    path = tmp_path / run.file
    whole = path.read_bytes()
    for place in (-1, -60, -400):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        assert load_outcome(run, tmp_path) is None


def test_a_folder_that_cannot_be_written_leaves_nothing(run, tmp_path):
    with pytest.raises(UserError, match=r"absent.* cannot be written"):
        save_outcome(run, trace(run), tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
