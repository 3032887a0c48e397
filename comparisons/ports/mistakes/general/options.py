"""Any layer: another usual option than it declares, a parameter left out, the other mode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.mistakes.mistake import ANY, Call, mistake

# other values that options usually have
USUAL: dict[str, tuple[Any, ...]] = {
    "alpha": (1.0, 0.1, 0.2, 0.3),
    "align_corners": (True, False),
    "approximate": ("none", "tanh"),
    "beta": (1.0, 0.5),
    "ceil_mode": (True, False),
    "count_include_pad": (True, False),
    "dilation": (1, 2),
    "dim": (-1, 0, 1, 2),
    "eps": (0.0, 1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12),
    "keepdim": (True, False),
    "label_smoothing": (0.0, 0.1),
    "negative_slope": (0.01, 0.1, 0.2, 0.3, 0.0),
    "output_padding": (0, 1),
    "padding": (0, 1, 2),
    "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    "reduction": ("mean", "sum", "none"),
    "stride": (1, 2),
    "threshold": (20.0,),
    "unbiased": (True, False),
}


@mistake(ANY)
def another_option(call: Call) -> Iterator[tuple[str, Any]]:
    for option, known in call.options.items():
        for value in _others(call, option, known):
            words = other_setting(option, value, known)
            if words:
                yield words, partial(call, **{option: value})


def _others(call: Call, option: str, known: Any) -> tuple[Any, ...]:
    """Other values than the known one. An axis has one name of two: -1 is the last."""
    if option == "dim" and isinstance(known, int) and call.inputs and call.inputs[0].dim():
        axes = call.inputs[0].dim()
        return tuple(axis for axis in range(axes) if axis != known % axes)
    return USUAL.get(option, ())


@mistake(ANY)
def no_parameter(call: Call) -> Iterator[tuple[str, Any]]:
    for role in ("weight", "bias"):
        if call.get(role) is not None:
            yield f"no {role} where there is one", partial(call, **{role: None})


@mistake(ANY)
def other_mode(call: Call) -> Iterator[tuple[str, Any]]:
    modes = ("training", "evaluation") if call.training else ("evaluation", "training")
    words = f"in {modes[1]} mode where it is in {modes[0]} mode"
    yield words, partial(call, training=not call.training)
