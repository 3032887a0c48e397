"""Mistakes in ports of the convolutions with strides (recipe `strided-conv`)."""

from __future__ import annotations

import torch.nn.functional as F

from mistakes.mistake import Mistake, altered, changed

__all__ = ["STRIDED_CONV_MISTAKES"]

RECIPE = "strided-conv"


def padded_as_tensorflow(module, x):
    return F.conv2d(F.pad(x, (0, 1, 0, 1)), module.weight, module.bias, 2)


def read_as_outputs_inputs(module, x):
    inputs, outputs, *kernel = module.weight.shape
    weight = module.weight.reshape(outputs, inputs, *kernel).transpose(0, 1)
    return F.conv_transpose2d(x, weight, module.bias, 2)


STRIDED_CONV_MISTAKES = {
    "stride 1": Mistake(
        (1, "forward", "encoder.conv1"), "stride 1 where it is 2", recipe=RECIPE,
        built=altered("encoder.conv1", stride=(1, 1))),
    "padding 0": Mistake(
        (1, "forward", "encoder.conv2"), "no padding where it is 1", recipe=RECIPE,
        built=altered("encoder.conv2", padding=(0, 0))),
    "padding on one side (TensorFlow's 'same')": Mistake(
        (1, "forward", "encoder.conv1"), "padded by 0 above and left and 1 below and right",
        recipe=RECIPE, built=changed("encoder.conv1", padded_as_tensorflow)),
    "strided kernel flipped": Mistake(
        (1, "forward", "encoder.conv1"), "kernel flipped", recipe=RECIPE,
        patch="""right <- conv2d_forward
        conv2d_forward <- function(x, weight, bias, stride, padding) {
          k <- dim(weight)[3]
          right(x, weight[, , k:1, k:1, drop = FALSE], bias, stride, padding)
        }"""),
    "strided kernel flipped in the backward pass": Mistake(
        (1, "backward", "encoder.conv2"), "kernel flipped", recipe=RECIPE,
        patch="""right <- conv2d_backward
        conv2d_backward <- function(dy, x, weight, stride, padding, ...) {
          if (dim(weight)[2] == 4 && stride == 2) weight <- weight[, , 3:1, 3:1, drop = FALSE]
          right(dy, x, weight, stride, padding, ...)
        }"""),
    "transposed kernel flipped": Mistake(
        (1, "forward", "decoder.deconv1"), "kernel flipped", recipe=RECIPE,
        patch="""right <- conv_transpose2d_forward
        conv_transpose2d_forward <- function(x, weight, bias, stride, padding)
          right(x, weight[, , 3:1, 3:1, drop = FALSE], bias, stride, padding)"""),
    "transposed kernel read as (outputs, inputs)": Mistake(
        (1, "forward", "decoder.deconv1"), r"read as \(outputs, inputs\)", recipe=RECIPE,
        built=changed("decoder.deconv1", read_as_outputs_inputs)),
    "output padding 1": Mistake(
        (1, "forward", "decoder.deconv1"), "output padding 1 where there is none", recipe=RECIPE,
        built=altered("decoder.deconv1", output_padding=(1, 1))),
    "halves exchanged": Mistake(
        (1, "forward", "encoder.mean"), "the halves exchanged", recipe=RECIPE,
        patch="layers$first_half <- half(TRUE); layers$second_half <- half(FALSE)"),
    "every other feature for mu": Mistake(
        (1, "forward", "encoder.mean"), "every other feature, from the first", recipe=RECIPE,
        built=changed("encoder.mean", lambda module, x: x[:, ::2])),
    "maps read column-major": Mistake(
        (1, "forward", "decoder.unflatten"), r"column-major \(channel, column, row\)",
        recipe=RECIPE,
        patch="""layers$unflatten <- plain(
          function(x, s) aperm(as_maps(x, s$options$channels), c(1L, 3L, 2L, 4L)),
          function(dy, x, s) shaped(aperm(dy, c(1L, 3L, 2L, 4L)), x))"""),
    "maps read channel last": Mistake(
        (1, "forward", "decoder.unflatten"), r"channel last \(row, column, channel\)",
        recipe=RECIPE,
        built=changed("decoder.unflatten",
                      lambda module, x: x.reshape(-1, 7, 7, 8).permute(0, 3, 1, 2))),
}  # fmt: skip
