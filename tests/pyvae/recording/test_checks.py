"""What can be recorded, of models that others wrap."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyvae.errors import UserError
from pyvae.recording.checks import check_model


def test_wrappers_are_looked_into():
    model = nn.Linear(1, 1)
    assert check_model(model) is model
    assert check_model(nn.DataParallel(model)) is model
    both = check_model({"a": model, "b": nn.DataParallel(nn.Linear(2, 2))})
    assert [name for name, _ in both.named_parameters()] == [
        "a.weight", "a.bias", "b.weight", "b.bias",
    ]  # fmt: skip


def test_several_devices_are_refused():
    model = nn.DataParallel(nn.Linear(1, 1))
    model.device_ids = [0, 1]
    with pytest.raises(UserError, match="spread over 2 devices by DataParallel"):
        check_model(model)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match="trains in 2 processes"):
        check_model(nn.Linear(1, 1))


def test_compiled_parts_are_refused():
    within = nn.Linear(1, 1)
    within.compile(backend="eager")
    for model in (within, nn.Sequential(within), torch.compile(nn.Linear(1, 1), backend="eager")):
        with pytest.raises(UserError, match=r"compiled by torch.compile"):
            check_model(model)
