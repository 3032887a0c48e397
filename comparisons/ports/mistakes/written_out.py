"""A layer of one side that the other side writes out, with a mistake in it.

`norm (layer_norm)` against `mean`, `sub`, `pow`, ...: neither side is wrong by what it declares.
But if the layer with a mistake returns what the other side's stages do, they compute that.
"""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import NDArray

from comparisons.ports.judging.chains import Chains
from comparisons.ports.judging.judge import Inspected
from comparisons.ports.judging.judged import Judged, difference_of
from comparisons.ports.mistakes.attempts import attempts
from comparisons.ports.mistakes.fit import Value, fitting, holding, joined
from pyvae.trace.program import ProgramStage

__all__ = ["written_out"]


def written_out(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields the mistakes that the stages of one side make of a layer of the other side, whose
    values agree before them.

    Arguments:
        step: The step.
        judged: Its first quantity that parts: a stage after them, or the loss.
    """
    for names in _parted(step, judged):
        for layer_side in (0, 1):
            chains, written = step.chains[layer_side], 1 - layer_side
            if not chains.is_alone(names[layer_side]):
                continue
            for stage in chains.stages(names[layer_side]):
                found = _named(step, stage, layer_side, names)
                if found:
                    then = "" if step.following is not None else f"step {judged.step + 1}"
                    yield (
                        f"{step.names[written]}: {joined(found, then)} "
                        f"(in what it has for {stage.name}, {stage.layer})"
                    )
                    return


def _parted(step: Inspected, judged: Judged) -> Iterator[tuple[str, str]]:
    """The values that belong together by where they are taken, and were computed by other stages
    on both sides."""
    quantity = judged.quantity
    if quantity.passing == "loss":
        pairs = [(step.own[0].loss, step.own[1].loss)]
    elif quantity.passing == "forward" and quantity.stage is not None:
        pairs = list(zip(quantity.stage.a.inputs, quantity.stage.b.inputs, strict=False))
    else:
        return
    for one, two in pairs:
        computed = one in step.a.producer and two in step.b.producer
        if computed and step.network.values.get(one) != two:
            yield one, two


def _named(
    step: Inspected, stage: ProgramStage, layer_side: int, names: tuple[str, str]
) -> list[str]:
    written = 1 - layer_side
    name, there = names[layer_side], (step.a, step.b)[written].value(names[written])
    chains = step.chains[layer_side]
    right = chains.value(name)
    if right is None or there is None or difference_of(right, there).needed <= step.rtol:
        return []
    own = step.own[written]
    found = fitting(there, right, _values(chains, stage, name, there), own.precision, own.rtol)
    if not found or step.following is None:
        return found
    both = Chains.of_both(
        step.following[0].step, step.following[1].step, step.network, list(step.parameters)
    )
    later, also = both[layer_side], step.following[written].step.value(names[written])
    expected = later.value(name)
    if expected is None or also is None:
        return found
    allowed = own.rtol * float(abs(also).max(initial=0))
    return holding(found, also, expected, _values(later, stage, name, also), allowed)


def _values(chains: Chains, stage: ProgramStage, name: str, there: NDArray) -> Iterator[Value]:
    """What a value would be with each mistake in one of the stages before it."""
    arrays = chains.arrays(stage)
    if arrays is None:
        return
    if stage.outputs == (name,):  # constants are fitted to what the other side has
        arrays[f"forward/{name}"] = there
    for words, done in attempts(stage, arrays, chains.own.side.trace.index_base):
        outputs = {one: value.numpy() for one, value in done.outputs.items()}
        value = chains.value_with(name, outputs)
        if value is not None:
            yield words, value
