"""What kind of stage one is: the layers that go by several names, modules and functions."""

from __future__ import annotations

from pyvae.trace.program import ProgramStage

__all__ = ["family", "is_module"]

FAMILIES = {  # layers that go by several names
    "batch_norm1d": "batch_norm",
    "batch_norm2d": "batch_norm",
    "batch_norm3d": "batch_norm",
    "bce_loss": "binary_cross_entropy",
    "bce_with_logits_loss": "binary_cross_entropy_with_logits",
    "dropout1d": "feature_dropout",
    "dropout2d": "feature_dropout",
    "dropout3d": "feature_dropout",
    "flatten": "view",
    "kl_div_loss": "kl_div",
    "logical_and": "bitwise_and",  # of masks: R's `&`, `|` and `!`
    "logical_not": "bitwise_not",
    "logical_or": "bitwise_or",
    "logical_xor": "bitwise_xor",
    "reshape": "view",
    "squeeze": "view",
    "unflatten": "view",
    "unsqueeze": "view",
}


def family(layer: str) -> str:
    """A layer's name, one for all that do the same."""
    return FAMILIES.get(layer, layer)


def is_module(stage: ProgramStage) -> bool:
    """Whether a stage has a name of its own: a function is called by what it does, and counted."""
    last = stage.name.partition("#")[0].rpartition(".")[2]
    return last != stage.layer
