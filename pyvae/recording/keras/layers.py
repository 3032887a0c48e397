"""Layers of Keras as the stages that PyTorch's layers are.

Keras computes a layer with several of PyTorch's functions: a `Dense` is a product and a sum, a
convolution stands between two permutations, as its channels are last, and a batch norm is two dozen
functions. They are put together here, where they are what a layer of PyTorch computes, so that a
trace has one stage for each: with the same numbers, channels first, as PyTorch's layers take them.
What is not known stays as it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.seen.values import Call, Source, Value

__all__ = ["main_functions", "put_together"]

# The function that is the whole of a layer, and is called after it
MAIN = {
    "Conv1D": ("conv1d",), "Conv2D": ("conv2d",), "Conv3D": ("conv3d",),
    "DepthwiseConv1D": ("conv1d",), "DepthwiseConv2D": ("conv2d",),
    "Conv1DTranspose": ("conv_transpose1d",), "Conv2DTranspose": ("conv_transpose2d",),
    "Conv3DTranspose": ("conv_transpose3d",),
    "MaxPooling1D": ("max_pool1d",), "MaxPooling2D": ("max_pool2d",),
    "MaxPooling3D": ("max_pool3d",), "AveragePooling1D": ("avg_pool1d",),
    "AveragePooling2D": ("avg_pool2d",), "AveragePooling3D": ("avg_pool3d",),
    "Dropout": ("dropout",), "Embedding": ("embedding",), "Flatten": ("reshape",),
    "Reshape": ("reshape",), "LayerNormalization": ("layer_norm",), "ReLU": ("relu",),
    "LeakyReLU": ("leaky_relu",), "ELU": ("elu",), "PReLU": ("prelu",), "Softmax": ("softmax",),
    "Activation": ("relu", "leaky_relu", "elu", "selu", "silu", "gelu", "sigmoid", "tanh",
                   "softplus", "softmax"),
}  # fmt: skip
CONVOLUTIONS = {name for names in MAIN.values() for name in names if name.startswith("conv")}
# Of which each element of what they return comes from the same element of what they take
ELEMENTWISE = {"relu", "leaky_relu", "elu", "selu", "silu", "gelu", "sigmoid", "tanh", "softplus"}
DIGITS = 12  # of 1 - 0.99, which has a last one that nobody means
MOVES = {"contiguous", "permute", "reshape", "to"}
OUTSIDE = "input"  # what the layer takes and nothing that was seen returns


def main_functions(layer: object) -> tuple[str, ...]:
    """The functions of which one is the whole of a layer of Keras; none if it is not known."""
    return next((MAIN[one.__name__] for one in type(layer).__mro__ if one.__name__ in MAIN), ())


def put_together(layer: object, path: str, calls: Sequence[Call]) -> list[Call]:
    """The calls of a layer of Keras, those put together that are one of PyTorch's layers.

    Arguments:
        layer: The layer.
        path: Its name.
        calls: Those made within it, in their order.
    """
    for call in calls:
        sources = [*call.sources()]
        apart = [isinstance(one, Value) and one.call.made_by == "other" for one in sources]
        if call.layer != "draw" and sources and all(apart):
            call.made_by = "other"  # unless the model takes it: a seed, what stays the same
    kinds = {one.__name__ for one in type(layer).__mro__}
    fold = next((fold for names, fold in KINDS if kinds & names), None)
    if fold is None:
        return list(calls)
    outside = [call for call in calls if call.layer == OUTSIDE]
    own = [call for call in calls if call.layer != OUTSIDE]
    found = fold(_Layer(layer, path, own))
    return [*outside, *(own if found is None else found)]


class Turned(Value):
    """A value with its axes in another order; or a parameter, of which nothing else is known.

    Arguments:
        of: The value.
        axes: The order of its axes.
        call: What returns it.
    """

    __slots__ = ("axes", "of")

    def __init__(self, of: Value, axes: tuple[int, ...], call: Call) -> None:
        self.of, self.axes = of, axes
        self.tensor = self.hook = None
        self.version = 0
        self.array = _turn(of.array, axes)
        self.gradients = []
        self.call = call
        self.name = ""

    def gradient(self) -> NDArray | None:
        return _turn(self.of.gradient(), self.axes)


def _turn(array: NDArray | None, axes: tuple[int, ...]) -> NDArray | None:
    return None if array is None else np.ascontiguousarray(array.transpose(axes))


class _Layer:
    """The calls of a layer, and who takes what they return."""

    def __init__(self, layer: Any, path: str, calls: Sequence[Call]) -> None:
        self.layer, self.path, self.calls = layer, path, list(calls)

    def one(self, name: str) -> Call | None:
        """The only call of a function; None if there is none, or several."""
        found = [call for call in self.calls if call.layer == name]
        return found[0] if len(found) == 1 else None

    def next(self, value: Value, name: str) -> Call | None:
        """The call of a function that takes a value, if nothing else does."""
        takers = [call for call in self.calls if any(one is value for one in call.sources())]
        return takers[0] if len(takers) == 1 and takers[0].layer == name else None

    def rest(self, *gone: Call | None) -> list[Call]:
        """The calls but for those that are put together."""
        return [call for call in self.calls if not any(call is one for one in gone)]

    def put(self, last: Call, made: list[Call], *gone: Call | None) -> list[Call]:
        """The calls, with others in the place of one; without those that are put together."""
        at = next(at for at, call in enumerate(self.calls) if call is last)
        behind = [call for call in self.rest(*gone) if call in self.calls[at + 1 :]]
        before = [call for call in self.rest(*gone, last) if call in self.calls[:at]]
        return [*before, *made, *behind]


def _parameter(source: Source) -> str:
    """The variable that a value holds, in another order or shape; empty if it is none."""
    while isinstance(source, Value):
        if source.call.layer not in MOVES or len(source.call.inputs) != 1:
            return ""
        source = source.call.inputs[0]
    return source


def _returned(call: Call) -> Value:
    return call.outputs[0][1]


def _returns(call: Call, value: Value) -> Call:
    """A call that returns a value from now on."""
    call.outputs = [("", value)]
    value.call = call
    return call


def _dense(layer: _Layer) -> list[Call] | None:
    """x K + b, of which PyTorch's linear layer has K the other way round."""
    product = layer.one("matmul")
    if product is None or len(product.inputs) != 2 or not isinstance(product.inputs[1], str):
        return None
    x, kernel = product.inputs
    last, bias = product, ""
    following = layer.next(_returned(product), "add")
    if following is not None and len(following.inputs) == 2:
        bias = _parameter(following.inputs[1])
        last = following if bias else product
    array = layer.layer._kernel.value if hasattr(layer.layer, "_kernel") else None
    if array is None or array.ndim != 2:
        return None
    turn = Call(f"{layer.path}.permute", "permute", [kernel], {}, {"dims": [1, 0]})
    turned = Turned(_Held(array), (1, 0), turn)
    turn.outputs = [("", turned)]
    roles: dict[str, Source] = {"weight": turned, **({"bias": bias} if bias else {})}
    made = Call(layer.path, "linear", [x], roles, {"bias": bool(bias)})
    _returns(made, _returned(last))
    return layer.put(last, [turn, made], product)


class _Held(Value):
    """A variable's numbers."""

    __slots__ = ()

    def __init__(self, tensor: Any) -> None:
        self.array = np.array(tensor.detach().cpu().numpy())
        self.gradients = []


def _convolution(layer: _Layer) -> list[Call] | None:
    """A convolution, its bias, and a function of each element behind it."""
    made = next((call for call in layer.calls if call.layer in CONVOLUTIONS), None)
    if made is None or not _parameter(made.roles.get("weight", "")):
        return None
    made.name = layer.path
    value = _returned(made)
    back = layer.next(value, "permute")
    made.inputs[0] = _first(made.inputs[0])
    added = layer.next(value if back is None else _returned(back), "add")
    if added is None or len(added.inputs) != 2:
        return layer.calls
    bias = _parameter(added.inputs[1])
    if not bias:
        return layer.calls
    shaped = added.inputs[1].call if isinstance(added.inputs[1], Value) else None
    made.roles["bias"] = bias
    made.options["bias"] = True
    if back is None:  # channels first
        _returns(made, _returned(added))
        return layer.rest(added, shaped)
    axes = tuple(back.options["dims"])
    return _channels_first(layer, made, _returned(added), axes, (added, shaped, back))


def _channels_first(
    layer: _Layer, made: Call, value: Value, axes: tuple[int, ...], gone: tuple[Call | None, ...]
) -> list[Call]:
    """Lets a call return a value with its channels first, as does a function of each element behind
    it; the value itself comes from that by a permutation."""
    found = []
    first = tuple(int(axis) for axis in np.argsort(axes))
    made.outputs = [("", Turned(value, first, made))]
    behind = next((c for c in layer.calls if c.layer in ELEMENTWISE and c.inputs == [value]), None)
    if behind is not None and behind.outputs:
        value = _returned(behind)
        behind.inputs = [made.outputs[0][1]]
        behind.outputs = [("", Turned(value, first, behind))]
        made = behind
    turn = Call(
        f"{layer.path}.permute", "permute", [made.outputs[0][1]], {}, {"dims": list(axes)},
        made_by="other",
    )  # fmt: skip
    found.append(_returns(turn, value))
    return [*layer.rest(*gone), *found]


def _first(source: Source) -> Source:
    """What a permutation undoes that was itself made by one."""
    if not isinstance(source, Value):
        return source
    one = source.call
    if one.layer == "contiguous" and one.inputs and isinstance(one.inputs[0], Value):
        found = _first(one.inputs[0])
        if found is not one.inputs[0]:
            one.made_by = "other"
        return source if found is one.inputs[0] else found
    before = one.inputs[0] if one.layer == "permute" and one.inputs else None
    if not isinstance(before, Value) or before.call.layer != "permute":
        return source
    dims = [one.options.get("dims"), before.call.options.get("dims")]
    if None in dims or [dims[1][axis] for axis in dims[0]] != list(range(len(dims[0]))):
        return source
    one.made_by = "other"
    return before.call.inputs[0]


def _pool(layer: _Layer) -> list[Call] | None:
    """A pooling, whose channels are last."""
    made = next((call for call in layer.calls if call.name == layer.path), None)
    if made is not None and made.inputs:
        made.inputs[0] = _first(made.inputs[0])
    return layer.calls


def _flatten(layer: _Layer) -> list[Call] | None:
    """All axes but the first as one."""
    made = layer.one("reshape")
    if made is not None:
        made.layer, made.options = "flatten", {"start_dim": 1, "end_dim": -1}
    return layer.calls


def _batch_norm(layer: _Layer) -> list[Call] | None:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, and the moving statistics."""
    one = layer.layer
    if not (one.center and one.scale) or not layer.calls:
        return None
    x = next(
        (s for c in layer.calls for s in c.inputs
         if isinstance(s, Value) and all(s.call is not own for own in layer.calls)),
        None,
    )  # fmt: skip
    last = layer.calls[-1]
    if x is None or x.array is None or not last.outputs or last.layer not in ("add", "to"):
        return None
    value, array = _returned(last), x.array
    axis = int(one.axis) % array.ndim
    if value.array is None or value.array.shape != array.shape:
        return None
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
             "running_var": "moving_variance"}  # fmt: skip
    made = Call(
        layer.path, f"batch_norm{max(1, array.ndim - 2)}d", [x],
        {role: f"{layer.path}.{name}" for role, name in names.items()},
        {"eps": float(one.epsilon), "momentum": round(1 - float(one.momentum), DIGITS), "affine": True,
         "track_running_stats": True},
        training=any(call.layer == "mean" for call in layer.calls),
    )  # fmt: skip
    if axis == 1 or array.ndim == 2:
        return [_returns(made, value)]
    first = (0, axis, *(at for at in range(1, array.ndim) if at != axis))
    before = Call(f"{layer.path}.permute", "permute", [x], {}, {"dims": list(first)})
    before.outputs = [("", Turned(x, first, before))]
    taken = _first(before.outputs[0][1])
    made.inputs = [taken]
    axes = tuple(int(at) for at in np.argsort(first))
    whole = _channels_first(layer, made, value, axes, tuple(layer.calls))
    return [*([] if before.made_by == "other" else [before]), made, *whole]


Fold = Callable[[_Layer], "list[Call] | None"]
KINDS: tuple[tuple[set[str], Fold], ...] = (
    ({"Dense"}, _dense),
    ({"BaseConv", "BaseConvTranspose", "BaseDepthwiseConv"}, _convolution),
    ({"BatchNormalization"}, _batch_norm),
    ({"BasePooling"}, _pool),
    ({"Flatten"}, _flatten),
)
