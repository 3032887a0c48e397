"""Recurrent layers of one side that follow each other, where the other side has one of several.

Keras stacks layers, PyTorch has `num_layers`. What stands between two of them keeps them apart: a
dropout, or another use of what the first one returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from comparisons.ports.side import RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["stacked"]

RECURRENT = ("lstm", "gru", "rnn")
OWN = "input_size"  # which is another one for each layer
FIRST = "_l0"


def stacked(a: RecordedStep, b: RecordedStep) -> tuple[RecordedStep, RecordedStep]:
    """Makes such layers one stage on a side that has them apart, for each stage of several layers
    that the other side has and this one has not.

    Arguments:
        a, b: The step of both sides.
    """
    return _like(a, b), _like(b, a)


def _like(step: RecordedStep, other: RecordedStep) -> RecordedStep:
    wanted = sorted(_several(other))
    there = _several(step)
    for layer, count in wanted:
        if (layer, count) in there:
            continue
        chain = next((one for one in _chains(step, layer, count)), None)
        if chain is not None:
            step = _together(step, chain)
    return step


def _several(step: RecordedStep) -> set[tuple[str, int]]:
    counts = ((s.layer, int(s.options.get("num_layers") or 1)) for s in step.network)
    return {(layer, count) for layer, count in counts if layer in RECURRENT and count > 1}


def _chains(step: RecordedStep, layer: str, count: int) -> Iterator[list[ProgramStage]]:
    """Stages of one layer each, of which each one alone takes what the one before returns."""
    for stage in step.network:
        chain = [stage]
        while len(chain) < count and (following := _next(step, chain[-1])) is not None:
            chain.append(following)
        single = all(one.layer == layer and one.options.get("num_layers") == 1 for one in chain)
        if single and len(chain) == count:
            yield chain


def _next(step: RecordedStep, stage: ProgramStage) -> ProgramStage | None:
    takers = [one for name in stage.outputs for one in step.takers.get(name, ())]
    if len(takers) != 1 or takers[0].inputs != stage.outputs[:1]:
        return None
    options = [
        {name: value for name, value in one.options.items() if name != OWN}
        for one in (stage, takers[0])
    ]
    return takers[0] if takers[0].layer == stage.layer and options[0] == options[1] else None


def _together(step: RecordedStep, chain: list[ProgramStage]) -> RecordedStep:
    first, last = chain[0], chain[-1]
    made = replace(
        last,
        inputs=first.inputs,
        options={**first.options, "num_layers": len(chain)},
        parameters={
            role.replace(FIRST, f"_l{at}"): name
            for at, one in enumerate(chain)
            for role, name in one.parameters.items()
        },
        outputs=last.outputs[:1],
    )
    gone = {one.name for one in chain[:-1]}
    network = [made if one is last else one for one in step.network if one.name not in gone]
    return replace(step, network=tuple(network))
