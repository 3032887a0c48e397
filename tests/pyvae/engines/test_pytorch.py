from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from stand_ins.narrow import NARROW
from torch import nn

from pyvae.engines.adam import ADAMS
from pyvae.engines.generators import make_generator
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.draws import Draws
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.run import Run
from pyvae.model.stages import is_buffer, quantities
from pyvae.recipes import RECIPES
from pyvae.recipes.conv import CONV
from pyvae.training.feeds import batches
from pyvae.training.loop import train

every_objective = pytest.mark.parametrize("objective", [*CONV.objectives, *CONV.further])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
B = 6


@pytest.fixture
def x(digits):
    return digits.batch(np.arange(B), torch.float64)


@pytest.fixture
def start(conv):
    """A started engine, and the draws of any step for it."""

    def make(settings):
        engine = PyTorchEngine("cpu")
        initial = conv.initial_parameters(settings.seed, settings.latent_dim)
        engine.start(conv, settings, initial)
        draws, spec = Draws(settings.seed, settings.dtype), conv.draws(settings.latent_dim)
        return engine, lambda step: draws.step(step, B, spec)

    return make


def losses_by_hand(x, pixels, mu, log_var, objective):
    """Both terms from their textbook formulas, by autograd's basic operations."""
    reconstruction = -(x * pixels.log() + (1 - x) * (1 - pixels).log()).sum()
    regulariser = (mu**2).sum() / 2
    if objective == "em":
        regulariser = regulariser + log_var.exp().sum() / 2
    if objective == "vae":
        regulariser = regulariser + (log_var.exp() - 1 - log_var).sum() / 2
    return torch.stack([reconstruction + regulariser, reconstruction, regulariser])


@every_objective
def test_steps_are_adam_by_numpy_on_autograds_gradients(start, conv, settings, x, objective):
    wanted = settings(objective=objective, learning_rate=3e-3)
    engine, draw = start(wanted)
    moments = dict.fromkeys(engine.parameters(), (0.0, 0.0))
    for step in range(3):
        before = engine.parameters()
        losses = engine.step(x, draw(step))

        network = conv.network(wanted.latent_dim).double()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
        noise = {name: torch.from_numpy(value) for name, value in draw(step).items()}
        by_hand = losses_by_hand(x, *network(x, noise), objective)
        by_hand[0].backward()
        torch.testing.assert_close(losses, by_hand.detach(), rtol=1e-12, atol=0)

        after = engine.parameters()
        for name, parameter in network.named_parameters():
            gradient = parameter.grad.numpy() if parameter.grad is not None else 0
            m, v = moments[name]
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            moments[name] = m, v
            m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            expected = before[name] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-9, err_msg=name)


def test_a_start_forgets_the_run_before(start, conv, settings, x):
    engine, draw = start(settings())
    first = [engine.step(x, draw(step)) for step in range(2)]
    again = settings()
    engine.start(conv, again, conv.initial_parameters(again.seed, again.latent_dim))
    second = [engine.step(x, draw(step)) for step in range(2)]
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_parameters_are_a_copy(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    kept = {name: value.copy() for name, value in before.items()}
    engine.step(x, draw(0))
    assert all(np.array_equal(before[name], kept[name]) for name in kept)
    assert not any(np.array_equal(engine.parameters()[name], kept[name]) for name in kept)


@every_dtype
def test_all_numbers_have_the_precision_asked_for(start, settings, x, dtype):
    engine, draw = start(settings(dtype=dtype))
    x = x.to(settings(dtype=dtype).torch_dtype)
    assert {str(value.dtype) for value in engine.parameters().values()} == {dtype}
    assert str(engine.step(x, draw(0)).dtype) == f"torch.{dtype}"
    assert engine.latent_means(x, draw(0), training=True).dtype == dtype
    assert engine.decode(draw(0)["noise"]).dtype == dtype


def test_looking_changes_nothing(start, settings, x):
    engine, draw = start(settings())
    before = engine.parameters()
    state = torch.random.get_rng_state()
    looks = [
        (
            engine.latent_means(x, draw(1), training=True),
            engine.latent_means(x, None, training=False),
            engine.decode(noise),
        )
        for noise in [draw(0)["noise"]] * 2
    ]
    for one, again in zip(*looks, strict=True):
        assert np.array_equal(one, again)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(np.array_equal(engine.parameters()[name], before[name]) for name in before)


def test_means_and_images_have_the_promised_shapes(start, settings, x):
    engine, draw = start(settings())
    pixels = engine.decode(draw(0)["noise"])
    assert pixels.shape == (B, 784)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert engine.latent_means(x, None, training=False).shape == (B, settings().latent_dim)


@pytest.mark.parametrize("objective", CONV.objectives)
@every_dtype
def test_divergence_is_the_users_error(start, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype, learning_rate=1e30)
    engine, draw = start(wanted)

    def run():
        for step in range(5):
            engine.step(x.to(wanted.torch_dtype), draw(step))

    with pytest.raises(UserError, match=r"diverged.*--learning-rate"):
        run()


def test_other_failures_are_not_called_divergence(start, settings, x):
    engine, draw = start(settings())
    with pytest.raises(RuntimeError):
        engine.step(x[:, :100], draw(0))


def test_the_environment_names_what_numbers_depend_on(start, settings):
    engine, _ = start(settings())
    assert engine.environment() == {
        "torch": torch.__version__,
        "device": "cpu",
        "threads": str(torch.get_num_threads()),
        "adam": "torch",
        "kernels": "fast",
    }
    assert "kernels" not in PyTorchEngine("cpu", kernels="torch").environment()  # as before
    with pytest.raises(UserError, match="unknown kernels 'slow'"):
        PyTorchEngine("cpu", kernels="slow")


@pytest.mark.parametrize(("name", "same"), [("strided-conv", False), ("conv", True)])
def test_fast_kernels_round_otherwise_but_not_for_an_exact_recipe(digits, name, same):
    """And a probe of a step changes none of its bits."""
    recipe = RECIPES[name]
    run = Run(recipe, recipe.settings(dtype="float32", batch_size=9, steps=3), digits)
    fast, torchs = (train(run, PyTorchEngine("cpu", kernels=kind)) for kind in ("fast", "torch"))
    np.testing.assert_allclose(fast.losses, torchs.losses, rtol=1e-4)
    pairs = [(fast.parameters[key], value) for key, value in torchs.parameters.items()]
    assert all(np.array_equal(*pair) for pair in pairs) == same
    assert ("kernels" in fast.environment) == (not same)
    assert "kernels" not in torchs.environment
    probes = {2: {}}
    probed = train(run, PyTorchEngine("cpu"), probe=probes.get)
    assert "gradient/reconstruction" not in probes[2]
    assert "gradient/input" in probes[2]
    np.testing.assert_array_equal(probed.losses, fast.losses)
    for key, value in fast.parameters.items():
        np.testing.assert_array_equal(probed.parameters[key], value)


@pytest.mark.parametrize("name", ["mlp", "beta", "clustering", "clustering-semi-supervised"])
def test_a_step_with_fast_kernels_is_the_same_step(digits, name):
    """In single precision up to rounding: the first step's losses, gradients and running
    statistics. In double precision every bit."""
    recipe = RECIPES[name]
    hyper = {"labels": 20} if name.endswith("supervised") else {}
    ends = {}
    for dtype in ("float32", "float64"):
        settings = recipe.settings(dtype=dtype, batch_size=12, steps=1, hyper=hyper)
        for kernels in ("fast", "torch"):
            engine = PyTorchEngine("cpu", kernels=kernels)
            trace = train(Run(recipe, settings, digits), engine)
            moments = {
                k: v for k, v in engine.state().items() if k.startswith(("moment1", "buffer"))
            }
            ends[dtype, kernels] = {"losses": trace.losses, **moments}
    # what batch norm takes away again has a gradient of 0, and gets the others' rounding
    exacts = ends["float64", "torch"]
    noise = 1e-6 * max(np.abs(exacts[key]).max() for key in exacts if "moment1" in key)
    for key, exact in exacts.items():
        np.testing.assert_array_equal(ends["float64", "fast"][key], exact)
        fast, torchs = (ends["float32", kernels][key] for kernels in ("fast", "torch"))
        assert fast.dtype == torchs.dtype
        allowed = 2 * np.abs(torchs - exact).max() + 3e-5 * np.abs(exact).max() + noise
        assert np.abs(fast - exact).max() <= allowed, key


def test_an_engine_leaves_the_process_as_it_is(warm, tmp_path):
    """Neither its allocator nor its number of threads is its user's to lose."""
    code = """
import ctypes, torch
from pyvae.engines import allocator, pytorch
allocator.ctypes.CDLL = None  # mallopt would be looked up there
threads = torch.get_num_threads()
pytorch.PyTorchEngine("cpu")
assert torch.get_num_threads() == threads
assert not allocator.keep_freed_memory.cache_info().currsize
print("as it was")
"""
    done = warm.run("-c", code, folder=tmp_path)
    assert done.stdout == "as it was\n", done.stderr


def same(one, two):
    """Whether two dicts of arrays are the same to the bit."""
    return one.keys() == two.keys() and all(
        one[key].dtype == two[key].dtype
        and one[key].shape == two[key].shape
        and one[key].tobytes() == two[key].tobytes()
        for key in one
    )


def copied(arrays):
    return {key: value.copy() for key, value in arrays.items()}


def part(probe, kind):
    """The entries of one kind, by stage or parameter."""
    return {
        key.split("/", 1)[1]: value for key, value in probe.items() if key.startswith(f"{kind}/")
    }


def assert_close(found, expected, what):
    """Equal up to 1e-12 of the largest magnitude."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape, what
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale, err_msg=what)


@every_objective
@every_dtype
def test_being_looked_into_changes_no_bit_of_a_step(start, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    x = x.to(wanted.torch_dtype)
    plain, draw = start(wanted)
    probed, _ = start(wanted)
    for step in range(3):
        losses = plain.step(x, draw(step))
        assert torch.equal(probed.step(x, draw(step), {} if step != 1 else None), losses)
        assert same(probed.state(), plain.state())
    assert same(probed.parameters(), plain.parameters())
    assert not x.requires_grad


@every_objective
@every_dtype
def test_a_probe_holds_what_the_stages_promise(start, conv, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    engine, draw = start(wanted)
    probe = {}
    losses = engine.step(x.to(wanted.torch_dtype), draw(0), probe)
    promised = quantities(conv.stages, conv.parameter_names(wanted.latent_dim))
    assert probe.keys() == {quantity.key for quantity in promised}
    assert {str(value.dtype) for value in probe.values()} == {dtype}
    for name, loss in zip(("total", "reconstruction", "regulariser"), losses, strict=True):
        assert probe[f"forward/{name}"].shape == ()
        assert probe[f"forward/{name}"] == loss.item()


def functional(p, x, draws, objective):
    """What every stage returns, by torch.nn.functional and elementary operations."""

    def dropped(h, name, rate):
        return torch.where(torch.from_numpy(draws[name]), h / (1 - rate), 0)

    def dense(name, h):
        return h @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def transposed(name, h):  # 1x1 on 1x1: a matrix (in, out)
        weight = p[f"{name}.weight"][:, :, 0, 0]
        return (h[:, :, 0, 0] @ weight + p[f"{name}.bias"])[:, :, None, None]

    s = {"input": x.clone().requires_grad_()}
    h = s["encoder.conv1"] = F.conv2d(
        s["input"].reshape(-1, 1, 28, 28), p["encoder.conv1.weight"], p["encoder.conv1.bias"]
    )
    h = s["encoder.relu1"] = h * (h > 0)
    h = s["encoder.conv2"] = F.conv2d(h, p["encoder.conv2.weight"], p["encoder.conv2.bias"])
    h = s["encoder.relu2"] = h * (h > 0)
    h = s["encoder.pool"] = F.max_pool2d(h, 2)
    h = s["encoder.dropout1"] = dropped(h, "dropout1", 0.25)
    h = s["encoder.flatten"] = h.reshape(len(x), -1)
    h = s["encoder.fc1"] = dense("encoder.fc1", h)
    h = s["encoder.relu3"] = h * (h > 0)
    h = s["encoder.dropout2"] = dropped(h, "dropout2", 0.5)
    mu = s["encoder.fc2"] = dense("encoder.fc2", h)
    log_var = s["encoder.fc3"] = dense("encoder.fc3", h)
    noise = torch.from_numpy(draws["noise"])
    h = s["reparameterise"] = mu + torch.sqrt(torch.exp(log_var)) * noise
    h = s["decoder.fc1"] = dense("decoder.fc1", h)
    h = s["decoder.relu1"] = h * (h > 0)
    h = s["decoder.fc2"] = dense("decoder.fc2", h)
    h = s["decoder.relu2"] = h * (h > 0)
    h = s["decoder.conv1"] = transposed("decoder.conv1", h[:, :, None, None])
    h = s["decoder.relu3"] = h * (h > 0)
    h = s["decoder.conv2"] = transposed("decoder.conv2", h)
    h = s["decoder.sigmoid"] = 1 / (1 + torch.exp(-h[:, :, 0, 0]))
    s["total"], s["reconstruction"], s["regulariser"] = losses_by_hand(x, h, mu, log_var, objective)
    return s


@every_objective
def test_a_probe_is_what_functional_and_autograd_give(start, settings, x, objective):
    engine, draw = start(settings(objective=objective))
    engine.step(x, draw(0))
    before = {
        name: torch.from_numpy(value).requires_grad_()
        for name, value in engine.parameters().items()
    }
    probe = {}
    engine.step(x, draw(1), probe)

    stages = functional(before, x, draw(1), objective)
    forward = part(probe, "forward")
    assert forward.keys() == stages.keys()
    for name, value in stages.items():
        assert_close(forward[name], value.detach(), name)

    wanted = {k: v for k, v in stages.items() if v.shape != ()} | before
    gradients = torch.autograd.grad(stages["total"], list(wanted.values()))
    found = part(probe, "gradient")
    assert found.keys() == wanted.keys()
    for name, value in zip(wanted, gradients, strict=True):
        assert np.abs(found[name]).max() > 0
        assert_close(found[name], value, name)


@every_objective
def test_a_probe_tells_where_a_step_started_where_it_ended_and_adams_moments(
    start, settings, x, objective
):
    engine, draw = start(settings(objective=objective, learning_rate=3e-3))
    m = v = dict.fromkeys(engine.parameters(), 0.0)
    for step in range(1, 4):
        before = engine.parameters()
        probe = {}
        engine.step(x, draw(step), probe)
        assert same(part(probe, "start"), before)
        assert same(part(probe, "parameter"), engine.parameters())
        gradient = part(probe, "gradient")
        m = {name: 0.9 * m[name] + 0.1 * gradient[name] for name in m}
        v = {name: 0.999 * v[name] + 0.001 * gradient[name] ** 2 for name in v}
        for name in before:
            assert_close(part(probe, "moment1")[name], m[name], name)
            assert_close(part(probe, "moment2")[name], v[name], name)
            m_hat, v_hat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.999**step)
            expected = before[name] - 3e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
            np.testing.assert_allclose(
                probe[f"parameter/{name}"], expected, rtol=0, atol=1e-9, err_msg=name
            )


def test_later_steps_leave_a_probe_alone(start, settings, x):
    engine, draw = start(settings())
    engine.step(x, draw(0))  # Adam's moments are there, to be changed in place
    probe = {}
    engine.step(x, draw(1), probe)
    kept = copied(probe)
    engine.step(x, draw(2))
    later = {}
    engine.step(x, draw(3), later)
    assert same(probe, kept)
    assert not any(np.array_equal(later[key], kept[key]) for key in kept if "input" not in key)
    engine.restore(engine.state())
    engine.step(x, draw(4))
    assert same(probe, kept)


def hooks(engine):
    return [
        name
        for name, module in engine.network.named_modules()
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    ]


def test_looking_leaves_no_hook_behind(start, settings, x):
    engine, draw = start(settings())
    engine.step(x, draw(0), {})
    assert hooks(engine) == []
    engine.network.encoder.fc1 = nn.Linear(10, 128).double()
    with pytest.raises(RuntimeError):
        engine.step(x, draw(1), {})
    assert hooks(engine) == []


def test_a_step_that_fails_leaves_the_stages_before_in_the_probe(start, conv, settings, x):
    engine, draw = start(settings())
    whole, _ = start(settings())
    for one in (engine, whole):
        one.step(x, draw(0))  # gradients and moments of an earlier step are there
    expected, probe = {}, {}
    whole.step(x, draw(1), expected)
    engine.network.encoder.fc1 = nn.Linear(10, 128).double()
    with pytest.raises(RuntimeError, match="shapes"):
        engine.step(x, draw(1), probe)
    names = [stage.name for stage in conv.stages]
    before = names[: names.index("encoder.fc1")]
    assert before[-1] == "encoder.flatten"
    assert list(part(probe, "forward")) == before
    for name in before:
        assert np.array_equal(probe[f"forward/{name}"], expected[f"forward/{name}"])
    # nothing that this step did not compute
    assert {key.split("/")[0] for key in probe} == {"start", "forward"}


def test_a_step_that_diverges_leaves_the_pixels_in_the_probe(start, settings, x):
    engine, draw = start(settings(learning_rate=1e30))
    probes = []

    def run():
        for step in range(5):
            probes.append({})
            engine.step(x, draw(step), probes[-1])

    with pytest.raises(UserError, match="diverged"):
        run()
    *_, before, last = probes
    assert np.isfinite(before["forward/total"])
    assert np.isnan(last["forward/decoder.sigmoid"]).any()
    assert "forward/total" not in last
    assert part(last, "gradient") == part(last, "parameter") == {}
    assert same(part(last, "start"), engine.parameters())
    assert hooks(engine) == []


@every_objective
@every_dtype
def test_a_run_goes_on_from_a_state_to_the_bit(start, conv, settings, x, objective, dtype):
    wanted = settings(objective=objective, dtype=dtype)
    x = x.to(wanted.torch_dtype)
    whole, draw = start(wanted)
    stopped, _ = start(wanted)
    for step in range(2):
        whole.step(x, draw(step))
        stopped.step(x, draw(step))
    state = stopped.state()
    assert state["step"] == 2
    kept = copied(state)

    fresh = PyTorchEngine("cpu")
    fresh.start(conv, wanted, conv.initial_parameters(99, wanted.latent_dim))
    fresh.restore(state)
    assert same(fresh.state(), state)
    for step in (2, 3):
        assert torch.equal(fresh.step(x, draw(step)), whole.step(x, draw(step)))
    assert same(fresh.state(), whole.state())
    assert fresh.state()["step"] == 4
    stopped.step(x, draw(2))
    assert same(state, kept)  # a copy, in both directions


def test_going_back_and_forth_is_exact(start, settings, x):
    """Restoring into an engine that is further on undoes everything."""
    engine, draw = start(settings())
    engine.step(x, draw(0))
    state = engine.state()
    once = [engine.step(x, draw(step)) for step in (1, 2)]
    engine.restore(state)
    again = [engine.step(x, draw(step)) for step in (1, 2)]
    assert torch.equal(torch.stack(once), torch.stack(again))


def test_the_state_before_the_first_step_is_the_start(start, conv, settings, x):
    wanted = settings()
    engine, draw = start(wanted)
    state = engine.state()
    assert state["step"].shape == ()
    assert state["step"] == 0
    assert same(part(state, "parameter"), engine.parameters())
    for kind in ("moment1", "moment2"):
        moments = part(state, kind)
        assert list(moments) == conv.parameter_names(wanted.latent_dim)
        assert not any(moment.any() for moment in moments.values())

    fresh = PyTorchEngine("cpu")
    fresh.start(conv, wanted, conv.initial_parameters(99, wanted.latent_dim))
    fresh.restore(state)
    assert torch.equal(fresh.step(x, draw(0)), engine.step(x, draw(0)))
    assert same(fresh.state(), engine.state())


def test_a_state_is_the_end_of_a_probe(start, settings, x):
    engine, draw = start(settings())
    probe = {}
    for step in range(2):
        engine.step(x, draw(step), probe)
    state = engine.state()
    assert state.pop("step") == 2
    assert same(state, {key: probe[key] for key in state})


@pytest.fixture
def own(conv):
    """An engine that draws with its own generator."""

    def make(settings, adam="torch"):
        engine = PyTorchEngine("cpu", adam)
        engine.start(conv, settings, None)
        return engine

    return make


every_generator = pytest.mark.parametrize("rng", ["torch", "r"])


@every_generator
@every_dtype
def test_own_draws_are_those_of_the_generator_in_their_order(own, conv, settings, x, rng, dtype):
    wanted = settings(rng=rng, dtype=dtype)
    engine, generator = own(wanted), make_generator(rng, wanted.seed)
    initial = generator.initial_parameters(conv, wanted.latent_dim)
    told = PyTorchEngine("cpu")
    told.start(conv, wanted, initial)
    assert same(engine.parameters(), told.parameters())
    assert {str(value.dtype) for value in engine.parameters().values()} == {dtype}
    assert np.array_equal(engine.batch_order(30), generator.batch_order(30))
    spec, x = conv.draws(wanted.latent_dim), x.to(wanted.torch_dtype)
    for _ in range(2):
        assert torch.equal(engine.step(x, None), told.step(x, generator.step(B, spec, dtype)))
    masks = {name: kind for name, kind in spec.items() if name != "noise"}
    means = told.latent_means(x, generator.step(B, masks, dtype), training=True)
    assert np.array_equal(engine.latent_means(x, None, training=True), means)
    assert np.array_equal(
        engine.latent_means(x, None, training=False), told.latent_means(x, None, training=False)
    )
    latents = engine.latents(16)
    assert latents.shape == (16, wanted.latent_dim)
    assert str(latents.dtype) == dtype
    assert np.array_equal(latents, generator.normal((16, wanted.latent_dim), dtype))
    assert np.array_equal(engine.generator_state(), generator.state())


@every_generator
def test_own_draws_are_in_the_probe(own, conv, settings, x, rng):
    wanted = settings(rng=rng)
    plain, probed = own(wanted), own(wanted)
    probe = {}
    assert torch.equal(probed.step(x, None, probe), plain.step(x, None))
    draws = part(probe, "draw")
    spec = conv.draws(wanted.latent_dim)
    assert draws.keys() == spec.keys()
    for name, kind in spec.items():
        assert draws[name].shape == (B, *kind.shape)
        assert draws[name].dtype == (np.bool_ if name != "noise" else np.float64)
    kept = probe["forward/encoder.dropout1"] != 0
    assert not (kept & ~draws["dropout1"]).any()
    mu, log_var = probe["forward/encoder.fc2"], probe["forward/encoder.fc3"]
    z = mu + np.exp(log_var / 2) * draws["noise"]
    assert_close(probe["forward/reparameterise"], z, "z")
    promised = quantities(conv.stages, conv.parameter_names(wanted.latent_dim))
    assert probe.keys() == {quantity.key for quantity in promised} | {
        f"draw/{name}" for name in spec
    }


def test_injected_draws_are_not_in_the_probe(start, settings, x):
    engine, draw = start(settings())
    probe = {}
    engine.step(x, draw(0), probe)
    assert part(probe, "draw") == {}


def test_an_engine_with_injected_draws_has_no_generator(start, settings, x):
    engine, _ = start(settings())
    assert engine.generator_state() is None
    for draws in (
        lambda: engine.step(x, None),
        lambda: engine.batch_order(9),
        lambda: engine.latents(2),
        lambda: engine.latent_means(x, None, training=True),
        lambda: engine.restore_generator(np.zeros(3, np.uint8)),
    ):
        with pytest.raises(ValueError, match="draws are injected"):
            draws()


def test_a_start_with_injected_draws_forgets_the_generator(own, conv, settings):
    engine = own(settings(rng="torch"))
    assert engine.generator_state() is not None
    wanted = settings()
    engine.start(conv, wanted, conv.initial_parameters(1, wanted.latent_dim))
    assert engine.generator_state() is None


@every_generator
@pytest.mark.parametrize("adam", ADAMS)
def test_a_run_with_own_draws_goes_on_from_a_state_to_the_bit(own, settings, x, rng, adam):
    whole = own(settings(rng=rng), adam)
    whole.batch_order(9)
    whole.step(x, None)
    state, generator = whole.state(), whole.generator_state()
    kept = generator.copy()
    fresh = own(settings(rng=rng, seed=77), adam)
    fresh.restore(state)
    fresh.restore_generator(generator)
    for engine in (whole, fresh):
        engine.order = engine.batch_order(9)
        engine.losses = engine.step(x, None)
    assert np.array_equal(whole.order, fresh.order)
    assert torch.equal(whole.losses, fresh.losses)
    assert same(whole.state(), fresh.state())
    assert np.array_equal(generator, kept)


def test_running_leaves_the_global_generator_alone(own, start, settings, x):
    before = torch.get_rng_state()
    engine, draw = start(settings())
    engine.step(x, draw(0))
    engine = own(settings(rng="torch"))
    engine.step(x, None)
    engine.latent_means(x, None, training=True)
    engine.latents(3)
    assert torch.equal(torch.get_rng_state(), before)


LARGE = pytest.param("clustering-semi-supervised", marks=pytest.mark.slow)
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("clustering", *LARGE.values) else name
    for name in RECIPES
]
every_normed = pytest.mark.parametrize("name", ["mlp", "clustering-toy", LARGE])  # batch norm


@pytest.fixture
def begin(small, data_of):
    """A started engine of any recipe, its settings, and what each of its steps is given."""

    def make(recipe, **changes):
        settings = small(recipe, **changes)
        engine = PyTorchEngine("cpu")
        initial = recipe.initial_parameters(settings.seed, settings.latent_dim, **settings.hyper)
        engine.start(recipe, settings, initial)
        return (
            engine,
            settings,
            [given[1:] for given in batches(Run(recipe, settings, data_of(recipe)))],
        )

    return make


@pytest.mark.parametrize("name", EVERY)
def test_a_probe_of_any_recipe_holds_what_its_quantities_promise(name, begin):
    recipe = NARROW[name]
    engine, settings, [(x, draws), *_] = begin(recipe)
    plain, *_ = begin(recipe)
    probe = {}
    losses = engine.step(x, draws, probe)
    assert torch.equal(losses, plain.step(x, draws))
    assert same(engine.state(), plain.state())
    assert probe.keys() == {quantity.key for quantity in recipe.quantities(settings)}
    assert {str(value.dtype) for value in probe.values()} == {"float64"}
    terms = OBJECTIVES[settings.objective].terms
    assert [probe[f"forward/{name}"] for name in terms] == losses.tolist()
    after = part(probe, "parameter") | part(probe, "buffer")
    assert same(after, engine.parameters())
    assert part(probe, "start").keys() == after.keys()


@pytest.mark.parametrize("name", ["mlp", "beta", "clustering-toy", LARGE])
def test_own_draws_of_any_recipe_are_in_the_probe(name, small, data_of):
    recipe = NARROW[name]
    settings = small(recipe, rng="torch")
    always = {} if recipe.given is None else recipe.given(data_of(recipe), settings)
    x = data_of(recipe).batch(np.arange(6), torch.float64)
    probed, plain = PyTorchEngine("cpu"), PyTorchEngine("cpu")
    probe, before = {}, torch.get_rng_state()
    for engine, asked in ((probed, {"probe": probe}), (plain, {})):
        engine.start(recipe, settings, None)
        engine.losses = engine.step(x, always or None, **asked)
        engine.means = engine.latent_means(x, always or None, training=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(probed.losses, plain.losses)
    assert np.array_equal(probed.means, plain.means)
    spec = recipe.draws(settings.latent_dim, **settings.hyper)
    promised = {quantity.key for quantity in recipe.quantities(settings)}
    assert probe.keys() == promised | {f"draw/{name}" for name in spec}
    # an engine that is told these draws does the same
    told = PyTorchEngine("cpu")
    generator = make_generator("torch", settings.seed)
    initial = generator.initial_parameters(recipe, settings.latent_dim, **settings.hyper)
    told.start(recipe, small(recipe), initial)
    assert torch.equal(told.step(x, part(probe, "draw") | always), plain.losses)


def by_the_stages(recipe, settings, state, x, draws):
    """What every stage returns, from its name, its options and its inputs alone, by elementary
    operations; and batch norm's running statistics after the step."""
    seen, running = {}, {name: value.clone() for name, value in state.items() if is_buffer(name)}
    given = {name: torch.from_numpy(draw) for name, draw in draws.items()}
    for stage in recipe.stages_for(settings):
        options = dict(stage.options)
        draw = given[stage.draw] if stage.draw else None
        if stage.layer == "input":
            seen[stage.name] = x.clone().requires_grad_() if draw is None else draw
            continue
        taken = [seen[name] for name in stage.inputs]
        if stage.is_term:  # the loss's own view of the images
            taken = [x if name == "input" else seen[name] for name in stage.inputs]
            seen[stage.name] = term(stage.layer, taken, options, len(x))
            continue
        weights = [state.get(f"{stage.path}.{name}") for name in ("weight", "bias")]
        if stage.layer == "batch_norm":
            update_running(running, stage.path, taken[0].detach(), options["momentum"])
        seen[stage.name] = layer(stage.layer, taken, options, weights, draw)
    return seen, running


def update_running(running, path, h, momentum):
    axes = [0, *range(2, h.ndim)]
    for name, value in (("mean", h.mean(axes)), ("var", h.var(axes, unbiased=True))):
        old = running[f"{path}.running_{name}"]
        running[f"{path}.running_{name}"] = (1 - momentum) * old + momentum * value


def images(h):
    """Features as square maps of one channel."""
    return h if h.ndim == 4 else h.reshape(len(h), 1, 28, 28)


def normalised(h, weight, bias, eps):
    axes = [0, *range(2, h.ndim)]
    shape = (1, -1, *[1] * (h.ndim - 2))
    mean, variance = h.mean(axes).reshape(shape), h.var(axes, unbiased=False).reshape(shape)
    return weight.reshape(shape) * (h - mean) / torch.sqrt(variance + eps) + bias.reshape(shape)


def layer(kind, taken, options, weights, draw):
    h = taken[0]
    weight, bias = weights
    strides = {"stride": options.get("stride", 1), "padding": options.get("padding", 0)}
    return {
        "conv2d": lambda: F.conv2d(images(h), weight, bias, **strides),
        "conv_transpose2d": lambda: F.conv_transpose2d(h, weight, bias, **strides),
        "linear": lambda: h @ weight.T + bias,
        "relu": lambda: h * (h > 0),
        "leaky_relu": lambda: torch.where(h > 0, h, options["slope"] * h),
        "max_pool2d": lambda: F.max_pool2d(h, 2),
        "flatten": lambda: h.reshape(len(h), -1),
        "unflatten": lambda: h.reshape(
            len(h), options["channels"], *[round((h.shape[1] / options["channels"]) ** 0.5)] * 2
        ),
        "dropout": lambda: torch.where(draw, h / (1 - options["p"]), 0),
        "batch_norm": lambda: normalised(h, weight, bias, options["eps"]),
        "softmax": lambda: torch.exp(h) / torch.exp(h).sum(1, keepdim=True),
        "gumbel_softmax": lambda: torch.softmax(
            (torch.log(h) + draw) / options["temperature"], dim=1
        ),
        "softplus": lambda: torch.log1p(torch.exp(h)),
        "log": lambda: torch.log(h),
        "multiply": lambda: h * taken[1],
        "concat": lambda: torch.cat(taken, 1),
        "first_half": lambda: h.chunk(2, 1)[0],
        "second_half": lambda: h.chunk(2, 1)[1],
        "reparameterise": lambda: h + torch.sqrt(torch.exp(taken[1])) * draw,
        "sigmoid": lambda: 1 / (1 + torch.exp(-h)),
    }[kind]()


def term(kind, taken, options, images):
    if kind == "sum":
        return sum(weight * value for weight, value in zip(options["weights"], taken, strict=True))
    scale = {"sum": 1, "image": images, "element": taken[0].numel()}[options["per"]]
    a, b, *others = [*taken, None]

    def gaussians():
        variance, prior = a_variance(), torch.exp(others[1])
        return (
            0.5
            * (torch.log(prior / variance) + (variance + (a - others[0]) ** 2) / prior - 1).sum()
        )

    def a_variance():
        return torch.exp(b)

    return {
        "bce": lambda: -(b * torch.log(a) + (1 - b) * torch.log(1 - a)).sum(),
        "mse": lambda: ((a - b) ** 2).sum(),
        "gaussian": lambda: -torch.distributions.Normal(a, options["variance"] ** 0.5)
        .log_prob(b).sum(),
        "kl_normal": lambda: 0.5 * (a**2 + a_variance() - b - 1).sum(),
        "kl_gaussians": gaussians,
        "kl_categorical": lambda: (a * torch.log(a * a.shape[1])).sum(),
        "cross_entropy": lambda: (torch.logsumexp(a, 1) - (a * b).sum(1)).sum(),
    }[kind]() / scale  # fmt: skip


@pytest.mark.parametrize("name", [name for name in EVERY if name != "conv"])
def test_a_probe_of_any_recipe_is_what_its_stages_say(name, begin):
    """Forward by elementary operations, backward by autograd on these."""
    recipe = NARROW[name]
    engine, settings, given = begin(recipe, learning_rate=3e-3)
    engine.step(*given[0])
    before = {k: torch.from_numpy(v) for k, v in engine.parameters().items()}
    leaves = {k: v.requires_grad_() for k, v in before.items() if not is_buffer(k)}
    probe = {}
    engine.step(*given[1], probe)

    seen, running = by_the_stages(recipe, settings, before, *given[1])
    forward = part(probe, "forward")
    assert forward.keys() == seen.keys()
    for stage, value in seen.items():
        found = forward[stage].reshape(value.shape)
        size = max(1.0, value.abs().max().item())
        np.testing.assert_allclose(found, value.detach(), rtol=0, atol=1e-10 * size, err_msg=stage)
    for statistic, value in running.items():
        assert_close(probe[f"buffer/{statistic}"], value, statistic)

    differentiated = {key.split("/", 1)[1] for key in probe if key.startswith("gradient/")}
    wanted = {k: v for k, v in (seen | leaves).items() if k in differentiated}
    assert wanted.keys() == differentiated
    gradients = torch.autograd.grad(seen["total"], list(wanted.values()))
    largest = max(gradient.abs().max().item() for gradient in gradients)
    for key, value in zip(wanted, gradients, strict=True):
        found = probe[f"gradient/{key}"].reshape(value.shape)
        size = max(np.abs(value.numpy()).max(), 1e-4 * largest)  # zero before batch norm
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-8 * size, err_msg=key)


@every_normed
def test_a_run_with_batch_norm_goes_on_from_a_state_to_the_bit(name, begin):
    recipe = NARROW[name]
    whole, settings, given = begin(recipe)
    stopped, *_ = begin(recipe)
    for one in (whole, stopped):
        one.step(*given[0])
    state = stopped.state()
    buffers = recipe.buffer_names(settings.latent_dim, **settings.hyper)
    assert list(part(state, "buffer")) == buffers
    initial = recipe.initial_parameters(99, settings.latent_dim, **settings.hyper)
    assert not any(np.array_equal(state[f"buffer/{key}"], initial[key]) for key in buffers)
    kept = copied(state)
    fresh = PyTorchEngine("cpu")
    fresh.start(recipe, settings, initial)
    fresh.restore(state)
    assert same(fresh.state(), state)
    for one in given[1:]:
        assert torch.equal(fresh.step(*one), whole.step(*one))
    assert same(fresh.state(), whole.state())
    assert same(state, kept)


@every_normed
@pytest.mark.parametrize("rng", ["injected", "torch"])
def test_looking_leaves_running_statistics_as_they_were(name, small, data_of, rng):
    recipe = NARROW[name]
    settings = small(recipe, rng=rng)
    engine = PyTorchEngine("cpu")
    if rng == "torch":
        engine.start(recipe, settings, None)
        draws = {} if recipe.given is None else recipe.given(data_of(recipe), settings)
    else:
        parameters = recipe.initial_parameters(1, settings.latent_dim, **settings.hyper)
        engine.start(recipe, settings, parameters)
        _, _, draws = next(batches(Run(recipe, settings, data_of(recipe))))
    x = data_of(recipe).batch(np.arange(6), torch.float64)
    engine.step(x, draws)
    before, generator = engine.parameters(), torch.get_rng_state()
    training = engine.latent_means(x, draws, training=True)
    evaluation = engine.latent_means(x, None, training=False)
    engine.decode(np.zeros((4, settings.latent_dim)))
    assert same(engine.parameters(), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert training.shape == evaluation.shape == (6, settings.latent_dim)
    assert not np.array_equal(training, evaluation)  # the batch's statistics, not the running ones


@pytest.mark.parametrize("name", ["beta", "clustering-toy", "mlp", "clustering"])
def test_divergence_of_any_recipe_is_the_users_error(name, begin):
    """Also where there is no Bernoulli likelihood that would refuse what is no number."""
    engine, _, given = begin(NARROW[name], learning_rate=1e200, steps=5, latent_dim=2)

    def run():
        for one in given:
            engine.step(*one)

    with pytest.raises(UserError, match=r"diverged.*--learning-rate"):
        run()
