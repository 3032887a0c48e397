"""Biases in front of a batch norm: they shift what it subtracts the mean of, and have no effect.

In exact arithmetic their gradient is zero; what engines compute is rounding noise, and Adam, which
divides by the noise's own size, makes steps of up to the learning rate of it. Two faithful engines
need not agree in them. In evaluation mode their latest steps do show, as far as the running mean
has not followed yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyvae.model.stages import Stage

__all__ = ["NoEffect"]

SHIFTED = ("concat", "first_half", "flatten", "linear", "second_half")
BIASED = ("conv2d", "conv_transpose2d", "linear")


@dataclass(frozen=True)
class NoEffect:
    """What of a network has no effect in training.

    A constant that is added to all images alike stays one through a linear layer (or a change of
    shape), until a batch norm takes it off: of channels right after the convolution, or of
    features.

    Attributes:
        biases: The parameters, each with the stages that add it.
        stages: The stages whose results they shift.
        means: The running means that follow the shifts.
    """

    biases: dict[str, tuple[Stage, ...]]
    stages: frozenset[str]
    means: frozenset[str]

    @classmethod
    def of_stages(cls, stages: Sequence[Stage]) -> NoEffect:
        """Finds them in a recipe's stages."""
        modules: dict[str, list[Stage]] = {}
        for stage in stages:
            if stage.layer in BIASED:
                modules.setdefault(stage.path, []).append(stage)
        taken_off = {
            path: tuple(users)
            for path, users in modules.items()
            if all(_is_taken_off(user, stages) for user in users)
        }
        on_the_way = [s for users in taken_off.values() for u in users for s in _way(u, stages)]
        return cls(
            {f"{path}.bias": users for path, users in taken_off.items()},
            frozenset(stage.name for stage in on_the_way if stage.layer != "batch_norm"),
            frozenset(f"{s.path}.running_mean" for s in on_the_way if s.layer == "batch_norm"),
        )


def _takers(stage: Stage, stages: Sequence[Stage]) -> list[Stage]:
    return [taker for taker in stages if stage.name in taker.inputs]


def _is_taken_off(stage: Stage, stages: Sequence[Stage]) -> bool:
    takers = _takers(stage, stages)
    return bool(takers) and all(
        taker.layer == "batch_norm" or (taker.layer in SHIFTED and _is_taken_off(taker, stages))
        for taker in takers
    )


def _way(stage: Stage, stages: Sequence[Stage]) -> Iterator[Stage]:
    """The stages from one to the batch norms that follow it, both ends included."""
    yield stage
    if stage.layer != "batch_norm":
        for taker in _takers(stage, stages):
            yield from _way(taker, stages)
