"""Mistakes that people reported of their ports in public threads, beyond those of the other files:
in the optimiser, in the loss, in random draws, in layers and in what goes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mistakes.mistake import BATCH, Mistake, adam, altered, changed, replaced
from pyvae.model.draws import Draws

__all__ = ["REPORTED_MISTAKES"]

STRIDED = "strided-conv"
BETWEEN = "between backward and Adam"


# the optimiser


def other_optimizer(make: Callable) -> Callable:
    def built(engine):
        engine.optimizer = make(engine.network.parameters())

    return built


def part_of_the_network(engine):
    """Gradients are zeroed of all parameters, updated are those of the encoder."""
    own = type(engine.optimizer)(engine.network.encoder.parameters(), lr=1e-3)
    own.zero_grad = engine.network.zero_grad
    engine.optimizer = own


def before_each_step(change: Callable, kept: bool = False) -> Callable:
    """Changes the gradients in place before the optimiser's step; and puts them back after it,
    as an optimiser does that changes a copy."""

    def built(engine):
        step, parameters = engine.optimizer.step, list(engine.network.parameters())

        def changed_step():
            before = [p.grad.clone() for p in parameters]
            with torch.no_grad():
                change(parameters)
            step()
            for p, gradient in zip(parameters, before, strict=True) if kept else ():
                p.grad = gradient

        engine.optimizer.step = changed_step

    return built


def add_index(parameters):
    """mlverse/torch#821: weight decay times the parameter's number, not the parameter."""
    for number, p in enumerate(parameters, start=1):
        p.grad += 0.001 * number


def add_noise(parameters):
    for p in parameters:
        p.grad += 0.1 * torch.randn_like(p.grad)


def empty_at(number: int) -> Callable:
    """A resume without the optimiser's state."""

    def built(engine):
        step = engine.optimizer.step

        def from_nothing():
            if engine._steps == number - 1:
                engine.optimizer.state.clear()
            step()

        engine.optimizer.step = from_nothing

    return built


# the loss


def other_parts(change: Callable) -> Callable:
    """Other terms of the loss: change(x, output, parts)."""

    def built(engine):
        right = engine.objective.parts

        def parts(x, output, hyper):
            found = right(x, output, hyper)
            return found | change(x, output, found)

        engine.objective = replace(engine.objective, parts=parts)

    return built


def free_bits(x, output, parts):
    each = -0.5 * (1 + output.log_var - output.mu**2 - output.log_var.exp())
    return {"regulariser": each.clamp(min=0.5).sum()}


def with_logits(x, output, parts):
    value = F.binary_cross_entropy_with_logits(output.pixels, x, reduction="sum")
    return {"reconstruction": value}


def exchanged(x, output, parts):
    p, q = output.pixels, x
    value = -(p * q.log().clamp(min=-100) + (1 - p) * (1 - q).log().clamp(min=-100))
    return {"reconstruction": value.sum()}


# draws


def other_noise(change: Callable) -> Callable:
    return lambda x, draws, data, memory: (x, draws | {"noise": change(draws["noise"])})


def uniform(noise):
    return np.random.default_rng(7).random(noise.shape).astype(noise.dtype)


def column_major(noise):
    return np.ascontiguousarray(noise.ravel().reshape(noise.shape, order="F"))


def whole_channels(x, draws, data, memory):
    keep = draws["dropout1"]
    whole = np.broadcast_to(keep[:, :, :1, :1], keep.shape)
    return x, draws | {"dropout1": np.ascontiguousarray(whole)}


# layers


def detached(module, x):
    return F.linear(x.detach(), module.weight, module.bias)


def with_relu_after(module, x):
    return F.linear(x, module.weight, module.bias).relu()


def group_norm(module, x):
    return F.group_norm(x, 4, module.weight, module.bias, module.eps)


def reflecting(module, x):
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, module.weight, module.bias, module.stride)


# what goes in


def other_images(change: Callable) -> Callable:
    return lambda x, draws, data, memory: (change(x), draws)


def square(change: Callable) -> Callable:
    return other_images(lambda x: change(x.reshape(-1, 28, 28)).reshape(-1, 784))


def next_image(x, draws, data, memory):
    memory["step"] = memory.get("step", -1) + 1
    order = Draws(2).batch_order(0, len(data))
    start = BATCH * memory["step"]
    return data.batch((order[start : start + BATCH] + 1) % len(data), torch.float64), draws


INPUT = (1, "forward", "input")
REPORTED_MISTAKES = {
    # the optimiser
    "learning rate of a tenth": Mistake(
        (1, "parameter", "adam.update"), r"^pytorch: learning rate 0.0001 where it is 0.001$",
        built=adam(lr=1e-4)),
    "learning rate of a tenth, one step": Mistake(
        (1, "parameter", "adam.update"),
        r"no bias correction of the first moment, or learning rate 0.0001.*step 2", steps=1,
        built=adam(lr=1e-4)),
    "NAdam": Mistake(
        (1, "parameter", "adam.update"), "^pytorch: NAdam",
        built=other_optimizer(lambda parameters: torch.optim.NAdam(parameters, lr=1e-3))),
    "gradients clipped to norm 1": Mistake(
        (1, "backward", BETWEEN), "scaled by one factor, so that their norm is 1: clipping",
        built=before_each_step(lambda parameters: clip_grad_norm_(parameters, 1.0))),
    "gradients clipped by value": Mistake(
        (1, "backward", BETWEEN), r"held between -0\.5 and 0\.5: clipping by value",
        built=before_each_step(lambda parameters: clip_grad_value_(parameters, 0.5))),
    "noise added to the gradients": Mistake(
        (1, "backward", BETWEEN), "what backward left is changed",
        built=before_each_step(add_noise)),
    "the encoder's parameters alone given to Adam": Mistake(
        (1, "first moment", "adam.moment1"),
        r"the parameters decoder\.\* are not in the optimiser",
        built=part_of_the_network),
    "plain SGD": Mistake(
        (1, "first moment", "adam.moment1"),
        "SGD in place of Adam: the update is the learning rate times the gradient$",
        built=other_optimizer(lambda parameters: torch.optim.SGD(parameters, lr=1e-3))),
    "SGD with momentum": Mistake(
        (1, "first moment", "adam.moment1"), r"SGD with momentum 0\.9 in place of Adam$",
        built=other_optimizer(lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9))),
    "weight decay of the parameter's number (mlverse/torch#821)": Mistake(
        (1, "first moment", "adam.moment1"), r"0\.001 times its number",
        built=before_each_step(add_index, kept=True)),
    "moments empty again at step 2": Mistake(
        (2, "first moment", "adam.moment1"), "start anew at this step", built=empty_at(2)),
    # the loss
    "reconstruction times 10": Mistake(
        (1, "forward", "reconstruction"), "times 10 ",
        built=other_parts(lambda x, output, p: {"reconstruction": 10 * p["reconstruction"]})),
    "KL times batch / 60,000": Mistake(
        (1, "forward", "regulariser"), r"times 6\.66667e-05 = 4/60000 \(batch size over images\)",
        built=other_parts(lambda x, output, p: {"regulariser": p["regulariser"] * 4 / 60000})),
    "BCE with logits of the sigmoid's output": Mistake(
        (1, "forward", "reconstruction"), "the sigmoid taken twice",
        built=other_parts(with_logits)),
    "BCE's arguments exchanged": Mistake(
        (1, "forward", "reconstruction"), "images and probabilities exchanged",
        built=other_parts(exchanged)),
    "free bits": Mistake(
        (1, "forward", "regulariser"), r"each term held at 0\.5 or more",
        built=other_parts(free_bits)),
    # draws
    "uniform noise": Mistake(
        (1, "forward", "reparameterise"), r"noise in \[0, 1\): uniform", batch=12,
        given=other_noise(uniform)),
    "noise filled column by column": Mistake(
        (1, "forward", "reparameterise"), "column-major", given=other_noise(column_major)),
    "dropout of whole channels": Mistake(
        (1, "forward", "encoder.dropout1"), "whole channels dropped", given=whole_channels),
    "dropout with p = 0.25": Mistake(
        (1, "forward", "encoder.dropout2"), r"1/\(1 - 0\.25\) where p is 0\.5",
        built=altered("encoder.dropout2", p=0.25)),
    # layers
    "z detached": Mistake(
        (1, "backward", "decoder.fc1"), "no gradient arrives", built=changed(
            "decoder.fc1", detached)),
    "tanh in place of ReLU": Mistake(
        (1, "forward", "decoder.relu1"), "tanh", built=replaced("decoder.relu1", nn.Tanh())),
    "ReLU after the head for mu": Mistake(
        (1, "forward", "encoder.fc2"), "a ReLU after it",
        built=changed("encoder.fc2", with_relu_after)),
    "group norm in place of batch norm": Mistake(
        (1, "forward", "encoder.bn1"), "group norm, 4 groups", recipe="mlp",
        built=changed("encoder.bn1", group_norm)),
    "reflecting padding": Mistake(
        (1, "backward", "encoder.conv1"), "padding mode reflect", recipe=STRIDED,
        built=changed("encoder.conv1", reflecting)),
    # what goes in
    "images normalised as MNIST's usually are": Mistake(
        INPUT, r"\(x - 0\.1307\) / 0\.3081", given=other_images(lambda x: (x - 0.1307) / 0.3081)),
    "images in [-1, 1]": Mistake(
        INPUT, r"2 x - 1", given=other_images(lambda x: (x - 0.5) / 0.5)),
    "images inverted": Mistake(INPUT, r"1 - x", given=other_images(lambda x: 1 - x)),
    "images binarised": Mistake(
        INPUT, "rounded to 0 and 1", given=other_images(lambda x: (x > 0.5).to(x.dtype))),
    "images transposed and mirrored (EMNIST's files)": Mistake(
        INPUT, "transposed and mirrored",
        given=square(lambda x: x.transpose(1, 2).flip(2))),
    "images shifted by one pixel": Mistake(
        INPUT, "shifted by 1", given=square(lambda x: x.roll(1, 2))),
    "the next image each time": Mistake(
        INPUT, "one further than pytorch's: an index from 1 taken as from 0", given=next_image),
    "images through float32": Mistake(
        INPUT, "rounded to float32", given=other_images(lambda x: x.float().to(x.dtype))),
}  # fmt: skip
