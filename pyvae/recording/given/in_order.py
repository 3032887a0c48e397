"""Which parameter of another program is which, where names do not say it: by their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from pyvae.trace.program import ProgramParameter

__all__ = ["in_order", "in_words", "pairs_in_words"]

KINDS = ("parameter", "buffer")
MOST = 6  # that are listed


def in_order(
    own: Sequence[ProgramParameter], theirs: Sequence[ProgramParameter]
) -> dict[str, str] | None:
    """The other program's names of parameters and buffers, if there are as many of both, and one
    after the other has the same shape; else None.

    Arguments:
        own: Those of which the other program has no name, in their order.
        theirs: The other program's, but for those that have the same name here.
    """
    found: dict[str, str] = {}
    for kind in KINDS:
        mine = [one for one in own if one.kind == kind]
        left = [one for one in theirs if one.kind == kind]
        if [*map(_shape, mine)] != [*map(_shape, left)]:
            return None
        found |= {one.name: other.name for one, other in zip(mine, left, strict=True)}
    return found


def _shape(one: ProgramParameter) -> tuple[int, ...]:
    """One number may have a shape of its own."""
    return () if math.prod(one.shape) == 1 else one.shape


def pairs_in_words(pairs: Mapping[str, str]) -> str:
    """Names with the other program's, the first few of many."""
    return _first(" = ".join(pair) for pair in pairs.items())


def in_words(theirs: Sequence[ProgramParameter]) -> str:
    """Parameters with their shapes, the first few of many."""
    return _first(f"{one.name} {'x'.join(map(str, one.shape))}".rstrip() for one in theirs)


def _first(words: Iterable[str]) -> str:
    listed = list(words)
    more = len(listed) - MOST
    return ", ".join(listed[:MOST]) + (f" and {more} more" if more > 0 else "")
