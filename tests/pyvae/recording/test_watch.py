"""When calls are recorded."""

from __future__ import annotations

import threading

import pytest
import torch
from recorded.programs import cnn, mlp
from torch.func import functional_call, grad, jacrev, vmap

from pyvae.recording.record import record


def names(recording):
    return [one.name for one in recording.trace.networks[0]]


def test_validation_without_gradients_is_not_recorded(tmp_path):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1) as recording:
        with torch.no_grad():
            program.model(torch.ones(9, 3))
        with torch.inference_mode():
            program.model(torch.ones(9, 3))
        program.train(1)
    assert names(recording) == ["input", "0", "1", "2", "input#2", "mse_loss"]


def test_what_another_thread_computes_is_not_recorded(tmp_path):
    program, other = cnn(), torch.randn(6, 1, 8, 8)
    with record(program.model, program.optimizer, tmp_path / "trace", steps=1) as recording:
        thread = threading.Thread(target=lambda: program.model.eval()(other))
        thread.start()
        thread.join()
        program.model.train()
        program.train(1)
    assert not [name for name in names(recording) if name.endswith("#2") and name[0].isdigit()]


def test_steps_between_those_recorded_are_left_alone(tmp_path):
    program = mlp()
    with record(program.model, program.optimizer, tmp_path / "trace", steps=2, every=3):
        program.train(1)
        assert not torch.nn.modules.module._global_forward_hooks
        assert not torch.overrides._get_current_function_mode_stack()
        program.train(2)
        assert torch.nn.modules.module._global_forward_hooks
        program.train(1)


def per_sample(program):
    """Gradients of each image by itself, clipped, as they are made for privacy."""
    weights = {name: one.detach() for name, one in program.model.named_parameters()}

    def loss(weights, x, y):
        return (functional_call(program.model, weights, (x,)) - y).square().mean()

    def step():
        x, y = torch.randn(5, 3), torch.randn(5, 2)
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)
        program.optimizer.zero_grad()
        for name, one in program.model.named_parameters():
            one.grad = gradients[name].clamp(-0.1, 0.1).mean(0)
        program.optimizer.step()

    return step


def penalised(program):
    """A penalty on the Jacobian, beside a loss that is seen."""

    def step():
        x = torch.randn(5, 3)
        penalty = vmap(jacrev(program.model))(x).square().sum()
        program.optimizer.zero_grad()
        (program.model(x).square().mean() + 0.1 * penalty).backward()
        program.optimizer.step()

    return step


@pytest.mark.parametrize("train", [per_sample, penalised])
def test_functions_of_torch_func_go_on_as_without_a_recording(train, tmp_path, capsys):
    """Their tensors have no numbers while they are computed; it is said once."""
    bits = []
    for recorded in (True, False):
        torch.manual_seed(1)
        program = mlp()
        step = train(program)
        if recorded:
            with record(program.model, program.optimizer, tmp_path, steps=2) as recording:
                step()
                step()
        else:
            step()
            step()
        bits.append(program.bits())
    assert bits[0] == bits[1]
    assert recording.trace.complete
    assert len(recording.trace.steps) == 2
    err = capsys.readouterr().err
    assert err.count("torch.func") == 1
    assert "ended" not in err
    arrays = recording.trace.arrays(2)
    assert {f"gradient/{name}" for name, _ in program.model.named_parameters()} <= arrays.keys()
    called = [one.name for one in recording.trace.networks[0]]
    assert ("0" in called) == (train is penalised)
