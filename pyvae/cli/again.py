"""A command that is written into run.json, and given again by --resume."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from pyvae.errors import UserError
from pyvae.files.reading import UNREADABLE, is_array_file, read_json
from pyvae.runs.run_json import FORMAT, RUN_FILE

__all__ = ["arguments_of", "invoke_again", "is_resumed"]

RESUMED = "resumed"  # a context's object


SCHEDULER = "scheduler"


LENGTH = ("epochs", "steps")


NEVER_AGAIN = ("resume", "overwrite")  # what no run.json of ours says


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
