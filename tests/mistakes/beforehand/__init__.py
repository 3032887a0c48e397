"""Thirty mistakes that were written down before the code that names them."""

from mistakes.beforehand.layers import LAYERS
from mistakes.beforehand.losses import LOSSES
from mistakes.beforehand.sequences import SEQUENCES
from mistakes.beforehand.updates import UPDATES

__all__ = ["BEFOREHAND"]

BEFOREHAND = (*LAYERS, *SEQUENCES, *LOSSES, *UPDATES)
