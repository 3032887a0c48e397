"""Probes of one step of a narrow network: changed by hand, and where two of them part."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from comparisons.agreement.tolerances import STAGE_RULES
from comparisons.stages.compare import compare_probes
from pyvae.model.stages import quantities
from stand_ins.narrow import NARROW_CONV

__all__ = [
    "BATCH",
    "CONV",
    "KEYS",
    "LATENT",
    "PARAMETERS",
    "RULE",
    "SETTINGS",
    "Seen",
    "adam",
    "apart",
    "changed",
    "compared",
    "magnitude",
    "places",
    "sides",
    "stepped",
]
CONV = NARROW_CONV
BATCH, LATENT = 6, 3
SETTINGS = CONV.settings(batch_size=BATCH, latent_dim=LATENT, dtype="float64")
PARAMETERS = CONV.parameter_names(LATENT)
KEYS = [quantity.key for quantity in quantities(CONV.stages, PARAMETERS)]
RULE = STAGE_RULES["float64"]
places = st.integers(0, 2**40)
sides = st.sampled_from([(0, 1), (1, 0)])


class Seen(dict):
    """A probe that does not fill the screen where a test fails."""

    def __repr__(self):
        return f"a probe of {len(self)}"


def compared(a, b, rule=RULE, keys=None):
    """Agreements by key."""
    found = compare_probes(a, b, CONV, SETTINGS, 1, rule, keys)
    return {agreement.quantity.key: agreement for agreement in found}


def changed(probe, key, index, value):
    """The probe with another value at one place."""
    array = probe[key].copy()
    array[index] = value
    return probe | {key: array}


def apart(agreements):
    return [key for key, agreement in agreements.items() if not agreement.agrees]


def magnitude(array):
    return float(np.abs(array).max())


def adam(name, start, gradient, epsilon=1e-8):
    """Kingma & Ba (2015), algorithm 1, for the first step."""
    moment1, moment2 = (1 - 0.9) * gradient, (1 - 0.999) * gradient**2
    parameter = stepped(start, moment1, moment2, epsilon)
    parts = {"moment1": moment1, "moment2": moment2, "parameter": parameter}
    return {f"{kind}/{name}": value for kind, value in parts.items()}


def stepped(start, moment1, moment2, epsilon=1e-8):
    mean, square = moment1 / (1 - 0.9), moment2 / (1 - 0.999)
    return start - SETTINGS.learning_rate * mean / (np.sqrt(square) + epsilon)
