"""Mistaken upsampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from comparisons.ports.mistakes.mistake import Call, mistake
from comparisons.ports.mistakes.spatial.orders import distinct

RESIZING = ("upsample", "interpolate", "upsampling_nearest2d", "upsampling_bilinear2d")
ANY_MODE = ("upsample", "interpolate")
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
CORNERS = ("linear", "bilinear", "bicubic", "trilinear")  # modes that may align them
CUBIC = -0.5  # a of Keys' kernel: TensorFlow's and Pillow's; PyTorch and OpenCV have -0.75

Made = Iterator[tuple[str, Tensor]]


def _mode(call: Call) -> str:
    fixed = {"upsampling_nearest2d": "nearest", "upsampling_bilinear2d": "bilinear"}
    return fixed.get(call.layer) or str(call.options["mode"])


def _align(call: Call) -> bool:
    if call.layer == "upsampling_bilinear2d":
        return True
    return bool(call.options.get("align_corners")) and _mode(call) in CORNERS


def _size(call: Call) -> list[int]:
    """Pixels of each axis that it should return."""
    return list(call().shape[2:])


@mistake(RESIZING)
def other_mode(call: Call) -> Made:
    yield from distinct(call(), _other_modes(call))


def _other_modes(call: Call) -> Made:
    x, mode, size = call.inputs[0], _mode(call), _size(call)
    modes = ["nearest", "nearest-exact", LINEAR[x.dim()], "area"]
    modes += ["bicubic"] if x.dim() == 4 else []
    for other in modes:
        if other == mode:
            continue
        words = f"mode = {other} where it is {mode}"
        if other not in CORNERS:
            yield words, F.interpolate(x, size, mode=other)
            continue
        aligned = f"{words}, with align_corners"
        yield words, F.interpolate(x, size, mode=other, align_corners=False)
        yield aligned, F.interpolate(x, size, mode=other, align_corners=True)


@mistake("upsampling_bilinear2d", "align_corners = false where it is true")
def other_corners(call: Call) -> Tensor:
    how = {"mode": "bilinear", "align_corners": False}
    return F.interpolate(call.inputs[0], _size(call), **how)  # type: ignore[arg-type]


def _linear(x: Tensor, axis: int, count: int, place: Callable[[Tensor], Tensor]) -> Tensor:
    """Interpolates along an axis, with `place` saying between which pixels each new one lies."""
    at = place(torch.arange(count, dtype=x.dtype)).clamp(0, x.shape[axis] - 1)
    low = at.floor().to(torch.int64)
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    part = (at - low).reshape([-1 if one == axis else 1 for one in range(x.dim())])
    return x.index_select(axis, low) * (1 - part) + x.index_select(axis, high) * part


@mistake(RESIZING, "pixels counted from their corners, not their centres (TensorFlow 1: i / scale)")
def corner_coordinates(call: Call) -> Tensor | None:
    x = call.inputs[0]
    size = _size(call)
    if _mode(call) != LINEAR.get(x.dim()) or max(size) < min(x.shape[2:]):
        return None
    for axis, count in enumerate(size, start=2):
        ratio = x.shape[axis] / count
        x = _linear(x, axis, count, lambda i, ratio=ratio: i * ratio)  # type: ignore[misc]
    return x


def _keys(distance: Tensor, a: float) -> Tensor:
    """Keys (1981), Cubic convolution interpolation for digital image processing, equation 4."""
    d = distance.abs()
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))


@mistake(RESIZING, "cubic with a = -0.5 (TensorFlow's, Pillow's) where it is -0.75")
def other_cubic(call: Call) -> Tensor | None:
    x, corners = call.inputs[0], _align(call)
    if _mode(call) != "bicubic" or call.options.get("antialias"):
        return None
    for axis, count in enumerate(_size(call), start=2):
        size = x.shape[axis]
        i = torch.arange(count, dtype=x.dtype)
        at = i * (size - 1) / max(count - 1, 1) if corners else (i + 0.5) * size / count - 0.5
        first = at.floor()
        weights = torch.zeros(count, size, dtype=x.dtype)
        for step in (-1, 0, 1, 2):
            near = (first + step).clamp(0, size - 1).to(torch.int64)
            weights = weights.scatter_add(
                1, near.unsqueeze(1), _keys(at - first - step, CUBIC).unsqueeze(1)
            )
        x = torch.tensordot(x, weights, ([axis], [1])).movedim(-1, axis)
    return x


@mistake(RESIZING)
def not_interpolated(call: Call) -> Made:
    x, size = call.inputs[0], _size(call)
    factors = [after // before for after, before in zip(size, x.shape[2:], strict=True)]
    whole = all(
        before * factor == after
        for before, factor, after in zip(x.shape[2:], factors, size, strict=True)
    )
    if not whole or max(factors) < 2:
        return
    spread = x.new_zeros(*x.shape[:2], *size)
    places = tuple(slice(None, None, factor) for factor in factors)
    spread[(slice(None), slice(None), *places)] = x
    yield "zeros between the pixels: not interpolated", spread
    words = "the whole image repeated side by side, not each of its pixels"
    yield words, x.repeat(1, 1, *factors)


@mistake(ANY_MODE)
def exact_scale(call: Call) -> Made:
    """Where the scale is not a whole number, it is either as given or as the sizes say."""
    scale = call.options.get("scale_factor")
    if not scale or call.options.get("size"):
        return
    if call.options.get("recompute_scale_factor"):
        yield "its scale as given, not as the sizes say", call(recompute_scale_factor=None)
    else:
        yield "its scale as the sizes say, not as given", call(recompute_scale_factor=True)


@mistake(RESIZING)
def other_scale(call: Call) -> Made:
    scale = call.options.get("scale_factor")
    if isinstance(scale, list | tuple):
        if list(scale) != list(scale)[::-1]:
            yield "the axes of its scale exchanged", call(scale_factor=list(scale)[::-1])
    elif scale:
        for other in (2, 3, 4, 1 / scale):
            if other != scale:
                yield f"scale {other:g} where it is {scale:g}", call(scale_factor=float(other))


@mistake(ANY_MODE)
def other_antialias(call: Call) -> Made:
    if _mode(call) not in ("bilinear", "bicubic"):
        return
    if call.options.get("antialias"):
        yield "no antialiasing", call(antialias=False)
    elif any(a < b for a, b in zip(_size(call), call.inputs[0].shape[2:], strict=True)):
        yield "antialiasing where there is none", call(antialias=True)


@mistake(RESIZING, "its gradient averaged over the pixels made of one, not summed", backward=True)
def averaged_gradient(call: Call) -> Tensor | None:
    x, right = call.inputs[0], call()
    ratio = right.numel() / x.numel()
    return right.detach() + (right - right.detach()) / ratio if ratio > 1 else None
