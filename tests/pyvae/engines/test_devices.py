"""Threads and devices of PyTorch."""

from __future__ import annotations

import re

import pytest
import torch

from pyvae.engines.devices import choose_device, set_threads, threads_set
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError


@pytest.fixture(autouse=True)
def _threads():
    """Two threads before each test, and as many as there were after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_cpu_is_always_there():
    assert choose_device("cpu").type == "cpu"


def test_auto_is_cuda_where_it_is():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_absent_cuda_is_the_users_error():
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    expected = (
        "--device cuda, but PyTorch finds no NVIDIA GPU. Install a driver that fits this PyTorch, "
        "or use --device cpu."
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        PyTorchEngine("cuda")


def test_an_unknown_device_is_told_the_nearest_name():
    with pytest.raises(UserError, match="Did you mean 'cuda'"):
        choose_device("cuda0")


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_a_number_of_threads_that_is_none_is_the_users_error(threads):
    with pytest.raises(UserError, match=f"--threads {threads}: expected 1 to 1024"):
        set_threads(threads)
    with pytest.raises(UserError, match=f"--threads {threads}"), threads_set(threads):
        pass
    assert torch.get_num_threads() == 2


def test_threads_are_pytorchs():
    for threads in (3, 1):
        set_threads(threads)
        assert torch.get_num_threads() == threads
        set_threads(None)
        assert torch.get_num_threads() == threads
        assert PyTorchEngine("cpu").environment()["threads"] == str(threads)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_threads_for_a_while_are_given_back(error):
    try:
        with threads_set(3):
            assert torch.get_num_threads() == 3
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass
    assert torch.get_num_threads() == 2


def test_no_number_for_a_while_changes_nothing():
    with threads_set(None):
        assert torch.get_num_threads() == 2
        torch.set_num_threads(3)  # another's, which stays
    assert torch.get_num_threads() == 3
