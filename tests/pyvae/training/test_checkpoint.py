from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training import checkpoint
from pyvae.training.checkpoint import Checkpoint, run_identity

modest = hypothesis.settings(max_examples=25)
KINDS = st.sampled_from([np.float32, np.float64, np.uint8, np.int32, np.int64])
arrays = KINDS.flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
states = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), arrays, max_size=5)


def to_the_bit(one, two):
    if one is None or two is None:
        return one is two
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def same(one, two):
    names = ("generator", "order", "losses", "epochs")
    return (
        (one.step, one.run) == (two.step, two.run)
        and all(to_the_bit(getattr(one, name), getattr(two, name)) for name in names)
        and one.state.keys() == two.state.keys()
        and all(to_the_bit(one.state[key], two.state[key]) for key in one.state)
    )


def made(step=7):
    rng = np.random.default_rng(step)
    return Checkpoint(
        step,
        {
            "step": np.array(step),
            "parameter/w": rng.normal(size=(3, 2)),
            "moment1/w": np.float32([[-0.0, 1e-45, 3]]),
        },
        generator=rng.integers(0, 256, 5056, dtype=np.uint8),
        order=rng.permutation(20),
        losses=rng.normal(size=(step, 3)),
        epochs=np.arange(step) // 4 + 1,
        run={"engine": "pytorch", "settings": {"seed": step, "learning_rate": 1e-3}},
    )


def files(step):
    return {f"checkpoint-{step:08d}.json", f"checkpoint-{step:08d}.safetensors"}


def names(folder):
    return {path.name for path in folder.iterdir()}


@modest
@given(st.integers(0, 2**62), states, st.none() | arrays, st.none() | arrays)
def test_everything_survives_saving_to_the_bit(step, state, generator, order):
    saved = Checkpoint(step, state, generator, order)
    with tempfile.TemporaryDirectory() as folder:
        saved.save(Path(folder))
        assert names(Path(folder)) == files(step)
        assert same(Checkpoint.find(Path(folder)).checkpoint, saved)


def test_losses_and_what_run_it_is_of_survive(tmp_path):
    made().save(tmp_path)
    assert same(Checkpoint.find(tmp_path).checkpoint, made())


def test_names_of_a_state_are_kept_apart_from_the_checkpoints_own(tmp_path):
    own = ("step", "generator", "order", "losses", "epochs")
    state = {name: np.array(number) for number, name in enumerate(own)}
    Checkpoint(9, state).save(tmp_path)
    loaded = Checkpoint.find(tmp_path).checkpoint
    assert same(loaded, Checkpoint(9, state))
    assert loaded.generator is None


def test_arrays_that_are_not_contiguous_survive_saving(tmp_path):
    array = np.random.default_rng(1).normal(size=(4, 3))
    saved = Checkpoint(1, {"transposed": array.T}, array[::2, ::-1], array[:, 0])
    saved.save(tmp_path)
    assert same(Checkpoint.find(tmp_path).checkpoint, saved)


def test_the_last_two_are_kept(tmp_path):
    for step in (7, 8, 99_999_999, 100_000_000):  # more digits than the names have
        Checkpoint(step, {}).save(tmp_path)
    assert names(tmp_path) == files(99_999_999) | files(100_000_000)
    assert Checkpoint.find(tmp_path).checkpoint.step == 100_000_000


def test_those_of_a_time_that_is_over_do_not_stay(tmp_path):
    """A run that went on from step 7, since step 9 was damaged, is at 8: 9 is to come again."""
    for step in (7, 9, 8):
        made(step).save(tmp_path)
    assert names(tmp_path) == files(7) | files(8)


def test_where_there_is_none_there_is_none(tmp_path):
    assert Checkpoint.find(tmp_path).checkpoint is None
    assert Checkpoint.find(tmp_path / "absent").checkpoint is None
    made().save(tmp_path)
    (tmp_path / "checkpoint-notes.txt").write_text("mine")
    Checkpoint.remove(tmp_path)
    assert Checkpoint.find(tmp_path).checkpoint is None
    assert names(tmp_path) == {"checkpoint-notes.txt"}
    Checkpoint.remove(tmp_path)


def test_it_is_one_only_when_both_files_are_there(tmp_path):
    """The JSON is written last: who is killed between the two has not made one."""
    made(7).save(tmp_path)
    made(8).save(tmp_path)
    (tmp_path / "checkpoint-00000008.json").unlink()
    looked = Checkpoint.find(tmp_path)
    assert looked.damages == []
    assert same(looked.checkpoint, made(7))
    made(9).save(tmp_path)  # and what was left of it goes in time
    made(10).save(tmp_path)
    assert names(tmp_path) == files(9) | files(10)


JSON, NUMBERS = "checkpoint-00000008.json", "checkpoint-00000008.safetensors"


def flip(path, where=0.5):
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def change(path, **changes):
    whole = json.loads(path.read_text())
    whole["checkpoint"] |= changes
    path.write_text(json.dumps(whole))


def rewrite_numbers(path, **changes):
    """With a checksum that is right."""
    numbers = safetensors.numpy.load_file(path) | changes
    safetensors.numpy.save_file({k: v for k, v in numbers.items() if v is not None}, path)
    about = path.with_suffix(".json")
    told = json.loads(about.read_text())["checkpoint"]
    told |= {"bytes": path.stat().st_size, "sha256": checkpoint._checksum_of(path)}
    about.write_text(json.dumps({"checkpoint": told, "sha256": checkpoint._checksum(told)}))


@pytest.mark.parametrize(
    ("file", "spoil", "said"),
    [
        (NUMBERS, flip, "does not have its checksum"),
        (NUMBERS, lambda path: flip(path, 0), "does not have its checksum"),
        (NUMBERS, lambda path: flip(path, 1), "does not have its checksum"),
        (NUMBERS, lambda path: path.write_bytes(path.read_bytes()[:-1]), "has .* bytes"),
        (NUMBERS, lambda path: path.write_bytes(b""), "has 0 of .* bytes"),
        (NUMBERS, lambda path: path.unlink(), "No such file"),
        (NUMBERS, lambda path: rewrite_numbers(path, step=None), "no 'step'"),
        (NUMBERS, lambda path: rewrite_numbers(path, step=np.array(7)), "no checkpoint of step 8"),
        (NUMBERS, lambda path: rewrite_numbers(path, step=np.arange(2)), "damaged: ."),
        (NUMBERS, lambda path: rewrite_numbers(path, losses=None), "no 'losses'"),
        (JSON, lambda path: path.write_bytes(b""), "damaged: ."),
        (JSON, lambda path: path.write_bytes(b"\xff" * 100), "damaged: ."),
        (JSON, lambda path: path.write_text("[" * 100_000), "damaged: ."),
        (JSON, lambda path: path.write_text("{}"), "no 'checkpoint'"),
        (JSON, lambda path: path.write_text(" " * (1 << 24) + "{}"), "has more than 16777216"),
        (JSON, lambda path: change(path, run={"seed": 3}), "does not have its checksum"),
        (JSON, lambda path: change(path, format=2), "does not have its checksum"),
    ],
)
def test_from_one_that_is_damaged_it_falls_back_to_the_one_before_and_says_so(
    tmp_path, file, spoil, said
):
    made(7).save(tmp_path)
    made(8).save(tmp_path)
    spoil(tmp_path / file)
    looked = Checkpoint.find(tmp_path)
    assert same(looked.checkpoint, made(7))
    (wrong,) = looked.damages
    assert wrong.startswith("the checkpoint of step 8 is damaged: ")
    assert "\n" not in wrong
    assert re.search(said, wrong)


@modest
@given(st.data())
def test_any_bit_that_flips_in_either_file_is_found(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(7).save(folder)
        made(8).save(folder)
        path = folder / data.draw(st.sampled_from([JSON, NUMBERS]))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        looked = Checkpoint.find(folder)
        # white space of the JSON says nothing
        assert same(looked.checkpoint, made(7) if looked.damages else made(8))
        assert looked.damages or path.name == JSON


@modest
@given(st.data())
def test_a_file_of_which_any_part_is_missing_is_no_checkpoint(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(8).save(folder)
        path = folder / data.draw(st.sampled_from([JSON, NUMBERS]))
        whole = path.read_bytes()
        # the JSON's last byte ends its line
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
        looked = Checkpoint.find(folder)
        assert looked.checkpoint is None
        assert len(looked.damages) == 1


@pytest.mark.parametrize("fails", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2])
def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch, fails, error, call):
    """In its first or second file."""
    made(7).save(tmp_path)
    calls = []
    with monkeypatch.context() as patch:
        original = {"os.fsync": os.fsync, "pathlib.Path.replace": Path.replace}[fails]

        def fail(*arguments, **options):
            calls.append(1)
            if len(calls) == (2 * call - 1 if fails == "os.fsync" else call):
                raise error("no space left")
            return original(*arguments, **options)

        patch.setattr(fails, fail)
        with pytest.raises(error):
            made(8).save(tmp_path)
    assert names(tmp_path) - {NUMBERS} == files(7)
    assert same(Checkpoint.find(tmp_path).checkpoint, made(7))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_whether_all_its_numbers_are_finite(bad):
    assert made().is_finite
    spoilt = made()
    spoilt.state["moment1/w"][0, 2] = bad
    assert not spoilt.is_finite
    spoilt = made()
    spoilt.losses[3, 1] = bad
    assert not spoilt.is_finite


def test_a_run_is_what_json_makes_of_it(settings, conv, digits):
    trace = Trace.of_run(Run(conv, settings(seed=2**62 + 1), digits), PyTorchEngine("cpu"))
    about = run_identity(trace)
    assert json.loads(json.dumps(about)) == about
    assert about["settings"]["seed"] == 2**62 + 1
    assert about["settings"] == trace.settings.as_dict()
    assert set(about) == {"engine", "recipe", "settings", "data", "mode", "environment"}


def test_a_full_disk_is_one_line_and_leaves_the_one_before(tmp_path, monkeypatch):
    made(7).save(tmp_path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"^disk full while writing '.*'\. Free some space"):
            made(8).save(tmp_path)
    assert names(tmp_path) == files(7)


def test_the_newest_step_is_that_of_the_newest_that_is_whole(tmp_path):
    assert Checkpoint.newest_step(tmp_path / "nowhere") == Checkpoint.newest_step(tmp_path) == 0
    for step in (9, 10):
        made(step).save(tmp_path)
    assert Checkpoint.newest_step(tmp_path) == 10
    (tmp_path / "checkpoint-00000010.json").unlink()  # killed before this was written
    assert Checkpoint.newest_step(tmp_path) == 9
