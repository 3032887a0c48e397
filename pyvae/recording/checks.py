"""What can be recorded: bad input gets one clear line before the training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from pyvae.errors import UserError
from pyvae.recording.keras.network import KerasNetwork, as_network, is_keras, other_backend
from pyvae.recording.keras.optimiser import KerasOptimiser, as_optimiser
from pyvae.recording.networks import Several

__all__ = ["check_model", "check_optimisers"]


def check_model(model: nn.Module | Mapping[str, nn.Module]) -> nn.Module:
    """Returns the model to record: several as one, and what a wrapper holds.

    Raises:
        UserError: If it is none, has no parameters, or its layers cannot be seen.
    """
    if isinstance(model, Mapping):
        model = Several({str(name): check_model(one) for name, one in model.items()})
    if isinstance(model, DataParallel) and len(model.device_ids or ()) > 1:
        raise UserError(
            f"the model is spread over {len(model.device_ids)} devices by DataParallel",
            "record it on one device",
        )
    together = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if together > 1:
        raise UserError(f"the program trains in {together} processes", "record it in one")
    if isinstance(model, DataParallel | DistributedDataParallel):
        model = model.module
    if not isinstance(model, nn.Module) and is_keras(model):
        raise UserError(
            f"Keras computes with {other_backend()}, which cannot be seen",
            "set the environment variable KERAS_BACKEND=torch: the same program computes the same",
        )
    if not isinstance(model, nn.Module):
        raise UserError(
            f"model is a {type(model).__name__}",
            expected="a torch.nn.Module, or a dict of several",
        )
    model = as_network(model)
    if isinstance(model, KerasNetwork) and getattr(model.model, "jit_compile", None) is True:
        raise UserError(
            f"Keras compiles model '{model.model.name}' with torch.compile, which hides its layers",
            "leave out jit_compile=True",
        )
    compiled = hasattr(model, "_orig_mod") or any(
        getattr(one, "_compiled_call_impl", None) is not None or hasattr(one, "_orig_mod")
        for one in model.modules()
    )
    if compiled:
        raise UserError(
            "the model is compiled by torch.compile, and its layers cannot be seen",
            "record the program without torch.compile",
        )
    if next(model.parameters(), None) is None:
        raise UserError("the model has no parameters", "record the model that is trained")
    return model


def check_optimisers(model: nn.Module, given: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """Returns the optimisers as a list.

    Raises:
        UserError: If there is none, or one has none of the model's parameters.
    """
    several: list[Any] = list(given) if isinstance(given, Sequence) else [given]
    found = [as_optimiser(one, model) for one in several]
    if not found:
        raise UserError("no optimizer is given", "give the one that trains the model")
    mine = {id(one) for one in model.parameters()}
    for at, one in enumerate(found):
        if not isinstance(one, Optimizer | KerasOptimiser):
            raise UserError(
                f"optimizer is a {type(one).__name__}",
                expected="a torch.optim.Optimizer, or a list of several",
            )
        if not any(id(p) in mine for group in one.param_groups for p in group["params"]):
            which = f"optimizer {at}" if len(found) > 1 else "the optimizer"
            raise UserError(
                f"{which} has none of the model's parameters",
                "make the optimizer after the model, from model.parameters()",
            )
    return found
