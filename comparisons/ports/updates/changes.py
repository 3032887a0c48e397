"""What may be done to the gradients of all parameters at once, and what they would be then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import FEWEST, slope
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.ways.candidate import rounded, shown

__all__ = ["ROUND", "Done", "Gradients", "as_bound", "changes", "is_round", "joined", "largest"]

ROUND = 1e-4  # clipping divides by the norm plus 1e-6
Gradients = Mapping[str, Tensor]


@dataclass(frozen=True)
class Done:
    """What one side does to its gradients.

    Attributes:
        kind: `nothing`, or one word for what is done.
        words: As a verb, such as `clips them, all together, to norm 1`.
        number: Its constant.
        names: The parameters whose gradients are changed.
        perhaps: Those in which it would make no difference.
    """

    kind: str
    words: str = ""
    number: float = 0.0
    names: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()

    def is_like(self, other: Done) -> bool:
        """Whether two sides do the same."""
        same = math.isclose(self.number, other.number, rel_tol=ROUND)
        return same and self.kind == other.kind and len(self.names) == len(other.names)


def changes(
    own: Own, left: Gradients, given: Gradients, changed: Sequence[str]
) -> Iterator[tuple[Done, Gradients]]:
    """Yields what may be done to the gradients, and what all would be then; the likeliest first."""
    names = tuple(changed)
    if not any(given[n].any() for n in changed):
        yield Done("zero", "sets them to zero", 0.0, names), _each(torch.zeros_like, left)
        return
    yield from _scaled(left, given, names)
    most = max(largest(given[n]) for n in changed)
    at_bound = sum(int((given[n].abs() >= most * (1 - ROUND)).sum()) for n in changed)
    if at_bound >= FEWEST or is_round(rounded(most)):
        words = f"clips them by value, to {shown(rounded(most))}"
        clamped = _each(lambda x: x.clamp(-most, most), left)
        yield Done("value", words, rounded(most), names), clamped
    yield from _added(own, left, given, names)
    for word, dtype in ROUNDED.items() if own.precision != "float16" else ():
        to = {n: x.to(dtype).to(x.dtype) for n, x in left.items()}
        yield Done("rounded", f"rounds them to {word}", float(dtype.itemsize), names), to
    yield Done("sign", "replaces them by their signs", 0.0, names), _each(torch.sign, left)
    words = "subtracts from them their mean over each row (gradient centralisation)"
    yield Done("centred", words, 0.0, names), _each(_centred, left)


ROUNDED = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=tuple(range(1, x.dim())), keepdim=True) if x.dim() > 1 else x


def _scaled(
    left: Gradients, given: Gradients, names: tuple[str, ...]
) -> Iterator[tuple[Done, Gradients]]:
    """All by one factor, so that their norm is a given one, or each by its own."""
    factor = slope(joined(given, names), joined(left, names))
    if factor is not None:
        new = _each(lambda x: factor * x, left)
        if 0 < factor < 1 and {*names} >= {n for n in left if left[n].any()}:
            yield Done("norm", "", as_bound(float(joined(given).norm())), names), new
        yield Done("factor", "", factor, names), new
    for kind, how, norm_of in NORMS:
        norms = {n: norm_of(given[n]) for n in names}
        bound = max(norms.values())
        if len(names) > 1 and all(math.isclose(x, bound, rel_tol=ROUND) for x in norms.values()):
            each = {n: x * min(1.0, bound / (norm_of(x) or bound)) for n, x in left.items()}
            words = f"clips each parameter's gradient by itself, to {how} {shown(as_bound(bound))}"
            yield Done(kind, words, as_bound(bound), names), each


NORMS = (
    ("each norm", "norm", lambda x: float(x.norm())),
    ("each largest", "a largest element of", lambda x: float(x.abs().max())),
)


def _added(
    own: Own, left: Gradients, given: Gradients, names: tuple[str, ...]
) -> Iterator[tuple[Done, Gradients]]:
    """Weight decay by hand, a constant, noise."""
    arrays = own.step.arrays
    if not all(f"start/{n}" in arrays for n in left):
        return
    start = {n: as_tensor(arrays[f"start/{n}"]).reshape(x.shape) for n, x in left.items()}
    rest = joined({n: given[n] - left[n] for n in names})
    for kind, words, of in (
        ("decay", "adds weight decay {} to them (L2)", start),
        (
            "lasso",
            "adds {} times the signs of the parameters to them (L1)",
            _each(torch.sign, start),
        ),
        ("constant", "adds {} to each of their elements", _each(torch.ones_like, start)),
    ):
        much = slope(rest, joined(of, names))
        if much:
            value = rounded(much)
            new = {n: x + value * of[n] for n, x in left.items()}
            yield Done(kind, words.format(shown(value)), value, names), new
    if _is_noise(rest, (joined(left, names), joined(start, names))):
        sd = float(f"{float(rest.std()):.2g}")
        words = f"changes them, in no known pattern (standard deviation {sd:g})"
        yield Done("noise", words, sd, names), given


LEAST = 100  # numbers of which it can be said that they look like noise
BY_CHANCE = 4.0  # standard errors


def _is_noise(rest: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether numbers are normal ones around zero, that have nothing to do with the others."""
    if rest.numel() < LEAST or not float(rest.std()) > 0:
        return False
    root = math.sqrt(rest.numel())
    x = rest / rest.std()
    if abs(float(x.mean())) > BY_CHANCE / root or abs(float((x**3).mean())) > 10 / root:
        return False
    if abs(float((x**4).mean()) - 3) > 20 / root:
        return False
    for other in others:
        y = other - other.mean()
        spread = float(y.norm())
        if spread and abs(float((x * y).sum())) / spread > BY_CHANCE:
            return False
    return True


def as_bound(norm: float) -> float:
    """A bound, whose norm is off by what clipping adds to it before it divides."""
    near = float(f"{norm:.3g}")
    return near if math.isclose(norm, near, rel_tol=ROUND) else norm


def is_round(number: float) -> bool:
    return number == float(f"{number:.2g}")


def _each(function: Callable[[Tensor], Tensor], values: Gradients) -> dict[str, Tensor]:
    return {name: function(x) for name, x in values.items()}


def joined(values: Gradients, names: Sequence[str] | None = None) -> Tensor:
    return torch.cat([values[n].flatten() for n in (values if names is None else names)])


def largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
