from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW

from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.recipes.conv import CONV
from pyvae.trace.trace import Trace
from pyvae.training.feeds import batches
from pyvae.training.inputs import check_data
from pyvae.training.loop import finite_losses, start, train, training_steps

every_objective = pytest.mark.parametrize("objective", CONV.objectives)


class RecordingEngine:
    """Computes nothing and remembers what it was asked."""

    name = "recording"

    def __init__(self):
        self.batches, self.draws, self.looks = [], [], []

    def start(self, recipe, settings, parameters):
        self.initial = parameters
        self.width = settings.latent_dim

    def step(self, x, draws):
        self.batches.append(x)
        self.draws.append(draws)
        return torch.tensor([3.0, 2.0, 1.0]) * len(self.batches)

    def latent_means(self, x, draws, training):
        self.looks.append((x, draws, training))
        return np.zeros((len(x), 1))

    def decode(self, z):
        self.z = z
        return np.zeros((len(z), 784))

    def parameters(self):
        return {"w": np.zeros(1)}

    def environment(self):
        return {}


@pytest.fixture
def few():
    """23 images; every pixel of an image is its number."""
    pixels = torch.arange(23, dtype=torch.uint8)[:, None].repeat(1, 784)
    return ImageData("few", pixels, None, "made here")


@pytest.fixture
def record(conv, settings, few):
    def run(observe=None, **changes):
        engine = RecordingEngine()
        wanted = settings(batch_size=5, **{"epochs": 3, "steps": None} | changes)
        return engine, wanted, train(Run(conv, wanted, few), engine, [observe] if observe else [])

    return run


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


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


class ProbedEngine(RecordingEngine):
    """Writes down the order in which it is asked for what."""

    def __init__(self):
        super().__init__()
        self.log = []

    def restore(self, state):
        self.log.append(("restored", state))

    def step(self, x, draws, probe=None):
        self.log.append(("stepped", probe))
        if probe is not None:
            probe["step"] = len(self.batches) + 1
        return super().step(x, draws)


@pytest.fixture
def step_by_step(conv, settings, few):
    """The training loop of 23 images in batches of 5, and the trace that it fills."""

    def make(engine, probe=None, state=None, stop=None, **changes):
        run = Run(conv, settings(batch_size=5, **{"epochs": 3, "steps": None} | changes), few)
        trace = Trace.of_run(run, engine)
        return training_steps(run, engine, trace, probe=probe, state=state, stop=stop), trace

    return make


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


def test_before_every_step_it_is_asked_where_to_start_and_whether_to_look(step_by_step):
    engine = ProbedEngine()
    states = {step: {"step": np.array(step - 1)} for step in (2, 3, 5)}
    probes = {step: {} for step in (1, 3, 6)}

    def state(step):
        engine.log.append(("asked for the state of", step))
        return states.get(step)

    def probe(step):
        engine.log.append(("asked for the probe of", step))
        return probes.get(step)

    running, _ = step_by_step(engine, probe, state, steps=6)
    for now in running:
        step = now.step
        log, engine.log = engine.log, []
        assert log[-1] == ("stepped", probes.get(step))
        assert log[-1][1] is probes.get(step)
        questions = {("asked for the state of", step), ("asked for the probe of", step)}
        assert {entry for entry in log[:-1] if entry[0].startswith("asked")} == questions
        restored = [entry[1] for entry in log if entry[0] == "restored"]
        assert restored == ([states[step]] if step in states else [])
        assert len(log) == 3 + len(restored)
    assert engine.log == []  # latent means and samples are no step
    assert probes == {step: {"step": step} for step in (1, 3, 6)}


def test_an_engine_that_is_not_looked_into_need_not_know_probes(step_by_step):
    running, trace = step_by_step(RecordingEngine(), probe=lambda step: None, steps=3)
    assert len(list(running)) == trace.steps == 3


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


@every_objective
def test_a_run_that_is_looked_into_is_the_same_to_the_bit(digits, trained, objective):
    plain = trained[objective]
    probes = {1: {}, 3: {}}
    probed = train(Run(CONV, plain.settings, digits), PyTorchEngine("cpu"), probe=probes.get)
    assert np.array_equal(probed.losses, plain.losses)
    assert same(probed.parameters, plain.parameters)
    assert same(probed.latent_means, plain.latent_means)
    assert np.array_equal(probed.samples, plain.samples)
    for step, probe in probes.items():
        names = ("total", "reconstruction", "regulariser")
        assert [probe[f"forward/{name}"] for name in names] == plain.losses[step - 1].tolist()
    for name, value in plain.parameters.items():
        assert np.array_equal(probes[3][f"parameter/{name}"], value)


def test_a_run_from_its_own_states_is_the_same_to_the_bit(digits, trained):
    plain = trained["vae"]
    engine = PyTorchEngine("cpu")
    again = train(
        Run(CONV, plain.settings, digits), engine, state=lambda s: engine.state() if s > 1 else None
    )
    assert np.array_equal(again.losses, plain.losses)
    assert same(again.parameters, plain.parameters)


def test_a_step_starts_from_the_state_that_is_told(conv, settings, digits):
    """From the initial state every time: each step is as good as a first one on its batch."""
    engine = PyTorchEngine("cpu")
    wanted = settings(steps=3)
    engine.start(conv, wanted, conv.initial_parameters(wanted.seed, wanted.latent_dim))
    initial = engine.state()
    probes = {step: {} for step in (1, 2, 3)}
    train(
        Run(conv, wanted, digits),
        PyTorchEngine("cpu"),
        probe=probes.get,
        state=lambda step: initial,
    )
    for probe in probes.values():
        for name in conv.parameter_names(wanted.latent_dim):
            assert np.array_equal(probe[f"start/{name}"], initial[f"parameter/{name}"])
            gradient = probe[f"gradient/{name}"]
            np.testing.assert_allclose(probe[f"moment1/{name}"], 0.1 * gradient, rtol=1e-12)
    assert probes[1]["forward/total"] != probes[2]["forward/total"]


class OwnEngine(RecordingEngine):
    """Draws itself: an epoch's order is a rotation of the images, by as many as orders so far.
    Writes down what it was asked, in order."""

    def __init__(self):
        super().__init__()
        self.log, self.orders = [], 0

    def start(self, recipe, settings, parameters):
        self.log.append(("start", parameters))
        self.latent_dim = settings.latent_dim

    def batch_order(self, images):
        self.orders += 1
        self.log.append(("batch_order", images))
        return np.roll(np.arange(images), -self.orders)

    def step(self, x, draws):
        self.log.append(("step", draws))
        return super().step(x, draws)

    def latent_means(self, x, draws, training):
        self.log.append(("latent_means", draws, training))
        self.looked_at = x
        return super().latent_means(x, draws, training)

    def latents(self, images):
        self.log.append(("latents", images))
        return np.full((images, self.latent_dim), 0.5)

    def decode(self, z):
        self.log.append(("decode", z.shape))
        return super().decode(z)

    def state(self):
        self.log.append(("state",))
        return {"step": np.array(len(self.batches))}

    def restore(self, state):
        self.log.append(("restore", state))
        self.batches = [None] * int(state["step"])

    def generator_state(self):
        return np.array([self.orders])

    def restore_generator(self, state):
        self.log.append(("restore_generator", int(state[0])))
        self.orders = int(state[0])


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


def test_a_run_of_any_recipe_has_all_terms_of_its_objective(any_trained):
    recipe, trace = any_trained
    objective = OBJECTIVES[recipe.objectives[0]]
    assert trace.terms == objective.terms
    assert trace.losses.shape == (3, len(objective.terms))
    assert np.isfinite(trace.losses).all()
    hyper = trace.settings.hyper
    total, reconstruction, regulariser = trace.losses[:, :3].T
    weight = hyper[objective.weight] if objective.weight else 1
    np.testing.assert_allclose(total, reconstruction + weight * regulariser, rtol=1e-14)
    assert trace.latent_means["evaluation"].shape == (6, 3)
    assert trace.samples.shape == (16, recipe.features)
    assert trace.parameters.keys() == recipe.initial_parameters(1, 3, **hyper).keys()


def test_the_same_seed_gives_the_same_bits_of_any_recipe(any_trained, data_of):
    recipe, once = any_trained
    torch.rand(3)  # the global generator has no say
    before = torch.get_rng_state()
    again = train(Run(recipe, once.settings, data_of(recipe)), PyTorchEngine("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(once.losses, again.losses)
    assert same(once.parameters, again.parameters)
    assert same(once.latent_means, again.latent_means)
    assert np.array_equal(once.samples, again.samples)


@pytest.mark.parametrize("name", ["mlp", "mlp-wide", "beta", "strided-conv", "clustering-toy"])
def test_another_seed_gives_another_run_of_any_recipe(name, small, data_of):
    recipe = NARROW[name]
    runs = [
        train(Run(recipe, small(recipe, seed=seed, steps=1), data_of(recipe)), PyTorchEngine("cpu"))
        for seed in (1, 2)
    ]
    assert runs[0].losses[0, 0] != runs[1].losses[0, 0]
    assert not np.array_equal(runs[0].samples, runs[1].samples)


@pytest.mark.parametrize(
    "name",
    [
        *("mlp", "mlp-wide", "beta", "strided-conv", "clustering-toy"),
        pytest.param("clustering-semi-supervised", marks=pytest.mark.slow),
    ],
)
def test_a_run_of_any_recipe_with_torchs_generator_is_a_plain_loop(name, small, data_of):
    """As one writes it without pyvae, to the bit with PyTorch's kernels; it draws for itself."""
    recipe = NARROW[name]
    wanted = small(recipe, rng="torch", dtype="float32", batch_size=20, epochs=2, steps=None)
    data = data_of(recipe)
    labels = None if data.labels is None else data.labels[:50]
    some = ImageData("some", data.pixels[:50], labels, "here")
    trace = train(Run(recipe, wanted, some), PyTorchEngine("cpu", kernels="torch"))
    given = {} if recipe.given is None else recipe.given(some, wanted)
    given = {name: torch.from_numpy(value) for name, value in given.items()}
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wanted.seed)
        network = recipe.network(wanted.latent_dim, **wanted.hyper)
        adam = torch.optim.Adam(network.parameters(), lr=wanted.learning_rate)
        for _ in range(2):
            order = torch.randperm(50)
            for batch in range(2):
                x = some.batch(order[20 * batch : 20 * batch + 20].numpy(), torch.float32)
                network.train()
                adam.zero_grad()
                loss = OBJECTIVES[wanted.objective](x, network(x, given), wanted.hyper)
                loss["total"].backward()
                adam.step()
                losses.append([loss[term].item() for term in trace.terms])
    assert trace.losses.tolist() == losses
    for key, value in network.state_dict().items():
        assert np.array_equal(trace.parameters[key], value), key


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mlp",
            r"recipe mlp takes images of 28x28 pixels, and toy has inputs of 2 numbers\. Choose ",
        ),
        (
            "clustering-toy",
            r"takes points in the plane \(--data toy\), and digits has inputs of 784",
        ),
    ],
)
def test_data_that_a_recipe_cannot_take_are_the_users_error(name, said, small, data_of, digits):
    recipe = get_recipe(name)
    data = digits if recipe.features == 2 else data_of(get_recipe("clustering-toy"))
    engine = OwnEngine()
    with pytest.raises(UserError, match=said):
        train(Run(recipe, small(recipe), data), engine)
    assert engine.log == []


def test_a_recipe_of_other_numbers_says_how_many(digits):
    recipe = replace(get_recipe("mlp"), features=1024, shape=())
    with pytest.raises(
        UserError, match="takes inputs of 1024 numbers, and digits has inputs of 784"
    ):
        check_data(recipe, digits)


def test_what_is_given_in_every_step_is_given_with_the_draws(small, data_of):
    recipe = get_recipe("clustering-semi-supervised")
    wanted = small(recipe)
    always = recipe.given(data_of(recipe), wanted)
    draws, spec = Draws(wanted.seed, wanted.dtype), recipe.draws(3, **wanted.hyper)
    for step, x, given in batches(Run(recipe, wanted, data_of(recipe))):
        assert same(given, draws.step(step - 1, 6, spec) | always)
        assert x.shape == (6, 784)
        assert given["labelled_noise"].shape == (12, 3)


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
