"""`record`, on programs as users write them: nothing of the training changes, and what is written
is what was computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recorded.programs import PROGRAMS, Vae, closure, cnn, gan, mlp, transformer, vae
from torch import nn, optim
from torch.overrides import _get_current_function_mode_stack

from pyvae.errors import UserError
from pyvae.recording.record import record
from pyvae.recording.recording import running
from pyvae.trace.program import ProgramTrace


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("every", [1, 2])
def test_the_training_is_equal_in_every_bit(name, every, recorded):
    alone, watched = PROGRAMS[name](), None
    losses = alone.train(5)
    bits = alone.bits()
    watched = PROGRAMS[name]()
    trace = recorded(watched, 2, every=every, train=5)
    assert watched.losses == losses
    assert watched.bits() == bits
    assert trace.complete
    expected = [1, 1 + every] if name != "gan" else [1, 2, 2 * every + 1, 2 * every + 2]
    assert [one.step for one in trace.steps] == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_trace_is_whole(name, recorded):
    """Every value of the network is there, and every number of the loss."""
    program = PROGRAMS[name]()
    trace = recorded(program)
    losses = [loss for _, loss in trace.losses()]
    if name == "gan":
        losses = losses[1::2]
    if name == "closure":  # LBFGS calls backward several times a step
        losses = [float(trace.arrays(step)["loss/backward.1"]) for step in (1, 2)]
    assert losses == pytest.approx(program.losses, rel=1e-6)
    for one in trace.steps:
        arrays = trace.arrays(one.step)
        values = {name for stage in trace.network_of(one.step) for name in stage.outputs}
        assert {key[8:] for key in arrays if key.startswith("forward/")} == values
        updated = {name for group in one.optimiser.groups for name in group.parameters}
        for kind in ("gradient", "parameter", "start"):
            assert {f"{kind}/{name}" for name in updated} <= arrays.keys()


def test_every_value_and_gradient_is_what_pytorch_computes(recorded):
    """The VAE once more by hand, from the start, the input and the noise in the trace."""
    trace = recorded(vae())
    for step in (1, 2):
        arrays = {key: torch.from_numpy(a) for key, a in trace.arrays(step).items()}
        model = Vae()
        model.load_state_dict(
            {key[6:]: value for key, value in arrays.items() if key.startswith("start/")}
        )
        x = arrays["forward/input"]
        h = torch.relu(model.fc1(x))
        mu, log_var = model.mu(h), model.log_var(h)
        half = 0.5 * log_var
        sigma = half.exp()
        z = mu + sigma * arrays["forward/randn"]
        out = torch.sigmoid(model.fc2(z))
        kl = -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp())
        bce = nn.functional.binary_cross_entropy(out, x, reduction="sum")
        named = {"relu": h, "mu": mu, "log_var": log_var, "mul": half, "exp": sigma, "add": z,
                 "sigmoid": out, "binary_cross_entropy": bce, "mul#3": kl}  # fmt: skip
        for value in named.values():
            value.retain_grad()
        (bce + kl).backward()
        for name, value in named.items():
            assert torch.equal(arrays[f"forward/{name}"], value)
            assert torch.equal(arrays[f"gradient/{name}"], value.grad)
        for name, value in model.named_parameters():
            assert torch.equal(arrays[f"gradient/{name}"], value.grad)
        assert arrays["loss/total"] == (bce + kl).double()


def test_an_update_follows_from_what_is_written(recorded):
    """Start, clipped gradients, settings and state in the trace give the parameters after it."""
    program = cnn()
    trace = recorded(program, 3, every=2, train=6)
    for one in trace.steps:
        arrays = {key: torch.from_numpy(a) for key, a in trace.arrays(one.step).items()}
        (group,) = one.optimiser.groups
        for name in group.parameters:
            parameter = nn.Parameter(arrays[f"start/{name}"].clone())
            optimiser = optim.SGD([parameter], **group.settings)
            before = arrays.get(f"before/{name}.momentum_buffer")
            if before is not None:
                optimiser.state[parameter]["momentum_buffer"] = before
            parameter.grad = arrays[f"given/{name}"]
            optimiser.step()
            assert torch.equal(parameter, arrays[f"parameter/{name}"])
            state = optimiser.state[parameter]["momentum_buffer"]
            assert torch.equal(state, arrays[f"state/{name}.momentum_buffer"])
        norm = torch.cat([arrays[f"gradient/{name}"].flatten() for name in group.parameters]).norm()
        scale = 0.1 / (norm + 1e-6)
        assert torch.allclose(
            arrays["given/5.weight"], arrays["gradient/5.weight"] * scale, rtol=1e-5
        )
    assert [one.optimiser.groups[0].settings["lr"] for one in trace.steps] == [0.1, 0.025, 0.00625]
    assert all(f"before/{name}.momentum_buffer" in trace.arrays(3) for name in group.parameters)
    assert not any(key.startswith("before/") for key in trace.arrays(1))


def test_a_state_that_was_there_before_is_written(recorded):
    """Of a training that goes on from a checkpoint, and of Adagrad."""
    program = cnn()
    program.train(2)
    arrays = recorded(program, 1).arrays(1)
    assert "before/5.weight.momentum_buffer" in arrays
    arrays = recorded(PROGRAMS["accumulation"](), 1, "other").arrays(1)
    assert not arrays["before/second.weight.sum"].any()


def test_batch_norm_buffers_are_those_before_and_after(recorded):
    trace = recorded(cnn(), 2)
    one, two = trace.arrays(1), trace.arrays(2)
    assert np.all(one["start/0.1.running_mean"] == 0)
    assert one["buffer/0.1.num_batches_tracked"] == 1
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert np.array_equal(one[f"buffer/0.1.{name}"], two[f"start/0.1.{name}"])
    given = one["forward/0.0"]
    assert np.allclose(one["buffer/0.1.running_mean"], 0.1 * given.mean((0, 2, 3)), atol=1e-6)


def test_values_before_a_change_in_place_are_kept(recorded):
    arrays = recorded(cnn(), 1).arrays(1)
    assert (arrays["forward/0.1"] < 0).any()
    assert np.array_equal(arrays["forward/0.2"], np.maximum(arrays["forward/0.1"], 0))
    passed = arrays["gradient/0.2"] * (arrays["forward/0.1"] > 0)
    assert np.array_equal(arrays["gradient/0.1"], passed)


def test_dropout_masks_are_those_that_were_drawn(recorded):
    arrays = recorded(cnn(), 1).arrays(1)
    for name, given, p in (("4", "3", 0.5), ("0.4", "0.3", 0.2)):
        mask = arrays[f"draw/{name}"]
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        scaled = arrays[f"forward/{given}"] * (mask * np.float32(1 / (1 - p)))
        assert np.allclose(arrays[f"forward/{name}"], scaled, rtol=1e-6)
    assert np.all(arrays["draw/0.4"] == arrays["draw/0.4"][:, :, :1, :1])  # whole channels


def test_a_gan_generates_in_both_steps(recorded):
    """What the discriminator's step generated goes on to the generator's step, with gradients."""
    trace = recorded(gan())
    names = [one.optimiser.name for one in trace.steps]
    assert names == ["optimizer.0", "optimizer.1"] * 2
    first, second = trace.network_of(1), trace.network_of(2)
    assert [one.name for one in first if one.layer == "linear"] == [
        "g.0", "g.2", "d.0", "d.2", "d.0#2", "d.2#2",
    ]  # fmt: skip
    assert [one.name for one in second if one.layer == "linear"] == ["g.0", "g.2", "d.0", "d.2"]
    one, two = trace.arrays(1), trace.arrays(2)
    assert np.array_equal(one["forward/g.2"], two["forward/g.2"])
    assert "gradient/g.2" not in one
    assert np.allclose(
        two["gradient/g.2.weight"], two["gradient/g.2"].T @ two["forward/g.1"], atol=1e-6
    )
    assert one["loss/total"] == one["loss/backward.1"] + one["loss/backward.2"]
    assert {key for key in two if key.startswith("parameter/")} == {
        f"parameter/g.{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias")
    }


def test_what_is_changed_between_two_steps_is_in_the_start(recorded):
    """Weights that are clipped after each update, as in a Wasserstein GAN."""
    program = mlp()
    step = program.step

    def clipped():
        loss = step()
        for parameter in program.model.parameters():
            parameter.data.clamp_(-0.1, 0.1)
        return loss

    program.step = clipped
    trace = recorded(program)
    assert np.abs(trace.arrays(1)["parameter/0.weight"]).max() > 0.1
    start = trace.arrays(2)["start/0.weight"]
    assert np.array_equal(start, trace.arrays(1)["parameter/0.weight"].clip(-0.1, 0.1))
    assert len(trace.networks) == 1


def test_what_does_not_lead_to_the_loss_is_left_out(recorded):
    program = mlp()
    x = torch.randn(7, 3)
    optimizer = program.optimizer

    def step():
        optimizer.zero_grad()
        out = program.model(x)
        hits = (out > 0).float().mean()
        loss = (out - 1).abs().mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            program.model(x)
        return loss.detach() + 0 * hits

    program.step = step
    trace = recorded(program)
    assert [one.name for one in trace.networks[0]] == ["input", "0", "1", "2", "sub", "abs", "mean"]
    assert len(trace.networks) == 1


def test_shared_weights_have_both_names(recorded):
    trace = recorded(transformer())
    about = {one.name: one for one in trace.parameters}
    assert about["out.weight"].same_as == "embed.weight"
    assert about["embed.weight"].same_as == ""
    out = next(one for one in trace.network_of(1) if one.name == "out")
    assert out.parameters == {"weight": "out.weight"}
    assert "start/out.weight" not in trace.arrays(1)
    rates = [group.settings["weight_decay"] for group in trace.steps[0].optimiser.groups]
    assert rates == [0.0, 0.1]


def test_frozen_and_repeated_layers_and_accumulation(recorded):
    trace = recorded(PROGRAMS["accumulation"](), 1)
    about = {one.name: one.trainable for one in trace.parameters}
    assert about == {
        "first.weight": False, "first.bias": True, "second.weight": True, "second.bias": True,
    }  # fmt: skip
    arrays, stages = trace.arrays(1), trace.network_of(1)
    assert "gradient/first.weight" not in arrays
    calls = [one.name for one in stages if one.name.startswith("second")]
    assert calls == ["second", *(f"second#{n}" for n in range(2, 7))]
    total = sum(
        arrays[f"gradient/{name}"].T @ arrays[f"forward/{stage.inputs[0]}"]
        for name, stage in ((one.name, one) for one in stages)
        if name in calls
    )
    assert np.allclose(arrays["gradient/second.weight"], total, atol=1e-6)


def test_a_closure_is_one_step(recorded):
    trace = recorded(closure())
    arrays = trace.arrays(1)
    assert trace.steps[0].optimiser.kind == "lbfgs"
    assert sum(key.startswith("loss/backward.") for key in arrays) > 1
    assert not any(key.startswith("given/") for key in arrays)
    assert "state/0.weight.func_evals" in arrays


def test_it_begins_at_once_and_ends_by_itself(tmp_path):
    program = mlp()
    recording = record(program.model, program.optimizer, tmp_path / "trace", steps=2)
    assert running() is recording
    program.train(1)
    assert running() is recording
    program.train(1)
    assert running() is None
    assert not _get_current_function_mode_stack()
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not program.optimizer._optimizer_step_pre_hooks
    assert not program.optimizer._optimizer_step_post_hooks
    assert torch.autograd.backward.__module__ == "torch.autograd"
    assert not hasattr(torch.autograd.backward, "__wrapped__")
    assert ProgramTrace.load(tmp_path / "trace").complete


def test_another_can_follow(tmp_path):
    program = mlp()
    for name in ("a", "b"):
        with record(program.model, program.optimizer, tmp_path / name, steps=1):
            program.train(1)
    a, b = (ProgramTrace.load(tmp_path / name).arrays(1) for name in "ab")
    assert np.array_equal(a["parameter/0.weight"], b["start/0.weight"])


def bad_inputs():
    program, other = mlp(), mlp()
    model, optimiser = program.model, program.optimizer
    empty = nn.Sequential(nn.ReLU())
    compiled = torch.compile(mlp().model, backend="eager")
    return {
        "a model without parameters": (empty, optimiser, {}, "has no parameters"),
        "an optimizer of another model": (
            model, other.optimizer, {}, "has none of the model's parameters",
        ),
        "one of two optimizers": (
            model, [optimiser, other.optimizer], {}, "optimizer 1 has none of the model's",
        ),
        "no optimizer": (model, [], {}, "no optimizer is given"),
        "not an optimizer": (model, [0.1], {}, "optimizer is a float: expected a torch.optim"),
        "not a model": (3, optimiser, {}, "model is a int: expected a torch.nn.Module"),
        "a compiled model": (compiled, optimiser, {}, "compiled by torch.compile"),
        "steps": (model, optimiser, {"steps": 0}, "steps=0: expected 1 or more"),
        "every": (model, optimiser, {"every": -1}, "every=-1: expected 1 or more"),
        "start": (model, optimiser, {"start": "none"}, "there is no folder 'none'"),
        "replay": (model, optimiser, {"replay": "none"}, "there is no folder 'none'"),
        "names": (model, optimiser, {"names": "none"}, "there is no map 'none'"),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(bad_inputs()))
def test_bad_input_gets_one_clear_line(case, tmp_path):
    model, optimiser, options, message = bad_inputs()[case]
    with pytest.raises(UserError, match=message) as raised:
        record(model, optimiser, tmp_path / "trace", **options)
    assert "\n" not in str(raised.value)
    assert running() is None
    assert not (tmp_path / "trace").exists()


def test_a_model_is_recorded_once_at_a_time(tmp_path):
    program, other = mlp(), mlp()
    with record(program.model, program.optimizer, tmp_path / "a"):
        words = (
            r"is being recorded already, to '.*a'\. Call record once, or end that .* \.stop\(\) of"
        )
        with pytest.raises(UserError, match=words):
            record(program.model, program.optimizer, tmp_path / "b")
        with pytest.raises(UserError, match=r"another model is being recorded, to '.*a'"):
            record(other.model, other.optimizer, tmp_path / "b")
        program.train(1)


def test_files_of_the_user_stay(tmp_path):
    program = mlp()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not empty, and holds no trace"):
            record(program.model, program.optimizer, mine, overwrite=overwrite)
    with pytest.raises(UserError, match="is a file"):
        record(program.model, program.optimizer, mine / "notes.txt")
    assert (mine / "notes.txt").read_text() == "mine"


def test_an_earlier_trace_is_replaced_when_asked(recorded, tmp_path):
    program = mlp()
    recorded(program, 3)
    with pytest.raises(UserError, match="holds a trace already"):
        record(program.model, program.optimizer, tmp_path / "trace")
    with record(program.model, program.optimizer, tmp_path / "trace", overwrite=True):
        pass  # no step: the earlier one stays
    assert len(ProgramTrace.load(tmp_path / "trace").steps) == 3
    assert len(recorded(program, 1, overwrite=True).steps) == 1
    assert len(list((tmp_path / "trace" / "steps").iterdir())) == 1


def test_a_gradient_that_is_changed_before_the_second_of_two_optimisers_is_told(tmp_path):
    """One `backward` for both; the second one's gradient is its own step's."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    both = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model]
    with record(model, both, tmp_path / "a", steps=2):
        for _ in range(2):
            for one in both:
                one.zero_grad()
            model(torch.randn(5, 3)).pow(2).sum().backward()
            left = model[1].weight.grad.clone()
            both[0].step()
            model[1].weight.grad.add_(1e-6)
            both[1].step()
    trace = ProgramTrace.load(tmp_path / "a")
    first, second = trace.arrays(3), trace.arrays(4)
    assert "gradient/1.weight" not in first
    assert np.array_equal(second["gradient/1.weight"], left.numpy())
    assert np.array_equal(second["given/1.weight"], (left + 1e-6).numpy())
    assert not any(key.startswith("given/") for key in second if key != "given/1.weight")


def test_a_model_and_an_optimiser_may_have_attributes_of_any_name(tmp_path):
    class Own(optim.SGD):
        kind, given = "mine", "yours"

    model = nn.Sequential(nn.Linear(2, 2))
    model.kernels = [3, 5]
    optimizer = Own(model.parameters(), 0.1)
    with record(model, optimizer, tmp_path / "own", steps=1):
        model(torch.ones(3, 2)).sum().backward()
        optimizer.step()
    step = ProgramTrace.load(tmp_path / "own").steps[0]
    assert step.optimiser.kind == "own"
