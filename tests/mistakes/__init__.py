"""The mistakes that people make in ports, each planted into one side alone.

A mistake is R code that is evaluated after the R sources, or a change to an engine: of what it
is given (`given`), or of what it has built (`built`).
"""

from __future__ import annotations

from mistakes.clustering import CLUSTERING_MISTAKES
from mistakes.conv import CONV_MISTAKES
from mistakes.mistake import Mistake, planted, recipe_of, settings_of, small_data
from mistakes.perceptrons import PERCEPTRON_MISTAKES
from mistakes.reported import REPORTED_MISTAKES
from mistakes.strided_conv import STRIDED_CONV_MISTAKES

__all__ = ["MISTAKES", "Mistake", "planted", "recipe_of", "settings_of", "small_data"]

MISTAKES = (
    CONV_MISTAKES
    | PERCEPTRON_MISTAKES
    | STRIDED_CONV_MISTAKES
    | CLUSTERING_MISTAKES
    | REPORTED_MISTAKES
)
