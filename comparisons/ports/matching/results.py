"""What forward passes come to, as stages of their own: without a loss nothing else would tell that
one program goes on where the other does not, or makes something else of the same.

A stage is added to both programs for each value that a network returns to its program, and for each
that the program computes last, unless such values belong together anyhow. It takes the value and
returns it as it is, and its name and layer are `returned` or `result`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from comparisons.ports.matching.matched import NetworkMatch, StageMatch
from comparisons.ports.side import Overlaid, RecordedStep
from pyvae.trace.program import ProgramStage

__all__ = ["RESULTS", "with_results", "without_results"]

RESULTS = {"returned": "what the network returns", "result": "what is computed last"}


def with_results(
    a: RecordedStep, b: RecordedStep, network: NetworkMatch
) -> tuple[RecordedStep, RecordedStep, NetworkMatch]:
    """Adds the results of forward passes to both steps and to what belongs together.

    Arguments:
        a, b: The step of both sides; of training, it is returned as it is.
        network: Which stages belong together.
    """
    if any(one.about.optimiser is not None or "loss/total" in one.arrays for one in (a, b)):
        return a, b, network
    together = set(network.values.items())
    one_returns, two_returns = a.about.returned, b.about.returned
    returned = (
        [one for one in one_returns if not any((one, two) in together for two in two_returns)],
        [two for two in two_returns if not any((one, two) in together for one in one_returns)],
    )
    untaken = (_untaken(a, network, 0), _untaken(b, network, 1))
    pairs = [("returned", *both) for both in _alike(a, b, *returned)]
    pairs += [("result", *both) for both in _alike(a, b, *untaken)]
    for at, (name, one, two) in enumerate(pairs):
        name = name if not at else f"{name}#{at + 1}"
        a, first = _with_stage(a, name, one)
        b, second = _with_stage(b, name, two)
        match = StageMatch(first, second, name.partition("#")[0])
        network = replace(network, pairs=(*network.pairs, match))
    return a, b, network


def without_results(network: NetworkMatch) -> NetworkMatch:
    """What belongs together without these stages, which each step has anew."""
    return replace(network, pairs=tuple(one for one in network.pairs if one.how not in RESULTS))


def _with_stage(step: RecordedStep, name: str, value: str) -> tuple[RecordedStep, ProgramStage]:
    stage = ProgramStage(name, name.partition("#")[0], (value,))
    arrays = Overlaid(step.arrays, {f"forward/{name}": step.arrays[f"forward/{value}"]})
    return replace(step, network=(*step.network, stage), arrays=arrays), stage


def _untaken(step: RecordedStep, network: NetworkMatch, side: int) -> list[str]:
    """The values that no stage takes and no network returns, of stages that have no partner."""
    return [
        name
        for stage in network.only[side]
        if stage.layer not in ("input", "draw")
        for name in stage.outputs
        if step.side.own(name) not in step.takers and name not in step.about.returned
    ]


def _alike(
    a: RecordedStep, b: RecordedStep, ones: Sequence[str], twos: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Pairs of results: in their order if there are as many, else those of one shape."""
    ones = [one for one in ones if f"forward/{one}" in a.arrays]
    twos = [two for two in twos if f"forward/{two}" in b.arrays]
    if len(ones) == len(twos):
        yield from zip(ones, twos, strict=True)
        return
    for one in ones:
        shape = a.arrays[f"forward/{one}"].shape
        found = next((two for two in twos if b.arrays[f"forward/{two}"].shape == shape), None)
        if found is not None:
            twos.remove(found)
            yield one, found
