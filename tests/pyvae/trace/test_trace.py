from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shown.figures_help import finished_trace

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.objectives import LOSSES, OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import RECIPES, get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

modest = hypothesis.settings(max_examples=25, deadline=None)
SETTINGS = Settings("vae", epochs=4, batch_size=7, latent_dim=3, learning_rate=0.1 + 0.2, seed=5)
every_recipe = pytest.mark.parametrize("recipe", RECIPES)
numbers = st.floats(allow_nan=False, width=64)


def make_trace(losses, epochs=None):
    losses = np.asarray(losses, np.float64).reshape(-1, 3)
    steps = len(losses)
    rng = np.random.default_rng(steps)
    return Trace(
        engine="pytorch",
        recipe="conv",
        settings=SETTINGS,
        data={"name": "a, “b”", "images": 9, "source": "here\nand there"},
        environment={"torch": "1"},
        losses=losses,
        epochs=np.ones(steps, np.int64) if epochs is None else np.asarray(epochs),
        latent_means={
            "training": rng.normal(size=(3, 7)).T,  # not contiguous
            "evaluation": rng.normal(size=(7, 3)).astype(np.float32),
        },
        samples=rng.uniform(size=(16, 784)),
        parameters={"b": rng.normal(size=(5, 4, 3))[::2, :, ::-1], "a": np.float32([1.5, np.inf])},
    )


def same(one, two):
    return one.keys() == two.keys() and all(
        np.array_equal(one[k], two[k]) and one[k].dtype == two[k].dtype for k in one
    )


@pytest.fixture
def saved(tmp_path):
    make_trace(np.arange(12) / 7).save(tmp_path)
    return tmp_path


@modest
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=numbers))
def test_losses_survive_saving_to_the_bit(losses):
    with tempfile.TemporaryDirectory() as folder:
        make_trace(losses).save(folder)
        loaded = Trace.load(folder).losses
    assert loaded.dtype == np.float64
    assert loaded.tobytes() == losses.tobytes()


def test_everything_else_survives_saving(tmp_path):
    trace = make_trace(np.ones((5, 3)), epochs=[1, 1, 2, 2, 3])
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    for name in ("engine", "recipe", "settings", "data", "environment", "steps", "complete"):
        assert getattr(loaded, name) == getattr(trace, name)
    assert np.array_equal(loaded.epochs, trace.epochs)
    assert same(loaded.latent_means, trace.latent_means)
    assert same(loaded.parameters, trace.parameters)
    assert np.array_equal(loaded.samples, trace.samples)


def test_an_interrupted_trace_is_its_history_alone(tmp_path):
    trace = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    trace.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "history.csv"}
    loaded = Trace.load(tmp_path)
    assert not loaded.complete
    assert loaded.parameters == {}
    assert np.array_equal(loaded.losses, trace.losses)


def test_an_interrupted_trace_takes_nothing_from_an_older_one(saved):
    partial = dataclasses.replace(
        make_trace(np.ones((2, 3))), parameters={}, latent_means={}, samples=None
    )
    partial.save(saved)
    assert Trace.load(saved).parameters == {}
    assert Trace.load(saved).steps == 2


def test_a_trace_makes_its_folder(saved, tmp_path):
    trace = Trace.load(saved)
    trace.save(tmp_path / "not" / "there")
    assert Trace.load(tmp_path / "not" / "there").steps == trace.steps
    trace.save_probe(tmp_path / "nor" / "here", 1, {"forward/total": np.array(0.5)})
    assert (tmp_path / "nor" / "here" / "probes" / "step-000001.safetensors").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"'.*file' cannot be written"):
        trace.save(tmp_path / "file")


def test_a_second_trace_replaces_the_first(saved):
    second = make_trace(np.full((2, 3), 0.1))
    second.save(saved)
    assert np.array_equal(Trace.load(saved).losses, second.losses)


def test_history_has_a_row_for_each_step(tmp_path):
    trace = make_trace(np.arange(12.0), epochs=[1, 1, 2, 2])
    trace.save(tmp_path)
    for table in (trace.history(), pd.read_csv(tmp_path / "history.csv")):
        assert table["step"].tolist() == [1, 2, 3, 4]
        assert table["epoch"].tolist() == [1, 1, 2, 2]
        assert np.array_equal(table[list(LOSSES)], np.arange(12.0).reshape(4, 3))
        assert np.array_equal(table["nats_per_image"], np.arange(0, 12, 3) / 7)
        assert set(table["engine"]) == {"pytorch"}
        assert set(table["objective"]) == {"vae"}


@modest
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_an_epochs_row_sums_its_batches(epochs, data):
    epochs = sorted(epochs)
    moderate = st.floats(0, 1e6)
    losses = data.draw(hnp.arrays(np.float64, (len(epochs), 3), elements=moderate))
    table = make_trace(losses, epochs).epoch_table().set_index("epoch")
    assert list(table.index) == sorted(set(epochs))
    for epoch, row in table.iterrows():
        chosen = losses[np.array(epochs) == epoch]
        sums = [math.fsum(column) for column in chosen.T]
        assert row["steps"] == len(chosen)
        assert row[list(LOSSES)].tolist() == pytest.approx(sums, rel=1e-13)
        assert row["nats_per_image"] == pytest.approx(sums[0] / (7 * len(chosen)), rel=1e-13)


def test_extending_counts_epochs_from_1():
    trace = make_trace(np.empty((0, 3)))
    trace.extend(0, [torch.tensor([3.0, 2.0, 1.0])] * 2)
    trace.extend(1, [torch.tensor([6.0, 5.0, 1.0])])
    assert trace.epochs.tolist() == [1, 1, 2]
    assert trace.losses.tolist() == [[3, 2, 1], [3, 2, 1], [6, 5, 1]]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "trace.json"])
def test_a_file_cut_short_is_the_users_error(saved, file):
    cut(saved / file)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("file", ["parameters.safetensors", "latents.safetensors", "history.csv"])
def test_an_absent_file_is_the_users_error(saved, file):
    (saved / file).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "step,loss\n1,2\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,x\n",
        "epoch,total,reconstruction,regulariser\none,2,3,4\n",
        "epoch,total,reconstruction,regulariser\n99999999999999999999,2,3,4\n",
        "epoch,total,reconstruction,regulariser\n1,2,3,4,5,6\n1,2\n",
    ],
)
def test_a_broken_history_is_the_users_error(saved, text):
    rewrite(saved, without_checksums)
    (saved / "history.csv").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda about: [], id="a list"),
        pytest.param(lambda about: about | {"settings": {}}, id="no settings"),
        pytest.param(lambda about: about | {"settings": None}, id="null settings"),
        pytest.param(
            lambda about: about | {"settings": about["settings"] | {"lr": 1}}, id="a setting more"
        ),
        pytest.param(
            lambda about: about | {"settings": about["settings"] | {"latent_dim": "x"}},
            id="a setting of another type",
        ),
        pytest.param(lambda about: {k: about[k] for k in about if k != "engine"}, id="no engine"),
    ],
)
def test_a_broken_trace_json_is_the_users_error(saved, wrong):
    path = saved / "trace.json"
    path.write_text(json.dumps(wrong(json.loads(path.read_text()))))
    with pytest.raises(UserError):
        Trace.load(saved)


def test_bytes_that_are_not_text_are_the_users_error(saved):
    (saved / "trace.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


def test_a_trace_json_without_an_end_of_brackets_is_the_users_error(saved):
    (saved / "trace.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read"):
        Trace.load(saved)


@pytest.mark.parametrize("lines", [2, 1])
def test_a_history_that_lost_steps_is_the_users_error(saved, lines):
    rewrite(saved, without_checksums)
    path = saved / "history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))
    with pytest.raises(UserError):
        Trace.load(saved)


@pytest.mark.parametrize("file", ["history.csv", "parameters.safetensors", "latents.safetensors"])
def test_a_changed_byte_of_a_complete_trace_is_found_and_the_file_named(saved, file):
    path = saved / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # a digit, or a bit of a number: it could be read all the same
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{file} is damaged: its SHA-256"):
        Trace.load(saved)
    rewrite(saved, without_checksums)
    Trace.load(saved)


def test_checksums_are_those_of_the_files_and_of_complete_traces_alone(saved, tmp_path):
    about = json.loads((saved / "trace.json").read_text())
    assert about["sha256"] == {
        file: hashlib.sha256((saved / file).read_bytes()).hexdigest()
        for file in ("history.csv", "parameters.safetensors", "latents.safetensors")
    }
    partial(np.ones((2, 3))).save(tmp_path)
    assert "sha256" not in json.loads((tmp_path / "trace.json").read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"../../secret": "0" * 64}, id="another file"),
        pytest.param({"history.csv": "0" * 63}, id="too short"),
        pytest.param({"history.csv": 1}, id="a number"),
        pytest.param([], id="a list"),
    ],
)
def test_broken_checksums_are_the_users_error(saved, wrong):
    rewrite(saved, lambda about: about | {"sha256": wrong})
    with pytest.raises(UserError, match="sha256"):
        Trace.load(saved)


def test_a_folder_without_a_trace_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="holds no trace"):
        Trace.load(tmp_path)


FINITE_OR_NOT = st.floats(allow_nan=True, width=32)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
probes = st.dictionaries(
    st.sampled_from(["forward/input", "forward/total", "gradient/a.b.weight", "moment1/ä"]),
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, shapes, elements=FINITE_OR_NOT)
    ),
)


def to_the_bit(one, two):
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype
        and one[key].shape == two[key].shape
        and one[key].tobytes() == two[key].tobytes()
        for key in one
    )


def save_probed(folder, seen):
    """A trace with probes of some steps, saved and loaded again."""
    trace = make_trace(np.ones((5, 3)))
    for step, probe in seen.items():
        trace.save_probe(folder, step, probe)
    trace.save(folder)
    return Trace.load(folder)


@pytest.fixture
def probed(tmp_path):
    """A trace on disk whose steps 2 and 4 were probed."""
    seen = {
        step: {
            f"{kind}/encoder.fc1.bias": np.full(3, step + k / 7)
            for k, kind in enumerate(("start", "gradient", "moment1", "moment2", "parameter"))
        }
        | {"forward/total": np.array(0.1 * step)}
        for step in (2, 4)
    }
    return save_probed(tmp_path, seen), seen


@modest
@given(probes, st.integers(1, 2_000_000))
def test_probes_survive_saving_to_the_bit(probe, step):
    with tempfile.TemporaryDirectory() as folder:
        kept = {key: value.copy() for key, value in probe.items()}
        loaded = save_probed(Path(folder), {step: probe})
        assert loaded.probed == [step]
        assert to_the_bit(loaded.probe(step), kept)


def test_probes_that_are_not_contiguous_survive_saving(tmp_path):
    array = np.random.default_rng(1).normal(size=(4, 3, 5))
    probe = {
        "transposed": array.transpose(2, 0, 1),
        "column-major": np.asfortranarray(array),
        "every second": array[::2, :, ::-1],
        "repeated": np.broadcast_to(array[0], (2, 3, 5)),
        "one number": np.array(0.1),
        "one float32": np.float32([0.1]).reshape(()),
    }
    loaded = save_probed(tmp_path, {1: probe}).probe(1)
    assert to_the_bit(loaded, probe)
    assert loaded["one number"].shape == ()


def test_steps_that_were_probed_and_the_mode_survive_saving(tmp_path):
    trace = make_trace(np.ones((5, 3)))
    assert trace.mode == "free"
    trace.mode = "resync"
    for step in (1, 3, 5):
        trace.save_probe(tmp_path, step, {"forward/total": np.array(1.0)})
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    assert (loaded.mode, loaded.probed, loaded.folder) == ("resync", [1, 3, 5], tmp_path)
    assert {path.name for path in (tmp_path / "probes").iterdir()} == {
        "step-000001.safetensors",
        "step-000003.safetensors",
        "step-000005.safetensors",
    }


def test_each_step_has_a_probe_of_its_own(probed):
    trace, seen = probed
    for step in (4, 2):
        assert to_the_bit(trace.probe(step), seen[step])


def test_the_state_after_a_step_is_what_the_next_one_starts_from(probed):
    trace, seen = probed
    for step in (2, 4):
        state = trace.state_after(step)
        kinds = ("parameter", "moment1", "moment2")
        assert state.keys() == {"step", *(f"{kind}/encoder.fc1.bias" for kind in kinds)}
        assert state["step"].shape == ()
        assert state["step"] == step
        for key in state.keys() - {"step"}:
            assert state[key].tobytes() == seen[step][key].tobytes()


@pytest.mark.parametrize("step", [0, 1, 3, 5, 99])
@pytest.mark.parametrize("ask", [Trace.probe, Trace.state_after])
def test_a_step_that_was_not_probed_is_the_users_error(probed, ask, step):
    with pytest.raises(UserError, match=f"step {step} of the trace was not probed"):
        ask(probed[0], step)


def test_a_trace_that_is_not_on_disk_has_no_probes(tmp_path):
    trace = make_trace(np.ones((5, 3)))
    trace.save_probe(tmp_path, 1, {"forward/total": np.array(1.0)})
    with pytest.raises(UserError, match="step 1 of the trace was not probed"):
        trace.probe(1)


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_text("no numbers here"),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["cut short", "absent", "empty", "other bytes", "text", "a folder"],
)
@pytest.mark.parametrize("ask", [Trace.probe, Trace.state_after])
def test_a_spoiled_probe_is_the_users_error(probed, tmp_path, spoil, ask):
    trace, seen = probed
    spoil(tmp_path / "probes" / "step-000002.safetensors")
    with pytest.raises(UserError, match=r"step-000002.*cannot be read"):
        ask(trace, 2)
    assert to_the_bit(trace.probe(4), seen[4])


def rewrite(folder, change):
    path = folder / "trace.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_the_trace_of_a_program_is_told_from_that_of_a_recipe(saved):
    rewrite(saved, lambda about: about | {"format": 5})
    with pytest.raises(UserError, match=r"is that of a recorded program.*pyvae compare"):
        Trace.load(saved)


@pytest.mark.parametrize("version", [6, 1000])
def test_a_newer_format_is_refused_by_name(saved, version):
    rewrite(saved, lambda about: about | {"format": version})
    with pytest.raises(
        UserError, match=rf"has format {version}, but pyvae reads 1 to 5. Update pyvae"
    ):
        Trace.load(saved)


@pytest.mark.parametrize("version", ["2", 2.0, None, [2], {}])
def test_a_format_that_is_not_a_number_is_the_users_error(saved, version):
    rewrite(saved, lambda about: about | {"format": version})
    with pytest.raises(UserError, match="format"):
        Trace.load(saved)


def test_a_trace_without_a_format_is_the_users_error(saved):
    rewrite(saved, lambda about: {k: v for k, v in about.items() if k != "format"})
    with pytest.raises(UserError, match="format is missing"):
        Trace.load(saved)


def test_the_format_is_written_down(saved):
    about = json.loads((saved / "trace.json").read_text())
    assert about["format"] == 4
    assert about["settings"]["rng"] == "injected"


@pytest.mark.parametrize("rng", ["injected", "torch", "r"])
def test_the_generator_of_draws_survives_saving(tmp_path, rng):
    settings = dataclasses.replace(SETTINGS, rng=rng)
    dataclasses.replace(make_trace(np.ones((2, 3))), settings=settings).save(tmp_path)
    assert Trace.load(tmp_path).settings == settings


@pytest.mark.parametrize("version", [1, 2])
def test_draws_of_a_trace_from_before_format_3_were_injected(saved, version):
    def older(about):
        settings = {name: value for name, value in about["settings"].items() if name != "rng"}
        return about | {"format": version, "settings": settings}

    rewrite(saved, older)
    assert Trace.load(saved).settings == SETTINGS


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_trace_from_before_format_4_has_no_hyperparameters(saved, version):
    def older(about):
        settings = {name: value for name, value in about["settings"].items() if name != "hyper"}
        return about | {"format": version, "settings": settings}

    rewrite(saved, older)
    assert Trace.load(saved).settings == SETTINGS
    assert Trace.load(saved).settings.hyper == {}


@pytest.mark.parametrize("rng", ["dice", None, 3])
def test_an_unknown_generator_is_the_users_error(saved, rng):
    rewrite(saved, lambda about: about | {"settings": about["settings"] | {"rng": rng}})
    with pytest.raises(UserError, match=r"unknown rng|cannot be read"):
        Trace.load(saved)


def partial(losses):
    return dataclasses.replace(make_trace(losses), parameters={}, latent_means={}, samples=None)


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_an_incomplete_trace_may_have_a_history_that_is_ahead(tmp_path, steps):
    """It is written before trace.json, and a run may be killed in between."""
    partial(np.ones((2, 3))).save(tmp_path)
    about = (tmp_path / "trace.json").read_text()
    ahead = partial(np.arange(3.0 * steps))
    ahead.save(tmp_path)
    (tmp_path / "trace.json").write_text(about)
    loaded = Trace.load(tmp_path)
    assert (loaded.steps, loaded.complete) == (steps, False)
    assert np.array_equal(loaded.losses, ahead.losses)


def test_an_incomplete_trace_with_a_history_that_is_behind_is_the_users_error(tmp_path):
    partial(np.ones((3, 3))).save(tmp_path)
    about = (tmp_path / "trace.json").read_text()
    partial(np.ones((2, 3))).save(tmp_path)
    (tmp_path / "trace.json").write_text(about)
    with pytest.raises(UserError, match=r"history.csv has 2 of 3 steps"):
        Trace.load(tmp_path)


def without_checksums(about):
    """As other programs write it."""
    return {name: value for name, value in about.items() if name != "sha256"}


def test_a_complete_trace_with_a_history_that_is_ahead_is_the_users_error(saved):
    about = without_checksums(json.loads((saved / "trace.json").read_text()))
    partial(np.ones((5, 3))).save(saved)
    (saved / "trace.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"history.csv has 5 of 4 steps"):
        Trace.load(saved)


def test_a_trace_of_format_1_has_no_probes_and_went_its_own_way(saved):
    new = ("mode", "probes")
    rewrite(saved, lambda about: {k: v for k, v in about.items() if k not in new} | {"format": 1})
    trace = Trace.load(saved)
    assert (trace.mode, trace.probed, trace.steps, trace.complete) == ("free", [], 4, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "frei"},
        {"mode": 3},
        {"probes": None},
        {"probes": ["one"]},
        {"probes": 1},
        {"probes": [math.inf]},
        {"probes": [math.nan]},
    ],
    ids=str,
)
def test_a_broken_mode_or_list_of_probes_is_the_users_error(saved, wrong):
    rewrite(saved, lambda about: about | wrong)
    with pytest.raises(UserError):
        Trace.load(saved)


def test_removing_a_trace_removes_its_probes_and_its_folder(tmp_path):
    folder = tmp_path / "trace"
    folder.mkdir()
    save_probed(folder, {1: {"a": np.ones(2)}, 2: {"a": np.ones(2)}})
    Trace.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_to_be_kept_is_emptied(tmp_path):
    save_probed(tmp_path, {1: {"a": np.ones(2)}})
    Trace.remove(tmp_path, keep_folder=True)
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_removing_a_trace_leaves_the_users_own_files(tmp_path):
    save_probed(tmp_path, {1: {"a": np.ones(2)}})
    mine = ["notes.txt", "probes/notes.txt", "probes/other.safetensors", "sub/trace.json"]
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    Trace.remove(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(mine)
    assert all((tmp_path / name).read_text() == name for name in mine)


def test_removing_what_is_not_there_does_nothing(tmp_path):
    Trace.remove(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@every_recipe
def test_a_trace_of_any_recipe_survives_saving(tmp_path, recipe):
    trace = finished_trace(recipe)
    trace.save(tmp_path)
    loaded = Trace.load(tmp_path)
    assert (loaded.recipe, loaded.settings) == (recipe, trace.settings)
    assert loaded.terms == trace.terms
    assert np.array_equal(loaded.losses, trace.losses)
    assert same(loaded.parameters, trace.parameters)
    assert same(loaded.latent_means, trace.latent_means)
    assert np.array_equal(loaded.samples, trace.samples)


@every_recipe
def test_a_tidy_table_has_a_row_for_each_step_and_term(recipe):
    trace = finished_trace(recipe)
    table, history = trace.to_pandas(), trace.history()
    assert table.columns.tolist() == [
        "engine", "recipe", "objective", "seed", "epoch", "step", "term", "value", "per_image",
    ]  # fmt: skip
    assert len(table) == len(history) * len(trace.terms)
    wide = table.pivot(index="step", columns="term", values="value")
    assert np.array_equal(wide[list(trace.terms)], trace.losses)
    total = table[table["term"] == "total"]
    column = OBJECTIVES[trace.settings.objective].column
    assert np.array_equal(total["per_image"], history[column])
    assert set(zip(table["recipe"], table["seed"], strict=True)) == {(recipe, 2)}


def test_a_trace_shows_itself_in_a_line_and_in_a_notebook():
    trace = finished_trace("conv", epochs=2)
    trace.data["name"] = "<b>x"
    assert repr(trace) == "<Trace of VAE, recipe conv, pytorch: 6 steps>"
    page = trace._repr_html_()
    assert "Trace of VAE, recipe conv, pytorch: 6 steps" in page
    assert "&lt;b&gt;x, batch 250, 30 latent dimensions, float32, seed 2" in page
    for loss in trace.to_pandas().query("term == 'total'").groupby("epoch")["per_image"].mean():
        assert f"<td>{loss:.5g}</td>" in page
    empty = Trace("pytorch", "conv", trace.settings, {}, {})
    assert repr(empty) == "<Trace of VAE, recipe conv, pytorch: 0 steps, not finished>"
    assert "<table" not in empty._repr_html_()
    assert empty.to_pandas().empty


@every_recipe
def test_tables_of_any_recipe_have_a_column_for_each_term(recipe):
    trace = finished_trace(recipe)
    objective = OBJECTIVES[trace.settings.objective]
    history, epochs = trace.history(), trace.epoch_table()
    column = "nats_per_image" if objective.unit == "nats per image" else "loss"
    first = ["engine", "objective", "epoch", "step"]
    assert list(history) == [*first, *objective.terms, column]
    assert list(epochs) == ["epoch", "steps", *objective.terms, column]
    assert np.array_equal(history[list(objective.terms)], trace.losses)
    images = 1 if objective.mean else trace.settings.batch_size
    assert np.array_equal(history[column], trace.losses[:, 0] / images)
    whole = trace.losses.mean(0) if objective.mean else trace.losses.sum(0)
    np.testing.assert_allclose(epochs[list(objective.terms)].iloc[0], whole, rtol=1e-14)
    np.testing.assert_allclose(epochs[column], history[column].mean(), rtol=1e-14)


def test_a_history_without_a_further_term_is_the_users_error(tmp_path):
    finished_trace("clustering-toy").save(tmp_path)
    table = pd.read_csv(tmp_path / "history.csv").drop(columns="gaussian_kl")
    table.to_csv(tmp_path / "history.csv", index=False)
    rewrite(tmp_path, without_checksums)
    with pytest.raises(UserError, match=r"cannot be read .*gaussian_kl"):
        Trace.load(tmp_path)


def test_the_state_after_a_step_has_the_running_statistics(tmp_path, small, data_of):
    recipe, probe = get_recipe("mlp"), {}
    settings, data = small(recipe, steps=1), data_of(recipe)
    trace = train(Run(recipe, settings, data), PyTorchEngine("cpu"), probe=lambda step: probe)
    trace.save_probe(tmp_path, 1, probe)
    trace.save(tmp_path)
    state = Trace.load(tmp_path).state_after(1)
    for name in ("running_mean", "running_var"):
        found = state[f"buffer/encoder.bn1.{name}"]
        assert np.array_equal(found, trace.parameters[f"encoder.bn1.{name}"])
