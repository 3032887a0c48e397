"""A command that is written into run.json, and run again by --resume."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from pyvae.cli.options.given import option, was_given
from pyvae.errors import UserError
from pyvae.files.reading import is_array_file
from pyvae.recipes.from_file import absolute_recipe_file, names_recipe_file
from pyvae.runs.run_json import RUN_FILE, read_arguments

__all__ = ["command_words", "is_resumed", "repeat_command"]

RESUMED = "resumed"  # a context's object
SCHEDULER = "scheduler"
LENGTH = ("epochs", "steps")
NEVER_AGAIN = ("resume", "overwrite")  # what no run.json of ours says
SHOWN = "quiet"  # what a command shows is no part of what is repeated


def command_words(context: typer.Context, **settled: Any) -> list[str]:
    """The words of a command line that repeats a command: its name, then all of its arguments and
    options, defaults included, data files by their absolute path.

    Arguments:
        context: The command's.
        settled: Values for what was left open, such as the number of threads; None leaves an
            option out.
    """
    values = context.params | settled
    words: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        value = values.get(str(parameter.name))
        if value is None or value in ((), []) or parameter.name == SHOWN:
            continue
        if parameter.name == "data" and is_array_file(str(value)):
            value = Path(value).resolve()
        if parameter.name == "recipe" and names_recipe_file(str(value)):
            value = absolute_recipe_file(str(value))
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


def repeat_command(context: typer.Context, folder: Path) -> Any:
    """Runs the command that wrote a folder again, into the same folder.

    The folder may be a stranger's: it can neither choose which scheduler is connected to, nor have
    anything replaced or written elsewhere.

    Arguments:
        context: Of the same command, with `--resume FOLDER`. A scheduler has to be given again;
            `pyvae train` takes another length.
        folder: The folder.

    Raises:
        UserError: If other options were given, the folder has no usable `run.json`, or it names a
            scheduler and none was given.
    """
    command = str(context.info_name)
    beside = (SCHEDULER, *(LENGTH if command == "train" else ()))
    own_recipe = names_recipe_file(str(context.params.get("recipe") or ""))
    given = _given_beside(context, folder, (*beside, *(["recipe"] if own_recipe else [])))
    file = given.pop("recipe", None)
    arguments = read_arguments(folder, command)
    words = [f"{option(name)}={value}" for name, value in given.items()]
    again = context.command.make_context(
        command, [*arguments, *words, f"--out={folder}"], parent=context.parent, obj=RESUMED
    )
    _refuse_what_a_folder_may_not_say(again.params, given, folder, command)
    _check_recipe_file(again.params.get("recipe"), file, folder)
    if any(name in given for name in LENGTH):
        again.params |= {name: given.get(name) for name in LENGTH}
    if SCHEDULER in given and "jobs" in again.params:
        again.params["jobs"] = None
    if SHOWN in context.params:
        again.params[SHOWN] = context.params[SHOWN]
    with again:
        return context.command.invoke(again)


def is_resumed(context: typer.Context) -> bool:
    """Whether a command is being run again by `repeat_command`."""
    return context.obj == RESUMED


def _refuse_what_a_folder_may_not_say(
    asked: Mapping[str, object], given: Mapping[str, object], folder: Path, command: str
) -> None:
    """Raises UserError where a `run.json` names a scheduler, or says what none of ours does."""
    for name in NEVER_AGAIN:
        if asked.get(name):
            raise UserError(
                f"'{folder / RUN_FILE}' says {option(name)}, which pyvae never writes there",
                "do not resume it: somebody has changed this folder",
            )
    if asked.get(SCHEDULER) is not None and SCHEDULER not in given:
        raise UserError(
            f"the workers of a scheduler computed '{folder}', and pyvae connects only to a "
            "scheduler that is given on the command line",
            f"run pyvae {command} --resume {shlex.quote(str(folder))} --scheduler ADDRESS",
        )


def _check_recipe_file(said: object, given: object, folder: Path) -> None:
    """Raises UserError where a `run.json` names a recipe's file, and the command line not the
    same: a stranger's folder could have any file run."""
    if given is not None:
        given = absolute_recipe_file(str(given))
    if given == said or not (given or names_recipe_file(str(said))):
        return
    if given is None:
        raise UserError(
            f"'{folder}' is of a recipe of your own, and pyvae runs no file that a folder names",
            f"if you trust it, name it beside --resume: {said}",
        )
    raise UserError(f"'{folder}' is of recipe '{said}', not of '{given}'", "name that one")


def _given_beside(
    context: typer.Context, folder: Path, allowed: Sequence[str]
) -> dict[str, object]:
    """The options given beside --resume; raises UserError for one that is not allowed there."""
    given = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in ("resume", SHOWN) or not was_given(context, name):
            continue
        if name not in allowed:
            flag = max(parameter.opts, key=len)
            what = flag.upper() if parameter.param_type_name == "argument" else flag
            there = [option(other) for other in allowed if _has(context, other)]
            raise UserError(
                f"{what} cannot be used with --resume"
                + (f" (only {' and '.join(there)} can)" if there else ""),
                f"leave out {what}: {folder / RUN_FILE} says what to run",
            )
        given[name] = context.params[name]
    return given


def _has(context: typer.Context, name: str) -> bool:
    return any(parameter.name == name for parameter in context.command.params)
