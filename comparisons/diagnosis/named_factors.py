"""Constants that a value may have been multiplied by, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Iterator

from comparisons.diagnosis.closeness import REST
from comparisons.expected.layers import Layers

__all__ = ["factors_of", "named_factors", "numbers_of"]

IMAGES = (60000, 50000, 55000, 10000)  # of MNIST's and CIFAR's files, and of usual splits of them
EXACT = {"float64": 1e-9, "float32": 1e-5}


def factors_of(layers: Layers) -> dict[str, float]:
    """Factors of any quantity, in words."""
    settings = layers.settings
    batch, dimensions = settings.batch_size, settings.latent_dim
    features = layers.recipe.features
    pixels, name = features, "pixels" if features == 784 else "coordinates"
    found: dict[str, float] = {
        "1/2": 1 / 2,
        "255/256 (pixels divided by 256 where it is 255)": 255 / 256,
        "1/255 (pixels not divided by 255)": 1 / 255,
        f"1/batch size (1/{batch})": 1 / batch,
        f"1/latent dimensions (1/{dimensions})": 1 / dimensions,
        f"1/{name} (1/{pixels})": 1 / pixels,
        f"1/(batch size x {name}) (1/{batch * pixels})": 1 / (batch * pixels),
        f"1/(batch size x latent dimensions) (1/{batch * dimensions})": 1 / (batch * dimensions),
    }
    for stage in layers.stages.values():
        if stage.layer == "dropout":
            p = stage.options["p"]
            found[f"(1 - p) = {1 - p:g} ({stage.name}'s 1/(1 - p) is missing)"] = 1 - p
    return {label: value for label, value in found.items() if value != 1}


def numbers_of(layers: Layers) -> dict[int, str]:
    """Numbers that a loss may be divided or multiplied by, and what they count."""
    settings, features = layers.settings, layers.recipe.features
    batch, dimensions = settings.batch_size, settings.latent_dim
    pixels = "pixels" if features == 784 else "coordinates"
    found = dict.fromkeys(IMAGES, "images")
    found |= {
        batch * features: f"batch size times {pixels}",
        batch * dimensions: "batch size times latent dimensions",
        features: pixels,
        dimensions: "latent dimensions",
        batch: "batch size",
    }
    found.pop(1, None)
    return found


def named_factors(
    factor: float, numbers: dict[int, str], dtype: str = "float64"
) -> Iterator[tuple[str, float]]:
    """A factor as a ratio of numbers with a name, or else as a round number.

    Example:
        >>> list(named_factors(0.0002, {12: "batch size", 60000: "images"}))
        [('0.0002 = 12/60000 (batch size over images)', 0.0002)]
        >>> list(named_factors(10.0, {12: "batch size"}))
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
            if number != other and is_it(number / other):
                ratio = f"{number / other:.6g} = {number}/{other} ({name} over {its_name})"
                found.append((ratio, number / other))
    if found:
        yield from found
    elif factor > 0 and math.isfinite(factor) and is_it(float(f"{factor:.2g}")):
        yield f"{factor:.2g} (a weight of the loss)", float(f"{factor:.2g}")
