"""Layers of Keras as the stages that PyTorch's layers are.

Keras computes a layer with several of PyTorch's functions: a `Dense` is a product and a sum, a
convolution stands between two permutations, as its channels are last, and a batch norm is two dozen
functions. They are put together here, where they are what a layer of PyTorch computes, so that a
trace has one stage for each: with the same numbers, channels first, as PyTorch's layers take them.
What is not known stays as it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.recording.keras.bidirectional import bidirectional
from pyvae.recording.keras.channels import (
    Turned,
    before,
    channels_first,
    returned,
    returns,
    turned_back,
)
from pyvae.recording.keras.kernels import Kernel
from pyvae.recording.keras.layer_calls import MOVES, LayerCalls, parameter_of
from pyvae.recording.keras.recurrent import recurrent
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
DIGITS = 12  # of 1 - 0.99, which has a last one that nobody means
LAID_OUT = "contiguous"
OUTSIDE = "input"  # what the layer takes and nothing that was seen returns


def main_functions(layer: object) -> tuple[str, ...]:
    """The functions of which one is the whole of a layer of Keras; none if it is not known."""
    return next((MAIN[one.__name__] for one in type(layer).__mro__ if one.__name__ in MAIN), ())


def put_together(
    layer: object,
    path: str,
    calls: Sequence[Call],
    kernels: Mapping[str, Kernel],
    arrays: Mapping[str, NDArray],
) -> list[Call]:
    """The calls of a layer of Keras, those put together that are one of PyTorch's layers.

    Arguments:
        layer: The layer.
        path: Its name.
        calls: Those made within it, in their order.
        kernels: The parameters that PyTorch keeps in another order.
        arrays: What the step starts from, as `start/NAME`.
    """
    for call in calls:
        sources = [*call.sources()]
        apart = [isinstance(one, Value) and one.call.made_by == "other" for one in sources]
        if call.layer != "draw" and sources and all(apart):
            call.made_by = "other"  # unless the model takes it: a seed, what stays the same
        call.inputs = [_as_laid_out(one) for one in call.inputs]
        call.roles = {role: _as_laid_out(one) for role, one in call.roles.items()}
        if call.layer == LAID_OUT:
            call.made_by = "other"
    kinds = {one.__name__ for one in type(layer).__mro__}
    outside = [call for call in calls if call.layer == OUTSIDE]
    own = [call for call in calls if call.layer != OUTSIDE]
    fold = next((fold for names, fold in KINDS if kinds & names), None)
    found = None if fold is None else fold(LayerCalls(layer, path, own, kernels, arrays))
    return [*outside, *channels_first(own if found is None else found, path)]


def _as_laid_out(source: Source) -> Source:
    """The same numbers before they were brought into another order in memory."""
    while isinstance(source, Value) and source.call.layer == LAID_OUT and source.call.inputs:
        source = source.call.inputs[0]
    return source


def _chain(source: Source) -> list[Call]:
    """The calls that bring a variable into another order."""
    found: list[Call] = []
    while isinstance(source, Value) and source.call.layer in MOVES and source.call.inputs:
        found.append(source.call)
        source = source.call.inputs[0]
    return found


def _dense(layer: LayerCalls) -> list[Call] | None:
    """x K + b, of which PyTorch's linear layer has K the other way round."""
    product = layer.one("matmul")
    if product is None or len(product.inputs) != 2 or not isinstance(product.inputs[1], str):
        return None
    x, weight = product.inputs[0], layer.kernel(product.inputs[1])
    if weight is None:
        return None
    last, bias = product, ""
    following = layer.next(returned(product), "add")
    if following is not None and len(following.inputs) == 2:
        bias = parameter_of(following.inputs[1])
        last = following if bias else product
    roles: dict[str, Source] = {"weight": weight, **({"bias": bias} if bias else {})}
    made = Call(layer.path, "linear", [x], roles, {"bias": bool(bias)})
    returns(made, returned(last))
    return layer.put(last, [made], product)


class _Shifted(Value):
    """What a convolution returns with its bias, which Keras adds to a part of it later."""

    __slots__ = ("_of",)

    def __init__(self, of: Value, bias: NDArray, call: Call) -> None:
        self._of = of
        self.tensor = self.hook = None
        self.version = 0
        shape = (1, -1, *(1 for _ in range(0 if of.array is None else of.array.ndim - 2)))
        self.array = None if of.array is None else of.array + bias.reshape(shape)
        self.gradients = []
        self.call = call
        self.name = ""

    def gradient(self) -> NDArray | None:
        return self._of.gradient()


def _convolution(layer: LayerCalls) -> list[Call] | None:
    """A convolution, and its bias; a separable one is two, of which the second has the bias."""
    found = [call for call in layer.calls if call.layer in CONVOLUTIONS]
    chains = [one for call in found for one in _chain(call.roles.get("weight", ""))]
    weights = [layer.kernel(call.roles.get("weight", "")) for call in found]
    if not found or None in weights:
        return None
    for call, weight in zip(found, weights, strict=True):
        call.roles["weight"] = weight  # type: ignore[assignment]
        call.inputs[0] = before(call.inputs[0])
        call.options.setdefault("bias", False)
    layer.calls = [call for call in layer.calls if not any(call is one for one in chains)]
    for call in layer.calls:
        if call.layer == "pad" and call.inputs:
            call.inputs[0] = before(call.inputs[0])
    made = found[-1]
    made.name = layer.path if len(found) == 1 else made.name
    value, crop, back = returned(made), None, None
    crop = layer.next(value, "index")
    value = value if crop is None else returned(crop)
    back = layer.next(value, "permute")
    added = layer.next(value if back is None else returned(back), "add")
    bias = parameter_of(added.inputs[1]) if added is not None and len(added.inputs) == 2 else ""
    start = layer.start(bias)
    if added is None or not bias or start is None:
        return layer.calls
    shaped = added.inputs[1].call if isinstance(added.inputs[1], Value) else None
    made.roles["bias"] = bias
    made.options["bias"] = True
    last = made
    if crop is not None:
        made.outputs = [("", _Shifted(returned(made), start, made))]
        crop.inputs[0] = returned(made)
        last = crop
    if back is None:  # channels first
        returns(last, returned(added))
        return layer.put(added, [], shaped, added)
    turn = turned_back(last, returned(added), tuple(back.options["dims"]), layer.path)
    return layer.put(added, [turn], shaped, back)


def _pool(layer: LayerCalls) -> list[Call] | None:
    """A pooling, whose channels are last."""
    for call in layer.calls:
        if call.name == layer.path and call.inputs:
            call.inputs[0] = before(call.inputs[0])
    return layer.calls


def _flatten(layer: LayerCalls) -> list[Call] | None:
    """All axes but the first as one."""
    made = layer.one("reshape")
    if made is not None:
        made.layer, made.options = "flatten", {"start_dim": 1, "end_dim": -1}
    return layer.calls


def _dropout(layer: LayerCalls) -> list[Call] | None:
    """A mask of the layer's own, of each number or of each channel."""
    kept, scaled = layer.one("where"), layer.one("div")
    if kept is None or scaled is None or kept.inputs[1] is not returned(scaled):
        return None
    mask = kept.inputs[0].array if isinstance(kept.inputs[0], Value) else None
    value = returned(kept)
    if mask is None or value.array is None or mask.shape != value.array.shape:
        return None
    count = "" if type(layer.layer).__name__ == "Dropout" else f"{mask.ndim - 2}d"
    made = Call(
        layer.path, f"dropout{count}", scaled.inputs[:1], {}, {"p": float(layer.layer.rate)}
    )
    made.mask = mask.astype(np.uint8)
    return [returns(made, value)]


def _batch_norm(layer: LayerCalls) -> list[Call] | None:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, and the moving statistics."""
    one = layer.layer
    options = {
        "eps": float(one.epsilon), "momentum": round(1 - float(one.momentum), DIGITS),
        "affine": bool(one.center or one.scale), "track_running_stats": True,
        "unbiased_running_var": False,
    }  # fmt: skip
    names = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    x = layer.given()
    if x is None or x.array is None or bool(getattr(one, "renorm", False)):
        return None
    kind = f"batch_norm{max(1, x.array.ndim - 2)}d"
    made = _norm(layer, x, kind, options, names)
    training = any(call.layer == "mean" for call in layer.calls)
    for call in made or ():
        if call.layer == kind:
            call.training = training
    return made


def _group_norm(layer: LayerCalls) -> list[Call] | None:
    """The same of groups of channels of each image."""
    one, x = layer.layer, layer.given()
    if x is None or x.array is None:
        return None
    channels = x.array.shape[int(one.axis) % x.array.ndim]
    groups = channels if one.groups == -1 else int(one.groups)
    options = {"num_groups": groups, "eps": float(one.epsilon), "affine": one.center or one.scale}
    return _norm(layer, x, "group_norm", options, {})


def _norm(
    layer: LayerCalls, x: Value, kind: str, options: dict[str, Any], names: Mapping[str, str]
) -> list[Call] | None:
    """One stage of all that a layer computes, whose channels are first."""
    one, array, last = layer.layer, x.array, layer.calls[-1]
    if array is None or len(last.outputs) != 1 or isinstance(one.axis, list | tuple):
        return None
    value, axis = returned(last), int(one.axis) % array.ndim
    if value.array is None or value.array.shape != array.shape or axis == 0:
        return None
    roles: dict[str, Source] = {
        **({"weight": f"{layer.path}.gamma"} if one.scale else {}),
        **({"bias": f"{layer.path}.beta"} if one.center else {}),
        **{role: f"{layer.path}.{name}" for role, name in names.items()},
    }
    if any(layer.start(str(name)) is None for name in roles.values()):
        return None
    made = Call(layer.path, kind, [x], roles, options)
    if axis == 1 or array.ndim == 2:
        return [returns(made, value)]
    first = (0, axis, *(at for at in range(1, array.ndim) if at != axis))
    turn = Call(f"{layer.path}.permute", "permute", [x], {}, {"dims": list(first)})
    turn.outputs = [("", Turned(x, first, turn))]
    made.inputs = [before(returned(turn))]
    back = turned_back(made, value, tuple(int(at) for at in np.argsort(first)), layer.path)
    return [*([] if made.inputs[0] is not returned(turn) else [turn]), made, back]


Fold = Callable[[LayerCalls], "list[Call] | None"]
KINDS: tuple[tuple[set[str], Fold], ...] = (
    ({"Dense"}, _dense),
    ({"BaseConv", "BaseConvTranspose", "BaseDepthwiseConv", "BaseSeparableConv"}, _convolution),
    ({"BatchNormalization"}, _batch_norm),
    ({"GroupNormalization"}, _group_norm),
    ({"BasePooling"}, _pool),
    ({"Flatten"}, _flatten),
    ({"LSTM", "GRU", "SimpleRNN"}, recurrent),
    ({"Bidirectional"}, bidirectional),
    ({"Dropout", "BaseSpatialDropout"}, _dropout),
)
