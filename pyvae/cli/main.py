"""The `pyvae` command.

Other packages add subcommands through the entry-point group `pyvae.commands`: each entry is a
function that takes the typer application.
"""

from __future__ import annotations

import difflib
import errno
import inspect
import io
import logging
import os
import re
import sys
from importlib import util
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption
from typer.exceptions import TyperException
from typer.models import CommandInfo

from pyvae.cli.record import record_command
from pyvae.cli.reproduce import reproduce_command
from pyvae.cli.show import doctor_command, figures_command, recipes_command
from pyvae.cli.trace import trace_command
from pyvae.cli.train import train_command
from pyvae.cli.trained import (
    encode_command,
    interpolate_command,
    reconstruct_command,
    sample_command,
)
from pyvae.cli.unexpected import report_unexpected
from pyvae.cli.verify import verify_command
from pyvae.cli.weights import weights_command
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.errors import is_outage
from pyvae.errors import UserError, print_error
from pyvae.plugins import open_plugins
from pyvae.runs.callbacks.signals import terminated_as_interrupted
from pyvae.version import __version__

__all__ = ["build_app", "main"]

COMMANDS = "pyvae.commands"
UNUSABLE, UNEXPECTED, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141
EXTRA_ARGUMENT = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL)  # typer's
NEAR = 0.7  # how much an option has in common with one that is suggested in its place
EXIT_CODES = (
    "Exit codes: 0 done, agree or equivalent; 1 disagree, different or inconclusive; 2 unusable "
    "input or environment; 70 unexpected error; 130 interrupted."
)
PANELS = {  # of the help, with the commands in order
    "compare": "Train and compare",
    "train": "Train and compare",
    "reproduce": "Train and compare",
    "record": "Your own programs",
    "weights": "Your own programs",
    "trace": "Work with runs",
    "verify": "Work with runs",
    "sample": "Work with runs",
    "encode": "Work with runs",
    "reconstruct": "Work with runs",
    "interpolate": "Work with runs",
    "figures": "Work with runs",
    "recipes": "Information",
    "doctor": "Information",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Arguments:
        arguments: The words of the command; None: those of this process, which then belongs to the
            command alone.

    Returns:
        The exit code: 0 done (compare: agree), 1 disagree, 2 unusable input or environment, 70
        unexpected error, 130 interrupted, 141 nobody reads the output any more.
    """
    if arguments is None and sys.argv[1:2] != ["record"]:  # whose script is as it is alone
        _own_matplotlib()
        keep_freed_memory()
    _never_unwritable()
    try:
        with terminated_as_interrupted():
            app = build_app()
            _leave_out_others(app, sys.argv[1:] if arguments is None else arguments)
            result = app(arguments, standalone_mode=False, prog_name="pyvae")
        if sys.stdout is not None:
            sys.stdout.flush()  # an error shows here, not when Python ends
    except (UserError, TyperException) as error:
        words = sys.argv[1:] if arguments is None else arguments
        return _complain(_in_words(error, words) if isinstance(error, TyperException) else error)
    except SystemExit as error:  # typer's and rich's answer to a closed pipe
        if not _is_closed_pipe(error.__context__):
            raise
        _drop_unwritten()
        return CLOSED_PIPE
    except OSError as error:  # a file that cannot be read or written, a full disk
        _drop_unwritten()
        if _is_closed_pipe(error):  # nobody reads any more, such as head -1
            return CLOSED_PIPE
        if error.errno == errno.ENOSPC and error.filename is None:
            return _complain(UserError("disk full while printing the output", "free some space"))
        return _complain(error)
    except KeyboardInterrupt:
        result = INTERRUPTED
    except RuntimeError as error:
        if not is_outage(error):
            return _exit_unexpected(error)
        said = str(error).strip().partition("\n")[0]
        return _complain(UserError(f"out of memory ({said})", "try a smaller --batch-size"))
    except Exception as error:
        return _exit_unexpected(error)
    # typer turns KeyboardInterrupt into this code; under torchrun the first process prints it
    if result == INTERRUPTED and os.environ.get("RANK", "0") == "0":
        print("pyvae: interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _own_matplotlib() -> None:
    """Ignores the user's matplotlib backend and `matplotlibrc`: either can make the import fail."""
    os.environ["MPLBACKEND"] = "agg"
    found = util.find_spec("matplotlib")
    if found is not None and found.origin:
        os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs what it caches


def _never_unwritable() -> None:
    """Writes characters that standard output cannot encode as escapes, as standard error does.

    A run of hours must not fail because its folder's name is not UTF-8, or the locale is C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_closed_pipe(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _drop_unwritten() -> None:
    """Drops output that cannot be written: flushing it would fail again when Python ends."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _complain(error: object) -> int:
    # under torchrun every process meets the same mistake, and the first one prints it
    if os.environ.get("RANK", "0") != "0" and not getattr(error, "of_one_process", False):
        return UNUSABLE
    if str(error).split():  # empty after `pyvae` alone, which shows its help
        print_error(str(error))
    return UNUSABLE


def _in_words(error: TyperException, words: list[str]) -> str:
    """A usage error as pyvae says it, with what to do: typer quotes pydantic where a value is not a
    number, and guesses options that have little in common with what was typed.

    Arguments:
        error: Typer's; of an option without its value it does not know the command.
        words: Those of the command line.
    """
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    command = " ".join(["pyvae", *words[:1]])
    help_of = f"see {context.command_path if context else command} --help"
    if extra := EXTRA_ARGUMENT.fullmatch(error.format_message()):
        return str(UserError(f"unexpected argument '{extra[1]}'", help_of))
    if option is not None and hasattr(error, "possibilities"):
        near = difflib.get_close_matches(option, error.possibilities or (), 1, NEAR)
        meant = f"did you mean {near[0]}?" if near else help_of
        return str(UserError(f"there is no option {option}", meant))
    found: list[Any] = getattr(error.__cause__, "errors", list)()
    wanted = {"int_parsing": "a whole number", "float_parsing": "a number"}
    parameter = getattr(error, "param", None)
    if parameter is None or not found or found[0]["type"] not in wanted:
        return _with_help(error.format_message(), help_of)
    flag = max(parameter.opts, key=len)
    return str(UserError(f"{flag} {found[0]['input']}", expected=wanted[found[0]["type"]]))


def _with_help(message: str, help_of: str) -> str:
    """Typer's own message, and where help is, unless it says itself what to do; pyvae's messages
    begin with a small letter."""
    message = message[:1].lower() + message[1:]
    if not message or message.endswith("?"):
        return message
    return str(UserError(message.removesuffix("."), help_of))


def _exit_unexpected(error: Exception) -> int:
    # a recipe of the user's own is run by commands that have loaded this
    from_file = sys.modules.get("pyvae.recipes.from_file")
    blamed = None if from_file is None else from_file.recipe_error(error)
    if blamed is not None:
        return _complain(blamed)
    print_error(report_unexpected(error))
    return UNEXPECTED


def build_app() -> typer.Typer:
    """The application with the commands of all installed packages."""
    app = typer.Typer(
        help="Train published VAEs in PyTorch, and compare them with their R originals, step by "
        "step.",
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
    )
    app.callback()(_about)
    for command in (
        train_command, reproduce_command, record_command, weights_command, trace_command,
        verify_command, sample_command, encode_command, reconstruct_command, interpolate_command,
        figures_command, recipes_command, doctor_command,
    ):  # fmt: skip
        # options after the script's name are the script's
        words = {"allow_interspersed_args": command is not record_command}
        app.command(command.__name__.removesuffix("_command"), context_settings=words)(command)
    for _ in open_plugins(COMMANDS, lambda add: add(app)):
        pass
    app.registered_commands.sort(key=_place)
    for info in app.registered_commands:
        info.help = _unwrapped(info.help or inspect.getdoc(info.callback) or "")
        info.rich_help_panel = PANELS.get(str(info.name), "Commands of other packages")
        info.cls = _Command if info.cls in (None, TyperCommand) else info.cls
    return app


def _leave_out_others(app: typer.Typer, words: list[str]) -> None:
    """Of an application that is run once, for these words, leaves only the command that they name:
    the options of all commands take 20 milliseconds to read."""
    named = [info for info in app.registered_commands if info.name in words[:1]]
    if named:
        app.registered_commands = named


def _place(info: CommandInfo) -> int:
    """Where a command stands in the list: those that are not named in `PANELS` at the end."""
    order = list(PANELS)
    return order.index(str(info.name)) if info.name in order else len(order)


class _Command(TyperCommand):
    """A command whose help lists --help with the last group of its options."""

    def get_help_option(self, ctx: Any) -> TyperOption | None:
        option = super().get_help_option(ctx)
        if option is not None and self.params:
            option.rich_help_panel = getattr(self.params[-1], "rich_help_panel", None)
        return option


def _unwrapped(text: str) -> str:
    """Joins the lines of each paragraph, for the terminal's width to break them."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pyvae {__version__}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options before the command."""
