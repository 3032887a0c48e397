"""Which parameters of networks that are used and not trained belong together: of teachers, target
networks, frozen backbones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from numpy.typing import NDArray

from comparisons.ports.matching.layouts import SAME_LAYOUT, Layout, find_layout
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import Side

__all__ = ["match_untrained", "network_and_name"]

UNTRAINED = "untrained/"
NOTHING = (0, 0, False)  # that two networks have in common
OF_MODEL = "start/"  # of one that is a part of the recorded model


def network_and_name(key: str) -> tuple[str, str]:
    """The network and the parameter's name in it, of an entry `untrained/NETWORK/NAME`; the network
    is empty if it is a part of the recorded model (`start/NAME`).

    Example:
        >>> network_and_name("untrained/teacher/fc.weight"), network_and_name("start/ema.fc.weight")
        (('teacher', 'fc.weight'), ('', 'ema.fc.weight'))
    """
    kind, _, rest = key.partition("/")
    if f"{kind}/" != UNTRAINED:
        return "", rest
    network, _, name = rest.partition("/")
    return network, name


def match_untrained(a: Side, b: Side, parameters: Sequence[ParameterMatch]) -> list[ParameterMatch]:
    """Finds which parameters of networks that are not trained belong together.

    Arguments:
        a, b: Both sides.
        parameters: What belongs together of the recorded models.

    Returns:
        Matches whose names are entries of a step's file.
    """
    if not a.untrained and not b.untrained:
        return []
    groups = [_groups(side, parameters, at) for at, side in enumerate((a, b))]
    renamed = {one.a[0]: one for one in parameters if len(one.a) == len(one.b) == 1}
    scored = [
        (_alike(one, two, renamed), -i, -j)
        for i, one in enumerate(groups[0])
        for j, two in enumerate(groups[1])
        if one.network or two.network
    ]
    found: dict[str, ParameterMatch] = {}
    taken: set[str] = set()
    done: tuple[set[int], set[int]] = set(), set()
    for score, i, j in sorted(scored, reverse=True):
        if score == NOTHING or i in done[0] or j in done[1]:
            continue
        done[0].add(i)
        done[1].add(j)
        for match in _pairs(groups[0][-i], groups[1][-j], renamed):
            if match.a[0] not in found and match.b[0] not in taken:
                found[match.a[0]] = match
                taken.add(match.b[0])
    order = [key for group in groups[0] for key in group.keys]
    return sorted(found.values(), key=lambda one: order.index(one.a[0]))


@dataclass(frozen=True)
class _Group:
    """A network of one side.

    Attributes:
        side: Whose.
        network: Its name; empty of the recorded model's parameters that are not trained and have no
            partner.
        keys: Its parameters' entries.
    """

    side: Side
    network: str
    keys: Sequence[str]

    @cached_property
    def values(self) -> dict[str, NDArray]:
        """What they are where they are first recorded."""
        trace = self.side.trace
        steps = self.side.untrained
        return {
            key: trace.stored(steps[key][0] if key in steps else trace.steps[0].step)[key]
            for key in self.keys
        }

    @cached_property
    def by_name(self) -> dict[str, str]:
        return {network_and_name(key)[1]: key for key in self.keys}


def _groups(side: Side, parameters: Sequence[ParameterMatch], at: int) -> list[_Group]:
    networks: dict[str, list[str]] = {}
    for key in side.untrained:
        networks.setdefault(network_and_name(key)[0], []).append(key)
    partners = {name for one in parameters for name in (one.a, one.b)[at]}
    first = side.trace.stored(side.trace.steps[0].step)
    alone = [
        f"{OF_MODEL}{one.name}"
        for one in side.trace.parameters
        if not one.same_as and one.name not in partners | side.trained
    ]
    found = [_Group(side, network, keys) for network, keys in networks.items()]
    return [*found, _Group(side, "", [key for key in alone if key in first])]


Renamed = Mapping[str, ParameterMatch]


def _alike(one: _Group, two: _Group, renamed: Renamed) -> tuple[int, int, bool]:
    """How many parameters have the same numbers, those of one name first; how many of one name have
    the same size; and whether the networks have as many parameters of each size."""
    pairs = dict(_by_name(one, two, renamed))
    values = [(one.values[x], two.values[y]) for x, y in pairs.items()]
    same = sum(find_layout(x, y) is not None for x, y in values)
    left = [key for key in two.keys if key not in pairs.values()]
    for x in (one.values[key] for key in one.keys if key not in pairs):
        equal = [key for key in left if find_layout(x, two.values[key]) is not None]
        if equal:
            left.remove(equal[0])
            same += 1
    sizes = [sorted(value.size for value in group.values.values()) for group in (one, two)]
    return same, sum(x.size == y.size for x, y in values), sizes[0] == sizes[1]


def _by_name(one: _Group, two: _Group, renamed: Renamed) -> Iterator[tuple[str, str]]:
    """Pairs of the same name, or of the names that the trained model's parameters have; within a
    model that has the network as a part, what comes after the part's name."""
    ends: dict[str, str] = {}
    for name, key in two.by_name.items():
        for end in _ends(name, two.network):
            ends.setdefault(end, key)
    for name, key in one.by_name.items():
        for end in _ends(name, one.network):
            other = renamed[end].b[0] if end in renamed else end
            if other in ends or end in ends:
                yield key, ends.get(other) or ends[end]
                break


def _ends(name: str, network: str) -> Iterator[str]:
    yield name
    while not network and "." in name:
        name = name.partition(".")[2]
        yield name


def _pairs(one: _Group, two: _Group, renamed: Renamed) -> Iterator[ParameterMatch]:
    left = dict.fromkeys(two.keys)
    rest = []
    named = dict(_by_name(one, two, renamed))
    for key in one.keys:
        other = named.get(key)
        if other in left and one.values[key].size == two.values[other].size:
            del left[other]
            yield _match(one, two, key, other, "name", renamed)
        else:
            rest.append(key)
    for how in ("value", "order"):
        for key in list(rest):
            x = one.values[key]
            fits = [k for k in left if two.values[k].size == x.size]
            if how == "value":
                fits = [k for k in fits if find_layout(x, two.values[k]) is not None]
                fits = fits if len(fits) == 1 else []
            if fits and ((one.network and two.network) or how == "value"):
                del left[fits[0]]
                rest.remove(key)
                yield _match(one, two, key, fits[0], how, renamed)


def _match(
    one: _Group, two: _Group, key: str, other: str, how: str, renamed: Renamed
) -> ParameterMatch:
    layout = find_layout(one.values[key], two.values[other])
    if layout is None:
        student = renamed.get(network_and_name(key)[1])
        layout = SAME_LAYOUT if student is None else student.layout
    if layout is SAME_LAYOUT and one.values[key].shape != two.values[other].shape:
        layout = Layout(reshaped=True)
    return ParameterMatch((key,), (other,), how, layout, kind="untrained")
