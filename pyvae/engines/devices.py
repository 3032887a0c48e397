"""Threads and devices of PyTorch."""

from __future__ import annotations

import torch

from pyvae.errors import UserError, choose

__all__ = ["choose_device", "set_threads"]

MOST_THREADS = 1024


def set_threads(threads: int | None) -> None:
    """Sets PyTorch's number of threads, which engines in R take over; None: leaves it.

    Raises:
        UserError: If it is not 1 or more.
    """
    if threads is None:
        return
    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads {threads}", expected=f"1 to {MOST_THREADS}")
    torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where it is, else the CPU.

    Raises:
        UserError: If the name is unknown, or CUDA is asked for and absent.
    """
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda, but PyTorch finds no CUDA device",
            "use --device cpu or --device auto",
            expected="an NVIDIA GPU with a driver that fits this PyTorch",
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
