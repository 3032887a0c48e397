"""How a network that is not trained follows the one that is: a teacher takes on a share of the
model after each step, a target network is copied from it now and then.

The way is small against the parameters, and late in what the network returns. So each side's share
is found from its own numbers, and held against the other's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import EPSILON, Difference
from comparisons.ports.judging.quantities import PortQuantity
from comparisons.ports.side import RecordedStep, Side
from comparisons.ports.teachers.pairs import network_and_name

__all__ = [
    "AFTER", "BEFORE", "OTHERWISE", "REST", "Movement", "Way", "are_alike", "followed",
    "follows_alike", "follows_otherwise", "is_same_end", "is_untrained", "key_of",
    "moved", "movement", "within_the_step",
]  # fmt: skip

OTHERWISE = "it follows the model otherwise"
AFTER, BEFORE = "after", "before"  # the optimiser's step
ROUNDINGS = 2  # of a parameter that is moved
REST = 1e-3  # of a movement, and of a share: what may be left unexplained
APART = 0.05  # of a movement of which one side's is not known
MOST_NUMBERS = 200_000  # that are looked at
ANY = math.nan  # a share that cannot be told, as the model itself has not moved


@dataclass(frozen=True)
class Way:
    """A way in which a parameter may have moved.

    Attributes:
        when: Towards what the model was `after` the optimiser's step, or `before`.
        share: How much of the way.
        room: What rounding may make of it.
        to: The model's parameter.
    """

    when: str
    share: float
    room: float
    to: str

    def is_like(self, other: Way) -> bool:
        if math.isnan(self.share) or math.isnan(other.share):
            return self.when == other.when
        most = max(abs(self.share), abs(other.share))
        near = abs(self.share - other.share) <= self.room + other.room + REST * most
        return near and (self.when == other.when or (self.stays and other.stays))

    @property
    def stays(self) -> bool:
        """Whether no bit has changed."""
        return self.share == 0


def follows_otherwise(step: Inspected, quantity: PortQuantity, difference: Difference) -> str:
    """Why a parameter of a network that is not trained is not the other side's, if that follows the
    model otherwise; empty if it does not, or if that is not known.

    Arguments:
        step: The step.
        quantity: Any of its quantities.
        difference: How far its two sides differ.
    """
    if not is_untrained(step, quantity) or difference.equal or difference.problem:
        return ""
    a, b = (moved(step, quantity, side) for side in (0, 1))
    if a is None or b is None or (are_alike(step, a, b) if a.ways and b.ways else _is_near(a, b)):
        return ""
    return OTHERWISE


def follows_alike(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether both sides' parameters have moved in the same way, each towards its own model."""
    if not is_untrained(step, quantity):
        return False
    a, b = (moved(step, quantity, side) for side in (0, 1))
    return a is not None and b is not None and are_alike(step, a, b)


def are_alike(step: Inspected, a: Movement, b: Movement) -> bool:
    """Whether there is a way in which both sides' parameters may have moved, each towards the
    same parameter of its own model: of two models, a teacher may follow the other one."""
    return any(
        one.is_like(two) and _is_same_model(step, one, two) for one in a.ways for two in b.ways
    )


def _is_same_model(step: Inspected, one: Way, two: Way) -> bool:
    """Whether two ways lead to parameters that belong together, as far as it is told."""
    match = step.parameter_of.get(one.to)
    known = match is not None and any(two.to in other.b for other in step.parameters)
    told = not math.isnan(one.share) and not math.isnan(two.share) and not one.stays
    return match is None or not known or not told or two.to in match.b


def is_untrained(step: Inspected, quantity: PortQuantity) -> bool:
    """Whether a quantity is of a parameter that no optimiser has: of a network of its own, or of
    one within the model, if something else than the step before has moved it."""
    one = quantity.parameter
    if one is None or quantity.passing == "untrained":
        return one is not None
    if quantity.passing != "start" or len(one.a) != 1 or len(one.b) != 1:
        return False
    sides = zip((step.a.side, step.b.side), (one.a[0], one.b[0]), strict=True)
    return not any(
        not side.trained or name in side.trained or _is_left(step, name, at)
        for at, (side, name) in enumerate(sides)
    )


def _is_left(step: Inspected, name: str, side: int) -> bool:
    """Whether a buffer is what the step before left: the network itself has moved it."""
    if step.before is None:
        return True
    left, now = step.before[side].arrays.get(f"buffer/{name}"), (step.a, step.b)[side]
    start = now.arrays.get(f"start/{name}")
    return left is not None and start is not None and np.array_equal(left, start)


@dataclass(frozen=True)
class Movement:
    """How a parameter has moved from one step to the next.

    Attributes:
        change: By how much, as it lies.
        noise: What rounding may make of it.
        ways: In which ways.
    """

    change: NDArray
    noise: float
    ways: list[Way]

    def is_like(self, other: Movement) -> bool:
        """Whether there is a way in which both may have moved."""
        return any(one.is_like(two) for one in self.ways for two in other.ways)


def key_of(quantity: PortQuantity, side: int) -> str:
    return (quantity.key, quantity.key_b)[side]


def moved(step: Inspected, quantity: PortQuantity, side: int) -> Movement | None:
    if step.before is None:
        return None
    now = (step.a, step.b)[side]
    return movement(step.before[side], now, key_of(quantity, side), step.precision)


def movement(before: RecordedStep, now: RecordedStep, key: str, precision: str) -> Movement | None:
    """How a parameter has moved from one step to the next; None if that is not known."""
    if before.about.step != now.about.step - 1:
        return None

    def model(name: str) -> Iterator[tuple[str, NDArray]]:
        after = before.arrays.get(f"parameter/{name}", before.arrays.get(f"buffer/{name}"))
        after = now.arrays.get(f"start/{name}") if after is None else after
        start = before.arrays.get(f"start/{name}")
        if after is not None:
            yield AFTER, after
        if start is not None and (after is None or not np.array_equal(after, start)):
            yield BEFORE, start

    return _change(now.side, key, (before.of_network(key), now.of_network(key)), model, precision)


def within_the_step(step: RecordedStep, name: str, precision: str) -> Movement | None:
    """How a buffer that no stage takes has moved until the optimiser's step was done; None if that
    is not known."""

    def model(other: str) -> Iterator[tuple[str, NDArray]]:
        value = step.arrays.get(f"buffer/{other}")
        if value is not None:
            yield BEFORE, value

    key, left = f"start/{name}", step.arrays.get(f"buffer/{name}")
    if step.takers.get(name):
        return None
    return _change(step.side, key, (step.arrays.get(key), left), model, precision)


def _change(
    side: Side,
    key: str,
    values: tuple[NDArray | None, NDArray | None],
    model: Callable[[str], Iterator[tuple[str, NDArray]]],
    precision: str,
) -> Movement | None:
    """How a parameter has changed from one value to another.

    Arguments:
        side, key: Whose, and which.
        values: Before and after.
        model: Yields when one of the model's parameters had which value.
        precision: The coarsest type of number.
    """
    old, new = values
    if old is None or new is None or old.shape != new.shape:
        return None
    kind = new.dtype.name if new.dtype.name in EPSILON else precision
    epsilon = max(EPSILON[precision], EPSILON[kind])
    start = _flat(old)
    with np.errstate(invalid="ignore"):  # of infinite numbers
        change = _flat(new) - start
    if not np.isfinite(change).all():
        return None
    noise = ROUNDINGS * epsilon * float(np.abs(start).max(initial=0))
    found = Movement(change, noise, [])
    for names in followed(side, key, old.shape):
        for name in names:
            for when, value in model(name):
                way = _way(when, name, start, change, _flat(value), noise)
                if way is not None:
                    found.ways.append(way)
        if found.ways:
            return found  # that of its own name
    if not change.any():
        found.ways.append(Way(AFTER, 0.0, 0.0, ""))
    return found


def _way(
    when: str, name: str, start: NDArray, change: NDArray, model: NDArray, noise: float
) -> Way | None:
    with np.errstate(invalid="ignore"):
        way = model - start
    if not np.isfinite(way).all():
        return None
    most = float(np.abs(change).max(initial=0))
    if float(np.abs(way).max(initial=0)) <= noise:
        return Way(when, ANY, 0.0, name) if most <= noise else None
    square = float((way * way).sum())
    share = float((way * change).sum()) / square
    rest = float(np.abs(change - share * way).max())
    if rest > noise + REST * most or not -REST <= share <= 1 + REST:
        return None
    return Way(when, share, noise / math.sqrt(square / way.size), name)


def followed(side: Side, key: str, shape: tuple[int, ...]) -> list[list[str]]:
    """The model's parameters that it may follow: that of its own name, those of the same end (there
    may be several models), others of its shape."""
    network, own = network_and_name(key)
    shapes = {
        one.name: one.shape
        for one in side.trace.parameters
        if not one.same_as
        and math.prod(one.shape) == math.prod(shape)  # () or (1) is the same
        and (network or one.name != own)
        and (network or one.kind == "buffer" or one.name in side.trained)
    }
    order = {
        name: (name != own, not is_same_end(name, own)) for name, its in shapes.items()
        if its == shape or name == own or is_same_end(name, own)
    }  # fmt: skip
    return [[name for name in order if order[name] == one] for one in sorted({*order.values()})]


def is_same_end(name: str, other: str) -> bool:
    """Whether two parameters have the same name within the networks that they are of."""
    ends = [{one, one.partition(".")[2]} - {""} for one in (name, other)]
    return bool(ends[0] & ends[1])


def _flat(value: NDArray) -> NDArray:
    every = value.size // MOST_NUMBERS + 1
    return value.astype(np.float64).ravel()[::every]


def _is_near(a: Movement, b: Movement) -> bool:
    """Whether two movements, of which one or both are in no way that is known, are about the same;
    of the second case nothing is said."""
    if not a.ways and not b.ways:
        return True
    changes = [np.sort(np.abs(one.change)) for one in (a, b)]  # it may be stored otherwise
    if changes[0].shape != changes[1].shape:
        return True
    most = max(float(one.max(initial=0)) for one in changes)
    apart = float(np.abs(changes[0] - changes[1]).max(initial=0))
    return apart <= max(APART * most, a.noise + b.noise)
