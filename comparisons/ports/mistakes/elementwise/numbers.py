"""Numbers that are calculated with: rounded to float32 in a program that computes in float64."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from comparisons.ports.mistakes.mistake import Call, mistake

ARITHMETIC = (
    "add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide", "pow",
)  # fmt: skip
IN_R = "R's torch rounds a number to the left of a tensor, and none to its right"


@mistake(ARITHMETIC)
def in_float32(call: Call) -> Iterator[tuple[str, Any]]:
    for name, number in call.numbers.items():
        single = float(np.float32(number))
        if single != number:
            words = f"its number {number:.12g} is rounded to float32, to {single:.12g}"
            yield f"{words} ({IN_R})", partial(call, **{name: single})
