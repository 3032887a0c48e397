"""A fit that R has, and that a run goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.data.images import ImageData
from pyvae.errors import UserError
from pyvae.files.arrays import parse_arrays
from pyvae.files.reading import UNREADABLE
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, is_buffer
from pyvae.trace.trace import Trace
from pyvae.training.checkpoint import Checkpoint
from r_bridge.from_r.exchange import unpack

__all__ = ["Continued"]


@dataclass(frozen=True)
class Continued:
    """What is needed of a fit to go on from it: with the same images its run and the one that goes
    on are, bit for bit, one longer run.

    Attributes:
        state: As `Engine.restore` takes it, without the step.
        losses: (steps, terms).
        epochs: (steps,), from 1.
        sha256: The checksum of the images that it was trained on.
        validation: A row for each epoch, as `Validate.rows`.
        more_epochs, more_steps: How many more; both None: what the fit had still to do.
    """

    state: Probe
    losses: NDArray[np.float64]
    epochs: NDArray[np.int64]
    sha256: str
    validation: list[dict[str, float]]
    more_epochs: int | None = None
    more_steps: int | None = None

    @classmethod
    def from_r(cls, given: Mapping[str, Any] | None) -> Continued | None:
        """Reads what R sends of a fit: `parameters` and `optimiser` (safetensors), `losses` and
        `epochs` (packed), `sha256`, `validation` (packed columns), `epochs_more`, `steps_more`.

        Raises:
            UserError: If its numbers cannot be read.
        """
        if given is None:
            return None
        try:
            parameters = parse_arrays(bytes(given["parameters"]))
            state = parse_arrays(bytes(given["optimiser"]))
        except UNREADABLE as error:
            raise UserError(
                f"the fit's parameters cannot be read ({error})",
                "use a fit as vae_fit() returned it",
            ) from error
        for name, value in parameters.items():
            state[f"{'buffer' if is_buffer(name) else 'parameter'}/{name}"] = value
        columns = {name: unpack(column) for name, column in given["validation"].items()}
        values = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in values]
        more = (given.get("epochs_more"), given.get("steps_more"))
        return cls(
            state,
            np.array(unpack(given["losses"]), np.float64),
            unpack(given["epochs"]).astype(np.int64),
            given["sha256"],
            rows,
            *(None if number is None else int(number) for number in more),
        )

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return len(self.losses)

    def settings(self, had: Settings, data: ImageData) -> Settings:
        """The settings of the longer run. An epoch that was begun is ended first, and counts.

        Arguments:
            had: The fit's.
            data: The images to go on with.

        Raises:
            UserError: If they are not the fit's images, or nothing is left to do.
        """
        if data.checksum != self.sha256:
            raise UserError(
                "x is not what the fit was trained on",
                "pass the same images, in the same order and of the same type (whole numbers or "
                "doubles), and the same validation",
            )
        per_epoch = had.steps_per_epoch(len(data))
        wanted = had
        if self.more_epochs is not None or self.more_steps is not None:
            steps = None if self.more_steps is None else self.steps + self.more_steps
            epochs = -(-(steps or 0) // per_epoch)
            if self.more_epochs is not None:
                epochs = self.steps // per_epoch + self.more_epochs
            wanted = replace(had, epochs=epochs, steps=steps)
        if wanted.total_steps(len(data)) <= self.steps:
            raise UserError(
                f"the fit has been trained for all its {self.steps} steps",
                "give epochs, how many more",
            )
        return wanted

    def resume(self, trace: Trace) -> Checkpoint:
        """The checkpoint to go on from; the trace gets the steps that are done."""
        trace.losses, trace.epochs = self.losses, self.epochs
        state = self.state | {"step": np.array(self.steps)}
        return Checkpoint(self.steps, state, losses=self.losses, epochs=self.epochs)
