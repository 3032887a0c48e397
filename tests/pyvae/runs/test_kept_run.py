"""Runs that are interrupted and go on: not a bit is changed."""

from __future__ import annotations

import itertools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.files import arrays as arrays_module
from pyvae.model.draws import Keep as KeepMask
from pyvae.model.draws import Normal
from pyvae.model.modules import Dropout, Reparameterise
from pyvae.model.recipe import VAE, Recipe, VAEOutput
from pyvae.model.run import Run
from pyvae.model.settings import RNGS
from pyvae.recipes import get_recipe
from pyvae.runs.callbacks.keep import Keep, train_kept
from pyvae.runs.kept_run import KeptRun
from pyvae.trace import trace as trace_module
from pyvae.trace.trace import Trace
from pyvae.training import checkpoint as checkpoint_module
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train

AGAIN = "starting again"
every_rng = pytest.mark.parametrize("rng", RNGS)
every_rng_and_adam = pytest.mark.parametrize(
    ("rng", "adam"), [("injected", "torch"), ("torch", "r-torch"), ("r", "torch")]
)
STEPS = 12  # of batches of 5 of 23 images: three epochs of 4


class Encoder(nn.Module):
    def __init__(self, latent_dim):
        super().__init__()
        self.fc1 = nn.Linear(784, 8)
        self.dropout = Dropout(0.25)
        self.fc2 = nn.Linear(8, latent_dim)
        self.fc3 = nn.Linear(8, latent_dim)

    def forward(self, x, draws=None):
        x = self.dropout(self.fc1(x).relu(), (draws or {}).get("dropout"))
        return self.fc2(x), self.fc3(x)


class Decoder(nn.Sequential):
    def forward(self, z, draws=None):
        return super().forward(z)


class LittleVAE(VAE):
    def __init__(self, latent_dim):
        super().__init__()
        self.encoder = Encoder(latent_dim)
        self.reparameterise = Reparameterise()
        self.decoder = Decoder(nn.Linear(latent_dim, 784), nn.Sigmoid())

    def forward(self, x, draws=None):
        mu, log_var = self.encoder(x, draws)
        z = self.reparameterise(mu, log_var, (draws or {}).get("noise"))
        return VAEOutput(self.decoder(z), mu, log_var)


LITTLE = Recipe(
    name="conv",  # the one that R's generator knows
    title="a network whose steps take no time",
    source="here",
    network=LittleVAE,
    draws=lambda latent_dim: {"dropout": KeepMask((8,), 0.25), "noise": Normal((latent_dim,))},
    objectives=("vae", "emae"),
    epochs=3,
    batch_size=5,
    latent_dim=3,
    learning_rate=1e-2,
)


class Killed(BaseException):
    """The end of a process, as far as one can come without a process."""


class KeepUntilKilled(Keep):
    """Keeps from some step on; one that is killed writes nothing any more."""

    def __init__(self, kept, first=1):
        super().__init__(kept)
        self.first = first

    def on_step(self, now):
        if now.step >= self.first:
            super().on_step(now)

    def on_end(self, now, error):
        if not isinstance(error, Killed):
            super().on_end(now, error)


@pytest.fixture(scope="module")
def few():
    pixels = np.random.default_rng(1).integers(0, 256, (23, 784), dtype=np.uint8)
    return ImageData("few", torch.from_numpy(pixels), None, "made here")


class Runs:
    """Runs of a recipe that are kept in a folder."""

    def __init__(self, folder, recipe, data):
        self.folder, self.recipe, self.data = folder, recipe, data

    def settings(self, **changes):
        return self.recipe.settings(**{"latent_dim": 3} | changes)

    def kept(self, settings, adam="torch", **environment):
        """What was kept of a run, and the engine to go on with."""
        engine = PyTorchEngine("cpu", adam)
        trace = Trace.of_run(Run(self.recipe, settings, self.data), engine)
        trace.environment |= environment
        return engine, KeptRun(self.folder, trace, every=0)

    def go(self, settings, adam="torch", stop=None, before_keeping=False, first=1, **environment):
        """Runs to the end, or until it is killed in a step, before or after that is kept. The
        first checkpoint may wait."""
        engine, kept = self.kept(settings, adam, **environment)

        def kill(now):
            if now.step == stop:
                raise Killed

        if not kept.complete:
            keep = KeepUntilKilled(kept, first)
            train(
                Run(self.recipe, settings, self.data), engine,
                [kill, keep] if before_keeping else [keep, kill],
                trace=kept.trace, resume=kept.checkpoint,
            )  # fmt: skip
        return kept

    def killed(self, settings, stop, **options):
        with pytest.raises(Killed):
            self.go(settings, stop=stop, **options)

    def plain(self, settings, adam="torch"):
        """The same run, never interrupted and not kept."""
        return train(Run(self.recipe, settings, self.data), PyTorchEngine("cpu", adam))


pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture
def runs(tmp_path, few):
    return Runs(tmp_path / "kept", LITTLE, few)


def same(one, two):
    return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)


def equal(one, two):
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def assert_same_run(one, two):
    assert equal(one.losses, two.losses)
    assert equal(one.epochs, two.epochs)
    assert same(one.parameters, two.parameters)
    assert same(one.latent_means, two.latent_means)
    assert equal(one.samples, two.samples)
    assert one.complete
    assert (one.settings, one.environment) == (two.settings, two.environment)


@every_rng_and_adam
@pytest.mark.parametrize(
    ("stop", "before_keeping"),
    [(1, True), (1, False), (4, False), (6, True), (11, False), (STEPS, False)],
)
def test_a_run_goes_on_to_the_bit(runs, rng, adam, stop, before_keeping):
    """From the first step, from an epoch's end, from its middle, from the last step but one; at
    the last step there is nothing more to be kept."""
    settings = runs.settings(rng=rng, dtype="float64" if stop % 2 else "float32")
    runs.killed(settings, stop, adam=adam, before_keeping=before_keeping)
    step = stop - 1 if before_keeping or stop == STEPS else stop
    _, kept = runs.kept(settings, adam)
    if step == 0:
        assert (kept.found, kept.checkpoint, kept.complete) == ("", None, False)
    else:
        assert kept.found == f"going on after step {step}, where it was interrupted"
        assert (kept.checkpoint.step, kept.trace.steps, kept.complete) == (step, step, False)
    assert not kept.taken
    done = runs.go(settings, adam).trace
    assert_same_run(done, runs.plain(settings, adam))
    if step:
        assert_same_run(Trace.load(runs.folder), done)
        assert Checkpoint.find(runs.folder).checkpoint is None


@pytest.mark.parametrize(
    ("rng", "stops"), [("injected", (2, 3, 7)), ("torch", (4, 4, 5)), ("r", (STEPS, STEPS))]
)
def test_a_run_is_interrupted_as_often_as_one_likes(runs, rng, stops):
    settings = runs.settings(rng=rng, objective="emae")
    for stop in stops:
        runs.killed(settings, stop, before_keeping=stop == 4)
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


@every_rng
def test_being_kept_changes_no_bit(runs, rng):
    settings = runs.settings(rng=rng)
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


@pytest.mark.slow
@pytest.mark.parametrize(("rng", "adam"), [("torch", "r-torch")])
def test_the_articles_network_goes_on_to_the_bit(tmp_path, conv, few, rng, adam):
    runs = Runs(tmp_path / "kept", conv, few)
    settings = runs.settings(rng=rng, epochs=2, batch_size=7)
    runs.killed(settings, stop=2, adam=adam)
    assert_same_run(runs.go(settings, adam).trace, runs.plain(settings, adam))


@pytest.mark.parametrize(
    ("name", "rng", "stop"),
    [("mlp", "torch", 4), ("mlp", "injected", 7), ("clustering-toy", "torch", 2)],
)
def test_a_run_with_batch_norm_goes_on_to_the_bit(tmp_path, data_of, name, rng, stop):
    recipe = get_recipe(name)
    runs = Runs(tmp_path / "kept", recipe, data_of(recipe))
    settings = runs.settings(rng=rng, epochs=3, steps=9, batch_size=15)
    runs.killed(settings, stop)
    _, kept = runs.kept(settings)
    assert kept.checkpoint.step == stop
    assert any(key.startswith("buffer/") for key in kept.checkpoint.state)
    done = runs.go(settings).trace
    assert_same_run(done, runs.plain(settings))
    assert_same_run(Trace.load(runs.folder), done)


def test_a_run_with_other_hyperparameters_is_another(tmp_path, data_of):
    recipe = get_recipe("clustering-toy")
    runs = Runs(tmp_path / "kept", recipe, data_of(recipe))
    settings = runs.settings(epochs=1, batch_size=15)
    runs.killed(settings, 2)
    _, kept = runs.kept(runs.settings(epochs=1, batch_size=15, hyper={"temperature": 0.7}))
    assert kept.taken
    assert "temperature" in kept.found


@every_rng
def test_a_run_goes_on_from_a_checkpoint_after_its_last_step(runs, few, rng):
    settings = runs.settings(rng=rng)
    taken = []
    engine = PyTorchEngine("cpu")
    whole = train(
        Run(LITTLE, settings, few), engine, callbacks=[lambda now: taken.append(now.checkpoint())]
    )
    assert [checkpoint.step for checkpoint in taken] == list(range(1, STEPS + 1))
    trace = Trace.of_run(Run(LITTLE, settings, few), engine)
    trace.losses, trace.epochs = whole.losses, whole.epochs
    seen = []
    train(
        Run(LITTLE, settings, few), engine, trace=trace, callbacks=[seen.append], resume=taken[-1]
    )
    assert seen == []
    assert_same_run(trace, whole)


def test_a_checkpoint_is_of_its_step_even_when_the_run_has_gone_on(runs, few):
    """Nothing in it is changed by later steps."""
    settings = runs.settings(rng="torch")
    taken = []
    whole = train(
        Run(LITTLE, settings, few), PyTorchEngine("cpu"),
        callbacks=[lambda now: taken.append(now.checkpoint())],
    )  # fmt: skip
    for checkpoint in taken:
        trace = Trace.of_run(Run(LITTLE, settings, few), PyTorchEngine("cpu"))
        trace.losses = whole.losses[: checkpoint.step]
        trace.epochs = whole.epochs[: checkpoint.step]
        train(Run(LITTLE, settings, few), PyTorchEngine("cpu"), trace=trace, resume=checkpoint)
        assert_same_run(trace, whole)


def test_progress_goes_on_where_it_was(runs):
    settings = runs.settings()
    runs.killed(settings, 6)
    engine, kept = runs.kept(settings)
    seen = []

    def on_step(now):
        seen.append((now.step, now.steps, now.epoch_ended, now.trace.steps))

    run = Run(LITTLE, settings, runs.data)
    train(run, engine, [on_step], trace=kept.trace, resume=kept.checkpoint)
    assert seen == [
        (7, 12, False, 6), (8, 12, True, 8), (9, 12, False, 8), (10, 12, False, 8),
        (11, 12, False, 8), (12, 12, True, 12),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 3}, "seed 2, now 3"),
        ({"rng": "torch"}, "rng injected, now torch"),
        ({"objective": "emae"}, "objective vae, now emae"),
        ({"epochs": 4}, "epochs 3, now 4"),
        ({"steps": 11}, "steps None, now 11"),
        ({"batch_size": 4}, "batch_size 5, now 4"),
        ({"latent_dim": 2}, "latent_dim 3, now 2"),
        ({"learning_rate": 0.02}, "learning_rate 0.01, now 0.02"),
        ({"dtype": "float64"}, "dtype float32, now float64"),
    ],
)
def test_a_run_with_other_settings_is_another(runs, changes, said):
    runs.killed(runs.settings(), 6)
    assert_starts_again(
        runs, runs.settings(**changes), f"this folder holds another run ({said}): starting again"
    )


def assert_starts_again(runs, settings, said, **options):
    _, kept = runs.kept(settings, **options)
    assert kept.found == said
    assert kept.taken == bool(said)
    assert (kept.checkpoint, kept.complete, kept.trace.steps) == (None, False, 0)
    # and what was there is neither used nor left
    runs.killed(settings, 2, **options)
    _, kept = runs.kept(settings, **options)
    assert kept.checkpoint.step == 2
    done = runs.go(settings, **options).trace
    assert equal(done.losses, runs.plain(settings, options.get("adam", "torch")).losses)
    assert {path.name for path in runs.folder.iterdir()} == {
        "trace.json",
        "history.csv",
        "parameters.safetensors",
        "latents.safetensors",
    }


@pytest.mark.parametrize("complete", [False, True])
def test_a_run_with_another_adam_or_other_versions_is_another(runs, complete):
    settings = runs.settings()
    if complete:
        runs.killed(settings, 6)
        runs.go(settings)
    else:
        runs.killed(settings, 6)
    version = torch.__version__
    _, kept = runs.kept(settings, torch="1.0")
    assert kept.found == f"this folder holds another run (torch {version}, now 1.0): " + AGAIN
    _, kept = runs.kept(settings, threads="64")
    assert f"(threads {torch.get_num_threads()}, now 64)" in kept.found
    _, kept = runs.kept(settings, more="1")
    assert "(more None, now 1)" in kept.found
    _, kept = runs.kept(settings, precision="bf16")
    assert "(precision full, now bf16)" in kept.found
    assert_starts_again(
        runs,
        settings,
        "this folder holds another run (adam torch, now r-torch): starting again",
        adam="r-torch",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "others"}, "name few, now others"),
        ({"images": 22}, "images 23, now 22"),
    ],
)
def test_a_run_on_other_data_is_another(runs, few, change, said):
    runs.killed(runs.settings(), 6)
    fields = {"name": few.name, "source": few.source} | change
    runs.data = ImageData(
        fields["name"], few.pixels[: fields.get("images", 23)], None, fields["source"]
    )
    assert_starts_again(
        runs, runs.settings(), f"this folder holds another run ({said}): starting again"
    )


@pytest.mark.parametrize(
    ("attribute", "value"), [("engine", "base-r"), ("recipe", "mlp"), ("mode", "resync")]
)
def test_a_run_of_another_engine_recipe_or_mode_is_another(runs, few, attribute, value):
    settings = runs.settings()
    runs.killed(settings, 6)
    trace = Trace.of_run(Run(LITTLE, settings, few), PyTorchEngine("cpu"))
    old = getattr(trace, attribute)
    setattr(trace, attribute, value)
    kept = KeptRun(runs.folder, trace, every=0)
    assert kept.found == (
        f"this folder holds another run ({attribute} {old}, now {value}): starting again"
    )
    assert (kept.checkpoint, kept.complete) == (None, False)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def drop_lines(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_a_run_on_the_same_images_from_elsewhere_goes_on(runs, few):
    runs.killed(runs.settings(), 6)
    runs.data = ImageData(few.name, few.pixels, None, "there")
    _, kept = runs.kept(runs.settings())
    assert kept.checkpoint.step == 6


NEWEST = "checkpoint-00000006.safetensors"


@pytest.mark.parametrize("spoil", [cut, lambda path: path.write_bytes(b""), flip])
@pytest.mark.parametrize("file", [NEWEST, "checkpoint-00000006.json"])
def test_from_a_damaged_checkpoint_it_falls_back_to_the_one_before(runs, file, spoil):
    settings = runs.settings(rng="torch")
    runs.killed(settings, 6)
    spoil(runs.folder / file)
    _, kept = runs.kept(settings)
    assert re.fullmatch(
        "the checkpoint of step 6 is damaged: .*; going on after step 5, where it was interrupted",
        kept.found,
    )
    assert (kept.checkpoint.step, kept.trace.steps, kept.taken) == (5, 5, False)
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


@pytest.mark.parametrize("file", ["trace.json", "history.csv"])
@pytest.mark.parametrize("spoil", [cut, drop_lines, lambda path: path.unlink()])
def test_what_is_wrong_with_the_trace_costs_nothing(runs, file, spoil):
    """A checkpoint has all that it needs."""
    settings = runs.settings()
    runs.killed(settings, 6)
    spoil(runs.folder / file)
    _, kept = runs.kept(settings)
    assert kept.found == "going on after step 6, where it was interrupted"
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


def spoil_checkpoints(folder):
    for path in folder.glob("checkpoint-*.safetensors"):
        cut(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_checkpoints, "the checkpoint of step 6 is damaged: .*; the checkpoint of step 5 is"),
        (lambda folder: cut(folder / "trace.json"), "trace '.*' cannot be read"),
        (
            lambda folder: rewrite(folder / "trace.json", format=99),
            "has format 99, but pyvae reads 1 to 5",
        ),
        (lambda folder: cut(folder / "history.csv"), "trace '.*' cannot be read"),
        (lambda folder: drop_lines(folder / "history.csv"), "history.csv has 5 of 6 steps"),
        (lambda folder: (folder / "history.csv").unlink(), "trace '.*' cannot be read"),
    ],
)
def test_damaged_files_are_said_and_not_used(runs, spoil, said):
    settings = runs.settings()
    runs.killed(settings, 6)
    if spoil is not spoil_checkpoints:
        Checkpoint.remove(runs.folder)
    spoil(runs.folder)
    _, kept = runs.kept(settings)
    assert len(kept.found.splitlines()) == 1
    assert re.fullmatch(f"the run in this folder cannot be used .*{said}.*: {AGAIN}", kept.found)
    assert_starts_again(runs, settings, kept.found)


def test_a_run_without_a_checkpoint_starts_again(runs):
    settings = runs.settings()
    runs.killed(settings, 6)
    Checkpoint.remove(runs.folder)
    assert_starts_again(runs, settings, "")


def test_afresh_what_is_there_stays_until_there_is_something_new(runs, few):
    settings = runs.settings()
    done = runs.go(settings).trace
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), 0, afresh=True)
    assert (kept.found, kept.complete, kept.trace.steps) == ("", False, 0)
    assert_same_run(Trace.load(runs.folder), done)
    train(Run(LITTLE, settings, few), engine, [Keep(kept)], trace=kept.trace)
    assert_same_run(Trace.load(runs.folder), done)
    assert Checkpoint.find(runs.folder).checkpoint is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_checkpoint_takes_the_place_of_a_good_one_whose_numbers_are_not_finite(
    runs, few, monkeypatch, bad
):
    settings = runs.settings()
    engine, kept = runs.kept(settings)
    state = engine.state

    def spoil(now):
        if now.step == 4:
            spoilt = state() | {"moment2/encoder.fc1.bias": np.full(8, bad, np.float32)}
            monkeypatch.setattr(engine, "state", lambda: spoilt)

    def stop(now):
        if now.step == 8:
            raise Killed

    callbacks = [spoil, KeepUntilKilled(kept), stop]
    with pytest.raises(Killed):
        train(Run(LITTLE, settings, few), engine, callbacks, trace=kept.trace)
    assert (Checkpoint.find(runs.folder).checkpoint.step, kept.saved) == (3, 3)


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


class NoEngine(PyTorchEngine):
    def start(self, *arguments):
        raise AssertionError("a complete run is not run again")


def test_an_interrupted_run_can_be_kept_as_it_stands(runs, few):
    """With more steps than its last checkpoint, from which it goes on all the same."""
    settings = runs.settings(rng="torch")
    engine, kept = runs.kept(settings)

    def stop(now):
        if now.step <= 3:
            kept.save(now)
        if now.step == 6:
            raise Killed

    with pytest.raises(Killed):
        train(Run(LITTLE, settings, few), engine, [stop], trace=kept.trace)
    kept.save_trace()
    assert (Trace.load(runs.folder).steps, Checkpoint.find(runs.folder).checkpoint.step) == (6, 3)
    assert_same_run(runs.go(settings).trace, runs.plain(settings))


def test_a_complete_run_is_not_run_again(runs, few):
    settings = runs.settings(rng="r")
    done = runs.go(settings).trace
    trace = Trace.of_run(Run(LITTLE, settings, few), NoEngine("cpu"))
    before = {path.name: path.stat().st_mtime_ns for path in runs.folder.iterdir()}
    kept = KeptRun(runs.folder, trace, every=0)
    assert kept.complete
    assert kept.found == "all 12 steps were done before"
    assert not kept.taken
    assert_same_run(kept.trace, done)
    run = Run(LITTLE, settings, few)
    assert_same_run(train_kept(run, NoEngine("cpu"), kept), done)
    assert {path.name: path.stat().st_mtime_ns for path in runs.folder.iterdir()} == before


def test_where_nothing_had_to_be_kept_no_folder_is_made(runs, few):
    settings = runs.settings()
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), every=1e9)
    train(Run(LITTLE, settings, few), engine, [Keep(kept, temporary=True)], trace=kept.trace)
    assert not runs.folder.exists()


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 20), ("0", 0), ("2.5", 2.5), ("1e3", 1000), ("inf", np.inf)]
)
def test_the_time_between_checkpoints_is_the_environments(runs, monkeypatch, given, seconds):
    monkeypatch.delenv("PYVAE_CHECKPOINT_SECONDS", raising=False)
    if given is not None:
        monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", given)
    trace = Trace.of_run(Run(LITTLE, runs.settings(), runs.data), PyTorchEngine("cpu"))
    assert KeptRun(runs.folder, trace).every == seconds
    assert KeptRun(runs.folder, trace, every=7).every == 7


@pytest.mark.parametrize("given", ["", "soon", "-1", "nan", "1 s"])
def test_a_time_that_is_none_is_the_users_error(runs, monkeypatch, given):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", given)
    trace = Trace.of_run(Run(LITTLE, runs.settings(), runs.data), PyTorchEngine("cpu"))
    with pytest.raises(UserError, match=f"PYVAE_CHECKPOINT_SECONDS is '{given}': expected"):
        KeptRun(runs.folder, trace)


def test_there_is_a_checkpoint_when_its_time_has_come(runs, few, monkeypatch):
    """Steps take 8 seconds here; 20 are to lie between checkpoints."""
    now = [1000.0]
    monkeypatch.setattr("pyvae.runs.kept_run.time", SimpleNamespace(monotonic=lambda: now[0]))
    settings = runs.settings()
    engine = PyTorchEngine("cpu")
    kept = KeptRun(runs.folder, Trace.of_run(Run(LITTLE, settings, few), engine), every=20.0)
    saved = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, folder: (saved.append(self.step), save(self, folder))
    )

    def wait(progress):
        now[0] += 8

    train(Run(LITTLE, settings, few), engine, [wait, Keep(kept)], trace=kept.trace)
    assert saved == [3, 6, 9]  # the twelfth is the end
