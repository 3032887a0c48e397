"""Which mistakes explain what an optimiser made of all parameters, in this step and the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from comparisons.ports.expected.update import Update
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.parts import Part, following, optimised, part_of
from comparisons.ports.updates.ways.candidate import Candidate
from comparisons.ports.updates.ways.candidates import candidates
from comparisons.ports.updates.ways.moments import other_states

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
        perhaps: Those in which it would make no difference.
        alone: Whether others of the optimiser's are right.
        confirmed: Whether a further recorded step has it, too.
        fitted: Whether its constant was another one in that step.
        rest: What it leaves unexplained of the parameter that was asked for.
    """

    words: str
    names: tuple[str, ...]
    perhaps: tuple[str, ...] = ()
    alone: bool = False
    confirmed: bool = False
    fitted: bool = False
    rest: float = 0.0


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
        if one is not None:
            found.append(replace(one, rest=_rest(candidate, part)))
    found = _nearest(found)
    if any(one.confirmed and not one.fitted for one in found):
        found = [one for one in found if one.confirmed and not one.fitted]
    return found


def _nearest(found: list[Explained]) -> list[Explained]:
    """Of several values of one setting the one that leaves least unexplained."""
    best: dict[str, Explained] = {}
    for one in found:
        setting, equals, _ = one.words.partition(" = ")
        setting = setting if equals else one.words
        if setting not in best or one.rest < best[setting].rest:
            best[setting] = one
    return list(best.values())


def _rest(candidate: Candidate, part: Part) -> float:
    made = candidate.way(part)
    return math.inf if made is None else _distance(made.parameter, part.parameter)


def _is_of(candidate: Candidate, part: Part, key: str) -> bool:
    """Whether it explains the parameter's own update."""
    made = candidate.way(part)
    return made is not None and (not key or key in made.state) and _held(made, part) == EXPLAINS


def _explained(own: Own, candidate: Candidate, names: Sequence[str]) -> Explained | None:
    """The mistake, if every parameter has it or is right, and further steps do not contradict."""
    seen: dict[str, list[str]] = {EXPLAINS: [], RIGHT: [], NEITHER: []}
    state = {}
    for name in names:
        part = part_of(own, name)
        if part is None:
            continue
        made, how = _tried(candidate, part)
        if how not in seen:
            return None
        seen[how].append(name)
        if candidate.carries and made is not None:
            state[name] = made.state
    confirmed = fitted = False
    for later in islice(following(own), FURTHER):
        how, other = _in_step(later, candidate, seen[EXPLAINS], state)
        if how == WRONG or (how == RIGHT and not (candidate.once or candidate.refit)):
            return None
        confirmed, fitted = confirmed or how == EXPLAINS, fitted or other
    if candidate.unsure and not confirmed:
        return None
    have, right, neither = (tuple(seen[how]) for how in (EXPLAINS, RIGHT, NEITHER))
    return Explained(candidate.words, have, neither, bool(right), confirmed, fitted)


def _in_step(
    own: Own, candidate: Candidate, names: Sequence[str], state: dict[str, dict[str, Tensor]]
) -> tuple[str, bool]:
    """How a candidate does in a further step, for the parameters that it explained, and whether it
    takes another constant."""
    seen, fitted = set(), False
    refit = candidate.refit
    parts = {name: part_of(own, name, state.get(name)) for name in names}
    known = [part for part in parts.values() if part is not None]
    for name, part in parts.items():
        if part is None:
            continue
        made, how = _tried(candidate, part)
        if refit is not None and how in (WRONG, RIGHT):
            fitted = True
            # of a bias of two numbers no constant can be told: that of another parameter holds
            again = next(filter(None, map(refit, (part, *known))), None)
            how = _tried(again, part)[1] if again is not None else how
        if name in state and made is not None:
            state[name] = made.state
        seen.add(how)
    return next((how for how in (WRONG, RIGHT, EXPLAINS) if how in seen), UNKNOWN), fitted


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
        if key == "step" and torch.equal(part.right.state[key], made.state[key]):
            continue  # which some count that others do not
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
