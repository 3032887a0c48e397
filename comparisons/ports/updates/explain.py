"""Which mistakes explain what an optimiser made of all its parameters, in this step and the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from comparisons.ports.expected.update import Update
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.candidates import Candidate, candidates
from comparisons.ports.updates.moments import other_states
from comparisons.ports.updates.parts import Part, following, optimised, part_of

__all__ = ["Explained", "explain"]

REST = 1e-3  # of a mistake's size: what a name may leave unexplained
SEEN = 20.0  # times rounding: a mistake that is smaller tells no two names apart
FURTHER = 2  # recorded steps in which a name has to hold as well
EXPLAINS, RIGHT, NEITHER, WRONG, UNKNOWN = "explains", "right", "neither", "wrong", "unknown"


@dataclass(frozen=True)
class Explained:
    """A mistake that explains an update.

    Attributes:
        words: What it is.
        names: The parameters that have it.
        alone: Whether others of the optimiser's are right.
        confirmed: Whether a further recorded step has it, too.
    """

    words: str
    names: tuple[str, ...]
    alone: bool
    confirmed: bool


def explain(own: Own, name: str, key: str = "") -> list[Explained]:
    """Finds the mistakes that explain all that an optimiser made of a step.

    Arguments:
        own: What the side should have made of it.
        name: A parameter of which it did not.
        key: What of its state is not what it should be; empty for the parameter itself.
    """
    part = part_of(own, name)
    if part is None:
        return []
    found: list[Explained] = []
    names = [name, *(one for one in optimised(own) if one != name)]
    tried: set[str] = set()
    for candidate in (*other_states(part), *candidates(part)):
        if candidate.words in tried or not _is_of(candidate, part, key):
            continue
        tried.add(candidate.words)
        one = _explained(own, candidate, names)
        found += [one] if one is not None else []
    return found


def _is_of(candidate: Candidate, part: Part, key: str) -> bool:
    """Whether it explains the parameter's own update."""
    made = candidate.way(part)
    return made is not None and (not key or key in made.state) and _held(made, part) == EXPLAINS


def _explained(own: Own, candidate: Candidate, names: Sequence[str]) -> Explained | None:
    have, right, state = [], 0, {}
    for name in names:
        part = part_of(own, name)
        if part is None:
            continue
        made, how = _tried(candidate, part)
        if how in (WRONG, UNKNOWN):
            return None
        have += [name] if how == EXPLAINS else []
        right += how == RIGHT
        if candidate.carries and made is not None:
            state[name] = made.state
    confirmed = False
    for later in islice(following(own), FURTHER):
        how = _in_step(later, candidate, have, state)
        if how == WRONG or (how == RIGHT and not (candidate.once or candidate.refit)):
            return None
        confirmed = confirmed or how == EXPLAINS
    if candidate.unsure and not confirmed:
        return None
    return Explained(candidate.words, tuple(have), right > 0, confirmed)


def _in_step(
    own: Own, candidate: Candidate, names: Sequence[str], state: dict[str, dict[str, Tensor]]
) -> str:
    """How a candidate does in a further step, for the parameters that it explained."""
    seen = set()
    for name in names:
        part = part_of(own, name)
        if part is None:
            continue
        if name in state:
            part = replace(part, before=state[name])
        one: Candidate | None = candidate
        if candidate.refit is not None and _held(candidate.way(part), part) == WRONG:
            one = candidate.refit(part)
        made, how = (None, WRONG) if one is None else _tried(one, part)
        if one is None and _held(part.right, part) == NEITHER:
            how = RIGHT
        if name in state and made is not None:
            state[name] = made.state
        seen.add(how)
    return next((how for how in (WRONG, RIGHT, EXPLAINS) if how in seen), UNKNOWN)


def _tried(candidate: Candidate, part: Part) -> tuple[Update | None, str]:
    """What a candidate makes of a part, and how that compares with what was recorded."""
    made = candidate.way(part)
    how = _held(made, part)
    if how in (WRONG, UNKNOWN) and _held(part.right, part) == NEITHER:
        return made, RIGHT
    return made, how


def _held(made: Update | None, part: Part) -> str:
    """How an update compares with what was recorded: it explains what is not right; or is neither
    here nor there, because the right one is as near; or is not what was recorded."""
    if made is None:
        return UNKNOWN
    pairs = [(part.parameter, part.right.parameter, made.parameter, part.noise)]
    for key in part.state.keys() & part.right.state.keys() & made.state.keys():
        if part.state[key].shape == made.state[key].shape == part.right.state[key].shape:
            pairs.append(
                (part.state[key], part.right.state[key], made.state[key], part.state_noise(key))
            )
    found = NEITHER
    for recorded, right, value, noise in pairs:
        size, rest = _distance(right, recorded), _distance(value, recorded)
        if not rest <= max(REST * size, noise):
            return WRONG
        if size > SEEN * noise:
            found = EXPLAINS
    return found


def _distance(a: Tensor, b: Tensor) -> float:
    if torch.equal(a, b):
        return 0.0
    bad = ~(torch.isfinite(a) & torch.isfinite(b))
    if bad.any():
        return float("inf")
    return float((a - b).abs().max()) if a.numel() else 0.0


def parts(own: Own) -> Iterator[Part]:
    """Yields every parameter's update, as far as it is known."""
    for name in optimised(own):
        part = part_of(own, name)
        if part is not None:
            yield part
