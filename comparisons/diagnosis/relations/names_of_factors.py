"""What a constant that a value was multiplied by is called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from comparisons.diagnosis.closeness import REST

__all__ = ["EXACT", "IMAGES", "named_factors"]

IMAGES = (60000, 50000, 55000, 10000)  # of MNIST's and CIFAR's files, and of usual splits of them
OF_DATA = {"images", "batches"}  # they are counted as they are, or by something of the network
EXACT = {"float64": 1e-9, "float32": 1e-5}


def named_factors(
    factor: float, numbers: Mapping[int, str], dtype: str = "float64", of: str = ""
) -> Iterator[tuple[str, float]]:
    """A factor as a ratio of numbers with a name, or a root of one, or else as a round number.

    Arguments:
        factor: Above 0.
        numbers: What is counted, by how many there are.
        dtype: How exact the factor is.
        of: What a round number is said to be.

    Example:
        >>> list(named_factors(0.0002, {12: "batch size", 60000: "images"}))
        [('0.0002 = 12/60000 (batch size over images)', 0.0002)]
        >>> list(named_factors(0.125, {64: "dimensions"}))
        [('1/sqrt(64) (one over the root of dimensions)', 0.125)]
        >>> list(named_factors(10.0, {12: "batch size"}, of="a weight of the loss"))
        [('10 (a weight of the loss)', 10.0)]
        >>> list(named_factors(1.2345, {12: "batch size"}))
        []
    """

    def is_it(known: float) -> bool:
        exact = min(EXACT[dtype] * known, REST * abs(known - 1))
        return known != 1 and abs(factor - known) <= exact

    found = []
    for number, name in numbers.items():
        if is_it(1 / number):
            found.append((f"1/{number} (one over {name})", 1 / number))
        if is_it(float(number)):
            found.append((f"{number} ({name})", float(number)))
        for other, its_name in numbers.items():
            if number != other and not {name, its_name} <= OF_DATA and is_it(number / other):
                ratio = f"{number / other:.6g} = {number}/{other} ({name} over {its_name})"
                found.append((ratio, number / other))
    for number, name in numbers.items() if not found else ():
        if OF_DATA.issuperset(name.split(" or ")):
            continue  # nothing is divided by the root of how many images there are
        root = math.sqrt(number)
        if is_it(1 / root):
            found.append((f"1/sqrt({number}) (one over the root of {name})", 1 / root))
        if is_it(root):
            found.append((f"sqrt({number}) (the root of {name})", root))
    if found:
        yield from found
    elif factor > 0 and math.isfinite(factor) and is_it(float(f"{factor:.2g}")):
        yield f"{factor:.2g}" + (f" ({of})" if of else ""), float(f"{factor:.2g}")
