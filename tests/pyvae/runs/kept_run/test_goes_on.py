"""Runs that are interrupted and go on: not a bit is changed."""

from __future__ import annotations

import pytest
from alike.runs import assert_same_run
from stand_ins.kept_runs import LITTLE, STEPS, Killed, Runs

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.settings import RNGS
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from pyvae.training.loop import train

every_rng = pytest.mark.parametrize("rng", RNGS)
every_rng_and_adam = pytest.mark.parametrize(
    ("rng", "adam"), [("injected", "torch"), ("torch", "r-torch"), ("r", "torch")]
)


@pytest.mark.slow
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


def test_a_run_on_the_same_images_from_elsewhere_goes_on(runs, few):
    runs.killed(runs.settings(), 6)
    runs.data = ImageData(few.name, few.pixels, None, "there")
    _, kept = runs.kept(runs.settings())
    assert kept.checkpoint.step == 6


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
