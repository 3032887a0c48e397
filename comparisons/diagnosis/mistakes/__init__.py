"""What mistaken layers return: the usual mistakes of ports, computed.

Each function yields (words, value): what a layer would have returned, or passed back, had that
mistake been made. A comparison holds them against what the engine that parted did return. Where a
mistake has a constant (another slope, another momentum), it is fitted to what was found.
"""

from __future__ import annotations

from comparisons.diagnosis.mistakes.adam import first_moment_orders, moment, update
from comparisons.diagnosis.mistakes.backward import backward, parameter_gradient, right_gradient
from comparisons.diagnosis.mistakes.forward import fitted, forward, running
from comparisons.diagnosis.mistakes.suspects import FEWEST, slope

__all__ = [
    "FEWEST",
    "backward",
    "first_moment_orders",
    "fitted",
    "forward",
    "moment",
    "parameter_gradient",
    "right_gradient",
    "running",
    "slope",
    "update",
]
