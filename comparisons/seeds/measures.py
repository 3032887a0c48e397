"""What one run of one seed left, and the five numbers that are compared over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES

__all__ = ["RunOutcome", "measures"]

ACTIVE = 0.01  # variance of mu over images above which a latent dimension is active


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """What one run left.

    Attributes:
        engine, objective: Their names.
        seed: What the engine drew its own numbers from.
        losses: (steps, terms): total, reconstruction, regulariser and further terms of each
            step, on the objective's scale.
        epochs: (steps,), the epoch of each step.
        batch_size: Images per step.
        mu: Latent means (B, L) of the last batch, in evaluation mode.
    """

    engine: str
    objective: str
    seed: int
    losses: NDArray
    epochs: NDArray
    batch_size: int
    mu: NDArray

    @property
    def name(self) -> str:
        return f"{self.engine}, seed {self.seed}"

    @property
    def loss_per_image(self) -> NDArray[np.float64]:
        """The total loss of each step, (steps,)."""
        return self.per_image(self.losses[:, 0].astype(np.float64))

    def per_image(self, values: Any) -> Any:
        """Losses of one image from those of a batch, on the objective's scale."""
        return OBJECTIVES[self.objective].per_image(values, self.batch_size)


def measures(outcome: RunOutcome) -> dict[str, float]:
    r"""A run in five numbers; NaN or infinity where it diverged. The losses are means over the
    last epoch, in which the parameters still move; the other two are of the final parameters.

    `loss`, `reconstruction` and `regulariser` of one image (in nats, where the objective is), the
    mean over the steps :math:`E` of the last epoch with batches of B:

    .. math:: \frac{1}{|E|\,B} \sum_{t \in E} L_t

    (without 1/B where the objective is a mean over images already).

    `active_units`: how many latent dimensions have :math:`\mathrm{Var}_x(\mu_l(x)) > 0.01` over
    the images of the last batch: Burda, Grosse & Salakhutdinov (2016), "Importance weighted
    autoencoders", section 5.2, https://arxiv.org/abs/1509.00519.

    `latent_spread`: the standard deviation of :math:`\mu_l(x)` over the images, mean over
    dimensions; the unit is the prior's standard deviation. Both variances divide by B.

    Raises:
        UserError: If the run has no steps or no latent means.
    """
    if not outcome.losses.size or not outcome.mu.size:
        raise UserError(f"{outcome.name}: the run is incomplete", "run it again")
    mu = outcome.mu.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverged
        last = outcome.losses[outcome.epochs == outcome.epochs[-1]].astype(np.float64)
        total, reconstruction, regulariser = outcome.per_image(last.mean(axis=0))[:3]
        variance = mu.var(axis=0)  # (L,)
    # NaN > 0.01 is false: without this, a diverged run would have no active units, a number
    active = float((variance > ACTIVE).sum()) if np.isfinite(variance).all() else math.nan
    return {
        "loss": float(total),
        "reconstruction": float(reconstruction),
        "regulariser": float(regulariser),
        "active_units": active,
        "latent_spread": float(np.sqrt(variance).mean()),
    }
