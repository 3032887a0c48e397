"""Stages: the named places in one training step at which two engines can be held side by side.

A step runs forward through a recipe's stages (its layers, then the terms of the loss), backward
through them in reverse order, and then through Adam. A *probe* is what an engine saw on the way:
a dict of arrays under names that are the same for every engine.

    start/PARAMETER     the parameter (or running statistic) that the step started from
    forward/STAGE       what the stage returns, e.g. forward/encoder.relu1 (B, 32, 26, 26)
    gradient/STAGE      the total loss's gradient with respect to that
    gradient/PARAMETER  and with respect to a parameter, e.g. gradient/encoder.conv1.weight
    moment1/PARAMETER   Adam's first moment after the step (torch: exp_avg)
    moment2/PARAMETER   Adam's second moment after the step (torch: exp_avg_sq)
    parameter/PARAMETER the parameter after the step
    buffer/NAME         batch norm's running statistics after the step

Axes are PyTorch's: image first, then channel, row, column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = [
    "BUFFERS",
    "LOSS_STAGES",
    "PASSES",
    "TERMS",
    "Probe",
    "Quantity",
    "Stage",
    "is_buffer",
    "quantities",
]

Probe = dict[str, NDArray]
LOSS_STAGES = ("reconstruction", "regulariser", "total")
TERMS = (  # layers that are terms of the loss, each one number
    "bce",
    "mse",
    "gaussian",
    "kl_normal",
    "half_mu_squared",
    "expected_prior",
    "kl_gaussians",
    "kl_categorical",
    "cross_entropy",
    "sum",
)
# of batch norm: not trained, but part of the state; the count is torch.nn's alone
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
PASSES = ("start", "forward", "backward", "first moment", "second moment", "parameter")


@dataclass(frozen=True)
class Stage:
    """One layer, or one term of the loss.

    Attributes:
        name: The module's whole path in the network, such as `encoder.conv1`; for the terms of
            the loss `reconstruction`, `regulariser` and `total`.
        layer: What it computes: `conv2d`, `relu`, `dropout`, ... (as in torch.nn.functional).
        inputs: The stages whose results it takes.
        draw: The draw that it takes, if any: a dropout mask or noise; for layer `input`, where
            its values are given among the draws.
        options: The layer's settings, such as stride or slope; of a term of the loss `per`, what
            its sum over images and features is divided by, or the weights of a sum of terms.
        module: The module's path where it is not the stage's name, because one module is gone
            through twice; gradients of the two add up.
        shapes: The shape of one image of each input as the layer takes it, which may be another
            than the input stage returned it in.
    """

    name: str
    layer: str
    inputs: tuple[str, ...] = ()
    draw: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    module: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def path(self) -> str:
        """The module's path in the network."""
        return self.module or self.name

    @property
    def is_term(self) -> bool:
        """Whether it is a term of the loss."""
        return self.layer in TERMS


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


def is_buffer(name: str) -> bool:
    """Whether a network's array of this name belongs to running statistics, not a parameter."""
    return name.rpartition(".")[2] in BUFFERS


def quantities(
    stages: Sequence[Stage], parameters: Iterable[str], buffers: Iterable[str] = ()
) -> list[Quantity]:
    """Everything that a probe holds, in the order in which a step computes it.

    Arguments:
        stages: A recipe's stages in the order of computation, the terms of the loss last.
        parameters: Names of the parameters, `MODULE.weight` and `MODULE.bias`.
        buffers: Names of running statistics, `MODULE.running_mean` and `MODULE.running_var`.
    """
    parameters, buffers = list(parameters), list(buffers)
    users = _users(stages)
    forward = []
    for stage in stages:
        forward.append(Quantity(f"forward/{stage.name}", "forward", (stage.name,)))
        if stage.name == users.get(stage.path, ("",))[-1]:
            forward.extend(
                Quantity(f"buffer/{name}", "forward", users[stage.path])
                for name in buffers
                if name.rpartition(".")[0] == stage.path
            )
    backward = []
    for stage in reversed(stages):
        if stage.is_term:  # their gradients are the loss's weights: constants
            continue
        if stage.layer == "input" and stage.name != "input":  # given, and not differentiated
            continue
        takers = tuple(taker.name for taker in stages if stage.name in taker.inputs)
        if stage.layer == "input":  # the loss's view of the images is not differentiated
            terms = {term.name for term in stages if term.is_term}
            takers = tuple(taker for taker in takers if taker not in terms)
        backward.append(Quantity(f"gradient/{stage.name}", "backward", takers))
        if stage.name == users[stage.path][0]:  # all uses of the module have been gone through
            backward.extend(
                Quantity(f"gradient/{name}", "backward", users[stage.path])
                for name in parameters
                if name.rpartition(".")[0] == stage.path
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
    start = [
        Quantity(f"start/{name}", "start", ("the step before",)) for name in (*parameters, *buffers)
    ]
    return start + forward + backward + updates


def _users(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """The stages that go through a module, by its path, in order."""
    users: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        if not stage.is_term:
            users[stage.path] = (*users.get(stage.path, ()), stage.name)
    return users
