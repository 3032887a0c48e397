"""What is put into PyTorch, and taken out again, in whatever order others do so."""

from __future__ import annotations

import torch
from recorded.programs import mlp
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from pyvae.recording.hooks import Hooks, put_under, take_out
from pyvae.recording.record import record


class Other(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_a_mode_goes_under_the_others_and_out_from_anywhere():
    ours, outer, inner = Other(), Other(), Other()
    with outer:
        put_under(ours)
        assert _get_current_function_mode_stack() == [ours, outer]
        with inner:
            assert _get_current_function_mode_stack() == [ours, outer, inner]
    assert _get_current_function_mode_stack() == [ours]
    with inner:
        take_out(ours)
        assert _get_current_function_mode_stack() == [inner]
    assert _get_current_function_mode_stack() == []
    take_out(ours)  # does nothing


def test_a_recording_may_begin_within_a_device_and_end_without(tmp_path):
    program = mlp()
    with torch.device("cpu"):
        recording = record(program.model, program.optimizer, tmp_path / "trace", steps=2)
        program.train(1)
    assert len(_get_current_function_mode_stack()) == 1
    program.train(1)
    assert not _get_current_function_mode_stack()
    assert recording.trace.complete


def test_patches_of_others_stay():
    class Deaf:
        def enter_backward(self, *_):
            pass

        def leave_backward(self):
            pass

        def listens(self):
            return False

    old = torch.autograd.backward
    hooks = Hooks(Deaf(), print, print)
    hooks.install()
    hooks.install()
    assert torch.autograd.backward.__wrapped__ is old

    def theirs(*args, **kwargs):
        return old(*args, **kwargs)

    torch.autograd.backward = theirs
    try:
        hooks.remove()
        assert torch.autograd.backward is theirs
    finally:
        torch.autograd.backward = old
    assert not hasattr(torch.compile, "__wrapped__")
    assert not hasattr(torch.amp.GradScaler.scale, "__wrapped__")
