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
from pyvae.files.reading import UNREADABLE, is_array_file, read_json
from pyvae.files.writing import write_file

if TYPE_CHECKING:
    from pyvae.model.settings import Settings

__all__ = ["RUN_FILE", "arguments_of", "invoke_again", "is_resumed", "machine", "write_run"]

RUN_FILE = "run.json"
FORMAT = 1
RESUMED = "resumed"  # a context's object
SCHEDULER = "scheduler"
LENGTH = ("epochs", "steps")
NEVER_AGAIN = ("resume", "overwrite")  # what no run.json of ours says
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

    The folder may be a stranger's: it decides neither where is connected to nor that anything is
    replaced or written elsewhere.

    Arguments:
        context: Of the same command, with `--resume FOLDER`; a scheduler has to be given beside it,
            and `pyvae train` takes another length.
        folder: The folder.

    Raises:
        UserError: If other options were given, there is nothing to go on from, or the folder names
            a scheduler and none was given.
    """
    command = str(context.info_name)
    beside = (SCHEDULER, *(LENGTH if command == "train" else ()))
    given = _given_beside(context, folder, beside)
    arguments = _arguments_in(folder, command)
    words = [f"--{name}={value}" for name, value in given.items()]
    again = context.command.make_context(
        command, [*arguments, *words, f"--out={folder}"], parent=context.parent, obj=RESUMED
    )
    _refuse_what_a_folder_may_not_say(again.params, given, folder, command)
    if any(name in given for name in LENGTH):
        again.params |= {name: given.get(name) for name in LENGTH}
    if SCHEDULER in given and "jobs" in again.params:
        again.params["jobs"] = None
    with again:
        return context.command.invoke(again)


def _refuse_what_a_folder_may_not_say(
    asked: Mapping[str, object], given: Mapping[str, object], folder: Path, command: str
) -> None:
    """Raises UserError where a `run.json` names a scheduler, or says what none of ours does."""
    for name in NEVER_AGAIN:
        if asked.get(name):
            raise UserError(
                f"'{folder / RUN_FILE}' says --{name}, which pyvae never writes there",
                "whoever made this folder changed it: do not go on with it",
            )
    if asked.get(SCHEDULER) is not None and SCHEDULER not in given:
        raise UserError(
            f"'{folder}' was computed by the workers of a scheduler, and pyvae connects only to "
            "one that is given on the command line",
            f"give pyvae {command} --resume {shlex.quote(str(folder))} --scheduler ADDRESS",
        )


def _given_beside(
    context: typer.Context, folder: Path, allowed: Sequence[str]
) -> dict[str, object]:
    """The options given beside --resume; raises UserError for one that is not allowed there."""
    given = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name == "resume":
            continue
        if name not in allowed:
            flag = max(parameter.opts, key=len)
            what = flag.upper() if parameter.param_type_name == "argument" else flag
            there = [f"--{other}" for other in allowed if _has(context, other)]
            raise UserError(
                f"{what} cannot be given together with --resume"
                + (f" (only {' and '.join(there)} can)" if there else ""),
                f"leave it out: {folder / RUN_FILE} says what is run",
            )
        given[name] = context.params[name]
    return given


def _has(context: typer.Context, name: str) -> bool:
    return any(parameter.name == name for parameter in context.command.params)


def is_resumed(context: typer.Context) -> bool:
    """Whether a command is being done again by `invoke_again`."""
    return context.obj == RESUMED


def _arguments_in(folder: Path, command: str) -> list[str]:
    """The arguments of the command that wrote into a folder. Memory: as `read_json`."""
    path = folder / RUN_FILE
    expected = f"a folder of pyvae {command}, with its {RUN_FILE}"
    if not path.is_file():
        raise UserError(f"'{folder}' holds no {RUN_FILE}", expected=expected)
    try:
        about = read_json(path)
        version, arguments = about["format"], about["arguments"]
        if not (isinstance(arguments, list) and arguments and all(
            isinstance(word, str) for word in arguments
        )):  # fmt: skip
            raise TypeError("arguments is no list of texts")
    except UNREADABLE as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"'{path}' cannot be read ({why})", expected=expected) from error
    if version != FORMAT:
        raise UserError(f"'{path}' has format {version!r}", expected=f"format {FORMAT}")
    if arguments[0] != command:
        raise UserError(f"'{folder}' is of pyvae {arguments[0]}", expected=expected)
    return arguments[1:]


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
