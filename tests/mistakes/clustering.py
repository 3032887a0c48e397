"""Mistakes in ports of the clustering VAEs (recipes `clustering`, `clustering-semi-supervised` and
`clustering-toy`): softmax, Gumbel-softmax, divergences, weights of the loss, shared modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mistakes.mistake import Mistake, altered, changed
from mistakes.perceptrons import term

__all__ = ["CLUSTERING_MISTAKES"]

TOY, IMAGES, LABELLED = "clustering-toy", "clustering", "clustering-semi-supervised"
FEW = {"recipe": LABELLED, "batch": 6, "hyper": {"labels": 10}}
ONE_STEP = FEW | {"steps": 1}  # where one name alone fits the first step
GUMBEL = """gumbel_softmax_forward <- function(pi, g, temperature) {{
  if (is.null(g)) pi else {value}
}}"""


def gumbel(value: str) -> str:
    return GUMBEL.format(value=value)


def divergence(name: str, value: str) -> str:
    """Another value of a divergence; its gradient is left as it is."""
    return f"""right <- divergences${name}
    layers${name} <- loss_term(list(value = function(x, options) {value},
                                    gradient = right$gradient))"""


def hard(module, pi, noise=None):
    chosen = (torch.log(pi + 1e-20) + noise).argmax(1)
    return F.one_hot(chosen, pi.shape[1]).to(pi.dtype) + pi - pi.detach()


def second_use_detached(engine):
    """Gradients of the labelled images do not reach the classifier's second convolution."""
    conv = engine.network.qy_x.conv2
    uses = []

    def forward(x):
        uses.append(x)
        weight, bias = conv.weight, conv.bias
        if len(uses) % 2 == 0:
            weight, bias = weight.detach(), bias.detach()
        return F.conv2d(x, weight, bias, padding=2)

    conv.forward = forward


def weight(place: int, value: str, terms: int) -> str:
    """Another weight in the sums of so many terms."""
    return f"""right <- layers$sum
    other <- function(s) {{
      w <- s$options$weights
      if (length(w) == {terms} && any(w != 1)) s$options$weights[{place}] <- {value}
      s
    }}
    layers$sum <- list(forward = function(s) right$forward(other(s)),
                       backward = function(dy, s) right$backward(dy, other(s)))"""


CLUSTERING_MISTAKES = {
    # q(y|x) and its sample
    "softmax over the images": Mistake(
        (1, "forward", "qy_x.softmax"), "softmax over the images, the wrong axis", recipe=TOY,
        built=changed("qy_x.softmax", lambda module, x: torch.softmax(x, 0))),
    "softmax's derivative without the sum over classes": Mistake(
        (1, "backward", "qy_x.softmax"), "diagonal alone", recipe=TOY,
        patch="layers$softmax$backward <- function(dy, s) list(x = list(dy * s$y * (1 - s$y)))"),
    "temperature missing": Mistake(
        (1, "forward", "gumbel_softmax"), "the temperature missing", recipe=TOY,
        patch=gumbel("softmax_forward(log(pi + class_epsilon) + g)")),
    "temperature multiplied": Mistake(
        (1, "forward", "gumbel_softmax"), "multiplied by the temperature", recipe=TOY,
        patch=gumbel("softmax_forward((log(pi + class_epsilon) + g) * temperature)")),
    "temperature 0.6": Mistake(
        (1, "forward", "gumbel_softmax"), "temperature 0.6 where it is 0.5", recipe=TOY,
        built=altered("gumbel_softmax", temperature=0.6)),
    "Gumbel noise missing": Mistake(
        (1, "forward", "gumbel_softmax"), "no noise", recipe=TOY,
        patch=gumbel("softmax_forward(log(pi + class_epsilon) / temperature)")),
    "Gumbel noise subtracted": Mistake(
        (1, "forward", "gumbel_softmax"), "the noise with its sign changed", recipe=TOY,
        patch=gumbel("softmax_forward((log(pi + class_epsilon) - g) / temperature)")),
    "probabilities in the Gumbel-softmax": Mistake(
        (1, "forward", "gumbel_softmax"), "the probabilities where their logarithms belong",
        recipe=TOY, patch=gumbel("softmax_forward((pi + g) / temperature)")),
    "hard sample": Mistake(
        (1, "forward", "gumbel_softmax"), "hard: one-hot", recipe=TOY,
        built=changed("gumbel_softmax", hard)),
    "1/temperature missing in the gradient alone": Mistake(
        (1, "backward", "gumbel_softmax"), "1/temperature missing", recipe=TOY,
        patch="""right <- gumbel_softmax_backward
        gumbel_softmax_backward <- function(dy, y, pi, g, temperature) right(dy, y, pi, g, 1)"""),
    # q(z|x,y) and p(z|y)
    "y added, not multiplied": Mistake(
        (1, "forward", "qz_xy.multiply"), "added where they are multiplied", recipe=TOY,
        built=changed("qz_xy.multiply", lambda module, a, b: a + b)),
    "concatenated the other way round": Mistake(
        (1, "forward", "qz_xy.concat"), "the second before the first", recipe=TOY,
        built=changed("qz_xy.concat", lambda module, a, b: torch.cat([b, a], 1))),
    "leaky ReLU's slope 0.01": Mistake(
        (1, "forward", "px_z.lrelu1"), "slope 0.01 where it is 0.2", recipe=TOY,
        built=altered("px_z.lrelu1", negative_slope=0.01)),
    "ReLU in place of leaky ReLU": Mistake(
        (1, "forward", "qz_xy.lrelu3"), "ReLU where it is leaky", recipe=TOY,
        patch="""layers$leaky_relu <- plain(function(x, s) x * (x > 0),
                                            function(dy, x, s) dy * (x > 0))"""),
    "leaky ReLU's backward pass as ReLU's": Mistake(
        (1, "backward", "pz_y.lrelu1"), "ReLU's mask: 0 where the slope is 0.2", recipe=TOY,
        patch="layers$leaky_relu$backward <- function(dy, s) list(x = list(dy * (s$x[[1L]] > 0)))"),
    # the loss
    "constant of the Gaussian likelihood missing": Mistake(
        (1, "forward", "reconstruction"), r"constant log\(2 pi variance\) missing", recipe=TOY,
        patch="""layers$gaussian <- loss_term(list(gradient = likelihoods$gaussian$gradient,
          value = function(x, options) 0.5 * sum((target(x) - x[[1L]])^2) / options$variance))"""),
    "variance taken for a standard deviation": Mistake(
        (1, "forward", "reconstruction"), "the variance taken for a standard deviation",
        recipe=TOY,
        patch="""layers$gaussian <- loss_term(list(gradient = likelihoods$gaussian$gradient,
          value = function(x, options) -sum(dnorm(target(x), x[[1L]], options$variance,
                                                  log = TRUE))))"""),
    "uniform prior of y left out": Mistake(
        (1, "forward", "categorical_kl"), "the uniform prior left out", recipe=TOY,
        patch=divergence("kl_categorical", "sum(x[[1L]] * log(x[[1L]] + class_epsilon))")),
    "log K subtracted": Mistake(
        (1, "forward", "categorical_kl"), "log K subtracted where it is added", recipe=TOY,
        patch=divergence("kl_categorical",
                         "sum(x[[1L]] * (log(x[[1L]] + class_epsilon) - log(3)))")),
    "KL(p(z|y) || q(z|x,y))": Mistake(
        (1, "forward", "gaussian_kl"), "in the other direction", recipe=TOY,
        patch=divergence("kl_gaussians", "right$value(x[c(3L, 4L, 1L, 2L)], options)")),
    "KL from N(0, I)": Mistake(
        (1, "forward", "gaussian_kl"), r"from N\(0, I\)", recipe=TOY,
        patch=divergence("kl_gaussians", "regularisers$vae$value(x[[1L]], x[[2L]])")),
    "no gradient into the prior": Mistake(
        (1, "backward", "gaussian_kl"), "no gradient arrives: cut off", recipe=TOY,
        patch="""right <- layers$kl_gaussians$backward
        layers$kl_gaussians$backward <- function(dy, s) {
          back <- right(dy, s)
          back$x[3:4] <- lapply(back$x[3:4], function(d) 0 * d)
          back
        }"""),
    "beta on both divergences": Mistake(
        (1, "forward", "regulariser"), "beta on all terms", recipe=TOY, hyper={"beta": 8},
        patch=weight(1, "w[2]", 2)),
    # images
    "odd row and column pooled (ceil mode)": Mistake(
        (1, "forward", "qy_x.pool1"), "ceil mode", recipe=IMAGES, batch=4, steps=1,
        built=altered("qy_x.pool1", ceil_mode=True)),
    "instance norm in place of batch norm": Mistake(
        (1, "forward", "qy_x.bn1"), r"of each image and channel \(instance norm\)",
        recipe=IMAGES, batch=4, steps=1,
        built=changed("qy_x.bn1", lambda module, x: F.instance_norm(x, eps=module.eps))),
    "batch norm of each pixel": Mistake(
        (1, "forward", "qz_xy.bn1"), "statistics of each pixel", recipe=IMAGES, batch=4, steps=1,
        built=changed("qz_xy.bn1", lambda module, x: F.batch_norm(
            x.flatten(1), None, None, training=True).reshape(x.shape))),
    # labels
    "weight of the labelled images missing": Mistake(
        (1, "forward", "reconstruction"),
        "labelled_weight missing: the labelled reconstruction with weight 1",
        patch=weight(2, "if (w[2] < 1) 1 else w[2]", 2), **ONE_STEP),
    "cross entropy of the probabilities": Mistake(
        (1, "forward", "cross_entropy"), "where softmax is taken of them a second time",
        patch="""layers$cross_entropy <- loss_term(list(
          value = function(x, options) -sum(target(x) * log(x[[1L]])),
          gradient = function(x, options) list(-target(x) / x[[1L]], NULL)))""", **ONE_STEP),
    "cross entropy averaged": Mistake(
        (1, "forward", "cross_entropy"), "averaged over images where it is summed",
        patch=term("cross_entropy", "1 / 10"), **FEW),
    "labelled images give a module no gradient": Mistake(
        (1, "backward", "labelled.qy_x.conv2"), "part of the gradient is missing",
        built=second_use_detached, **ONE_STEP),
}  # fmt: skip
