"""Mistakes in losses: cross entropy, Huber, MSE, KL, BCE, smoothed targets."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mistakes.beforehand.layers import images
from mistakes.beforehand.mistake import Script, beforehand

__all__ = ["LOSSES"]


def perceptron(outputs):
    return nn.Sequential(nn.Linear(12, 10), nn.ELU(), nn.Linear(10, outputs))


def numbers(drawn):
    """Rows and a number for each."""
    return torch.randn(8, 12, generator=drawn), torch.randn(8, generator=drawn)


@beforehand(
    name="cross entropy of what softmax returned",
    sentence="port: softmax before cross entropy, which takes it itself: it is taken twice",
    place=r"step 1, (cross_entropy_loss|softmax|cross_entropy)\b.*forward",
    named=(r"softmax", r"twice|before|between|already|again"),
    in_part=(r"softmax",),
)
def cross_entropy(wrong):
    def loss(model, x, y):
        out = model(x)
        return F.cross_entropy(F.softmax(out, dim=1) if wrong else out, y)

    return Script(perceptron(4), images((12,)), loss)


@beforehand(
    name="smooth L1 where it is Huber",
    sentence="port: smooth L1 where it is Huber: divided by delta = 0.5, times 2",
    place=r"step 1, ((huber_loss|smooth_l1_loss)\b.*forward|loss$)",
    named=(r"smooth", r"huber|delta|beta|times 2|1/2"),
    in_part=(r"times 2|1/2|0\.5",),
)
def huber(wrong):
    def loss(model, x, y):
        out = model(x).squeeze(1)
        return F.smooth_l1_loss(out, y, beta=0.5) if wrong else F.huber_loss(out, y, delta=0.5)

    return Script(perceptron(1), numbers, loss)


@beforehand(
    name="a mean squared error between (8, 1) and (8)",
    sentence="port: (8, 1) and (8) are broadcast to (8, 8): each output against each target",
    place=r"step 1, (mse_loss|squeeze|sub|pow|mean)\b.*forward",
    named=(r"broadcast|\(8, 8\)|each .* every|every .* every",),
    in_part=(r"squeeze|shape",),
)
def broadcast(wrong):
    def loss(model, x, y):
        out = model(x)
        return ((out if wrong else out.squeeze(1)) - y).pow(2).mean()

    return Script(perceptron(1), numbers, loss)


@beforehand(
    name="the KL divergence in the other direction",
    sentence="port: input and target of kl_div exchanged: KL(q, p) where it is KL(p, q)",
    place=r"step 1, (kl_div|log)\b.*forward",
    named=(r"exchang|swap|direction|revers|input and target|argument",),
    in_part=(r"takes|only \S+ has|where \S+ has",),
)
def kl(wrong):
    def batch(drawn):
        return torch.randn(8, 12, generator=drawn), torch.rand(8, 4, generator=drawn) + 0.1

    def loss(model, x, p):
        q, p = F.softmax(model(x), 1), p / p.sum(1, keepdim=True)
        if wrong:
            return F.kl_div(p.log(), q, reduction="batchmean")
        return F.kl_div(q.log(), p, reduction="batchmean")

    return Script(perceptron(4), batch, loss)


@beforehand(
    name="weights of classes for the positive alone are given for both",
    sentence="port: weight where it is pos_weight: the negatives are weighted as well",
    place=r"step 1, binary_cross_entropy_with_logits\b.*forward",
    named=(r"pos_weight|positive", r"weight"),
    in_part=(r"weight",),
)
def positive_weight(wrong):
    weight = torch.tensor([1.0, 2.0, 3.0])

    def batch(drawn):
        y = torch.randint(0, 2, (8, 3), generator=drawn)
        return torch.randn(8, 12, generator=drawn), y.to(torch.get_default_dtype())

    def loss(model, x, y):
        how = {"weight": weight} if wrong else {"pos_weight": weight}
        return F.binary_cross_entropy_with_logits(model(x), y, **how)

    return Script(perceptron(3), batch, loss)


@beforehand(
    name="targets smoothed with eps/(K - 1)",
    sentence="port: smoothed targets have eps/(K - 1) = 0.0333 where they have eps/K = 0.025",
    place=r"step 1, (input\S*) \(input\), input",
    named=(r"smooth|eps/|K - 1|0\.0333.*0\.025|0\.025.*0\.0333",),
    in_part=(r"times|plus|minus",),
)
def smoothed(wrong):
    def batch(drawn):
        x, y = images((12,))(drawn)
        hot, eps = np.eye(4)[y.numpy()], 0.1
        target = hot * (1 - eps) + ((1 - hot) * eps / 3 if wrong else eps / 4)
        return x, torch.from_numpy(target).to(x.dtype)

    def loss(model, x, y):
        return -(y * F.log_softmax(model(x), 1)).sum(1).mean()

    return Script(perceptron(4), batch, loss)


LOSSES = (cross_entropy, huber, broadcast, kl, positive_weight, smoothed)
