"""Which steps there are, on which images and draws; where a run ends, and what it leaves then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alike.arrays import same
from stand_ins.recording_engines import RecordingEngine

from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.run import Run
from pyvae.recipes.conv import CONV
from pyvae.trace.trace import Trace
from pyvae.training.feeds import batches
from pyvae.training.loop import finite_losses, train

every_objective = pytest.mark.parametrize("objective", CONV.objectives)


def test_an_epoch_visits_whole_batches_of_different_images(record, few):
    engine, wanted, trace = record()
    numbers = [(255 * x[:, 0]).round().int().tolist() for x in engine.batches]
    assert [len(batch) for batch in numbers] == [5] * 12
    for epoch in range(3):
        visited = [number for batch in numbers[4 * epoch : 4 * epoch + 4] for number in batch]
        assert len(set(visited)) == 20
        assert visited == Draws(wanted.seed).batch_order(epoch, 23)[:20].tolist()
    assert trace.epochs.tolist() == [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize(
    ("steps", "epochs"),
    [(1, [1]), (4, [1] * 4), (6, [1] * 4 + [2] * 2), (99, [1] * 4 + [2] * 4 + [3] * 4)],
)
def test_steps_end_a_run_wherever_it_is(record, steps, epochs):
    engine, _, trace = record(steps=steps)
    assert trace.epochs.tolist() == epochs
    assert trace.steps == len(engine.batches) == len(epochs)
    assert np.array_equal(trace.losses, np.outer(np.arange(1, len(epochs) + 1), [3, 2, 1]))


def test_chance_comes_from_seed_and_step_alone(record, conv):
    engine, wanted, _ = record(seed=9, steps=6)
    draws, spec = Draws(9, wanted.dtype), conv.draws(wanted.latent_dim)
    for step, drawn in enumerate(engine.draws):
        assert same(drawn, draws.step(step, 5, spec))
    (last, masks, training), (last_again, nothing, again) = engine.looks
    assert torch.equal(last, engine.batches[-1])
    assert torch.equal(last_again, engine.batches[-1])
    assert same(masks, draws.step(6, 5, spec))  # fresh masks, not those of a step
    assert nothing is None
    assert (training, again) == (True, False)
    assert engine.z.shape == (16, wanted.latent_dim)


def test_an_engine_starts_from_the_recipes_initial_parameters(record, conv):
    engine, wanted, _ = record(seed=4, steps=1)
    expected = conv.initial_parameters(4, wanted.latent_dim)
    assert engine.initial.keys() == expected.keys()
    assert all(torch.equal(engine.initial[name], expected[name]) for name in expected)


def test_progress_tells_each_step_and_each_end_of_an_epoch(record):
    seen = []
    record(
        lambda now: seen.append((now.step, now.steps, now.epoch_ended, now.trace.steps)), steps=6
    )
    ended = [False, False, False, True, False, True]
    recorded = [0, 0, 0, 4, 4, 6]
    assert seen == [(k + 1, 6, ended[k], recorded[k]) for k in range(6)]


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, UserError])
def test_an_interrupted_run_leaves_the_steps_that_were_computed(conv, settings, few, stop, kind):
    wanted = settings(batch_size=5, epochs=3, steps=None)
    engine = RecordingEngine()
    trace = Trace.of_run(Run(conv, wanted, few), engine)

    def observe(progress):
        if progress.step == stop:
            raise kind("stop")

    with pytest.raises(kind):
        train(Run(conv, wanted, few), engine, trace=trace, callbacks=[observe])
    assert trace.steps == stop
    assert np.array_equal(trace.losses[:, 0], 3.0 * np.arange(1, stop + 1))
    assert trace.epochs.tolist() == [1 + k // 4 for k in range(stop)]
    assert not trace.complete


def test_a_step_that_fails_is_not_in_the_trace(conv, settings, few):
    wanted = settings(batch_size=5, epochs=1, steps=None)
    engine = RecordingEngine()
    trace = Trace.of_run(Run(conv, wanted, few), engine)
    engine.step = lambda x, draws: (
        RecordingEngine.step(engine, x, draws) if len(engine.batches) < 2 else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        train(Run(conv, wanted, few), engine, trace=trace)
    assert trace.steps == 2


def test_fewer_images_than_a_batch_are_the_users_error(conv, settings, few):
    with pytest.raises(UserError, match="23 images are fewer than one batch of 24"):
        train(Run(conv, settings(batch_size=24), few), RecordingEngine())


def test_a_given_trace_is_the_one_that_comes_back(conv, settings, few):
    engine = RecordingEngine()
    trace = Trace.of_run(Run(conv, settings(), few), engine)
    assert train(Run(conv, settings(), few), engine, trace=trace) is trace
    assert trace.complete


def test_another_seed_gives_another_run(conv, settings, digits):
    runs = [
        train(Run(conv, settings(seed=seed, steps=1), digits), PyTorchEngine("cpu"))
        for seed in (1, 2)
    ]
    assert runs[0].losses[0, 0] != runs[1].losses[0, 0]
    assert not np.array_equal(runs[0].samples, runs[1].samples)


@every_objective
def test_losses_are_sums_of_their_two_parts(trained, objective):
    total, reconstruction, regulariser = trained[objective].losses.T
    np.testing.assert_allclose(total, reconstruction + regulariser, rtol=1e-15)


@every_objective
def test_latent_means_are_the_encoders_on_the_last_batch(digits, trained, objective):
    trace = trained[objective]
    wanted = trace.settings
    network = CONV.network(wanted.latent_dim).double()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in trace.parameters.items()})
    chosen = Draws(wanted.seed).batch_order(0, len(digits))[
        (trace.steps - 1) * wanted.batch_size : trace.steps * wanted.batch_size
    ]
    x = digits.pixels[chosen].double() / 255
    masks = Draws(wanted.seed).step(trace.steps, len(x), CONV.draws(wanted.latent_dim))
    with torch.no_grad():
        evaluation = network.eval().encoder(x)[0].numpy()
        training = network.encoder(x, {k: torch.from_numpy(v) for k, v in masks.items()})[0].numpy()
    np.testing.assert_allclose(trace.latent_means["evaluation"], evaluation, atol=1e-14)
    np.testing.assert_allclose(trace.latent_means["training"], training, atol=1e-14)
    assert np.abs(evaluation - training).max() > 1e-6


@pytest.mark.parametrize("steps", [1, 4, 6, None])
def test_there_is_one_progress_for_each_step_with_its_losses(step_by_step, steps):
    running, trace = step_by_step(RecordingEngine(), steps=steps)
    seen = list(running)
    total = steps or 12
    assert [now.step for now in seen] == list(range(1, total + 1))
    assert {now.steps for now in seen} == {total}
    assert all(now.trace is trace for now in seen)
    assert np.array_equal(torch.stack([now.losses for now in seen]).double(), trace.losses)
    assert trace.complete


def test_nothing_is_computed_ahead_of_who_asks(step_by_step):
    engine = RecordingEngine()
    running, _ = step_by_step(engine)
    for step in range(1, 7):
        next(running)
        assert len(engine.batches) == step
    running.close()


def test_batches_are_what_the_engine_is_given(record, conv, few):
    engine, wanted, _ = record(steps=6)
    given = list(batches(Run(conv, wanted, few)))
    assert [step for step, _, _ in given] == [1, 2, 3, 4, 5, 6]
    for (_, x, drawn), seen, draws in zip(given, engine.batches, engine.draws, strict=True):
        assert torch.equal(x, seen)
        assert same(drawn, draws)


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8])
def test_closing_the_loop_early_keeps_what_was_computed(step_by_step, stop):
    engine = RecordingEngine()
    running, trace = step_by_step(engine)
    for _ in range(stop):
        next(running)
    running.close()
    assert trace.losses.tolist() == [[3.0 * k, 2.0 * k, k] for k in range(1, stop + 1)]
    assert trace.epochs.tolist() == [1 + k // 4 for k in range(stop)]
    assert not trace.complete
    assert len(engine.batches) == stop


def test_a_loop_that_is_stopped_is_whole_up_to_there(step_by_step):
    engine, asked = RecordingEngine(), []

    def stop():
        asked.append(True)
        return len(asked) == 3

    running, trace = step_by_step(engine, stop=stop)
    assert [now.step for now in running] == [1, 2, 3]
    assert (trace.steps, trace.complete, len(engine.batches)) == (3, True, 3)


def test_a_loop_has_a_step_even_if_it_is_stopped_at_once(step_by_step):
    running, trace = step_by_step(RecordingEngine(), stop=lambda: True)
    assert [now.step for now in running] == [1]
    assert trace.complete


def test_losses_of_a_gpu_end_before_the_first_that_is_no_number():
    losses = [torch.tensor([float(k), 1.0, 2.0]) for k in range(4)]
    assert torch.equal(torch.stack(finite_losses(losses)), torch.stack(losses))
    assert finite_losses([]) == []
    losses[2][0] = float("nan")
    assert torch.equal(torch.stack(finite_losses(losses)), torch.stack(losses[:2]))
    losses[0][0] = float("nan")
    assert finite_losses(losses) == []
