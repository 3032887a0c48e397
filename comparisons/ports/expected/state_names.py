"""What a hand-written optimiser calls its state, by PyTorch's names of it.

A class of the program's own, or an update in base R, keeps a momentum as `buf`, `v` or `velocity`.
What it is, its numbers tell: a count of steps is one whole number, squares are never negative, and
what is left over is the one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.expected.optimisers import state_name
from comparisons.ports.side import RecordedStep

__all__ = ["Renamed", "with_known_states"]

MOMENTS = ("exp_avg", "exp_avg_sq")
STATES: Mapping[str, tuple[str, ...]] = {
    "sgd": ("momentum_buffer",),
    "adam": MOMENTS,
    "adamw": MOMENTS,
    "nadam": (*MOMENTS, "mu_product"),
    "radam": MOMENTS,
    "adamax": ("exp_avg", "exp_inf"),
    "rmsprop": ("square_avg", "momentum_buffer", "grad_avg"),
    "adagrad": ("sum",),
    "adadelta": ("square_avg", "acc_delta"),
}
FURTHER = ("step", "max_exp_avg_sq")  # which those of several kinds keep
SQUARES = {"exp_avg_sq", "exp_inf", "square_avg", "sum"}
KEPT = ("before/", "state/")


class Renamed(Mapping[str, NDArray]):
    """Arrays of which some have other names."""

    def __init__(self, arrays: Mapping[str, NDArray], names: Mapping[str, str]) -> None:
        self.arrays = arrays
        self.names = {key: key for key in arrays if key not in names.values()} | dict(names)

    def __getitem__(self, key: str) -> NDArray:
        return self.arrays[self.names[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, key: object) -> bool:
        return key in self.names


def with_known_states(step: RecordedStep, kind: str) -> RecordedStep:
    """A step whose optimiser's state has PyTorch's names, as far as it has others and they can be
    told.

    Arguments:
        step: The step.
        kind: The optimiser that it is taken for.
    """
    wanted = STATES.get(kind.removeprefix("ignite_"))
    if wanted is None:
        return step
    there: dict[str, list[str]] = {}
    for key in step.arrays:
        if key.startswith(KEPT):
            there.setdefault(key.rpartition(".")[2], []).append(key)
    known = {name for name in there if state_name(name) in (*wanted, *FURTHER)}
    named = _named(step, {name: there[name] for name in there if name not in known}, [
        name for name in wanted if name not in {state_name(one) for one in known}
    ])  # fmt: skip
    if not named:
        return step
    names = {
        f"{key.rpartition('.')[0]}.{new}": key for old, new in named.items() for key in there[old]
    }
    return replace(step, arrays=Renamed(step.arrays, names))


def _named(step: RecordedStep, own: Mapping[str, list[str]], wanted: list[str]) -> dict[str, str]:
    """PyTorch's name of each state that has another one; none of those that cannot be told."""
    found: dict[str, str] = {}
    moments = []
    for name, keys in own.items():
        values = [step.arrays[key] for key in keys]
        if all(_is_count(step, key, value) for key, value in zip(keys, values, strict=True)):
            found[name] = "step"
        elif all(value.dtype.kind == "f" for value in values):
            moments.append((name, all((value >= 0).all() for value in values)))
    if len(moments) == len(wanted) == 1:
        found[moments[0][0]] = wanted[0]
    elif len(moments) == len(wanted) == 2 and moments[0][1] != moments[1][1]:
        squares = [name for name in wanted if name in SQUARES]
        others = [name for name in wanted if name not in SQUARES]
        if len(squares) == len(others) == 1:
            for name, is_square in moments:
                found[name] = squares[0] if is_square else others[0]
    elif len(moments) == 1 and wanted[:1] == ["square_avg"] and moments[0][1]:
        found[moments[0][0]] = wanted[0]
    return found


def _is_count(step: RecordedStep, key: str, value: NDArray) -> bool:
    parameter = step.arrays.get(f"start/{key.partition('/')[2].rpartition('.')[0]}")
    if value.size != 1 or (parameter is not None and parameter.size == 1):
        return False
    return bool(np.isfinite(value).all() and (value == np.round(value)).all() and value >= 0)
