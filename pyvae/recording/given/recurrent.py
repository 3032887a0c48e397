"""What PyTorch calls the weights of Keras' recurrent layers, to start one from the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.kernels import GATES_OF_GRU, Kernel

__all__ = ["as_pytorch_names", "recurrent_start"]

KERAS = re.compile(
    r"(.+)\.(lstm|gru|simple_rnn)_cell\.(kernel|recurrent_kernel|bias|bias\[0\]|bias\[1\])"
)
ROLES = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_ih",
         "bias[0]": "bias_ih", "bias[1]": "bias_hh"}  # fmt: skip
FORWARD, BACKWARD = "forward_", "backward_"
BIAS, SECOND = ".bias_ih_", ".bias_hh_"


def as_pytorch_names(names: Collection[str]) -> dict[str, str]:
    """The names of recurrent layers' variables, each with what PyTorch calls it:
    `a.gru_cell.bias[1]` is `a.bias_hh_l0`, and `a.backward_gru.gru_cell.kernel` is
    `a.weight_ih_l0_reverse`.

    Arguments:
        names: All names of a program, in a trace; others than of such layers are left out.
    """
    found = {}
    for name in names:
        known = KERAS.fullmatch(name)
        if known is None:
            continue
        layer, cell, role = known.groups()
        outer, _, inner = layer.rpartition(".")
        end = ""
        for start, other, way in ((FORWARD, BACKWARD, ""), (BACKWARD, FORWARD, "_reverse")):
            twin = f"{outer}.{other}{inner.removeprefix(start)}.{cell}_cell.{role}"
            if outer and inner.startswith(start) and twin in names:
                layer, end = outer, way
        found[name] = f"{layer}.{ROLES[role]}_l0{end}"
    return found


def recurrent_start(
    name: str,
    shape: tuple[int, ...],
    own: Collection[str],
    theirs: Collection[str],
    array_of: Callable[[str], NDArray | None],
    named: Callable[[str, Collection[str]], str],
) -> NDArray | None:
    """What a weight of a recurrent layer starts with, where one of two programs is Keras'.

    Keras has one bias where PyTorch has two: it is their sum, and the second one starts from zero.
    The gates of a GRU with `reset_after=False`, which a trace has as Keras keeps them, come in the
    order of PyTorch's GRU.

    Arguments:
        name: Its name, as a trace has it.
        shape: Its shape, as a trace has it.
        own: The names of all parameters of the program, as a trace has them.
        theirs: Those of the other one.
        array_of: Returns the other one's numbers, by name.
        named: What the other one calls a name, of those that are given.

    Returns:
        The numbers; None if it is no such weight, or not known.
    """
    mine, others = as_pytorch_names(own), as_pytorch_names(theirs)
    back = {torch: keras for keras, torch in others.items()}
    if not mine and not others:
        return None
    torch = mine.get(name, name)
    known = {*theirs, *back}
    there = named(torch, known)
    array = array_of(back.get(there, there))
    second = there.replace(BIAS, SECOND)
    if array is None:
        first = back.get(named(torch.replace(SECOND, BIAS), known), "")
        is_second = SECOND in torch and first.endswith(".bias")
        return np.zeros(shape, _dtype(array_of(first))) if is_second else None
    if name in mine and name.endswith(".bias") and second != there:
        added = array_of(back.get(second, second))
        array = array if added is None else array + added
    if _keeps_keras_gates(back.get(there, ""), theirs):
        return _gates(array.shape).apply(array)
    return _gates(shape).undo(array) if _keeps_keras_gates(name, own) else array


def _dtype(array: NDArray | None) -> np.dtype:
    return np.dtype(np.float32) if array is None else array.dtype


def _keeps_keras_gates(name: str, names: Collection[str]) -> bool:
    """Whether it is of a GRU of Keras that has one bias: `reset_after=False`."""
    layer, _, _ = name.rpartition(".")
    return layer.endswith("gru_cell") and f"{layer}.bias" in names


def _gates(shape: tuple[int, ...]) -> Kernel:
    return Kernel(shape, (1, 0) if len(shape) > 1 else (0,), gates=GATES_OF_GRU)
