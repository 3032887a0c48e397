"""What a program does to the gradients of all its parameters between backward and the update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from comparisons.diagnosis.mistakes import slope
from comparisons.ports.expected.recompute import as_tensor
from comparisons.ports.judging.judged import EPSILON
from comparisons.ports.judging.own import Own
from comparisons.ports.updates.candidates import rounded, shown
from comparisons.ports.updates.parts import following, optimised

__all__ = ["Done", "done_to_gradients"]

REST = 1e-3  # of a change's size: what a name may leave unexplained
ROUND = 1e-4  # clipping divides by the norm plus 1e-6
ROUNDINGS = 16
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
    """

    kind: str
    words: str = ""
    number: float = 0.0
    names: tuple[str, ...] = field(default=())

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
    found = [one for one in _ways(own, left, given, changed) if _holds(one[1], given, noise, left)]
    names = {done.kind: done for done, _ in found}
    if not names:
        return None
    first = next(iter(names.values()))
    return _sure(own, first, computed) if first.kind in ("norm", "factor") else first


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


def _holds(value: Gradients, given: Gradients, noise: Mapping[str, float], left: Gradients) -> bool:
    """Whether a way gives what the optimiser got, of every parameter."""
    return all(
        _near(value[n], given[n], max(noise[n], REST * _largest(left[n] - given[n])))
        for n in given
    )  # fmt: skip


def _ways(
    own: Own, left: Gradients, given: Gradients, changed: Sequence[str]
) -> Iterator[tuple[Done, Gradients]]:
    """What may be done to the gradients, and what they would be then; the likeliest first."""
    names, some = tuple(changed), {n: left[n] for n in changed}

    def with_rest(new: Gradients) -> Gradients:
        return {**left, **new}

    if not any(given[n].any() for n in changed):
        yield (
            Done("zero", "sets them to zero", 0.0, names),
            with_rest(_each(torch.zeros_like, some)),
        )
        return
    yield from ((done, with_rest(new)) for done, new in _scaled(own, some, left, given, names))
    most = max(_largest(given[n]) for n in changed)
    yield (
        Done("value", f"clips them by value, to {shown(rounded(most))}", rounded(most), names),
        with_rest(_each(lambda x: x.clamp(-most, most), some)),
    )
    yield from ((done, with_rest(new)) for done, new in _added(own, some, given, names))
    if own.precision != "float16":
        for word, dtype in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
            to = _each(lambda x, dtype=dtype: x.to(dtype).to(x.dtype), some)
            yield (
                Done("rounded", f"rounds them to {word}", float(dtype.itemsize), names),
                with_rest(to),
            )
    yield (
        Done("sign", "replaces them by their signs", 0.0, names),
        with_rest(_each(torch.sign, some)),
    )
    centred = {n: x - x.mean(dim=tuple(range(1, x.dim())), keepdim=True) if x.dim() > 1 else x
               for n, x in some.items()}  # fmt: skip
    yield (
        Done(
            "centred",
            "subtracts from them their mean over each row (gradient centralisation)",
            0,
            names,
        ),
        with_rest(centred),
    )


def _scaled(
    own: Own, some: Gradients, left: Gradients, given: Gradients, names: tuple[str, ...]
) -> Iterator[tuple[Done, Gradients]]:
    """All by one factor, so that their norm is a given one, or each by its own."""
    u, v = _joined(some), torch.cat([given[n].flatten() for n in some])
    factor = slope(v, u)
    if factor is not None:
        new = _each(lambda x: factor * x, some)
        norm = float(torch.cat([x.flatten() for x in given.values()]).norm())
        if 0 < factor < 1 and set(names) >= {n for n in left if left[n].any()}:
            yield Done("norm", "", _as_bound(norm), names), new
        yield Done("factor", "", factor, names), new
    for kind, how, norm_of in NORMS:
        norms = {n: norm_of(given[n]) for n in some}
        bound = max(norms.values())
        if len(names) > 1 and all(math.isclose(x, bound, rel_tol=ROUND) for x in norms.values()):
            each = {n: x * (bound / norm_of(x)) for n, x in some.items() if x.any()}
            words = f"clips each parameter's gradient by itself, to {how} {shown(_as_bound(bound))}"
            yield Done(kind, words, _as_bound(bound), names), {**some, **each}


NORMS = (
    ("each norm", "norm", lambda x: float(x.norm())),
    ("each largest", "a largest element of", lambda x: float(x.abs().max())),
)


def _added(
    own: Own, some: Gradients, given: Gradients, names: tuple[str, ...]
) -> Iterator[tuple[Done, Gradients]]:
    """Weight decay by hand, a constant, noise."""
    arrays = own.step.arrays
    if not all(f"start/{n}" in arrays for n in some):
        return
    start = {n: as_tensor(arrays[f"start/{n}"]).reshape(some[n].shape) for n in some}
    rest = torch.cat([(given[n] - some[n]).flatten() for n in some])
    for kind, words, of in (
        ("decay", "adds weight decay {} to them (L2)", start),
        (
            "lasso",
            "adds {} times the signs of the parameters to them (L1)",
            _each(torch.sign, start),
        ),
        ("constant", "adds {} to each of their elements", _each(torch.ones_like, start)),
    ):
        much = slope(rest, _joined(of))
        if much:
            value = rounded(much)
            new = {n: some[n] + value * of[n] for n in some}
            yield Done(kind, words.format(shown(value)), value, names), new
    theta = _joined(start)
    if _is_noise(rest, (_joined(some), theta)):
        sd = float(f"{float(rest.std()):.2g}")
        words = f"adds what looks like noise to them (standard deviation {sd:g})"
        yield Done("noise", words, sd, names), {n: given[n] for n in some}


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
    """Whether a factor is the same in further recorded steps, or the norm is."""
    factor, bound = done, _as_bound_of(own, computed)
    pair = _gradients(own, computed)
    if pair is None:
        return done
    number = slope(_joined(pair[1]), _joined(pair[0])) if done.kind == "norm" else done.number
    number = rounded(number or done.number)
    factors, norms = [number], [bound]
    for later in islice(following(own), FURTHER):
        further = _gradients(later, computed)
        if further is None:
            break
        u, v = (_joined(x) for x in further)
        one = slope(v, u)
        if one is None or _largest(one * u - v) > 1e-4 * _largest(v):
            break
        factors.append(one)
        norms.append(float(v.norm()) if abs(one - 1) > ROUND else min(bound, float(v.norm())))
    same_factor = all(math.isclose(x, number, rel_tol=ROUND) for x in factors)
    same_norm = done.kind == "norm" and all(
        math.isclose(x, bound, rel_tol=ROUND) or (x < bound and abs(f - 1) <= ROUND)
        for x, f in zip(norms, factors, strict=True)
    )
    scaled = f"multiplies them by {_factor(own, number)}"
    clipped = f"clips them, all together, to norm {shown(bound)}"
    if same_norm and (not same_factor or (len(factors) == 1 and _is_round(bound))):
        return Done("norm", clipped, bound, factor.names)
    if same_factor and not same_norm:
        return Done("factor", scaled, number, factor.names)
    if same_factor:
        either = f"{scaled}, or {clipped} (a further recorded step would tell the two apart)"
        return Done("factor", either, number, factor.names)
    return Done("factor", f"{scaled} (in other steps by another number)", number, factor.names)


def _as_bound_of(own: Own, computed: bool) -> float:
    pair = _gradients(own, computed)
    return 0.0 if pair is None else _as_bound(float(_joined(pair[1]).norm()))


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
        if stage.layer == "input" and value is not None and value.ndim:
            sizes.setdefault("the batch size", value.shape[0])
            break
    for what, size in sizes.items():
        if size > 1 and math.isclose(factor * size, 1, rel_tol=ROUND):
            return f"1/{size} ({what})"
        if size > 1 and math.isclose(factor, size, rel_tol=ROUND):
            return f"{size} ({what})"
    return f"{factor:.6g}"


def _each(function, values: Gradients) -> dict[str, Tensor]:
    return {name: function(x) for name, x in values.items()}


def _joined(values: Gradients) -> Tensor:
    return torch.cat([x.flatten() for x in values.values()])


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0
