"""`pyvae doctor`: one screen on what is there, what is missing and what to do about it.

Other packages add checks through the entry-point group `pyvae.doctor`: each entry is a
function that returns a list of `Check`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

__all__ = ["Check", "examine"]


@dataclass(frozen=True)
class Check:
    """One line of the screen.

    Attributes:
        name: What was looked for.
        found: What was found.
        remedy: What to do, if something is missing.
        needed: Whether pyvae cannot do its main job without it.
    """

    name: str
    found: str
    remedy: str = ""
    needed: bool = False


def examine() -> int:
    """Prints all checks.

    Returns:
        0, or 2 if something that is needed is missing.
    """
    from rich.console import Console
    from rich.markup import escape

    checks = core_checks()
    for entry in sorted(metadata.entry_points(group="pyvae.doctor"), key=lambda entry: entry.name):
        more: Callable[[], list[Check]] = entry.load()
        checks.extend(more())
    console = Console()
    width = max(len(check.name) for check in checks)
    for check in checks:
        missing = "[red]no[/]" if check.needed else "[yellow]--[/]"
        mark = missing if check.remedy else "[green]ok[/]"
        name = check.name.ljust(width)
        console.print(f"{mark}  {name}  {escape(check.found)}", highlight=False, soft_wrap=True)
        if check.remedy:
            remedy = f"    {' ' * width}  {escape(check.remedy)}"
            console.print(remedy, highlight=False, soft_wrap=True)
    return 2 if any(check.remedy and check.needed for check in checks) else 0


def core_checks() -> list[Check]:
    """Python, PyTorch, device, threads, Dask and data."""
    import torch

    from pyvae.data import data_root
    from pyvae.mnist import is_present

    checks = [
        Check("Python", platform.python_version()),
        Check("pyvae", metadata.version("pyvae")),
        Check("torch", f"{torch.__version__}, torchvision {metadata.version('torchvision')}"),
    ]
    if torch.cuda.is_available():
        checks.append(Check("device", f"CUDA: {torch.cuda.get_device_name()}"))
    else:
        checks.append(Check("device", "CPU (no CUDA device)"))
    checks.append(Check("threads", f"{torch.get_num_threads()}"))
    checks.append(_cluster())
    root = data_root()
    if is_present("MNIST", root):
        checks.append(Check("MNIST", f"in {root}"))
    else:
        checks.append(
            Check(
                "MNIST",
                f"not in {root}",
                "is downloaded on first use; or set PYVAE_DATA to a folder with MNIST/raw; "
                "else the digits serve",
            )
        )
    return checks


def _cluster() -> Check:
    """What runs go over a cluster with."""
    try:
        return Check("Dask", f"distributed {metadata.version('distributed')}")
    except metadata.PackageNotFoundError:
        return Check("Dask", "not there (only --scheduler needs it)", "pip install distributed")
