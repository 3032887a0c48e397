"""What the numbers of a recipe count, by which a value may have been multiplied or divided."""

from __future__ import annotations

from comparisons.diagnosis.relations.names_of_factors import IMAGES
from comparisons.expected.layers import Layers

__all__ = ["factors_of", "numbers_of"]


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
