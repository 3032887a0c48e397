"""A layer of one side that the other side writes out, with a mistake in it.

`norm (layer_norm)` against `mean`, `sub`, `pow`, ...: neither side is wrong by what it declares.
But if the layer with a mistake returns what the other side's stages do, they compute that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from comparisons.ports.expected.declared import declared_differences
from comparisons.ports.expected.recompute import recompute
from comparisons.ports.judging.alone.chains import Chains
from comparisons.ports.judging.inspected import Inspected
from comparisons.ports.judging.judged import Judged, difference_of
from comparisons.ports.judging.own import Own
from comparisons.ports.matching.kinds import family, is_module
from comparisons.ports.matching.matched import StageMatch
from comparisons.ports.mistakes.attempts import attempts
from comparisons.ports.mistakes.fit import Value, fitting, holding, joined
from pyvae.trace.program import ProgramStage

__all__ = ["Written", "names_as", "said", "written_out"]


@dataclass(frozen=True)
class Written:
    """A layer of one side, and a value after it which the other side computes by other stages.

    Attributes:
        stage: The layer.
        side: Whose it is.
        names: The value on both sides.
    """

    stage: ProgramStage
    side: int
    names: tuple[str, str]

    def right(self, chains: Chains) -> NDArray | None:
        """What the value would be with the layer."""
        if chains.is_alone(self.names[self.side]):
            return chains.value(self.names[self.side])
        arrays = chains.arrays(self.stage)
        found = None if arrays is None else recompute(self.stage, arrays, base_of(chains))
        value = None if found is None else found.outputs.get(self.names[self.side])
        return None if value is None else value.numpy()

    def values(self, chains: Chains, there: NDArray) -> Iterator[Value]:
        """What the value would be with each mistake in the layer.

        Arguments:
            chains: Of its side.
            there: The other side's value, to which constants are fitted.
        """
        name, arrays = self.names[self.side], chains.arrays(self.stage)
        if arrays is None:
            return
        if self.stage.outputs == (name,):
            arrays[f"forward/{name}"] = there
        for words, done in attempts(self.stage, arrays, base_of(chains)):
            outputs = {one: value.numpy() for one, value in done.outputs.items()}
            value = outputs.get(name)
            if value is None:
                value = chains.value_with(name, outputs)
            if value is not None:
                yield words, value


def base_of(chains: Chains) -> int:
    return chains.own.side.trace.index_base


def written_out(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields the mistakes that the stages of one side make of a layer of the other side, whose
    values agree before them.

    Arguments:
        step: The step.
        judged: Its first quantity that parts: a stage after them, or the loss.
    """
    for one in _layers(step, judged):
        found = names_as(step, one)
        if found:
            then = "" if step.following is not None else f"step {judged.step + 1}"
            yield said(step, one, joined(found, then), "in what it has for")
            return


def said(step: Inspected, one: Written, words: str, place: str) -> str:
    """A difference of a layer and what the other side has in its place, as one of the second side,
    which is the one that is judged.

    Arguments:
        step: The step.
        one: The layer, and whose it is.
        words: What the side without it makes of it.
        place: What stands before the layer's name, if the second side is without it.
    """
    paper, port = step.names
    layer = stage_name(one.stage)
    if one.side == 0:
        return f"{port}: {words} ({place} {layer})"
    setting = re.fullmatch(r"(\w+) = (\S+) where it is (\S+)", words)
    if setting:
        option, there, here = setting.groups()
        return f"{port}: {layer} has {option} = {here} where {paper}'s own stages have {there}"
    return f"{port}: has {layer} where {paper}'s own stages compute it with a difference: {words}"


def stage_name(stage: ProgramStage) -> str:
    """A stage's name and layer; once, if the two are one."""
    return f"{stage.name}, {stage.layer}" if is_module(stage) else stage.name


def _layers(step: Inspected, judged: Judged) -> Iterator[Written]:
    """The layers that one side alone has before the place, and the one at the place itself, if the
    other side has further stages before it."""
    quantity = judged.quantity
    pairs: list[tuple[str, str]] = []
    if quantity.passing == "loss":
        pairs = [(step.own[0].loss, step.own[1].loss)]
    elif quantity.passing == "forward" and quantity.stage is not None:
        pairs = _taken(quantity.stage)
    parted = [names for names in pairs if step.network.values.get(names[0]) != names[1]]
    for names in parted:
        if _is_alone(step, 0, names) and _is_alone(step, 1, names):
            for side in (0, 1):
                for stage in step.chains[side].stages(names[side]):
                    yield Written(stage, side, names)
    pair = quantity.stage
    if pair is None or quantity.passing != "forward":
        return
    if family(pair.a.layer) == family(pair.b.layer):
        for side, stage in enumerate((pair.a, pair.b)):
            further = [names for names in parted if _is_alone(step, 1 - side, names)]
            if any(_is_alone(step, side, names) for names in parted):
                continue
            if further and _differ_themselves(step, pair, further):
                yield Written(stage, side, quantity.value)


def _differ_themselves(step: Inspected, pair: StageMatch, further: list[tuple[str, str]]) -> bool:
    """Whether stages differ by more than by what goes into them: by their options, or by what is
    done to their weights."""
    weights = {*pair.a.parameters.values()}
    bases = step.a.side.trace.index_base, step.b.side.trace.index_base
    otherwise = declared_differences(pair.a, pair.b, bases)
    return any(one in weights for one, _ in further) or bool(otherwise)


def _taken(pair: StageMatch) -> list[tuple[str, str]]:
    """What two stages take, by its place."""
    found = list(zip(pair.a.inputs, pair.b.inputs, strict=False))
    roles = pair.a.parameters.keys() & pair.b.parameters.keys()
    return found + [(pair.a.parameters[role], pair.b.parameters[role]) for role in sorted(roles)]


def _is_alone(step: Inspected, side: int, names: tuple[str, str]) -> bool:
    return step.chains[side].is_alone(names[side])


def names_as(step: Inspected, one: Written) -> list[str]:
    """The mistakes in a layer that make of the other side's values what the other side has."""
    written, chains = 1 - one.side, step.chains[one.side]
    there = (step.a, step.b)[written].value(one.names[written])
    right = one.right(chains)
    if right is None or there is None or difference_of(right, there).needed <= step.rtol:
        return []
    own = step.own[written]
    found = fitting(there, right, one.values(chains, there), own.precision, own.rtol)
    if not found or step.following is None:
        return found
    return _holding(step, one, found, own, step.following)


def _holding(
    step: Inspected, one: Written, found: list[str], own: Own, following: tuple[Own, Own]
) -> list[str]:
    """Those names that hold in the next step, too."""
    later = Chains.of_both(
        following[0].step, following[1].step, step.network, list(step.parameters)
    )[one.side]
    if any(name not in later.partners for name in one.stage.parameters.values()):
        return found  # the two go on from weights of which nobody knows whether they are the same
    expected = one.right(later)
    there = following[1 - one.side].step.value(one.names[1 - one.side])
    if expected is None or there is None:
        return found
    allowed = own.rtol * float(abs(there).max(initial=0))
    return holding(found, there, expected, one.values(later, there), own.precision, allowed)
