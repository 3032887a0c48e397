"""Mistakes in ports of the R article's network (recipe `conv`): its layers, its losses, Adam."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mistakes.mistake import BATCH, Mistake, adam, altered, not_zeroed, replaced
from pyvae.model.draws import Draws

__all__ = ["CONV_MISTAKES"]


def remembered(name: str) -> Callable:
    """Uses the draw of the step before, as a port does that draws too late."""

    def given(x, draws, data, memory):
        before = memory.get(name, draws[name])
        memory[name] = draws[name]
        return x, draws | {name: before}

    return given


def last_batch_kept(x, draws, data, memory):
    """The third step takes the two images that are left of ten."""
    memory["step"] = memory.get("step", 0) + 1
    if memory["step"] != 3:
        return x, draws
    order = Draws(2).batch_order(0, len(data))
    left = data.batch(order[2 * BATCH :], torch.float64)
    return left, {name: draw[: len(left)] for name, draw in draws.items()}


REGULARISER = """right <- regularisers$vae
regularisers$vae <- list(value = function(mu, log_var) {value},
                         gradient = function(mu, log_var) {gradient})"""
ADAM = """adam_step <- function(parameters, gradients, state, learning_rate, s = adam_settings) {{
  state$t <- state$t + 1
  c1 <- 1 - s$beta1^state$t
  c2 <- 1 - s$beta2^state$t
  for (name in names(parameters)) {{
    theta <- parameters[[name]]
    g <- gradients[[name]]
    m <- state$m[[name]] + (1 - s$beta1) * (g - state$m[[name]])
    v <- s$beta2 * state$v[[name]] + (1 - s$beta2) * g^2
    parameters[[name]] <- theta - {update}
    state$m[[name]] <- m
    state$v[[name]] <- v
  }}
  list(parameters = parameters, state = state)
}}"""


def regulariser(value: str, gradient: str) -> str:
    return REGULARISER.format(value=value, gradient=gradient)


def scaled(factor: str) -> str:
    """A KL that is right but for a factor."""
    return regulariser(
        f"({factor}) * right$value(mu, log_var)",
        f"lapply(right$gradient(mu, log_var), function(g) g * ({factor}))",
    )


CONV_MISTAKES = {
    # what goes in
    "pixels divided by 256": Mistake(
        (1, "forward", "input"), "255/256",
        given=lambda x, draws, data, memory: (x * 255 / 256, draws)),
    "images transposed (column-major)": Mistake(
        (1, "forward", "input"), "exchanging rows and columns of each image",
        given=lambda x, draws, data, memory: (
            x.reshape(-1, 28, 28).transpose(1, 2).reshape(-1, 784), draws)),
    "batch in reverse order": Mistake(
        (1, "forward", "input"), "reversing axis 0",
        given=lambda x, draws, data, memory: (x.flip(0), draws)),
    "last batch not dropped": Mistake(
        (3, "forward", "input"), r"has shape \(2, 784\)", given=last_batch_kept, images="few"),
    # the encoder
    "conv padding 1": Mistake(
        (1, "forward", "encoder.conv1"), "padding 1 where there is none",
        built=altered("encoder.conv1", padding=(1, 1))),
    "conv stride 2": Mistake(
        (1, "forward", "encoder.conv1"), "stride 2 where it is 1",
        built=altered("encoder.conv1", stride=(2, 2))),
    "conv kernel flipped": Mistake(
        (1, "forward", "encoder.conv1"), "kernel flipped",
        patch="""right <- conv2d_kernel
        conv2d_kernel <- function(weight) {
          k <- dim(weight)[3]
          right(weight[, , k:1, k:1, drop = FALSE])
        }"""),
    "conv kernel read column-major": Mistake(
        (1, "forward", "encoder.conv1"), "rows and columns exchanged",
        patch="""right <- conv2d_kernel
        conv2d_kernel <- function(weight) right(aperm(weight, c(1, 2, 4, 3)))"""),
    "conv bias missing": Mistake(
        (1, "forward", "encoder.conv1"), "no bias",
        patch="""right <- conv2d_forward
        conv2d_forward <- function(x, weight, bias, ...) right(x, weight, 0 * bias, ...)"""),
    "ReLU missing": Mistake(
        (1, "forward", "encoder.relu1"), "no ReLU",
        patch="""relu_forward <- function(x) if (dim(x)[1] == 4) x else x * (x > 0)
        relu_backward <- function(dy, y) if (dim(y)[1] == 4) dy else dy * (y > 0)"""),
    "ReLU's backward pass missing": Mistake(
        (1, "backward", "encoder.relu1"), "mask not applied",
        patch="relu_backward <- function(dy, y) if (dim(y)[1] == 4) dy else dy * (y > 0)"),
    "max-pool to average pool": Mistake(
        (1, "forward", "encoder.pool"), "average pooling",
        patch="""max_pool2d_forward <- function(x, s = 2L) {
          size <- dim(x)
          dim(x) <- c(size[1], 2, size[2] / 2, 2, size[3] / 2, size[4])
          y <- apply(x, c(1, 3, 5, 6), mean)
          list(y = y, winner = rep.int(1L, length(y)))
        }"""),
    "max-pool tie rule": Mistake(
        (1, "backward", "encoder.pool"), "the last gets the gradient", images="blank",
        patch="""body(max_pool2d_forward) <- do.call(substitute, list(
          body(max_pool2d_forward), list(`>` = as.name(">="))))"""),
    "dropout without 1/(1 - p)": Mistake(
        (1, "forward", "encoder.dropout1"), r"1/\(1 - p\) missing",
        patch="dropout <- function(x, keep, p) if (is.null(keep)) x else x * keep"),
    "dropout mask inverted": Mistake(
        (1, "forward", "encoder.dropout1"), "mask inverted",
        patch="""dropout <- function(x, keep, p)
          if (is.null(keep)) x else x * (!keep) / (1 - p)"""),
    "dropout left out": Mistake(
        (1, "forward", "encoder.dropout2"), "no dropout",
        built=lambda engine: setattr(engine.network.encoder.dropout2, "forward", lambda x, k: x)),
    "mask of the previous step": Mistake(
        (2, "forward", "encoder.dropout1"), "mask of the step before",
        given=remembered("dropout1")),
    "flatten in channel-last order": Mistake(
        (1, "forward", "encoder.flatten"), r"channel last \(row, column, channel\)",
        patch="""layers$flatten <- plain(
          function(x, s) matrix(x, ncol = images_of(x)),
          function(dy, x, s) array(dy, dim(x)))"""),
    "column-major reshape": Mistake(
        (1, "forward", "encoder.flatten"), r"column-major \(channel, column, row\)",
        patch="""layers$flatten <- plain(
          function(x, s) matrix(aperm(x, c(3, 2, 1, 4)), ncol = images_of(x)),
          function(dy, x, s) aperm(array(dy, dim(x)[c(3, 2, 1, 4)]), c(3, 2, 1, 4)))"""),
    "heads for mu and log_var exchanged": Mistake(
        (1, "forward", "encoder.fc2"), "elements differ",
        patch="""right <- layers$linear$forward
        layers$linear$forward <- function(s) {
          parameters <- get("parameters", envir = parent.frame())
          other <- c(encoder.fc2 = "encoder.fc3", encoder.fc3 = "encoder.fc2")
          name <- get("stage", envir = parent.frame())$name
          if (name %in% names(other)) {
            s$weight <- parameters[[paste0(other[[name]], ".weight")]]
            s$bias <- parameters[[paste0(other[[name]], ".bias")]]
          }
          right(s)
        }"""),
    # the sample
    "log_var read as a log-standard-deviation": Mistake(
        (1, "forward", "reparameterise"), "log_var read as a log-standard-deviation",
        patch="""reparameterise_forward <- function(mu, log_var, noise) mu + exp(log_var) * noise
        reparameterise_backward <- function(dz, log_var, noise)
          list(mu = dz, log_var = dz * noise * exp(log_var))
        """ + regulariser("-0.5 * sum(1 + 2 * log_var - mu^2 - exp(2 * log_var))",
                          "list(mu = mu, log_var = exp(2 * log_var) - 1)")),
    "exp(log_var) without 1/2": Mistake(
        (1, "forward", "reparameterise"), r"exp\(log_var\) without the 1/2",
        patch="""reparameterise_forward <- function(mu, log_var, noise) mu + exp(log_var) * noise
        reparameterise_backward <- function(dz, log_var, noise)
          list(mu = dz, log_var = dz * noise * exp(log_var))"""),
    "1/2 missing in the sample's gradient alone": Mistake(
        (1, "backward", "reparameterise"), "2 times what it is",
        patch="""right <- reparameterise_backward
        reparameterise_backward <- function(dz, log_var, noise) {
          back <- right(dz, log_var, noise)
          back$log_var <- 2 * back$log_var
          back
        }"""),
    "noise reused between steps": Mistake(
        (2, "forward", "reparameterise"), "noise of the step before", given=remembered("noise")),
    # the decoder
    "transposed-convolution weight orientation": Mistake(
        (1, "forward", "decoder.conv1"), r"read as \(outputs, inputs\)",
        patch="""right <- conv2d_kernel
        conv2d_kernel <- function(weight) {
          d <- dim(weight)[1:2]
          if (prod(dim(weight)[3:4]) > 1) return(right(weight))
          memory <- as.vector(t(matrix(weight, d[1])))  # torch's order: the last index fastest
          matrix(memory, d[1], d[2])                    # R's: the first
        }"""),
    "GELU in place of ReLU": Mistake(
        (1, "forward", "decoder.relu3"), "GELU", built=replaced("decoder.relu3", nn.GELU())),
    "sigmoid's derivative missing": Mistake(
        (1, "backward", "decoder.sigmoid"), r"y \(1 - y\) missing",
        patch="sigmoid_backward <- function(dy, y) dy"),
    # the loss
    "BCE averaged": Mistake(
        (1, "forward", "reconstruction"), "averaged over images and pixels",
        patch="""right_bce <- bce; right_backward <- bce_backward
        bce <- function(q, x) right_bce(q, x) / (4 * 784)
        bce_backward <- function(q, x) right_backward(q, x) / (4 * 784)"""),
    "BCE clamp missing": Mistake(
        (1, "forward", "reconstruction"), "not held at -100", saturated=True,
        patch="bce <- function(q, x) sum((x - 1) * log1p(-q) - x * log(q))"),
    "BCE's gradient averaged alone": Mistake(
        (1, "backward", "reconstruction"), r"1/batch size \(1/4\)",
        patch="""right_backward <- bce_backward
        bce_backward <- function(q, x) right_backward(q, x) / 4"""),
    "KL sign": Mistake((1, "forward", "regulariser"), "sign changed", patch=scaled("-1")),
    "KL's gradient alone with its sign changed": Mistake(
        (1, "backward", "regulariser"), "-1 times what it is",
        patch=regulariser("right$value(mu, log_var)",
                          "lapply(right$gradient(mu, log_var), `-`)")),
    "KL averaged": Mistake(
        (1, "forward", "regulariser"), "averaged over images and dimensions",
        patch=scaled("1 / (4 * 5)")),
    "KL averaged over the wrong axis": Mistake(
        (1, "forward", "regulariser"), "averaged over dimensions", patch=scaled("1 / 5")),
    "EMAE term without 1/2": Mistake(
        (1, "forward", "regulariser"), "without its factor 1/2", "emae",
        patch="""regularisers$emae <- list(value = function(mu, log_var) sum(mu^2),
          gradient = function(mu, log_var) list(mu = 2 * mu, log_var = 0 * log_var))"""),
    # the optimiser
    "gradient not zeroed": Mistake(
        (2, "backward", "decoder.conv2"), "not zeroed", built=not_zeroed),
    "Adam beta1": Mistake(
        (1, "first moment", "adam.moment1"), "beta1 = 0.91 where it is 0.9",
        patch="adam_settings$beta1 <- 0.91"),
    "Adam beta2": Mistake(
        (1, "second moment", "adam.moment2"), "beta2 = 0.9991 where it is 0.999",
        patch="adam_settings$beta2 <- 0.9991"),
    "weight decay": Mistake(
        (1, "first moment", "adam.moment1"), "weight decay 0.0001 added to the gradient",
        built=adam(weight_decay=1e-4)),
    "decoupled weight decay (AdamW)": Mistake(
        (1, "parameter", "adam.update"), "decoupled weight decay 0.01",
        patch=ADAM.format(update="learning_rate * 0.01 * theta - (learning_rate / c1) * m / "
                                 "(sqrt(v) / sqrt(c2) + s$epsilon)")),
    "Adam epsilon inside the square root": Mistake(
        (1, "parameter", "adam.update"), "epsilon inside the square root",
        patch=ADAM.format(update="(learning_rate / c1) * m / sqrt(v / c2 + s$epsilon)")),
    "Adam epsilon 1e-7": Mistake(
        (1, "parameter", "adam.update"), "epsilon = 1e-07 where it is 1e-08",
        built=adam(eps=1e-7)),
    "Adam without bias correction": Mistake(
        (1, "parameter", "adam.update"), "no bias correction$",
        patch=ADAM.format(update="learning_rate * m / (sqrt(v) + s$epsilon)")),
    "learning rate off by 0.1 %": Mistake(
        (1, "parameter", "adam.update"), "learning rate 0.001001 where it is 0.001",
        built=adam(lr=1.001e-3)),
}  # fmt: skip
