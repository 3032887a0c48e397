from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyvae.checkpoint import Checkpoint
from pyvae.errors import UserError
from pyvae.trace import CHECKPOINT, Trace

modest = hypothesis.settings(max_examples=25, deadline=None)
KINDS = st.sampled_from([np.float32, np.float64, np.uint8, np.int32, np.int64, np.bool_])
arrays = KINDS.flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
states = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), arrays, max_size=5)


def to_the_bit(one, two):
    if one is None or two is None:
        return one is two
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def same(one, two):
    return (
        one.step == two.step
        and to_the_bit(one.generator, two.generator)
        and to_the_bit(one.order, two.order)
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
            "moment1/w": np.float32([[np.inf, -0.0], [1e-45, 3]]),
        },
        generator=rng.integers(0, 256, 5056, dtype=np.uint8),
        order=rng.permutation(20),
    )


@modest
@given(st.integers(0, 2**62), states, st.none() | arrays, st.none() | arrays)
def test_everything_survives_saving_to_the_bit(step, state, generator, order):
    checkpoint = Checkpoint(step, state, generator, order)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder))
        assert [path.name for path in Path(folder).iterdir()] == [CHECKPOINT]
        assert same(Checkpoint.load(Path(folder)), checkpoint)


def test_names_of_a_state_are_kept_apart_from_the_checkpoints_own(tmp_path):
    state = {name: np.array(number) for number, name in enumerate(("step", "generator", "order"))}
    Checkpoint(9, state).save(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert same(loaded, Checkpoint(9, state))
    assert loaded.generator is None


def test_arrays_that_are_not_contiguous_survive_saving(tmp_path):
    array = np.random.default_rng(1).normal(size=(4, 3))
    checkpoint = Checkpoint(1, {"transposed": array.T}, array[::2, ::-1], array[:, 0])
    checkpoint.save(tmp_path)
    assert same(Checkpoint.load(tmp_path), checkpoint)


def test_a_second_replaces_the_first(tmp_path):
    made(7).save(tmp_path)
    second = Checkpoint(8, {"parameter/w": np.ones(2)})
    second.save(tmp_path)
    assert same(Checkpoint.load(tmp_path), second)


def test_where_there_is_none_there_is_none(tmp_path):
    assert Checkpoint.load(tmp_path) is None
    assert Checkpoint.load(tmp_path / "absent") is None
    made().save(tmp_path)
    Checkpoint.remove(tmp_path)
    assert Checkpoint.load(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    Checkpoint.remove(tmp_path)


def test_it_goes_with_its_trace(tmp_path):
    made().save(tmp_path)
    Trace.remove(tmp_path, keep_folder=True)
    assert list(tmp_path.iterdir()) == []


def overwrite(path, **changes):
    kept = safetensors.numpy.load_file(path) | changes
    safetensors.numpy.save_file({k: v for k, v in kept.items() if v is not None}, path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_text("no numbers here"),
        lambda path: overwrite(path, step=None),
        lambda path: overwrite(path, step=np.arange(2)),
        lambda path: overwrite(path, step=np.array(np.nan)),
        lambda path: overwrite(path, step=np.array(np.inf)),
    ],
    ids=[
        "empty",
        "a byte short",
        "cut short",
        "other bytes",
        "text",
        "no step",
        "steps",
        "step is no number",
        "infinite step",
    ],
)
def test_a_damaged_one_is_the_users_error_in_one_line(tmp_path, spoil):
    made().save(tmp_path)
    spoil(tmp_path / CHECKPOINT)
    said = (
        r"^checkpoint '.*checkpoint.safetensors' cannot be read \(.+\); expected what an "
        r"interrupted run wrote; delete it to start again$"
    )
    with pytest.raises(UserError, match=said) as raised:
        Checkpoint.load(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


@modest
@given(st.data())
def test_a_file_of_which_any_part_is_missing_is_the_users_error(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made().save(folder)
        whole = (folder / CHECKPOINT).read_bytes()
        (folder / CHECKPOINT).write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(UserError, match="cannot be read"):
            Checkpoint.load(folder)


@pytest.mark.parametrize("fails", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch, fails, error):
    made(7).save(tmp_path)

    def fail(*arguments, **options):
        raise error("no space left")

    monkeypatch.setattr(fails, fail)
    with pytest.raises(error):
        made(8).save(tmp_path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    assert same(Checkpoint.load(tmp_path), made(7))
