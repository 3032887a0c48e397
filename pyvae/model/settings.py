"""The settings of a run, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real

import torch

from pyvae.errors import UserError, choose
from pyvae.model.hyperparameters import MOST
from pyvae.model.objectives import OBJECTIVES

__all__ = ["DTYPES", "RNGS", "Settings"]

MOST_LATENT_DIMENSIONS = 10_000
RNGS = ("injected", "torch", "r")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Settings:
    """The settings of a run.

    Attributes:
        objective: One of `pyvae.model.objectives.OBJECTIVES`.
        epochs: Passes over the images.
        steps: Ends the run after this many steps in all, if not None.
        batch_size: Images in a batch; the last incomplete batch of an epoch is dropped.
        latent_dim: Latent dimensions.
        learning_rate: Adam's step size.
        dtype: `float32` or `float64`.
        seed: The seed of initial parameters, batch order, dropout masks and noise.
        rng: The source of these: `injected` (drawn by `pyvae.model.draws` and handed to the
            engine), or a generator that is seeded once, `torch` (PyTorch's, and R torch's) or
            `r` (R's); `pyvae.engines.registry.resolve_rng` finds an engine's own.
        hyper: The recipe\'s hyperparameters, such as a temperature.

    Raises:
        UserError: If a value is out of range.
    """

    objective: str
    epochs: int
    batch_size: int
    latent_dim: int
    learning_rate: float
    steps: int | None = None
    dtype: str = "float32"
    seed: int = 2
    rng: str = "injected"
    hyper: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        choose("objective", self.objective, OBJECTIVES)
        choose("dtype", self.dtype, DTYPES)
        choose("rng", self.rng, RNGS)
        for name in ("epochs", "steps", "batch_size", "latent_dim"):
            value = getattr(self, name)
            if value is not None and not hasattr(value, "__index__"):
                raise UserError(f"{_option(name)} {value}", expected="a whole number")
            if value is not None and value < 1:
                raise UserError(f"{_option(name)} {value}", expected="1 or more")
            if value is not None and value >= 2**63:
                raise UserError(f"{_option(name)} {value}", expected="1 to 2^63 - 1")
        if self.latent_dim > MOST_LATENT_DIMENSIONS:
            raise UserError(
                f"--latent-dim {self.latent_dim}", expected=f"1 to {MOST_LATENT_DIMENSIONS}"
            )
        if not isinstance(self.learning_rate, Real) or not 0 < self.learning_rate <= MOST:
            raise UserError(
                f"--learning-rate {self.learning_rate}",
                expected=f"a number above 0, at most {MOST:g}",
            )
        if not hasattr(self.seed, "__index__") or not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}", expected="0 to 2^63 - 1")

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    def steps_per_epoch(self, images: int) -> int:
        """Returns the number of whole batches in a pass over `images`.

        Raises:
            UserError: If there are fewer images than one batch.
        """
        if images < self.batch_size:
            raise UserError(
                f"{images} images are fewer than one batch of {self.batch_size}",
                f"use --batch-size {images} or less, or give more images",
            )
        return images // self.batch_size

    def total_steps(self, images: int) -> int:
        """Returns the number of steps of the whole run."""
        steps = self.epochs * self.steps_per_epoch(images)
        return steps if self.steps is None else min(steps, self.steps)

    def as_dict(self) -> dict:
        return asdict(self)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
