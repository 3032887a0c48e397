"""What can be recorded: bad input gets one clear line before the training begins."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from pyvae.errors import UserError
from pyvae.trace.program import is_program_trace

__all__ = ["check_folder", "check_model", "check_optimisers", "empty_folder"]


def check_model(model: nn.Module | Mapping[str, nn.Module]) -> nn.Module:
    """Returns the model to record: several as one, and what a wrapper holds.

    Raises:
        UserError: If it is none, has no parameters, or its layers cannot be seen.
    """
    if isinstance(model, Mapping):
        model = nn.ModuleDict({str(name): check_model(one) for name, one in model.items()})
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
    if not isinstance(model, nn.Module):
        raise UserError(
            f"model is a {type(model).__name__}",
            expected="a torch.nn.Module, or a dict of several",
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
    found = [given] if isinstance(given, Optimizer) else list(given)
    if not found:
        raise UserError("no optimizer is given", "give the one that trains the model")
    mine = {id(one) for one in model.parameters()}
    for at, one in enumerate(found):
        if not isinstance(one, Optimizer):
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


def check_folder(folder: Path, overwrite: bool) -> None:
    """Makes sure that a trace overwrites nothing of the user's.

    Raises:
        UserError: If it would.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not is_program_trace(folder):
            raise UserError(
                f"folder '{folder}' is not empty, and holds no trace of a program",
                "choose a new folder",
            )
        if not overwrite:
            raise UserError(
                f"folder '{folder}' holds a trace already",
                "choose a new folder, or overwrite it (overwrite=True, --overwrite)",
            )
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file", "choose a new folder")


def empty_folder(folder: Path) -> None:
    """Removes a trace, and nothing else."""
    (folder / "trace.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "steps", ignore_errors=True)
