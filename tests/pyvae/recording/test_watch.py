"""When calls are recorded."""

from __future__ import annotations

import threading

import torch
from recorded.programs import cnn, mlp

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
