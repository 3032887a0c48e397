"""Engines that draw for themselves: in which order they are asked, and where a run goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alike.arrays import same
from stand_ins.recording_engines import OwnEngine, RecordingEngine

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes.conv import CONV
from pyvae.trace.trace import Trace
from pyvae.training.loop import start, train

STEP = ("step", None)
END = [("latent_means", None, True), ("latent_means", None, False), ("latents", 16)]


@pytest.mark.parametrize("rng", ["torch", "r"])
def test_an_engine_that_draws_itself_is_asked_in_the_order_of_a_run(conv, settings, few, rng):
    engine = OwnEngine()
    wanted = settings(batch_size=5, epochs=2, steps=6, rng=rng)
    trace = train(Run(conv, wanted, few), engine)
    order = ("batch_order", 23)
    assert engine.log == [
        ("start", None),
        order, *[STEP] * 4,
        order, *[STEP] * 2,
        *END, ("decode", (16, wanted.latent_dim)),
    ]  # fmt: skip
    assert trace.complete
    assert trace.epochs.tolist() == [1] * 4 + [2] * 2


def test_an_epoch_visits_the_images_in_the_engines_order(conv, settings, few):
    engine = OwnEngine()
    train(Run(conv, settings(batch_size=5, epochs=2, steps=None, rng="torch"), few), engine)
    numbers = [(255 * x[:, 0]).round().int().tolist() for x in engine.batches]
    for epoch in range(2):
        visited = [number for batch in numbers[4 * epoch : 4 * epoch + 4] for number in batch]
        assert visited == [(k + epoch + 1) % 23 for k in range(20)]
    assert torch.equal(engine.looked_at, engine.batches[-1])


@pytest.mark.parametrize("step", [1, 3, 4, 5, 6])
def test_a_run_that_goes_on_asks_for_an_order_only_where_an_epoch_begins(conv, settings, few, step):
    wanted = settings(batch_size=5, epochs=2, steps=6, rng="torch")
    whole, checkpoints = OwnEngine(), []
    losses = train(
        Run(conv, wanted, few), whole, callbacks=[lambda now: checkpoints.append(now.checkpoint())]
    ).losses
    checkpoint = checkpoints[step - 1]
    assert checkpoint.step == step
    assert checkpoint.generator.tolist() == [1 if step <= 4 else 2]
    assert checkpoint.order.tolist() == [(k + checkpoint.generator[0]) % 23 for k in range(23)]

    engine = OwnEngine()
    trace = Trace.of_run(Run(conv, wanted, few), engine)
    trace.losses, trace.epochs = losses[:step], np.array([1, 1, 1, 1, 2, 2][:step])
    train(Run(conv, wanted, few), engine, trace=trace, resume=checkpoint)
    left = [STEP] * (6 - step)
    if step <= 4:
        left.insert(4 - step, ("batch_order", 23))
    assert engine.log[:3] == [
        ("start", None), ("restore", checkpoint.state), ("restore_generator", checkpoint.generator)
    ]  # fmt: skip
    assert engine.log[3 : 3 + len(left)] == left
    assert engine.log[3 + len(left) : -1] == END
    assert np.array_equal(trace.losses, losses)
    assert trace.epochs.tolist() == [1, 1, 1, 1, 2, 2]
    for x, expected in zip(engine.batches[step:], whole.batches[step:], strict=True):
        assert torch.equal(x, expected)
    assert torch.equal(engine.looked_at, whole.looked_at)


def test_a_run_with_injected_draws_goes_on_with_those_of_its_steps(conv, settings, few):
    wanted = settings(batch_size=5, epochs=2, steps=6)
    whole, checkpoints = OwnEngine(), []
    whole.generator_state = lambda: None
    train(
        Run(conv, wanted, few), whole, callbacks=[lambda now: checkpoints.append(now.checkpoint())]
    )
    checkpoint = checkpoints[2]
    assert (checkpoint.generator, checkpoint.order) == (None, None)
    engine = OwnEngine()
    trace = Trace.of_run(Run(conv, wanted, few), engine)
    train(Run(conv, wanted, few), engine, trace=trace, resume=checkpoint)
    kinds = [entry[0] for entry in engine.log]
    assert kinds[:2] == ["start", "restore"]
    assert {"batch_order", "latents", "restore_generator"}.isdisjoint(kinds)
    for x, drawn, expected, draws in zip(
        engine.batches[3:], engine.draws, whole.batches[3:], whole.draws[3:], strict=True
    ):
        assert torch.equal(x, expected)
        assert same(drawn, draws)
    assert same(engine.looks[0][1], whole.looks[0][1])


def test_taking_a_checkpoint_completes_the_trace_and_changes_nothing(conv, settings, few):
    wanted = settings(batch_size=5, epochs=2, steps=None)
    plain = train(Run(conv, wanted, few), RecordingEngine())
    steps = []

    def observe(now):
        if now.step in (2, 3, 4, 7):
            assert now.checkpoint().step == now.step
            steps.append(now.trace.steps)

    engine = OwnEngine()
    engine.generator_state = lambda: None
    trace = train(Run(conv, wanted, few), engine, callbacks=[observe])
    assert steps == [2, 3, 4, 7]
    assert np.array_equal(trace.losses, plain.losses)
    assert trace.epochs.tolist() == plain.epochs.tolist()


@pytest.mark.parametrize("rng", ["torch", "r"])
def test_the_same_seed_of_its_own_generator_gives_the_same_bits(conv, settings, digits, rng):
    def run(**changes):
        torch.rand(3)  # the global generator has no say
        return train(Run(conv, settings(rng=rng, **changes), digits), PyTorchEngine("cpu"))

    before = torch.get_rng_state()
    once, again, other = run(), run(), run(seed=3)
    assert np.array_equal(once.losses, again.losses)
    assert same(once.parameters, again.parameters)
    assert same(once.latent_means, again.latent_means)
    assert np.array_equal(once.samples, again.samples)
    assert not np.array_equal(once.losses, other.losses)
    torch.set_rng_state(before)


@pytest.mark.parametrize("objective", [*CONV.objectives, *CONV.further])
def test_a_run_with_torchs_generator_is_a_plain_loop_after_a_manual_seed(
    conv, settings, digits, objective
):
    """The whole run, as one writes it in PyTorch without pyvae, to the bit."""
    wanted = settings(
        rng="torch", objective=objective, batch_size=20, epochs=2, steps=None, dtype="float32"
    )
    some = ImageData("some", digits.pixels[:50], None, "digits")
    trace = train(Run(conv, wanted, some), PyTorchEngine("cpu"))
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wanted.seed)
        network = conv.network(wanted.latent_dim)
        adam = torch.optim.Adam(network.parameters(), lr=wanted.learning_rate)
        for _ in range(2):
            order = torch.randperm(50)
            for batch in range(2):
                x = some.pixels[order[20 * batch : 20 * batch + 20]].float() / 255
                network.train()
                adam.zero_grad()
                loss = OBJECTIVES[objective](x, network(x))
                loss["total"].backward()
                adam.step()
                losses.append([part.item() for part in loss.values()])
        with torch.no_grad():
            training = network.encoder(x)[0]
            latents = torch.randn(16, wanted.latent_dim)
            evaluation = network.eval().encoder(x)[0]
            samples = network.decoder(latents)
    assert trace.losses.tolist() == losses
    for name, parameter in network.state_dict().items():
        assert np.array_equal(trace.parameters[name], parameter)
    assert np.array_equal(trace.latent_means["training"], training)
    assert np.array_equal(trace.latent_means["evaluation"], evaluation)
    assert np.array_equal(trace.samples, samples)


def test_an_engine_is_started_as_a_run_starts_it(conv, settings, digits):
    for rng in ("injected", "torch"):
        engine, wanted = OwnEngine(), settings(rng=rng)
        start(engine, Run(conv, wanted, digits))
        ((_, parameters),) = engine.log
        if rng == "injected":
            initial = conv.initial_parameters(wanted.seed, wanted.latent_dim)
            assert all(torch.equal(parameters[name], initial[name]) for name in initial)
        else:
            assert parameters is None
