"""Where a run stands, on disk, so that it can go on without a changed bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.files import remove_file
from pyvae.stages import Probe
from pyvae.trace import CHECKPOINT, UNREADABLE, write_arrays

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs, besides its settings and data, to go on after a step.

    Attributes:
        step: Steps done.
        state: `Engine.state` after it.
        generator: `Engine.generator_state` after it; None if the draws are injected.
        order: The current epoch's order of the images; None if the draws are injected.
    """

    step: int
    state: Probe
    generator: NDArray | None = None
    order: NDArray | None = None

    def save(self, folder: Path) -> None:
        """Writes it into an existing folder, in place of an older one."""
        arrays = {"step": np.array(self.step)}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        if self.generator is not None:
            arrays["generator"] = self.generator
        if self.order is not None:
            arrays["order"] = self.order
        write_arrays(folder / CHECKPOINT, arrays)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """Reads what `save` wrote; None if there is nothing.

        Raises:
            UserError: If it cannot be read.
        """
        path = folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            arrays = safetensors.numpy.load_file(path)
            return cls(
                int(arrays.pop("step")),
                generator=arrays.pop("generator", None),
                order=arrays.pop("order", None),
                state={name.removeprefix("state/"): value for name, value in arrays.items()},
            )
        except UNREADABLE as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"checkpoint '{path}' cannot be read ({what})",
                "what an interrupted run wrote",
                "delete it to start again",
            ) from error

    @staticmethod
    def remove(folder: Path) -> None:
        remove_file(folder / CHECKPOINT)
