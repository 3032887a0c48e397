"""What `pyvae doctor` checks: what is there, what is missing, and how to get it.

Other packages add checks through the entry-point group `pyvae.doctor`: each entry is a function
that returns a list of `Check`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata

from pyvae.checks import Check
from pyvae.plugins import open_plugins
from pyvae.version import DISTRIBUTION, __version__

__all__ = ["examine"]


def examine() -> int:
    """Prints all checks.

    Returns:
        The exit code: 0, or 2 if something that pyvae needs is missing.
    """
    from rich.markup import escape

    from pyvae.terminal.console import Terminal

    checks = core_checks()
    for more in open_plugins("pyvae.doctor", _open_checks):
        checks.extend(more)
    console = Terminal(markup=True)
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


def _open_checks(plugin: Callable[[], list[Check]]) -> list[Check]:
    """The checks of another package."""
    checks = list(plugin())
    if not all(isinstance(check, Check) for check in checks):
        raise TypeError("it did not return a list of pyvae.checks.Check")
    return checks


def core_checks() -> list[Check]:
    """Python, PyTorch, device, threads, Dask and data."""
    import torch

    from pyvae.data.idx import find_idx
    from pyvae.data.images import data_root
    from pyvae.data.mnist import TRAINING

    checks = [
        Check("Python", platform.python_version()),
        _pyvae(),
        Check("torch", f"{torch.__version__}, torchvision {metadata.version('torchvision')}"),
    ]
    if torch.cuda.is_available():
        checks.append(Check("device", f"CUDA: {torch.cuda.get_device_name()}"))
    else:
        checks.append(Check("device", "CPU (no CUDA device)"))
    checks.append(Check("threads", f"{torch.get_num_threads()}"))
    checks.append(_dask())
    root = data_root()
    found = find_idx("MNIST", root, TRAINING[0])
    if found is not None:
        checks.append(Check("MNIST", f"in {found.parent}"))
    else:
        checks.append(
            Check(
                "MNIST",
                f"not in {root}",
                "pyvae downloads it on first use, and uses the digits where there is no network. "
                "If you have its files, set PYVAE_DATA to their folder.",
            )
        )
    return checks


def _pyvae() -> Check:
    """Which version this is, and whether another project's files may be among its own."""
    mine = f"{__version__} ({DISTRIBUTION})"
    try:
        other = metadata.version("pyvae")
    except metadata.PackageNotFoundError:
        return Check("pyvae", mine)
    return Check(
        "pyvae",
        f"{mine}, and beside it the package pyvae {other}: the files of one replace the other's",
        f"pip uninstall pyvae {DISTRIBUTION}, then install {DISTRIBUTION} again",
    )


def _dask() -> Check:
    """Dask, which --scheduler needs."""
    try:
        return Check("Dask", f"distributed {metadata.version('distributed')}")
    except metadata.PackageNotFoundError:
        return Check("Dask", "not installed; only --scheduler needs it", "pip install distributed")
