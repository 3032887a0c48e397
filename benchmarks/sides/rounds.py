"""Sides in turn: what disturbs the machine for a while disturbs all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.sides.arithmetic import Series
from benchmarks.sides.child import Child

__all__ = ["Pace", "in_rounds", "running"]


class Pace(NamedTuple):
    """What a side does in one turn.

    Attributes:
        case: Of what.
        steps: How many steps count.
        skip: Steps before these.
        warm: Steps before the first round, in which memory is taken and libraries make their
            choices.
    """

    case: str
    steps: int
    skip: int = 1
    warm: int = 2


@contextmanager
def running(children: Sequence[Child]) -> Iterator[Sequence[Child]]:
    """Children that were started, ready; they end with the block, at once if it fails."""
    try:
        for child in children:
            child.wait_until_ready()
        yield children
    except BaseException:
        for child in children:
            child.kill()
        raise
    finally:
        for child in children:
            child.ask_for_no_more()
        for child in children:
            child.close()


def in_rounds(
    children: Sequence[Child],
    paces: Mapping[str, Sequence[Pace]],
    rounds: int,
    say: Callable[[str], object] = lambda line: None,
    seconds: float = math.inf,
) -> dict[tuple[str, str], Series]:
    """Lets all sides do their steps, round by round, in turn; every second round the other way
    about, so that none always follows the same one.

    Arguments:
        children: The sides, ready.
        paces: What each side does in a round, by its name.
        rounds: How many.
        say: Told what is done, in a line.
        seconds: No round after the first begins when so many have passed.

    Returns:
        What was measured, by side and case.

    Raises:
        UserError: If a side ends.
    """
    for child in children:
        for pace in paces[child.side]:
            if pace.warm:
                child.turn(pace.case, pace.warm, skip=0)
    found = {(child.side, pace.case): Series() for child in children for pace in paces[child.side]}
    began = time.monotonic()
    for number in range(rounds):
        if number and time.monotonic() - began > seconds:
            say(f"no more than {number} of {rounds} rounds: they take longer than {seconds:g} s")
            break
        for child in children if number % 2 == 0 else reversed(children):
            for pace in paces[child.side]:
                turn = child.turn(pace.case, pace.steps, pace.skip)
                found[child.side, pace.case].turns.append(turn)
        say(f"round {number + 1} of {rounds}")
    return found
