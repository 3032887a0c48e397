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

import typer

from pyvae.errors import UserError
from pyvae.files import write_file
from pyvae.reading import UNREADABLE, is_array_file, read_json

if TYPE_CHECKING:
    from pyvae.data import ImageData
    from pyvae.settings import Settings

__all__ = ["RUN_FILE", "arguments_of", "invoke_again", "is_resumed", "machine", "write_run"]

RUN_FILE = "run.json"
FORMAT = 1
RESUMED = "resumed"  # a context's object
PACKAGES = ("numpy", "safetensors", "scikit-learn", "torchvision", "rpy2")


def arguments_of(context: typer.Context, **settled: Any) -> list[str]:
    """A command line that does again what a command was asked for: its name, then all of its
    arguments and options, defaults included, data files by their whole path.

    Arguments:
        context: The command's.
        settled: Options in place of what was left open, such as the number of threads.
    """
    values = context.params | settled
    words: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        value = values.get(str(parameter.name))
        if value is None or value in ((), []):
            continue
        if parameter.name == "data" and is_array_file(str(value)):
            value = Path(value).resolve()
        several = value if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            arguments += map(str, several)
        elif isinstance(value, bool):
            words += (parameter.opts if value else parameter.secondary_opts)[:1]
        else:  # in one word: a value may begin with a dash
            flag = max(parameter.opts, key=len)
            words += [
                f"{flag}={one}" if flag.startswith("--") else f"{flag}{one}" for one in several
            ]
    dashes = ["--"] if any(argument.startswith("-") for argument in arguments) else []
    return [str(context.info_name), *words, *dashes, *arguments]


def invoke_again(context: typer.Context, folder: Path) -> Any:
    """Does again, into the same folder, what was asked for when it was written.

    Arguments:
        context: Of the same command, with `--resume FOLDER` alone.
        folder: The folder.

    Raises:
        UserError: If other options were given, or there is nothing to go on from.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name != "resume":
            flag = max(parameter.opts, key=len)
            raise UserError(
                f"{flag.upper() if parameter.param_type_name == 'argument' else flag} together "
                f"with --resume",
                "--resume alone",
                f"{folder / RUN_FILE} says what is run",
            )
    arguments = _arguments_in(folder, str(context.info_name))
    again = context.command.make_context(
        context.info_name, [*arguments, f"--out={folder}"], parent=context.parent, obj=RESUMED
    )
    with again:
        return context.command.invoke(again)


def is_resumed(context: typer.Context) -> bool:
    """Whether a command is being done again by `invoke_again`."""
    return context.obj == RESUMED


def _arguments_in(folder: Path, command: str) -> list[str]:
    """The arguments of the command that wrote into a folder. Memory: as `read_json`."""
    path = folder / RUN_FILE
    expected = f"a folder of pyvae {command}, with its {RUN_FILE}"
    if not path.is_file():
        raise UserError(f"'{folder}' holds no {RUN_FILE}", expected)
    try:
        about = read_json(path)
        version, arguments = about["format"], about["arguments"]
        if not (isinstance(arguments, list) and arguments and all(
            isinstance(word, str) for word in arguments
        )):  # fmt: skip
            raise TypeError("arguments is no list of texts")
    except UNREADABLE as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"'{path}' cannot be read ({why})", expected) from error
    if version != FORMAT:
        raise UserError(f"'{path}' has format {version!r}", f"format {FORMAT}")
    if arguments[0] != command:
        raise UserError(f"'{folder}' is of pyvae {arguments[0]}", expected)
    return arguments[1:]


def write_run(
    folder: Path,
    arguments: Sequence[str],
    recipe: str,
    runs: Sequence[Settings],
    data: ImageData,
    engines: Mapping[str, Mapping[str, str]],
) -> None:
    """Writes `run.json` into an existing folder.

    Arguments:
        folder: Where to.
        arguments: `arguments_of` the command.
        recipe, runs, data: What is run.
        engines: `Engine.environment` of each engine, by name.
    """
    # what `auto` was: another day it may be something else
    arguments = [f"--data={data.name}" if word == "--data=auto" else word for word in arguments]
    about = {
        "format": FORMAT,
        "command": shlex.join(["pyvae", *arguments]),
        "arguments": arguments,
        "recipe": recipe,
        "runs": [settings.as_dict() for settings in runs],
        "data": data.describe(),
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
