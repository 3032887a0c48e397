"""What the latents of a run that came to its end carry, in words."""

from __future__ import annotations

from pyvae.metrics.latents import ACTIVE, active_units
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace

__all__ = ["latents_in_words"]

NOTHING = 0.1  # nats per image: what the latents say of an image is at most their KL


def latents_in_words(trace: Trace) -> list[str]:
    """How many latent dimensions are active, and a line on posterior collapse, if there is one.

    A collapse is said of the objectives whose regulariser is a KL divergence alone: the others do
    without the noise's part of it, so that small means can carry as much as large ones.

    Arguments:
        trace: Complete.
    """
    objective = OBJECTIVES[trace.settings.objective]
    lines = []
    means = trace.latent_means.get("evaluation")
    if means is not None:
        lines.append(
            f"{active_units(means):.0f} of {means.shape[1]} latent dimensions are active (variance "
            f"of the posterior means above {ACTIVE:g}; last batch of {len(means)}, evaluation mode)"
        )
    epoch = trace.epoch_table().iloc[-1]
    images = epoch.steps * trace.settings.batch_size
    kl = objective.per_image(epoch["regulariser"], images)
    if objective.is_kl and kl < NOTHING:
        each = objective.unit.partition(" per ")[2] or "image"
        lines.append(
            f"posterior collapse: the KL of the last epoch is nearly nothing, {kl:.2g} nats per "
            f"{each}: the latents carry no information about the {each}s"
        )
    return lines
