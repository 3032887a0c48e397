"""What PyTorch and R's torch call differently in a state dict, or give another shape.

R counts the layers of recurrent networks from 1 (`weight_ih_l1` is Python's `weight_ih_l0`), and
`num_batches_tracked` has the shape (1) there and () in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

__all__ = ["FIRST_LAYER", "in_language"]

FIRST_LAYER = {"python": 0, "r": 1}
LANGUAGE = {"python": "Python", "r": "R"}
RECURRENT = re.compile(
    r"(?P<module>.*\.)?(?P<kind>(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l)"
    r"(?P<layer>0|[1-9]\d{0,3})(?P<end>_reverse)?"
)
COUNTED = "num_batches_tracked"


def in_language(
    tensors: Mapping[str, Tensor], language: str
) -> tuple[dict[str, tuple[str, Tensor]], dict[str, str]]:
    """Says a state dict in one of the languages, whichever it is in.

    Arguments:
        tensors: By name.
        language: `python` or `r`.

    Returns:
        Of every name, the new name and the tensor; and what was done, in words.
    """
    first = _first_layers(tensors)
    found: dict[str, tuple[str, Tensor]] = {}
    done: dict[str, str] = {}
    for name, one in tensors.items():
        new = name
        match = RECURRENT.fullmatch(name)
        if match is not None:
            base = first[match["module"]]
            if base != FIRST_LAYER[language] and base in FIRST_LAYER.values():
                layer = int(match["layer"]) - base + FIRST_LAYER[language]
                new = f"{match['module'] or ''}{match['kind']}{layer}{match['end'] or ''}"
                done[name] = f"{LANGUAGE[language]} counts layers from {FIRST_LAYER[language]}"
        elif name.rpartition(".")[2] == COUNTED and one.numel() == 1:
            shape = (1,) if language == "r" else ()
            if tuple(one.shape) != shape:
                done[name] = f"of shape ({'1' if shape else ''}), as in {LANGUAGE[language]}"
                one = one.reshape(shape)
        found[name] = new, one
    return found, done


def _first_layers(names: Iterable[str]) -> dict[str | None, int]:
    """Returns the lowest number of a layer of each recurrent module."""
    found: dict[str | None, int] = {}
    for name in names:
        match = RECURRENT.fullmatch(name)
        if match is not None:
            layer = int(match["layer"])
            found[match["module"]] = min(layer, found.get(match["module"], layer))
    return found
