"""Threads and devices of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyvae.errors import UserError, choose

__all__ = ["check_threads", "choose_device", "set_threads", "threads_set"]

DEVICES = ("auto", "cpu", "cuda")
MOST_THREADS = 1024


def set_threads(threads: int | None) -> None:
    """Sets the number of PyTorch's threads in this process; None leaves it as it is.

    Raises:
        UserError: If it is not 1 or more.
    """
    check_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)


def check_threads(threads: int | None) -> None:
    """Raises UserError if a number of threads that was given is out of its range."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads {threads}", expected=f"1 to {MOST_THREADS}")


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Sets the number of PyTorch's threads for a while; None leaves it as it is.

    Raises:
        UserError: If it is not 1 or more.
    """
    before = torch.get_num_threads()
    set_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where it is, else the CPU.

    Raises:
        UserError: If the name is unknown, or CUDA is asked for and absent.
    """
    if name.lower() == "gpu":  # whose nearest name would be cpu
        raise UserError(
            f"unknown device '{name}'",
            "did you mean 'cuda'?",
            expected=f"one of {', '.join(DEVICES)}",
        )
    choose("device", name, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda, but PyTorch finds no NVIDIA GPU",
            "install a driver that fits this PyTorch, or use --device cpu",
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
