"""Keras' layers as PyTorch's modules store them: known transpositions and orders of gates.

Keras (channels last) stores a kernel as (place, in, out), PyTorch as (out, in, place). A transposed
convolution's kernel is (place, out, in) there and (in, out, place) here, by the same transposition.
LSTM's gates stand in one order in both, GRU's do not.

Sources: https://keras.io/api/layers/, https://docs.pytorch.org/docs/stable/nn.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KerasLayer", "Stored", "UnknownLayerError", "as_pytorch"]

AS_IT_WAS = "as it was"
RENAMED = {  # PyTorch's names of what is stored alike
    "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var", "embeddings": "weight",
}  # fmt: skip
NORMALISED = ("gamma", "beta", "moving_mean", "moving_variance")
RECURRENT = ("kernel", "recurrent_kernel", "bias")
HEADED = ("attention", "einsum")  # their kernels have heads, which PyTorch stores in one matrix
PLACES = {2: (), 3: ("w",), 4: ("h", "w"), 5: ("d", "h", "w")}  # of a kernel, by its axes
GATES = {1: "", 3: "gates z, r, h -> r, z, n", 4: "gates in the same order"}


class UnknownLayerError(Exception):
    """A layer whose counterpart in PyTorch is not known."""


@dataclass(frozen=True)
class KerasLayer:
    """A layer of Keras and its variables.

    Attributes:
        name: What its parameters are called after, with dots.
        hint: Everything that its file calls it, in lower case, which may tell what layer it is.
        variables: By Keras' names, or by number where the file has no names.
        backward: Whether it is the half of a bidirectional layer that runs backwards.
    """

    name: str
    hint: str
    variables: Mapping[str, NDArray]
    backward: bool = False


class Stored(NamedTuple):
    """A parameter as PyTorch stores it, and what was done to get there."""

    name: str
    value: NDArray
    done: str


def as_pytorch(layer: KerasLayer) -> Iterator[Stored]:
    """Yields the parameters of a layer as PyTorch stores them.

    Raises:
        UnknownLayerError: If it is no layer whose counterpart is known.
    """
    variables = _named(layer)
    if any(word in layer.hint for word in HEADED):
        raise UnknownLayerError("attention and einsum layers are not converted")
    if "recurrent_kernel" in variables:
        yield from _recurrent(layer, variables)
        return
    separable = "pointwise_kernel" in variables
    for name, value in variables.items():
        if name == "kernel":
            deep = _is_depthwise(layer.hint, value, variables.get("bias"))
            turned = "transpose" in layer.hint
            yield Stored("weight", *(_depthwise(value) if deep else _kernel(value, turned)))
        elif name == "depthwise_kernel":
            yield Stored("depthwise.weight" if separable else "weight", *_depthwise(value))
        elif name == "pointwise_kernel":
            yield Stored("pointwise.weight", *_kernel(value))
        elif name in RENAMED:
            head = "pointwise." if separable else ""
            yield Stored(head + RENAMED[name], value, AS_IT_WAS)
        else:
            raise UnknownLayerError(f"'{name}' has no counterpart that pyvae knows")


def _named(layer: KerasLayer) -> dict[str, NDArray]:
    """Gives numbered variables their names, by kind of layer and shape."""
    if not all(name.isdecimal() for name in layer.variables):
        return dict(layer.variables)
    values = [layer.variables[key] for key in sorted(layer.variables, key=int)]
    ranks, hint = [value.ndim for value in values], layer.hint
    names: tuple[str, ...] = ()
    if "separable" in hint and len(values) in (2, 3):
        names = ("depthwise_kernel", "pointwise_kernel", "bias")
    elif any(word in hint for word in ("lstm", "gru", "rnn", "cell")) and len(values) in (2, 3):
        names = RECURRENT
    elif "embedding" in hint and ranks == [2]:
        names = ("embeddings",)
    elif ranks == [1] * 4 or (ranks == [1, 1] and "layer_norm" in hint):
        names = NORMALISED
    elif ranks[0] > 1 and ranks[1:] in ([], [1]):
        names = ("kernel", "bias")
    if not names:
        raise UnknownLayerError(f"{len(values)} variables without names, of a layer not known")
    return dict(zip(names, values, strict=False))


def _kernel(value: NDArray, turned: bool = False) -> tuple[NDArray, str]:
    """Transposes a kernel; `turned`: of a transposed convolution, for what is said."""
    if value.ndim not in PLACES:
        raise UnknownLayerError(f"a kernel of {value.ndim} axes")
    last = value.ndim - 1
    before, after = ("out, in", "in, out") if turned else ("in, out", "out, in")
    place = PLACES[value.ndim]
    return (
        value.transpose(last, last - 1, *range(last - 1)),
        f"transposed: ({', '.join((*place, before))}) -> ({', '.join((after, *place))})",
    )


def _depthwise(value: NDArray) -> tuple[NDArray, str]:
    if value.ndim not in (3, 4):
        raise UnknownLayerError(f"a depthwise kernel of {value.ndim} axes")
    last = value.ndim - 1
    turned = value.transpose(last - 1, last, *range(last - 1))
    shape = (turned.shape[0] * turned.shape[1], 1, *turned.shape[2:])
    place = ", ".join(PLACES[value.ndim])
    return turned.reshape(shape), f"depthwise: ({place}, in, n) -> (in n, 1, {place}), groups = in"


def _is_depthwise(hint: str, kernel: NDArray, bias: NDArray | None) -> bool:
    """Told by the layer's name, or by a bias for every channel that a depthwise kernel makes."""
    if "depthwise" in hint or kernel.ndim not in (3, 4) or bias is None or "transpose" in hint:
        return "depthwise" in hint
    made, last = kernel.shape[-2] * kernel.shape[-1], kernel.shape[-1]
    return len(bias) == made != last


def _recurrent(layer: KerasLayer, variables: Mapping[str, NDArray]) -> Iterator[Stored]:
    kernel, recurrent = variables["kernel"], variables["recurrent_kernel"]
    bias = variables.get("bias")
    if kernel.ndim != 2 or recurrent.ndim != 2 or not recurrent.shape[0]:
        raise UnknownLayerError("a recurrent layer whose kernels are no matrices")
    units = recurrent.shape[0]
    gates, rest = divmod(recurrent.shape[1], units)
    if rest or gates not in GATES or kernel.shape[1] != recurrent.shape[1]:
        raise UnknownLayerError(f"a recurrent layer of {recurrent.shape[1] / units:g} gates")
    if gates == 3 and bias is not None and bias.ndim != 2:
        raise UnknownLayerError("a GRU with reset_after=False, which PyTorch's GRU cannot compute")
    said = ["transposed: (in, out) -> (out, in)", GATES[gates]]
    if gates == 3 and bias is None:
        said.append("reset_after=True is assumed")
    done = "; ".join(part for part in said if part)
    end = "l0_reverse" if layer.backward else "l0"
    yield Stored(f"weight_ih_{end}", _gates_of(kernel, gates).T, done)
    yield Stored(f"weight_hh_{end}", _gates_of(recurrent, gates).T, done)
    if bias is None:
        return
    moved = f"; {GATES[gates]}" if gates > 1 else ""
    if bias.ndim == 2:
        yield Stored(f"bias_ih_{end}", _gates_of(bias[0], gates), f"its first row{moved}")
        yield Stored(f"bias_hh_{end}", _gates_of(bias[1], gates), f"its second row{moved}")
    else:
        yield Stored(f"bias_ih_{end}", bias, f"{AS_IT_WAS}{moved}")
        yield Stored(f"bias_hh_{end}", np.zeros_like(bias), "zeros: Keras has one bias")


def _gates_of(value: NDArray, gates: int) -> NDArray:
    """Puts the gates, blocks of the last axis, in PyTorch's order."""
    if gates != 3:
        return value
    update, reset, new = np.split(value, 3, axis=-1)
    return np.concatenate([reset, update, new], axis=-1)
