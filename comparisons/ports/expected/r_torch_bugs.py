"""R torch's own mistakes, recognised by what they make of the numbers.

Found with R torch 0.17.0. Whoever meets one in a comparison has made no mistake in the port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from comparisons.ports.expected.recompute import recompute
from comparisons.ports.expected.update import Update, updates
from pyvae.trace.program import ProgramStage, ProgramStep

__all__ = ["known_bugs"]

Arrays = Mapping[str, NDArray]
NEAR = 1e-5  # relative to the largest: rounding in float32, with something to spare
ENGINE = "r-torch"
IGNORING = {"cross_entropy_loss", "cross_entropy", "nll_loss", "nll_loss2d", "nll_loss_nd"}


def known_bugs(
    step: ProgramStep,
    arrays: Arrays,
    before: Arrays,
    engine: str,
    network: Sequence[ProgramStage] = (),
    index_base: int = 1,
) -> list[str]:
    """Names R torch's own mistakes in a step, with what to use instead.

    Arguments:
        step: As it was recorded.
        arrays: Of the step.
        before: As `comparisons.ports.expected.update.expected_update` takes it.
        engine: Who computed; nothing is said of any but R torch.
        network: The stages that were executed in the step.
        index_base: From which number the program counts.
    """
    if engine != ENGINE:
        return []
    return [
        *_decayed_by_place(step, arrays, before),
        *_padding(network, arrays, index_base),
        *_ignored(network, arrays, index_base),
    ]


def _decayed_by_place(step: ProgramStep, arrays: Arrays, before: Arrays) -> list[str]:
    """Whether weight decay added a parameter's place in its group to the gradient."""
    optimiser = step.optimiser
    if optimiser is None or optimiser.kind not in ("sgd", "rmsprop"):
        return []
    if not any(group.settings.get("weight_decay") for group in optimiser.groups):
        return []

    def place_added(gradient: Tensor, place: int, settings: Mapping[str, Any]) -> Tensor:
        return gradient + settings.get("weight_decay", 0) * place

    wrong = updates(step, arrays, before, place_added, without=("weight_decay",))
    right = updates(step, arrays, before)
    seen = [name for name in wrong if f"parameter/{name}" in arrays]
    if not seen or not all(_fits(wrong[name], name, arrays) for name in seen):
        return []
    if all(_fits(right[name], name, arrays) for name in seen):
        return []
    return [
        f"R torch's optim_{optimiser.kind} is at fault: its weight_decay adds the number of the "
        "parameter in its group (1, 2, ...) to the gradient, not the parameter. Use "
        f"optim_ignite_{optimiser.kind}"
    ]


def _fits(update: Update, name: str, arrays: Arrays) -> bool:
    """Whether an update is the one that was recorded, up to rounding."""
    recorded, start = arrays[f"parameter/{name}"], arrays[f"start/{name}"]
    moved = np.abs(recorded.astype(np.float64) - start).max(initial=0)
    rounding = 4 * _machine_eps(recorded) * np.abs(recorded).max(initial=0)
    if not _is_near(update.parameter, recorded, moved, rounding):
        return False
    for key, value in update.state.items():
        state = arrays.get(f"state/{name}.{key}")
        if state is not None and not _is_near(value, state, np.abs(state).max(initial=0)):
            return False
    return True


def _is_near(expected: Tensor, recorded: NDArray, size: float, rounding: float = 0.0) -> bool:
    near = max(NEAR, 8 * _machine_eps(recorded)) * size + rounding
    difference = np.abs(expected.numpy().reshape(recorded.shape) - recorded.astype(np.float64))
    return bool(difference.max(initial=0) <= near)


def _machine_eps(array: NDArray) -> float:
    return float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0


def _padding(network: Sequence[ProgramStage], arrays: Arrays, index_base: int) -> list[str]:
    """Whether an embedding kept the gradient of the row after the padding row from the weight."""
    words: dict[str, None] = {}
    for stage in network:
        row, weight = stage.options.get("padding_idx"), stage.parameters.get("weight", "")
        recorded = arrays.get(f"gradient/{weight}")
        if stage.layer != "embedding" or not isinstance(row, int | float) or recorded is None:
            continue
        row = int(row)
        next_row = row + 1 if row + 1 - index_base < len(recorded) else None
        takers = [one for one in network if weight in (*one.inputs, *one.parameters.values())]
        right = _gradient(weight, takers, arrays, index_base)
        shifted = [
            replace(one, options={**one.options, "padding_idx": next_row})
            if one.layer == "embedding"
            else one
            for one in takers
        ]
        wrong = _gradient(weight, shifted, arrays, index_base)
        size = np.abs(recorded).max(initial=0)
        if right is None or wrong is None or _is_near(right, recorded, size):
            continue
        if _is_near(wrong, recorded, size):
            words[
                f"R torch's nn_embedding(padding_idx = {row}) is at fault: it sets row {row} to 0, "
                f"but keeps the gradient of row {row + 1} from the weight. Leave padding_idx out, "
                f"set row {row} to 0 and its gradient before each update"
            ] = None
    return list(words)


def _ignored(network: Sequence[ProgramStage], arrays: Arrays, index_base: int) -> list[str]:
    """Whether a loss ignored the class after the one that it was told to (R torch up to 0.17.0:
    `ignore_index` went on to LibTorch as it was, and the classes were counted from 0 before)."""
    words: dict[str, None] = {}
    for stage in network:
        ignored = stage.options.get("ignore_index")
        recorded = arrays.get(f"forward/{stage.name}")
        if stage.layer not in IGNORING or not isinstance(ignored, int | float) or recorded is None:
            continue
        ignored = int(ignored)
        if ignored < 0:
            continue
        size = np.abs(recorded[np.isfinite(recorded)]).max(initial=0)
        meant, found = (
            recompute(
                replace(stage, options={**stage.options, "ignore_index": k}), arrays, index_base
            )
            for k in (ignored, ignored + 1)
        )
        if meant is None or found is None:
            continue
        if _is_near(meant.outputs[stage.name], recorded, size):
            continue
        if _is_near(found.outputs[stage.name], recorded, size):
            words[
                f"R torch's ignore_index = {ignored} is at fault: up to version 0.17.0 it counts "
                f"from 0 where the classes count from 1, and ignores class {ignored + 1}. "
                f"ignore_index = {ignored - 1} ignores class {ignored} there; later versions "
                "are right"
            ] = None
    return list(words)


def _gradient(
    weight: str, stages: Sequence[ProgramStage], arrays: Arrays, index_base: int
) -> Tensor | None:
    """The weight's gradient: what all the stages that take it add to it; None if one of them cannot
    be recomputed."""
    total: Tensor | None = None
    for stage in stages:
        found = recompute(stage, arrays, index_base)
        if found is None:
            return None
        part = found.gradients.get(weight)
        if part is not None:
            total = part if total is None else total + part
    return total
