"""A mistake that an update may have, and what is needed to declare one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comparisons.ports.expected.declared import other_setting
from comparisons.ports.expected.declared import shown as said
from comparisons.ports.expected.update import Update, one_update
from comparisons.ports.updates.parts import Part

__all__ = ["CLOSE", "Candidate", "rounded", "setting", "shown", "with_settings"]

Way = Callable[[Part], Update | None]


@dataclass(frozen=True)
class Candidate:
    """A mistake that an update may have.

    Attributes:
        words: That complete "SIDE: ...".
        way: Makes the update.
        once: Whether it is of one step, and the next may be right.
        carries: Whether its state is its own, not the recorded one.
        unsure: Whether it is named only if a further step confirms it.
        refit: Makes the same of another step, where the constant may be another one.
    """

    words: str
    way: Way
    once: bool = False
    carries: bool = False
    unsure: bool = False
    refit: Callable[[Part], Candidate | None] | None = None


def with_settings(part: Part, kind: str = "", **settings: Any) -> Update | None:
    """An update of PyTorch's own optimiser with other settings, or of another one."""
    given = {**part.settings, **settings} if not kind else settings
    return one_update(kind or part.kind, given, part.start, part.gradient, part.before)


def setting(part: Part, name: str, value: Any, **about: Any) -> Candidate:
    """Another value of a setting."""
    known = part.settings[name]
    if isinstance(value, float):
        value = _digits(value, known)
    words = other_setting(name, value, known)
    return Candidate(words, lambda one: with_settings(one, **{name: value}), **about)


def _digits(value: float, known: Any) -> float:
    """Six digits, or as many as tell a number from the declared one."""
    digits = 6
    while digits < 17 and float(f"{value:.{digits}g}") == known != value:
        digits += 1
    return float(f"{value:.{digits}g}")


def shown(value: Any) -> str:
    """A value as a reader of either language knows it, a number with six digits."""
    return said(float(f"{value:.6g}") if isinstance(value, float) else value)


CLOSE = 1e-5  # relative: two constants that are one


def rounded(value: float, close: float = CLOSE) -> float:
    """A fitted constant, or the one of few digits beside it that it stands for.

    Arguments:
        value: The constant.
        close: How far it may be from that one, relative to it.
    """
    for digits in range(1, 6) if value else ():
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= close * abs(value):
            return near
    return value
