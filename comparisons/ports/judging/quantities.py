"""The quantities of a step that both sides may have, in the order in which they were computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from numpy.typing import NDArray

from comparisons.ports.matching.matched import NetworkMatch, StageMatch, matched_outputs
from comparisons.ports.matching.parameters import ParameterMatch
from comparisons.ports.side import RecordedStep

__all__ = ["PASSES", "PortQuantity", "quantities"]

PASSES = {
    "start": "what the step starts from",
    "untrained": "network that is not trained",
    "input": "input",
    "draw": "random draw",
    "forward": "forward",
    "loss": "loss",
    "backward": "backward",
    "parameter gradient": "parameter's gradient",
    "given gradient": "gradient that the optimiser gets",
    "state": "optimiser's state",
    "parameter": "parameter after the step",
    "buffer": "buffer after the step",
}


@dataclass(frozen=True)
class PortQuantity:
    """One quantity of a step.

    Attributes:
        passing: One of `PASSES`.
        key: The first side's entry in the step's file, such as `forward/features.1`.
        key_b: The second side's.
        stage: The stages that belong together, of which it is.
        parameter: Or the parameters.
        template: Of a parameter: the entry's name, with `{}` for the parameter's.
    """

    passing: str
    key: str
    key_b: str
    stage: StageMatch | None = None
    parameter: ParameterMatch | None = None
    template: str = ""

    @property
    def value(self) -> tuple[str, str]:
        """What it is of: the name of the value or parameter on each side."""
        return self.key.partition("/")[2], self.key_b.partition("/")[2]

    def is_of(self, step: RecordedStep, side: int) -> bool:
        """Whether a side's step has it, without reading it.

        Arguments:
            step: The step.
            side: 0 for the first side, 1 for the second.
        """
        if self.parameter is None:
            return (self.key, self.key_b)[side] in step.arrays
        names = (self.parameter.a, self.parameter.b)[side]
        templates = [self.template]
        if self.passing == "given gradient":
            templates.append("gradient/{}")
        return any(all(one.format(n) in step.arrays for n in names) for one in templates)

    def arrays(self, a: RecordedStep, b: RecordedStep) -> tuple[NDArray | None, NDArray | None]:
        """Both sides' values, in the first side's order; None for what is not recorded."""
        if self.parameter is None:
            return a.arrays.get(self.key), b.arrays.get(self.key_b)
        if self.passing == "untrained":
            one, two = a.of_network(self.key), b.of_network(self.key_b)
            if one is not None and two is not None:
                two = self.parameter.layout.apply(two, one.shape)
            return one, two
        one, two = self.parameter.values(a.arrays, b.arrays, self.template)
        if self.passing == "given gradient":  # where it is another one than backward left
            left = self.parameter.values(a.arrays, b.arrays, "gradient/{}")
            one, two = (one if one is not None else left[0]), (two if two is not None else left[1])
        return one, two


def quantities(
    a: RecordedStep,
    b: RecordedStep,
    network: NetworkMatch,
    parameters: Sequence[ParameterMatch],
    untrained: Sequence[ParameterMatch] = (),
) -> Iterator[PortQuantity]:
    """Yields the quantities that at least one side has of what belongs together.

    Arguments:
        a, b: The step of both sides.
        network, parameters: What belongs together.
        untrained: The same of networks that are not trained: names are whole entries.
    """
    for one in _all(a, b, network, parameters, untrained):
        if one.is_of(a, 0) or one.is_of(b, 1):
            yield one


def _all(
    a: RecordedStep,
    b: RecordedStep,
    network: NetworkMatch,
    parameters: Sequence[ParameterMatch],
    untrained: Sequence[ParameterMatch],
) -> Iterator[PortQuantity]:
    pairs = network.pairs
    yield from _of_parameters("start", "start/{}", parameters)
    yield from _of_parameters("untrained", "{}", untrained)
    outside = [pair for pair in pairs if pair.a.layer == "input" and not _is_computed(pair)]
    yield from _of_stages("input", "forward", outside)
    for pair in pairs:
        if pair.a.layer == "draw":
            yield from _of_stages("draw", "forward", [pair])
        else:
            keys = f"draw/{pair.a.name}", f"draw/{pair.b.name}"
            yield PortQuantity("draw", *keys, pair)
    for pair in pairs:
        if pair.a.layer == "input" and _is_computed(pair):
            yield from _of_stages("input", "forward", [pair])
        elif pair.a.layer not in ("input", "draw"):
            yield from _of_stages("forward", "forward", [pair])
    losses = {key for step in (a, b) for key in step.arrays if key.startswith("loss/")}
    for key in sorted(losses, key=lambda key: (key != "loss/total", key)):
        yield PortQuantity("loss", key, key)
    yield from _of_stages("backward", "gradient", reversed(pairs))
    trained = [one for one in _in_reverse(parameters, network) if one.kind == "parameter"]
    yield from _of_parameters("parameter gradient", "gradient/{}", trained)
    recorded = a.arrays.keys() | b.arrays.keys()
    given = [one for one in trained if any(f"given/{n}" in recorded for n in (*one.a, *one.b))]
    yield from _of_parameters("given gradient", "given/{}", given)
    kept = _state_keys(recorded)
    for one in trained:
        for state in dict.fromkeys(s for name in (*one.a, *one.b) for s in kept.get(name, ())):
            yield from _of_parameters("state", f"state/{{}}.{state}", [one])
    yield from _of_parameters("parameter", "parameter/{}", trained)
    buffers = [one for one in parameters if one.kind == "buffer"]
    yield from _of_parameters("buffer", "buffer/{}", buffers)


def _is_computed(pair: StageMatch) -> bool:
    """Whether an input was computed from what comes before it, by something that was not seen."""
    return any(stage.options.get("grad_fn") for stage in (pair.a, pair.b))


def _state_keys(keys: AbstractSet[str]) -> dict[str, list[str]]:
    """What the optimiser keeps of each parameter, in a fixed order."""
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        if key.startswith("state/"):
            name, _, state = key.removeprefix("state/").rpartition(".")
            found.setdefault(name, []).append(state)
    return found


def _of_stages(
    passing: str, kind: str, pairs: Iterator[StageMatch] | Sequence[StageMatch]
) -> Iterator[PortQuantity]:
    for pair in pairs:
        for one, two in matched_outputs(pair):
            yield PortQuantity(passing, f"{kind}/{one}", f"{kind}/{two}", pair)


def _of_parameters(
    passing: str, template: str, parameters: Sequence[ParameterMatch]
) -> Iterator[PortQuantity]:
    for one in parameters:
        keys = [" + ".join(template.format(name) for name in names) for names in (one.a, one.b)]
        yield PortQuantity(passing, keys[0], keys[1], None, one, template)


def _in_reverse(
    parameters: Sequence[ParameterMatch], network: NetworkMatch
) -> list[ParameterMatch]:
    """Parameters in the order of the backward pass: those of the last stages first."""
    last: dict[str, int] = {}
    for at, pair in enumerate(network.pairs):
        for name in (*pair.a.parameters.values(), *pair.a.inputs):
            last[name] = at
    places = {one.a: max((last.get(name, -1) for name in one.a), default=-1) for one in parameters}
    return sorted(parameters, key=lambda one: -places[one.a])
