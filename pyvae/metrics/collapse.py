"""Describes what the latents of a finished run carry."""

from __future__ import annotations

from pyvae.metrics.latents import ACTIVE, active_units
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace

__all__ = ["latents_in_words"]

NOTHING = 0.1  # nats per image: latents carry at most their KL of information


def latents_in_words(trace: Trace) -> list[str]:
    """Returns a line on active latent dimensions, and one on posterior collapse if there is any.

    Collapse is only recognised where the regulariser is a KL divergence. Other objectives do not
    bound the noise, so that small means can carry as much as large ones.

    Arguments:
        trace: A complete trace.
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
            f"posterior collapse: the KL of the last epoch is {kl:.2g} nats per {each}, so the "
            f"latents carry almost no information about the {each}s"
        )
    return lines
