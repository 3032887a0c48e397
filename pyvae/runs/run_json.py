"""`run.json`: what was run in a folder, on which machine, and the command that repeats it.

command     the command, with all its options, to copy into a shell
arguments   the same, word by word, for `--resume`
recipe      the recipe's name
recipe_file of a recipe of the user's own: the file's absolute path, the name in it, its SHA-256
runs        the settings of each run
starts      what each run started from, where that is not initial parameters (`Start.describe`)
data        name, number of images, SHA-256 of the pixels, source
engines     for each engine: the versions and threads that its results depend on
machine     versions, BLAS and processor, to look for the cause of a difference
started     the time in UTC (for people: nothing depends on it)
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

from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE, read_json
from pyvae.files.writing import write_file
from pyvae.version import __version__

if TYPE_CHECKING:
    from pyvae.model.recipe import RecipeFile
    from pyvae.model.settings import Settings

__all__ = ["RUN_FILE", "machine", "read_arguments", "write_run"]

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
    file: RecipeFile | None = None,
    starts: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes `run.json` into an existing folder.

    Arguments:
        folder: The folder.
        arguments: The words of the command (`pyvae.cli.again.command_words`).
        recipe, runs: What is run.
        data: The training data: `ImageData.describe()`.
        engines: `Engine.environment` of each engine, by name.
        file: Where the recipe comes from, if it is the user's own.
        starts: What each run starts from; empty for initial parameters.
    """
    # what `auto` stood for: another day it may stand for something else
    arguments = [f"--data={data['name']}" if word == "--data=auto" else word for word in arguments]
    about = {
        "format": FORMAT,
        "command": shlex.join(["pyvae", *arguments]),
        "arguments": arguments,
        "recipe": recipe,
        **({} if file is None else {"recipe_file": file._asdict()}),
        "runs": [settings.as_dict() for settings in runs],
        **({"starts": [dict(one) for one in starts]} if any(starts) else {}),
        "data": data,
        "engines": engines,
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_file(folder / RUN_FILE, json.dumps(about, indent=2) + "\n")


def read_arguments(folder: Path, command: str) -> list[str]:
    """The arguments of the command that wrote a folder.

    Arguments:
        folder: The folder.
        command: The command that has to have written it, such as `train`.

    Raises:
        UserError: If `run.json` is missing or cannot be used, or another command wrote it.
    """
    path = folder / RUN_FILE
    remedy = f"name a folder of pyvae {command}"
    if not folder.exists():
        raise UserError(f"there is no folder '{folder}'", "check the path")
    if not path.is_file():
        raise UserError(f"'{folder}' holds no {RUN_FILE}", remedy)
    try:
        about = read_json(path)
        version, arguments = about["format"], about["arguments"]
        if not (isinstance(arguments, list) and arguments and all(
            isinstance(word, str) for word in arguments
        )):  # fmt: skip
            raise TypeError("arguments is no list of texts")
    except UNREADABLE as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"'{path}' cannot be read ({why})", remedy) from error
    if version != FORMAT:
        raise UserError(
            f"'{path}' has format {version!r}, and this version of pyvae reads format {FORMAT}",
            "resume it with the version of pyvae that wrote it",
        )
    if arguments[0] != command:
        raise UserError(f"'{folder}' was written by pyvae {arguments[0]}", remedy)
    return arguments[1:]


def machine() -> dict[str, str]:
    """Versions and the processor: what can change a bit, or explain a failure."""
    import torch

    about = {
        "pyvae": __version__,
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
    """The library that computes PyTorch's matrix products."""
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
