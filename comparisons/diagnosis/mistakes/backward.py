"""Right gradients, and what mistaken backward passes return."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.diagnosis.mistakes.convolutions import other_paddings
from comparisons.diagnosis.mistakes.suspects import Suspects
from comparisons.expected.functions import images, per_channel
from comparisons.expected.layers import Layers, float64
from pyvae.model.stages import Probe, Stage

__all__ = ["backward", "parameter_gradient", "right_gradient"]


def right_gradient(layers: Layers, name: str, probe: Probe) -> dict[str, Tensor]:
    """What each taker of a stage adds to the gradient with respect to it, by the taker's name."""
    value = float64(probe[f"forward/{name}"])
    parts: dict[str, Tensor] = {}
    for taker in layers.stages.values():
        if name not in taker.inputs or (name == "input" and taker.is_term):
            continue
        if taker.is_term:
            part = layers.term_gradient(taker, name, probe)
        else:
            gradient = float64(probe[f"gradient/{taker.name}"])
            part = layers.backward(taker, probe, gradient)[name]
        parts[taker.name] = part.reshape(value.shape)
    return parts


def parameter_gradient(layers: Layers, name: str, probe: Probe) -> dict[str, Tensor]:
    """What each use of a parameter's module adds to its gradient, by the stage's name."""
    return {
        stage.name: layers.backward(stage, probe, float64(probe[f"gradient/{stage.name}"]))[name]
        for stage in layers.users(name.rpartition(".")[0])
    }


def backward(layers: Layers, taker: Stage, name: str, probe: Probe) -> Suspects:
    """Of a layer's backward pass, with respect to one of its inputs."""
    if taker.layer not in SUSPECTS:
        return
    dy = float64(probe[f"gradient/{taker.name}"])
    x, y = (float64(probe[f"forward/{one}"]) for one in (name, taker.name))
    yield from SUSPECTS[taker.layer](layers, taker, probe, dy, x, y.reshape(dy.shape))


def _relu(layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor) -> Suspects:
    yield "ReLU's mask not applied", dy
    yield "ReLU's mask inverted", dy * (x <= 0)


def _leaky_relu(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    slope = taker.options["slope"]
    yield "leaky ReLU's slope not applied", dy
    yield f"ReLU's mask: 0 where the slope is {slope:g}", dy * (x > 0)
    yield "the slope where x is positive", torch.where(x > 0, slope * dy, dy)


def _sigmoid(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    yield "y (1 - y) missing", dy
    yield "y alone where y (1 - y) belongs", dy * y


def _softmax(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    yield "the softmax's derivative missing", dy
    yield "y (1 - y), the derivative's diagonal alone", dy * y * (1 - y)
    yield "the sum over classes missing: y dy", dy * y


def _gumbel_softmax(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    temperature = taker.options["temperature"]
    whole = y * (dy - (y * dy).sum(1, keepdim=True))
    if temperature != 1:
        yield "1/temperature missing", whole / (x + 1e-20)
    yield "the logarithm's derivative 1/pi missing", whole / temperature
    yield "straight through: y's gradient handed on to pi", dy


def _softplus(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    yield "softplus's derivative, the sigmoid, missing", dy
    yield "ReLU's mask", dy * (x > 0)


def _log(layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor) -> Suspects:
    yield "1/x missing", dy
    yield "multiplied by x, not divided", dy * x


def _dropout(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    keep = layers.draws[taker.draw or ""].to(dy.dtype)
    p = taker.options["p"]
    yield "the mask not applied", dy
    yield "1/(1 - p) missing", dy * keep
    yield "the mask inverted", dy * (1 - keep) / (1 - p)


def _max_pool2d(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    def wide(value: Tensor) -> Tensor:
        """Each window's value in its four pixels; 0 in a last row and column without window."""
        spread = value.repeat_interleave(2, 2).repeat_interleave(2, 3)
        odd = x.shape[2] - spread.shape[2]
        return F.pad(spread, (0, odd, 0, odd))

    inside = wide(torch.ones_like(y))
    tied = (x == wide(y)) & (inside > 0)
    even = 2 * y.shape[2]
    flipped = x[:, :, :even, :even].flip(2, 3).clone().requires_grad_()
    last = torch.autograd.grad(F.max_pool2d(flipped, 2), flipped, dy.flip(2, 3))[0].flip(2, 3)
    odd = x.shape[2] - even
    words = "among equal pixels the last gets the gradient (torch: the first)"
    yield words, F.pad(last, (0, odd, 0, odd))
    yield "all equal pixels get the whole gradient (torch: the first)", wide(dy) * tied
    share = wide(F.avg_pool2d(tied.to(dy.dtype), 2) * 4).clamp(min=1)
    yield "equal pixels share the gradient (torch: the first gets it)", wide(dy) * tied / share
    yield "average pooling's gradient", wide(dy) / 4


def _conv2d(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    w, b = layers.weights(taker, probe)
    for words, kernel in (
        ("the kernel flipped", w.flip(2, 3)),
        ("the kernel's rows and columns exchanged", w.transpose(2, 3)),
    ):
        yield words, _through(layers, taker, x, kernel, b, dy)
    given = images(x, w.shape[1]).clone().requires_grad_()
    for mode, padded in other_paddings(given, taker.options.get("padding", 0)):
        y = F.conv2d(padded, w, b, taker.options.get("stride", 1))
        back = torch.autograd.grad(y, given, dy.reshape(y.shape))[0]
        yield f"padding mode {mode} where it is zeros", back


def _conv_transpose2d(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    w, b = layers.weights(taker, probe)
    if max(w.shape[2:]) > 1:
        yield "the kernel flipped", _through(layers, taker, x, w.flip(2, 3), b, dy)


def _through(layers: Layers, taker: Stage, x: Tensor, w: Tensor, b: Tensor, dy: Tensor) -> Tensor:
    """The gradient with respect to x of a layer with another weight."""
    x = images(x, w.shape[1 if taker.layer == "conv2d" else 0]).clone().requires_grad_()
    y = layers.apply(taker, [x], [w, b])
    return torch.autograd.grad(y, x, dy.reshape(y.shape))[0]


def _batch_norm(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    w, _ = layers.weights(taker, probe)
    axes = (0, *range(2, x.dim()))
    root = (x.var(axes, correction=0, keepdim=True) + taker.options["eps"]).sqrt()
    scaled = (x - x.mean(axes, keepdim=True)) / root
    inner = dy * per_channel(w, x)
    alone = inner / root
    centred = (inner - inner.mean(axes, keepdim=True)) / root
    yield "mean and variance taken for constants: no gradient through them", alone
    yield "the variance taken for a constant: no gradient through it", centred
    through = alone - scaled * (inner * scaled).mean(axes, keepdim=True) / root
    yield "the mean taken for a constant: no gradient through it", through


def _multiply(
    layers: Layers, taker: Stage, probe: Probe, dy: Tensor, x: Tensor, y: Tensor
) -> Suspects:
    yield "not multiplied by the other factor", dy
    yield "multiplied by its own value, not by the other factor", dy * x


Backward = Callable[[Layers, Stage, Probe, Tensor, Tensor, Tensor], Suspects]
SUSPECTS: dict[str, Backward] = {
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "dropout": _dropout,
    "gumbel_softmax": _gumbel_softmax,
    "leaky_relu": _leaky_relu,
    "log": _log,
    "max_pool2d": _max_pool2d,
    "multiply": _multiply,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "softplus": _softplus,
}
