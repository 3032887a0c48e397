"""Stages: the named places in one training step at which two engines can be held side by side.

A step runs forward through a recipe's stages (its layers, then the terms of the loss), backward
through them in reverse order, and then through Adam. A *probe* is what an engine saw on the way:
a dict of arrays under names that are the same for every engine.

    start/PARAMETER     the parameter that the step started from
    forward/STAGE       what the stage returns, e.g. forward/encoder.relu1 (B, 32, 26, 26)
    gradient/STAGE      the total loss's gradient with respect to that
    gradient/PARAMETER  and with respect to a parameter, e.g. gradient/encoder.conv1.weight
    moment1/PARAMETER   Adam's first moment after the step (torch: exp_avg)
    moment2/PARAMETER   Adam's second moment after the step (torch: exp_avg_sq)
    parameter/PARAMETER the parameter after the step

Axes are PyTorch's: image first, then channel, row, column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from numpy.typing import NDArray

__all__ = ["LOSS_STAGES", "PASSES", "Probe", "Quantity", "Stage", "quantities"]

Probe = dict[str, NDArray]
LOSS_STAGES = ("reconstruction", "regulariser", "total")
PASSES = ("start", "forward", "backward", "first moment", "second moment", "parameter")


@dataclass(frozen=True)
class Stage:
    """One layer, or one term of the loss.

    Attributes:
        name: The module's whole path in the network, such as `encoder.conv1`; for the terms of
            the loss `reconstruction`, `regulariser` and `total`.
        layer: What it computes: `conv2d`, `relu`, `dropout`, ... (as in torch.nn.functional).
        inputs: The stages whose results it takes.
        draw: The draw that it takes, if any: a dropout mask or noise.
    """

    name: str
    layer: str
    inputs: tuple[str, ...] = ()
    draw: str | None = None


@dataclass(frozen=True)
class Quantity:
    """One entry of a probe and its place in the step.

    Attributes:
        key: Its name in the probe.
        passing: The pass that computes it, one of `PASSES`.
        computed_by: Whose code computes it: for `start/P` the step before, for `forward/S` the
            stage S; for `gradient/S` the
            stages that take S as an input, since a gradient with respect to S is what *their*
            backward pass returns; for `gradient/S.weight` the stage S; for what Adam computes
            `adam.moment1`, `adam.moment2` or `adam.update`.
    """

    key: str
    passing: str
    computed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stage's or parameter's name."""
        return self.key.split("/", 1)[1]


def quantities(stages: Sequence[Stage], parameters: Iterable[str]) -> list[Quantity]:
    """Everything that a probe holds, in the order in which a step computes it.

    Arguments:
        stages: A recipe's stages in the order of computation, the terms of the loss last.
        parameters: Names of the parameters, `STAGE.weight` and `STAGE.bias`.
    """
    parameters = list(parameters)
    forward = [Quantity(f"forward/{stage.name}", "forward", (stage.name,)) for stage in stages]
    backward = []
    for stage in reversed(stages):
        if stage.name in LOSS_STAGES:  # their gradients are the loss's weights: constants
            continue
        takers = tuple(taker.name for taker in stages if stage.name in taker.inputs)
        if stage.layer == "input":  # the loss's view of the images is not differentiated
            takers = tuple(taker for taker in takers if taker not in LOSS_STAGES)
        backward.append(Quantity(f"gradient/{stage.name}", "backward", takers))
        backward.extend(
            Quantity(f"gradient/{name}", "backward", (stage.name,))
            for name in parameters
            if name.rpartition(".")[0] == stage.name
        )
    updates = [
        Quantity(f"{key}/{name}", passing, (by,))
        for key, passing, by in (
            ("moment1", "first moment", "adam.moment1"),
            ("moment2", "second moment", "adam.moment2"),
            ("parameter", "parameter", "adam.update"),
        )
        for name in parameters
    ]
    start = [Quantity(f"start/{name}", "start", ("the step before",)) for name in parameters]
    return start + forward + backward + updates
