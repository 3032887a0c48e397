"""`run.json`: what was run in a folder, with what, and the command that does it again.

command     the command, with all its options, to be copied into a shell
arguments   the same, word by word: what `--resume` does
recipe      its name
runs        the settings of each objective's run
data        name, number of images, SHA-256 of the pixels, source
engines     of each engine: versions and threads that the numbers depend on
machine     versions, BLAS, processor: what one would ask for next
started     when, in UTC (for people: nothing depends on it)
"""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyvae.files.writing import write_file

if TYPE_CHECKING:
    from pyvae.model.settings import Settings

__all__ = ["RUN_FILE", "machine", "write_run"]

RUN_FILE = "run.json"
FORMAT = 1
PACKAGES = ("numpy", "safetensors", "scikit-learn", "torchvision", "rpy2")


def write_run(
    folder: Path,
    arguments: Sequence[str],
    recipe: str,
    runs: Sequence[Settings],
    data: Mapping[str, Any],
    engines: Mapping[str, Mapping[str, str]],
) -> None:
    """Writes `run.json` into an existing folder.

    Arguments:
        folder: Where to.
        arguments: `arguments_of` the command.
        recipe, runs: What is run.
        data: On what: `ImageData.describe()`.
        engines: `Engine.environment` of each engine, by name.
    """
    # what `auto` was: another day it may be something else
    arguments = [f"--data={data['name']}" if word == "--data=auto" else word for word in arguments]
    about = {
        "format": FORMAT,
        "command": shlex.join(["pyvae", *arguments]),
        "arguments": arguments,
        "recipe": recipe,
        "runs": [settings.as_dict() for settings in runs],
        "data": data,
        "engines": engines,
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_file(folder / RUN_FILE, json.dumps(about, indent=2) + "\n")


def machine() -> dict[str, str]:
    """Versions and the processor, as far as they can decide a bit or explain a failure."""
    import torch

    about = {
        "pyvae": metadata.version("pyvae"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "blas": _blas(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "platform": platform.platform(),
        "processor": _processor(),
    }
    for name in PACKAGES:
        try:
            about[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return about


def _blas() -> str:
    """What PyTorch's matrix products are computed with."""
    import torch

    found = re.search(r"(oneAPI Math Kernel Library Version [\d.]+|OpenBLAS[^,\n]*)",
                      torch.__config__.show())  # fmt: skip
    if found:
        return found[1].replace("oneAPI Math Kernel Library Version", "MKL")
    return "MKL" if torch.backends.mkl.is_available() else "unknown"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()
