"""Mistaken orders of channels: pixel shuffle, channel shuffle."""

from __future__ import annotations

from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake


def _blocks(call: Call) -> Tensor:
    """The channels of a pixel shuffle as (..., channels, rows of a block, columns of it)."""
    x, factor = call.inputs[0], int(call.options["upscale_factor"])
    return x.unflatten(-3, (-1, factor, factor))


@mistake("pixel_shuffle", "its channels in TensorFlow's order (depth_to_space: the channel last)")
def block_first(call: Call) -> Tensor | None:
    x, factor = call.inputs[0], int(call.options["upscale_factor"])
    if x.shape[-3] == factor**2:
        return None
    channels = x.unflatten(-3, (factor**2, -1)).transpose(-4, -3)
    return call(channels.flatten(-4, -3))


@mistake("pixel_shuffle", "rows and columns of each block exchanged")
def turned_blocks(call: Call) -> Tensor:
    return call(_blocks(call).transpose(-4, -3).flatten(-5, -3))


@mistake("pixel_shuffle", "the numbers read in order (a view), without its change of axes")
def viewed(call: Call) -> Tensor:
    return call.inputs[0].reshape(call().shape)


@mistake("pixel_unshuffle", "its channels in TensorFlow's order (space_to_depth: the channel last)")
def unshuffled_block_first(call: Call) -> Tensor | None:
    y, factor = call(), int(call.options["downscale_factor"])
    if y.shape[-3] == factor**2:
        return None
    return y.unflatten(-3, (-1, factor**2)).transpose(-4, -3).flatten(-4, -3)


@mistake("pixel_unshuffle", "rows and columns of each block exchanged")
def turned_unshuffled(call: Call) -> Tensor:
    y, factor = call(), int(call.options["downscale_factor"])
    return y.unflatten(-3, (-1, factor, factor)).transpose(-4, -3).flatten(-5, -3)


@mistake("pixel_unshuffle", "the numbers read in order (a view), without its change of axes")
def unshuffled_by_view(call: Call) -> Tensor:
    return call.inputs[0].reshape(call().shape)


@mistake("channel_shuffle", "groups and channels of a group exchanged: the inverse shuffle")
def inverse_shuffle(call: Call) -> Tensor | None:
    channels, groups = call.inputs[0].shape[1], int(call.options["groups"])
    return call(groups=channels // groups) if channels != groups**2 else None


@mistake("channel_shuffle", "not shuffled")
def not_shuffled(call: Call) -> Tensor:
    return call.inputs[0] * 1
