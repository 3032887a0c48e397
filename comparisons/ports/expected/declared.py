"""What two stages, or two optimisers, declare differently, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comparisons.ports.expected.call import REDUCTIONS, by_place, options_of, same_name
from comparisons.ports.expected.indices import same_places
from comparisons.ports.expected.optimisers import OPTIMISERS, plain_settings, usual_settings
from comparisons.ports.expected.table import LAYERS
from pyvae.trace.program import ProgramStage

__all__ = [
    "counted_from",
    "declared_differences",
    "declared_settings",
    "other_setting",
    "shown",
]

FEW, ALL = 15, 17  # digits: 0.001 * 0.9 has a last one that nobody means
# What is said in other words: of buffers, and of a bias that one side lacks
SAID_ELSEWHERE = {"unbiased_running_var", "one_bias"}
PAIRED = {True: "each index with each other one", False: "the indices in pairs"}
COUNTER = "num_batches_tracked"  # of a batch norm, which others than PyTorch do without
NOTHING = object()  # an option of which nothing is known
INDEX_OPTIONS = {"padding_idx", "ignore_index"}
# As the language says it: nothing that is computed depends on them
SAID_ONLY = {"dtype", "device", "memory_format", "inplace", "sparse", "sparse_grad", "mode"}


def declared_differences(
    a: ProgramStage,
    b: ProgramStage,
    index_bases: tuple[int, int] = (0, 0),
    shape: Sequence[int] | None = None,
) -> list[str]:
    """Returns what b declares otherwise than a: `eps = 0.001 where it is 1e-05`.

    An option that one of them leaves out has PyTorch's default; where there is none, nothing is
    said of it. A number for all axes is the same as that number for each.

    Arguments:
        a, b: Stages that ought to compute the same.
        index_bases: From which number each side counts, for options that are an index.
        shape: Of what goes in first, if it is the same: `x[:, 6:]` may be `x[:, 6:12]`.
    """
    functions = LAYERS.get(a.layer), LAYERS.get(b.layer)
    if a.layer != b.layer and (functions[0] is None or functions[0] is not functions[1]):
        return [f"{b.layer} where it is {a.layer}"]
    first, second = _options(a, functions[0]), _options(b, functions[0])
    usual = options_of(functions[0]) if functions[0] is not None else {}
    words = _other_places(a, b, functions[0])
    said = set(by_place(functions[0])) if words and functions[0] is not None else set()
    said -= {name for name in {**first, **second} if isinstance(first.get(name), bool)}
    for name in {**first, **second}:
        if name in said or name in SAID_ELSEWHERE or (name in SAID_ONLY and name not in usual):
            continue
        values = [_value(name, one, usual) for one in (first, second)]
        if NOTHING in values or _same(name, values, index_bases):
            continue
        if same_places(name, a.layer, values, shape):
            continue
        if name == "outer":
            words += _paired(first, second)
            continue
        first_said, second_said = _said(name, values, index_bases)
        words.append(f"{name} = {second_said} where it is {first_said}")
    return [*words, *_roles(a, b, words)]


def _value(name: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> Any:
    """An option as it is given, or PyTorch's default: a pooling's stride is its window."""
    value = given.get(name, usual.get(name, NOTHING))
    return given.get("kernel_size", value) if name == "stride" and value is None else value


def _other_places(
    a: ProgramStage, b: ProgramStage, function: Callable[..., Any] | None
) -> list[str]:
    """That a number is another argument: `sub(1, x)` where it is `sub(x, 1)`, `clamp(x, max = 0)`
    where it is `clamp(x, min = 0)`."""
    if function is None or len(a.inputs) != len(b.inputs):
        return []
    names = by_place(function)
    first, second = (
        {
            name: one
            for name, one in _options(stage, function).items()
            if name in names and isinstance(one, int | float) and not isinstance(one, bool)
        }
        for stage in (a, b)
    )
    if first.keys() == second.keys():
        return []
    known, new = (_as_a_call(a.layer, given, names, len(a.inputs)) for given in (first, second))
    return [f"{new} where it is {known}"]


def _as_a_call(layer: str, given: Mapping[str, Any], names: Sequence[str], tensors: int) -> str:
    """`sub(1, x)`, of a number and a tensor."""
    said = []
    for name in names:
        if name in given:
            plain = name in ("input", "other", "exponent")
            said.append(shown(given[name]) if plain else f"{name} = {shown(given[name])}")
        elif tensors:
            said.append("x")
            tensors -= 1
    return f"{layer}({', '.join(said)})"


def counted_from(index_base: int, options: Mapping[str, Any], own_base: int) -> dict[str, Any]:
    """Options as a language has them that counts from another number.

    Arguments:
        index_base: From what that language counts.
        options: As they were declared.
        own_base: From what those count that are an index.
    """
    return {
        name: value - own_base + index_base
        if name in INDEX_OPTIONS and isinstance(value, int | float) and value >= own_base
        else value
        for name, value in options.items()
    }


def declared_settings(
    kind_a: str, settings_a: Mapping[str, Any], kind_b: str, settings_b: Mapping[str, Any]
) -> list[str]:
    """Returns what the second optimiser declares otherwise than the first, as
    `declared_differences` does for stages."""
    kinds = OPTIMISERS.get(kind_a), OPTIMISERS.get(kind_b)
    if kind_a != kind_b and (kinds[0] is None or kinds[0] is not kinds[1]):
        return [f"optimiser {kind_b} where it is {kind_a}"]
    first, second = plain_settings(settings_a), plain_settings(settings_b)
    usual = usual_settings(kind_a)
    words = []
    for name in {**first, **second}:
        values = [one.get(name, usual.get(name, NOTHING)) for one in (first, second)]
        if NOTHING in values or _same(name, values, (0, 0)):
            continue
        words.append(_other(name, values[1], values[0]))
    return words


def other_setting(name: str, new: Any, known: Any) -> str:
    """Says that one side has another setting; empty if the two are the same.

    Example:
        >>> other_setting("stride", 2, [1, 1])
        'stride = 2 where it is 1'
    """
    if _same(name, [known, new], (0, 0)):
        return ""
    if isinstance(known, list | tuple) and len(set(known)) == 1:  # the same for every axis
        known = known[0]
    return _other(name, new, known)


def _other(name: str, new: Any, known: Any) -> str:
    """Numbers have as many digits as tell them apart."""
    digits = FEW if shown(new, FEW) != shown(known, FEW) else ALL
    return f"{name} = {shown(new, digits)} where it is {shown(known, digits)}"


def _options(stage: ProgramStage, function: Callable[..., Any] | None) -> dict[str, Any]:
    """A stage's options by the names of the table."""
    if function is None:
        return dict(stage.options)
    named = {same_name(function, name): value for name, value in stage.options.items()}
    if isinstance(named.get("reduction"), int | float):
        named["reduction"] = REDUCTIONS.get(named["reduction"], named["reduction"])
    return named


def _paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """That R takes each row with each column, where Python takes one of each."""
    places = [one.get("index", ()) for one in (first, second)]
    if any(sum(p == "tensor" or isinstance(p, list | tuple) for p in one) < 2 for one in places):
        return []
    known, new = (PAIRED[bool(one.get("outer"))] for one in (first, second))
    return [f"it takes {new}, where it takes {known}"]


def _roles(a: ProgramStage, b: ProgramStage, said: list[str]) -> list[str]:
    """Weights that one of them lacks, unless an option says so."""
    words = []
    one_bias = any(stage.options.get("one_bias") for stage in (a, b))
    for role in {**a.parameters, **b.parameters}:
        if one_bias and role.startswith("bias_hh"):
            continue  # said elsewhere, if it is not zero
        if any(one.startswith(f"{role} = ") for one in said):
            continue
        if role == COUNTER and None not in (_momentum(a), _momentum(b)):
            continue  # which is counted, and nothing is computed from it
        if role not in b.parameters:
            words.append(f"no {role} where there is one")
        elif role not in a.parameters:
            words.append(f"{role} where there is none")
    return words


def _momentum(stage: ProgramStage) -> Any:
    return stage.options.get("momentum", 0.1)


def _said(name: str, values: Sequence[Any], index_bases: tuple[int, int]) -> list[str]:
    """Both values in words; an index with what it is counted from, where that is not the same."""
    if name not in INDEX_OPTIONS or len(set(index_bases)) == 1:
        return [shown(value) for value in values]
    return [
        f"{shown(value)} (counted from {base})" if isinstance(value, int | float) else shown(value)
        for value, base in zip(values, index_bases, strict=True)
    ]


def _same(name: str, values: list[Any], index_bases: tuple[int, int]) -> bool:
    first, second = values
    if name in INDEX_OPTIONS and all(isinstance(one, int | float) for one in values):
        # what is negative stands for no index
        first, second = (
            one - base if one >= base else one
            for one, base in zip(values, index_bases, strict=True)
        )
    if isinstance(first, list | tuple) or isinstance(second, list | tuple):
        return _each(first, second) == _each(second, first)
    return _plain(first) == _plain(second)


def _each(value: Any, other: Any) -> Any:
    """A number for every axis that the other value has."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return [_plain(value)] * len(other)


def _plain(value: Any) -> Any:
    """1 and true are not the same; nor are nan and nan, which ought to be."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return "nan"
    return (value,) if isinstance(value, bool) else value


def shown(value: Any, digits: int = ALL) -> str:
    """A value as a reader of either language knows it, with so many digits at most."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"({', '.join(shown(one, digits) for one in value)})"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return repr(int(value))
        return repr(float(f"{value:.{digits}g}"))
    return str(value)
