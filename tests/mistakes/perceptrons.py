"""Mistakes in ports of the perceptrons (recipes `mlp`, `mlp-wide`, `beta`): batch norm, the
variance's activation, averaged losses, the weight of the KL."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mistakes.mistake import Mistake, altered, changed, replaced

__all__ = ["PERCEPTRON_MISTAKES"]

BN = "encoder.bn1"
BATCH_NORM = """right <- batch_norm_forward
batch_norm_forward <- function(x, weight, bias, running_mean, running_var, momentum, eps,
                               training) {{
  r <- right(x, weight, bias, running_mean, running_var, momentum, eps, training)
  each <- as.vector; n <- length(x) / length(weight)
  {body}
  r
}}"""
VALUE = "r$y <- (x - each(r$mean)) * each({scale}) * each({weight}) + each({bias})"


def batch_norm(body: str) -> str:
    return BATCH_NORM.format(body=body)


def batch_norm_value(
    scale: str = "1 / sqrt(r$var + eps)", weight: str = "weight", bias: str = "bias"
) -> str:
    return batch_norm(VALUE.format(scale=scale, weight=weight, bias=bias))


def running(part: str, value: str) -> str:
    return batch_norm(f"r$buffers$running_{part} <- {value}")


def of_each_image(module, x):
    return F.layer_norm(x, x.shape[1:], eps=module.eps) * module.weight + module.bias


def evaluated(module, x):
    return F.batch_norm(
        x, module.running_mean, module.running_var, module.weight, module.bias, False, 0.1, 1e-5
    )


class Exp(nn.Module):
    def forward(self, x):
        return torch.exp(x)


def term(layer: str, factor: str) -> str:
    """A term of the loss and its gradient, right but for a factor."""
    return f"""right <- layers${layer}
    layers${layer} <- list(
      forward = function(s) list(y = ({factor}) * right$forward(s)$y),
      backward = function(dy, s) right$backward(({factor}) * dy, s))"""


def weights(change: str) -> str:
    """Other weights of a sum of two terms, forward and backward."""
    return f"""right <- layers$sum
    other <- function(s) {{ w <- s$options$weights; s$options$weights <- {change}; s }}
    layers$sum <- list(forward = function(s) right$forward(other(s)),
                       backward = function(dy, s) right$backward(dy, other(s)))"""


PERCEPTRON_MISTAKES = {
    # batch norm
    "batch norm by the running statistics in training": Mistake(
        (1, "forward", BN), r"running statistics in place of the batch's", recipe="mlp",
        built=changed(BN, evaluated)),
    "batch norm by the unbiased variance": Mistake(
        (1, "forward", BN), "unbiased variance", recipe="mlp",
        patch=batch_norm_value("1 / sqrt(r$var * n / (n - 1) + eps)")),
    "batch norm's epsilon outside the root": Mistake(
        (1, "forward", BN), "epsilon outside the square root", recipe="mlp",
        patch=batch_norm_value("1 / (sqrt(r$var) + eps)")),
    "batch norm's epsilon 1e-3 (Keras)": Mistake(
        (1, "forward", BN), "epsilon = 0.001 where it is 1e-05", recipe="mlp",
        built=altered(BN, eps=1e-3)),
    "batch norm's weight and bias missing": Mistake(
        (2, "forward", BN), "its weight and bias missing", recipe="mlp",
        patch=batch_norm_value(weight="1 + 0 * weight", bias="0 * bias")),
    "layer norm in place of batch norm": Mistake(
        (1, "forward", BN), r"statistics of each image \(layer norm\)", recipe="mlp",
        built=changed(BN, of_each_image)),
    "batch norm's momentum 0.9 (Keras's convention)": Mistake(
        (1, "forward", BN), r"momentum 0.9 where it is 0.1 \(Keras's convention", recipe="mlp",
        built=altered(BN, momentum=0.9)),
    "batch norm's momentum 0.2": Mistake(
        (1, "forward", BN), "momentum 0.2 where it is 0.1", recipe="mlp",
        built=altered(BN, momentum=0.2)),
    "running variance of the biased variance": Mistake(
        (1, "forward", BN), "moved towards the biased variance", recipe="mlp",
        patch=running("var", "(1 - momentum) * running_var + momentum * r$var")),
    "running mean not updated": Mistake(
        (1, "forward", BN), "not updated", recipe="mlp", patch=running("mean", "running_mean")),
    "batch norm's backward pass with statistics as constants": Mistake(
        (1, "backward", BN), "mean and variance taken for constants", recipe="mlp",
        patch="""right <- batch_norm_backward
        batch_norm_backward <- function(dy, x, mean, var, weight, eps, training) {
          back <- right(dy, x, mean, var, weight, eps, training)
          back$x <- dy * as.vector(weight / sqrt(var + eps))
          back
        }"""),
    "1/p in dropout": Mistake(
        (1, "forward", "decoder.drop1"), r"1/p where 1/\(1 - p\) belongs", recipe="mlp",
        patch="dropout <- function(x, keep, p) if (is.null(keep)) x else x * keep / p"),
    # the variance
    "exp in place of softplus": Mistake(
        (1, "forward", "encoder.softplus"), "exp in place of softplus", recipe="mlp-wide",
        built=replaced("encoder.softplus", Exp())),
    "variance taken for its logarithm": Mistake(
        (1, "forward", "encoder.log"), "no logarithm", recipe="mlp-wide",
        patch="layers$log <- plain(function(x, s) x, function(dy, x, s) dy)"),
    "logarithm of the standard deviation": Mistake(
        (1, "forward", "encoder.log"), "half the logarithm", recipe="mlp-wide",
        patch="layers$log <- plain(function(x, s) log(x) / 2, function(dy, x, s) dy / (2 * x))"),
    "softplus's derivative missing": Mistake(
        (1, "backward", "encoder.softplus"), "softplus's derivative, the sigmoid, missing",
        recipe="mlp-wide",
        patch="layers$softplus$backward <- function(dy, s) list(x = list(dy))"),
    # averaged losses
    "BCE averaged over pixels too": Mistake(
        (1, "forward", "reconstruction"),
        "averaged over images and pixels where it is averaged over images", recipe="mlp-wide",
        patch=term("bce", "1 / 784")),
    "KL summed where it is averaged": Mistake(
        (1, "forward", "regulariser"), "summed where it is averaged over images",
        recipe="mlp-wide", patch=term("kl_normal", "4")),
    # the weighted KL
    "squared error summed over pixels": Mistake(
        (1, "forward", "reconstruction"),
        "averaged over images where it is averaged over images and pixels", recipe="beta",
        patch=term("mse", "784")),
    "squared error summed": Mistake(
        (1, "forward", "reconstruction"), "summed where it is averaged over images and pixels",
        recipe="beta", patch=term("mse", "4 * 784")),
    "squared error halved": Mistake(
        (1, "forward", "reconstruction"), "halved", recipe="beta", patch=term("mse", "1 / 2")),
    "beta on the wrong term": Mistake(
        (1, "forward", "total"), "the weights on the wrong terms: 0.001 of the reconstruction",
        recipe="beta", patch=weights("rev(w)")),
    "beta missing": Mistake(
        (1, "forward", "total"), "beta missing: the regulariser with weight 1", recipe="beta",
        patch=weights("c(1, 1)")),
    "beta on both terms": Mistake(
        (1, "forward", "total"), "beta on all terms", recipe="beta",
        patch=weights("rep(w[2], 2)")),
    "beta missing in the gradient alone": Mistake(
        (1, "backward", "regulariser"), "regulariser's part of the gradient is 1000 times",
        recipe="beta",
        patch="layers$sum$backward <- function(dy, s) list(x = list(dy, dy))"),
}  # fmt: skip
