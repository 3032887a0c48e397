"""Stages that belong together, and that get something else on one side, or have stages after them.

`cross_entropy_loss` of `out` against `cross_entropy_loss` of `softmax`: neither side is wrong by
what it declares. But if the first side's layer with a mistake, given what the second side has for
its inputs, returns what the second side's stages do, they compute that.
"""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import NDArray

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.judging.chains import Chains
from comparisons.ports.judging.judge import Inspected
from comparisons.ports.judging.judged import Judged, difference_of
from comparisons.ports.mistakes.attempts import attempts
from comparisons.ports.mistakes.fit import Value, fitting, holding, joined
from pyvae.trace.program import ProgramStage

__all__ = ["given_otherwise"]


def given_otherwise(step: Inspected, judged: Judged) -> Iterator[str]:
    """Yields the mistake of one side's layer that the other side's stages make.

    Arguments:
        step: The step.
        judged: Its first quantity that parts: what a stage returns, or the loss.
    """
    quantity = judged.quantity
    if quantity.passing == "loss":
        names = step.own[0].loss, step.own[1].loss
    elif quantity.passing == "forward" and quantity.stage is not None:
        names = quantity.value
    else:
        return
    for side in (0, 1):
        stage = (step.a, step.b)[side].producer.get(names[side])
        if stage is None or any(step.chains[side].is_alone(name) for name in stage.inputs):
            continue
        found = _named(step, stage, side, names)
        if found:
            then = "" if step.following is not None else f"step {judged.step + 1}"
            yield f"{step.names[1 - side]}: {joined(found, then)} (as a {stage.layer})"
            return


def _named(step: Inspected, stage: ProgramStage, side: int, names: tuple[str, str]) -> list[str]:
    there, other = (step.a, step.b)[1 - side].value(names[1 - side]), step.own[1 - side]
    chains = step.chains[side]
    right = _right(chains, stage, names[side])
    if right is None or there is None or difference_of(right, there).needed <= step.rtol:
        return []
    values = _values(chains, stage, names[side], there)
    found = fitting(there, right, values, other.precision, other.rtol)
    if not found or step.following is None:
        return found
    both = Chains.of_both(
        step.following[0].step, step.following[1].step, step.network, list(step.parameters)
    )
    later = step.following[side].step.producer.get(names[side])
    also = step.following[1 - side].step.value(names[1 - side])
    expected = None if later is None else _right(both[side], later, names[side])
    if later is None or expected is None or also is None:
        return found
    allowed = other.rtol * float(abs(also).max(initial=0))
    return holding(found, also, expected, _values(both[side], later, names[side], also), allowed)


def _right(chains: Chains, stage: ProgramStage, name: str) -> NDArray | None:
    """What a stage returns for the other side's values."""
    arrays = chains.arrays(stage)
    done = None if arrays is None else recompute(stage, arrays, chains.own.side.trace.index_base)
    return None if done is None or name not in done.outputs else done.outputs[name].numpy()


def _values(chains: Chains, stage: ProgramStage, name: str, there: NDArray) -> Iterator[Value]:
    """The same with each mistake."""
    arrays = chains.arrays(stage)
    if arrays is None:
        return
    arrays[f"forward/{name}"] = there  # constants are fitted to what the other side has
    for words, done in attempts(stage, arrays, chains.own.side.trace.index_base):
        if name in done.outputs:
            yield words, done.outputs[name].numpy()
