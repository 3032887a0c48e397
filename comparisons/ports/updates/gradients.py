"""What a program does to the gradients of all its parameters between backward and the update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import FEWEST, slope
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.parts import following, optimised
from comparisons.ports.updates.ways.candidates import rounded, shown

__all__ = ["Done", "done_to_gradients"]

REST = 1e-3  # of a change's size: what a name may leave unexplained
ROUND = 1e-4  # clipping divides by the norm plus 1e-6
ROUNDINGS = 16
SEEN = 20.0  # times rounding: a change that is smaller has no name
FURTHER = 3  # recorded steps that tell a norm from a factor
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


def done_to_gradients(own: Own, computed: bool = False) -> Done | None:
    """Finds what a side does to its gradients before the update.

    Arguments:
        own: The side.
        computed: Whether to hold what it recorded against what its layers' backward passes should
            have given, not against what backward left: the recorder did not see both.

    Returns:
        None if it is not known, or nothing explains it.
    """
    pair = _gradients(own, computed)
    if pair is None:
        return None
    left, given = pair
    noise = _noise(own, left, given, computed)
    changed = [n for n in left if not _near(left[n], given[n], noise[n])]
    if not changed:
        return Done("nothing", "does not change them")
    if not any(_largest(left[n] - given[n]) > SEEN * noise[n] for n in changed):
        return None  # rounding is nearly as large
    for done, value in _ways(own, left, given, changed):
        if not _holds(value, given, noise, left, changed):
            continue
        idle = (n for n in left if n not in changed and _near(value[n], left[n], noise[n]))
        found = replace(done, perhaps=tuple(idle))
        return _sure(own, found, computed) if done.kind in ("norm", "factor") else found
    return None


def _gradients(own: Own, computed: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """What backward left, or should have left, and what the optimiser got."""
    arrays = own.step.arrays
    left, given = {}, {}
    for name in optimised(own):
        if f"gradient/{name}" not in arrays:
            continue
        recorded = arrays[f"gradient/{name}"]
        if computed:
            residual = own.backward(name)
            if residual is None or residual.expected.size != recorded.size:
                return None
            left[name] = as_tensor(residual.expected).reshape(recorded.shape)
        else:
            left[name] = as_tensor(recorded)
        given[name] = as_tensor(arrays.get(f"given/{name}", recorded)).reshape(recorded.shape)
    if not left or not all(torch.isfinite(x).all() for x in (*left.values(), *given.values())):
        return None
    return left, given


def _noise(own: Own, left: Gradients, given: Gradients, computed: bool) -> dict[str, float]:
    """What rounding makes of each gradient: computed again, as much as the rule allows."""
    share = own.rtol / 10 if computed else ROUNDINGS * EPSILON[own.precision]
    return {n: share * max(_largest(left[n]), _largest(given[n])) for n in left}


def _near(a: Tensor, b: Tensor, noise: float) -> bool:
    return _largest(a - b) <= noise


def _holds(
    value: Gradients,
    given: Gradients,
    noise: Mapping[str, float],
    left: Gradients,
    changed: Sequence[str],
) -> bool:
    """Whether a way gives what the optimiser got, of every parameter that is changed."""
    return all(
        _near(value[n], given[n], max(noise[n], REST * _largest(left[n] - given[n])))
        for n in changed
    )


def _ways(
    own: Own, left: Gradients, given: Gradients, changed: Sequence[str]
) -> Iterator[tuple[Done, Gradients]]:
    """What may be done to the gradients, and what all would be then; the likeliest first."""
    names = tuple(changed)
    if not any(given[n].any() for n in changed):
        yield Done("zero", "sets them to zero", 0.0, names), _each(torch.zeros_like, left)
        return
    yield from _scaled(left, given, names)
    most = max(_largest(given[n]) for n in changed)
    at_bound = sum(int((given[n].abs() >= most * (1 - ROUND)).sum()) for n in changed)
    if at_bound >= FEWEST or _is_round(rounded(most)):
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
    factor = slope(_joined(given, names), _joined(left, names))
    if factor is not None:
        new = _each(lambda x: factor * x, left)
        if 0 < factor < 1 and {*names} >= {n for n in left if left[n].any()}:
            yield Done("norm", "", _as_bound(float(_joined(given).norm())), names), new
        yield Done("factor", "", factor, names), new
    for kind, how, norm_of in NORMS:
        norms = {n: norm_of(given[n]) for n in names}
        bound = max(norms.values())
        if len(names) > 1 and all(math.isclose(x, bound, rel_tol=ROUND) for x in norms.values()):
            each = {n: x * min(1.0, bound / (norm_of(x) or bound)) for n, x in left.items()}
            words = f"clips each parameter's gradient by itself, to {how} {shown(_as_bound(bound))}"
            yield Done(kind, words, _as_bound(bound), names), each


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
    rest = _joined({n: given[n] - left[n] for n in names})
    for kind, words, of in (
        ("decay", "adds weight decay {} to them (L2)", start),
        (
            "lasso",
            "adds {} times the signs of the parameters to them (L1)",
            _each(torch.sign, start),
        ),
        ("constant", "adds {} to each of their elements", _each(torch.ones_like, start)),
    ):
        much = slope(rest, _joined(of, names))
        if much:
            value = rounded(much)
            new = {n: x + value * of[n] for n, x in left.items()}
            yield Done(kind, words.format(shown(value)), value, names), new
    if _is_noise(rest, (_joined(left, names), _joined(start, names))):
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


def _sure(own: Own, done: Done, computed: bool) -> Done:
    """Whether it is a factor that is the same in further recorded steps, or a norm that is."""
    factors, norms = [], []
    for one in (own, *islice(following(own), FURTHER)):
        pair = _gradients(one, computed)
        if pair is None:
            break
        u, v = (_joined(x, done.names if {*done.names} <= x.keys() else None) for x in pair)
        factor = slope(v, u)
        if factor is None or _largest(factor * u - v) > ROUND * _largest(v):
            break
        factors.append(factor)
        norms.append(float(_joined(pair[1]).norm()))
    number = rounded(factors[0]) if factors else done.number
    bound = _as_bound(norms[0]) if norms else 0.0
    same_factor = all(math.isclose(x, number, rel_tol=ROUND) for x in factors)
    same_norm = done.kind == "norm" and all(
        math.isclose(x, bound, rel_tol=ROUND) or (x < bound and abs(f - 1) <= ROUND)
        for x, f in zip(norms, factors, strict=True)
    )
    scaled = f"multiplies them by {_factor(own, number)}"
    clipped = f"clips them, all together, to norm {shown(bound)}"
    if same_norm and (not same_factor or (len(factors) == 1 and _is_round(bound))):
        return replace(done, kind="norm", words=clipped, number=bound)
    if same_factor and same_norm:
        scaled += f", or {clipped} (a further recorded step would tell the two apart)"
    elif not same_factor:
        scaled += " (in other steps by another number)"
    return replace(done, kind="factor", words=scaled, number=number)


def _as_bound(norm: float) -> float:
    """A bound, whose norm is off by what clipping adds to it before it divides."""
    near = float(f"{norm:.3g}")
    return near if math.isclose(norm, near, rel_tol=ROUND) else norm


def _is_round(number: float) -> bool:
    return number == float(f"{number:.2g}")


def _factor(own: Own, factor: float) -> str:
    """A factor, with the number that it may come from."""
    arrays = own.step.arrays
    times = sum(key.startswith("loss/backward.") for key in arrays)
    sizes = {}
    if times > 1:
        sizes["the number of backward passes"] = times
    for stage in own.step.network:
        value = arrays.get(f"forward/{stage.name}")
        if stage.layer in ("input", "draw") and value is not None and value.ndim:
            sizes.setdefault("the batch size", value.shape[0])
            break
    for what, size in sizes.items():
        if size > 1 and math.isclose(factor * size, 1, rel_tol=ROUND):
            return f"1/{size} ({what})"
        if size > 1 and math.isclose(factor, size, rel_tol=ROUND):
            return f"{size} ({what})"
    return f"{factor:.6g}"


def _each(function: Callable[[Tensor], Tensor], values: Gradients) -> dict[str, Tensor]:
    return {name: function(x) for name, x in values.items()}


def _joined(values: Gradients, names: Sequence[str] | None = None) -> Tensor:
    return torch.cat([values[n].flatten() for n in (values if names is None else names)])


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
