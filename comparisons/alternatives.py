"""What mistaken layers return: the usual mistakes of ports, computed.

Each function yields (words, value): what a layer would have returned, or passed back, had that
mistake been made. A comparison holds them against what the engine that parted did return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.layers import BETA1, BETA2, EPSILON, Layers, float64, images
from pyvae.stages import Probe, Stage

__all__ = [
    "backward",
    "first_moment_orders",
    "forward",
    "moment",
    "regulariser_right",
    "right_gradient",
    "update",
]

Suspects = Iterator[tuple[str, Tensor]]


def forward(layers: Layers, stage: Stage, probe: Probe) -> Suspects:
    """Of a layer or a term of the loss, given the inputs in a probe. The right one comes first,
    without words."""
    inputs = layers.inputs(stage, probe)
    if stage.name in LOSSES:
        yield from LOSSES[stage.name](layers, *inputs)
        return
    if stage.layer in ("input", "loss"):
        return
    weights = layers.weights(stage, probe)
    yield "", layers.apply(stage, inputs, weights)
    if stage.layer in SIMPLE:
        yield from SIMPLE[stage.layer](*inputs, *weights)
    elif stage.draw is not None:
        yield from DRAWN[stage.layer](layers, stage, *inputs)


def _conv2d(x: Tensor, w: Tensor, b: Tensor) -> Suspects:
    x = images(x, w.shape[1])
    yield (
        "its kernel flipped (torch correlates, it does not convolve)",
        F.conv2d(x, w.flip(2, 3), b),
    )
    yield "its kernel's rows and columns exchanged", F.conv2d(x, w.transpose(2, 3), b)
    yield "the image's rows and columns exchanged", F.conv2d(x.transpose(2, 3), w, b)
    yield "no bias", F.conv2d(x, w)
    for padding in (1, 2):
        yield f"padding {padding} where there is none", F.conv2d(x, w, b, padding=padding)
    yield "stride 2 where it is 1", F.conv2d(x, w, b, stride=2)


def _conv_transpose2d(x: Tensor, w: Tensor, b: Tensor) -> Suspects:
    x = images(x, w.shape[0])
    other = w.reshape(w.shape[1], w.shape[0], 1, 1)
    words = "its weight's memory read as (outputs, inputs) where torch has (inputs, outputs)"
    yield words, F.conv2d(x, other, b)
    yield "no bias", F.conv_transpose2d(x, w)


def _linear(x: Tensor, w: Tensor, b: Tensor) -> Suspects:
    yield "no bias", F.linear(x, w)
    if w.shape[0] == w.shape[1]:
        yield "its weight not transposed", F.linear(x, w.T, b)
    read = w.reshape(w.shape[1], w.shape[0]).T
    yield "its weight's memory read in column-major order", F.linear(x, read, b)


def _relu(x: Tensor) -> Suspects:
    yield "no ReLU", x
    yield "leaky ReLU with slope 0.01", F.leaky_relu(x, 0.01)
    yield "leaky ReLU with slope 0.2", F.leaky_relu(x, 0.2)
    yield "ELU", F.elu(x)
    yield "GELU", F.gelu(x)
    yield "softplus", F.softplus(x)


def _max_pool2d(x: Tensor) -> Suspects:
    yield "average pooling", F.avg_pool2d(x, 2)
    yield "stride 1 where it is 2", F.max_pool2d(x, 2, stride=1)


def _flatten(x: Tensor) -> Suspects:
    if x.dim() == 4:
        orders = {
            "channel last (row, column, channel)": (0, 2, 3, 1),
            "column-major (channel, column, row)": (0, 1, 3, 2),
            "column-major, channel last (column, row, channel)": (0, 3, 2, 1),
        }
        for words, order in orders.items():
            yield f"flattened in the order {words}", x.permute(order).flatten(1)


def _sigmoid(x: Tensor) -> Suspects:
    yield "no sigmoid: logits", x
    yield "the sigmoid taken twice", torch.sigmoid(torch.sigmoid(x))
    yield "tanh", torch.tanh(x)
    yield "a hard sigmoid", F.hardsigmoid(x)


def _dropout(layers: Layers, stage: Stage, x: Tensor) -> Suspects:
    p, name = layers.dropped(stage), stage.draw or ""
    keep = layers.draws[name].to(x.dtype)
    yield "1/(1 - p) missing", x * keep
    yield "the mask inverted", x * (1 - keep) / (1 - p)
    yield "the mask inverted, with 1/p", x * (1 - keep) / p
    yield "1/p where 1/(1 - p) belongs", x * keep / p
    yield "the mask inverted, 1/(1 - p) missing", x * (1 - keep)
    yield "no dropout", x
    if layers.step > 1:
        before = layers.draws_of(layers.step - 1)[name].to(x.dtype)
        yield "the mask of the step before", x * before / (1 - p)


def _reparameterise(layers: Layers, stage: Stage, mu: Tensor, log_var: Tensor) -> Suspects:
    noise = layers.draws[stage.draw or ""].to(mu.dtype)
    half = torch.exp(0.5 * log_var)
    words = "log_var read as a log-standard-deviation: exp(log_var) without the 1/2"
    yield words, mu + torch.exp(log_var) * noise
    yield "log_var itself taken for the standard deviation", mu + log_var * noise
    yield "exp(-log_var / 2)", mu + noise / half
    yield "no noise: z = mu", mu
    yield "the noise with its sign changed", mu - half * noise
    yield "mu and log_var exchanged", log_var + torch.exp(0.5 * mu) * noise
    if layers.step > 1:
        before = layers.draws_of(layers.step - 1)[stage.draw or ""].to(mu.dtype)
        yield "the noise of the step before", mu + half * before


def _bce(q: Tensor, x: Tensor, floor: float = -100.0) -> Tensor:
    q, x = q.flatten(1), x.flatten(1)
    return -(x * q.log().clamp(min=floor) + (1 - x) * torch.log1p(-q).clamp(min=floor))


def _reconstruction(layers: Layers, q: Tensor, x: Tensor) -> Suspects:
    right = _bce(q, x)
    yield "", right.sum()
    yield "averaged over images and pixels where it is summed", right.mean()
    yield "averaged over images where it is summed", right.sum() / len(q)
    yield "averaged over pixels where it is summed", right.sum() * len(q) / right.numel()
    unclamped = -(x * q.log() + (1 - x) * torch.log1p(-q))
    yield "the logarithms are not held at -100", unclamped.sum()
    yield "images and probabilities exchanged", _bce(x.clamp(1e-12, 1 - 1e-12), q).sum()
    yield "squared errors", ((q - x) ** 2).sum()
    yield "half the squared errors", ((q - x) ** 2).sum() / 2
    yield "its sign changed", -right.sum()


def regulariser_right(objective: str, mu: Tensor, log_var: Tensor) -> Tensor:
    """The regulariser's terms, (B, L), from the objectives' formulas."""
    if objective == "vae":
        return -0.5 * (1 + log_var - mu**2 - log_var.exp())
    return 0.5 * mu**2


def _regulariser(layers: Layers, mu: Tensor, log_var: Tensor) -> Suspects:
    objective = layers.settings.objective
    right = regulariser_right(objective, mu, log_var)
    total = right.sum()
    images, dimensions = mu.shape
    yield "", total
    yield "its sign changed", -total
    yield "averaged over images where it is summed", total / images
    yield "averaged over images and dimensions where it is summed", right.mean()
    yield (
        "summed over images, averaged over dimensions (the wrong axis), where both are summed",
        total / dimensions,
    )
    yield "without its factor 1/2", 2 * total
    other = "emae" if objective == "vae" else "vae"
    yield (
        f"the regulariser of the other objective ({other})",
        (regulariser_right(other, mu, log_var).sum()),
    )
    if objective == "vae":
        doubled = regulariser_right("vae", mu, 2 * log_var).sum()
        yield "log_var read as a log-standard-deviation", doubled
        yield "without mu^2", -0.5 * (1 + log_var - log_var.exp()).sum()
        yield "without exp(log_var)", -0.5 * (1 + log_var - mu**2).sum()
        yield "without the 1", -0.5 * (log_var - mu**2 - log_var.exp()).sum()
        reverse = 0.5 * (log_var - 1 + (1 + mu**2) * (-log_var).exp()).sum()
        yield "the divergence the other way round, KL(prior || posterior)", reverse


def _total(layers: Layers, reconstruction: Tensor, regulariser: Tensor) -> Suspects:
    yield "", reconstruction + regulariser
    yield "the regulariser subtracted", reconstruction - regulariser
    yield "the regulariser left out", reconstruction
    yield "averaged over images", (reconstruction + regulariser) / layers.settings.batch_size


SIMPLE: dict[str, Callable[..., Suspects]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "flatten": _flatten,
    "linear": _linear,
    "max_pool2d": _max_pool2d,
    "relu": _relu,
    "sigmoid": _sigmoid,
}
DRAWN: dict[str, Callable[..., Suspects]] = {
    "dropout": _dropout,
    "reparameterise": _reparameterise,
}
LOSSES: dict[str, Callable[..., Suspects]] = {
    "reconstruction": _reconstruction,
    "regulariser": _regulariser,
    "total": _total,
}


def right_gradient(layers: Layers, name: str, probe: Probe) -> dict[str, Tensor]:
    """What each taker of a stage adds to the gradient with respect to it, by the taker's name."""
    value = float64(probe[f"forward/{name}"])
    parts: dict[str, Tensor] = {}
    for taker in layers.stages.values():
        if name not in taker.inputs or (name == "input" and taker.layer == "loss"):
            continue
        if taker.name == "reconstruction":
            x = float64(probe["forward/input"]).reshape(value.shape)
            # torch's own: q (1 - q) is held above 1e-12 rounded to float32
            parts[taker.name] = (value - x) / ((1 - value) * value).clamp(min=9.999999960041972e-13)
        elif taker.name == "regulariser":
            inputs = [t.clone().requires_grad_() for t in layers.inputs(taker, probe)]
            total = regulariser_right(layers.settings.objective, *inputs).sum()
            found = torch.autograd.grad(total, inputs, allow_unused=True)
            part = found[taker.inputs.index(name)]
            parts[taker.name] = torch.zeros_like(value) if part is None else part
        elif taker.layer != "loss":
            gradient = float64(probe[f"gradient/{taker.name}"])
            parts[taker.name] = layers.backward(taker, probe, gradient)[name].reshape(value.shape)
    return parts


def backward(layers: Layers, taker: Stage, name: str, probe: Probe) -> Suspects:
    """Of a layer's backward pass, with respect to one of its inputs."""
    dy = float64(probe[f"gradient/{taker.name}"])
    x = float64(probe[f"forward/{name}"])
    if taker.layer == "relu":
        yield "ReLU's mask not applied", dy
        yield "ReLU's mask inverted", dy * (x <= 0)
    elif taker.layer == "sigmoid":
        y = float64(probe[f"forward/{taker.name}"]).reshape(dy.shape)
        yield "y (1 - y) missing", dy
        yield "y alone where y (1 - y) belongs", dy * y
    elif taker.layer == "dropout":
        keep, p = layers.draws[taker.draw or ""].to(dy.dtype), layers.dropped(taker)
        yield "the mask not applied", dy
        yield "1/(1 - p) missing", dy * keep
        yield "the mask inverted", dy * (1 - keep) / (1 - p)
    elif taker.layer == "max_pool2d":
        wide = dy.repeat_interleave(2, 2).repeat_interleave(2, 3)
        top = float64(probe[f"forward/{taker.name}"])
        tied = x == top.repeat_interleave(2, 2).repeat_interleave(2, 3)
        flipped = x.flip(2, 3).clone().requires_grad_()
        last = torch.autograd.grad(F.max_pool2d(flipped, 2), flipped, dy.flip(2, 3))[0].flip(2, 3)
        yield "among equal pixels the last gets the gradient (torch: the first)", last
        yield "all equal pixels get the whole gradient (torch: the first)", wide * tied
        count = F.avg_pool2d(tied.to(dy.dtype), 2) * 4
        share = count.repeat_interleave(2, 2).repeat_interleave(2, 3)
        yield "equal pixels share the gradient (torch: the first gets it)", wide * tied / share
        yield "average pooling's gradient", wide / 4
    elif taker.layer == "conv2d":
        (w, _) = layers.weights(taker, probe)
        for words, kernel in (
            ("the kernel flipped", w.flip(2, 3)),
            ("the kernel's rows and columns exchanged", w.transpose(2, 3)),
        ):
            yield words, F.conv_transpose2d(dy, kernel)


def first_moment_orders(before: Tensor, gradient: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Adam's first moment in the two orders of operations that are in use."""
    yield (
        "exp_avg.mul_(beta1).add_(grad, alpha=1 - beta1), R torch's order of operations in Adam",
        before.clone().mul_(BETA1).add_(gradient, alpha=1 - BETA1),
    )
    yield (
        "exp_avg.lerp_(grad, 1 - beta1), PyTorch's order of operations in Adam "
        "(--adam r-torch has R torch's)",
        before.clone().lerp_(gradient, 1 - BETA1),
    )


def moment(
    layers: Layers, order: int, name: str, probe: Probe, before: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Of Adam's first (order 1) or second moment, given the one before. The right one first."""
    g, theta = float64(probe[f"gradient/{name}"]), float64(probe[f"start/{name}"])
    beta = (BETA1, BETA2)[order - 1]
    power = g**order
    yield "", beta * before + (1 - beta) * power
    yield f"(1 - beta{order}) missing", beta * before + power
    yield f"beta{order} and 1 - beta{order} exchanged", (1 - beta) * before + beta * power
    if order == 2:
        yield "the gradient not squared", beta * before + (1 - beta) * g.abs()
    found = float64(probe[f"moment{order}/{name}"])
    fitted = _slope(found - power, before - power)
    if fitted is not None and 0 <= fitted < 1:
        yield (
            f"beta{order} = {fitted:.6g} where it is {beta:g}",
            (fitted * before + (1 - fitted) * power),
        )
    if order == 1:
        decay = _slope((found - beta * before) / (1 - beta) - g, theta)
        if decay is not None:
            yield (
                f"weight decay {decay:.4g} added to the gradient",
                (beta * before + (1 - beta) * (g + decay * theta)),
            )


def update(layers: Layers, name: str, probe: Probe) -> Suspects:
    """Of what Adam subtracts from a parameter, given the moments. The right one comes first."""
    m, v = (float64(probe[f"{kind}/{name}"]) for kind in ("moment1", "moment2"))
    theta, after = (float64(probe[f"{kind}/{name}"]) for kind in ("start", "parameter"))
    rate, t = layers.settings.learning_rate, layers.step
    c1, c2 = 1 - BETA1**t, 1 - BETA2**t
    right = layers.adam_update(m, v)
    yield "", right
    yield "epsilon inside the square root", rate * (m / c1) / (v / c2 + EPSILON).sqrt()
    yield "no bias correction", rate * m / (v.sqrt() + EPSILON)
    yield "no bias correction of the first moment", rate * m / ((v / c2).sqrt() + EPSILON)
    yield "no bias correction of the second moment", rate * (m / c1) / (v.sqrt() + EPSILON)
    yield (
        "epsilon added before the bias correction (Keras's and TensorFlow's way)",
        (rate * (c2**0.5 / c1) * m / (v.sqrt() + EPSILON)),
    )
    if t > 1:
        less1, less2 = 1 - BETA1 ** (t - 1), 1 - BETA2 ** (t - 1)
        yield (
            "the step counted from 0 in the bias correction",
            (rate * (m / less1) / ((v / less2).sqrt() + EPSILON)),
        )
    yield "plain gradient descent", rate * float64(probe[f"gradient/{name}"])
    yield "added where it is subtracted", -right
    found = theta - after
    factor = _slope(found, right)
    if factor is not None:
        yield f"learning rate {factor * rate:.6g} where it is {rate:g}", factor * right
    decay = _slope(found - right, rate * theta)
    if decay is not None:
        yield f"decoupled weight decay {decay:.4g} (AdamW)", right + decay * rate * theta
    small = found.abs() > 0
    if small.any():
        epsilon = float((rate * (m / c1)[small] / found[small] - (v / c2)[small].sqrt()).median())
        if 0 < epsilon < 1:
            yield (
                f"epsilon = {epsilon:.3g} where it is {EPSILON:g}",
                (rate * (m / c1) / ((v / c2).sqrt() + epsilon)),
            )


def _slope(y: Tensor, x: Tensor) -> float | None:
    """c of y = c x by least squares."""
    square = float((x * x).sum())
    return float((x * y).sum()) / square if square > 0 else None
