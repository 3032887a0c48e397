"""The `pyvae` command. Other packages add subcommands through the entry-point group
`pyvae.commands`: each entry is a function that takes the typer application."""

from __future__ import annotations

import errno
import inspect
import io
import logging
import os
import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from pyvae.cli.reproduce import reproduce_command
from pyvae.cli.show import doctor_command, figures_command, recipes_command, sample_command
from pyvae.cli.trace import trace_command
from pyvae.cli.train import train_command
from pyvae.cli.unexpected import unexpected
from pyvae.cli.verify import verify_command
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.errors import is_outage
from pyvae.errors import UserError, print_error
from pyvae.plugins import open_plugins
from pyvae.runs.signals import terminated_as_interrupted

__all__ = ["build_app", "main"]

COMMANDS = "pyvae.commands"
UNUSABLE, UNEXPECTED, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141
EXIT_CODES = (
    "Exit codes: 0 done, agree or equivalent; 1 disagree, different or inconclusive; 2 unusable "
    "input or environment; 70 unexpected error; 130 interrupted."
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Arguments:
        arguments: By default those of this process, which is the command's alone then.

    Returns:
        The exit code: 0 done (compare: agree), 1 disagree, 2 unusable input or environment, 70 an
        unexpected error, 130 interrupted, 141 nobody reads what is printed any more.
    """
    if arguments is None:
        _own_matplotlib()
        keep_freed_memory()
    _never_unwritable()
    try:
        with terminated_as_interrupted():
            result = build_app()(arguments, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # what goes wrong is told here, not when Python ends
    except (UserError, TyperException) as error:
        return _complain(error.format_message() if isinstance(error, TyperException) else error)
    except SystemExit as error:  # typer's and rich's answer to a closed pipe
        if not _is_closed_pipe(error.__context__):
            raise
        _leave_unwritten()
        return CLOSED_PIPE
    except OSError as error:  # a file that cannot be read or written, a full disk
        _leave_unwritten()
        if _is_closed_pipe(error):  # nobody reads any more, such as head -1: nothing is to be said
            return CLOSED_PIPE
        if error.errno == errno.ENOSPC and error.filename is None:
            return _complain("no space is left for standard output, or on the disk")
        return _complain(error)
    except KeyboardInterrupt:
        result = INTERRUPTED
    except RuntimeError as error:
        if not is_outage(error):
            return _not_foreseen(error)
        said = str(error).strip().partition("\n")[0]
        return _complain(f"PyTorch finds no memory ({said}); try a smaller --batch-size")
    except Exception as error:
        return _not_foreseen(error)
    # typer makes it of KeyboardInterrupt; of torchrun's processes the first one tells it
    if result == INTERRUPTED and os.environ.get("RANK", "0") == "0":
        print("pyvae: interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _own_matplotlib() -> None:
    """Neither a backend for notebooks or screens nor the user's `matplotlibrc` is read: both can
    keep matplotlib from being imported."""
    os.environ["MPLBACKEND"] = "agg"
    found = util.find_spec("matplotlib")
    if found is not None and found.origin:
        os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches, too


def _never_unwritable() -> None:
    """Characters that standard output has no code for (a name that is no UTF-8, or any but ASCII
    where the locale is C) are written as escapes, as on standard error: a run of hours must not
    end in an error for its folder's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_closed_pipe(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _leave_unwritten() -> None:
    """What is left in a buffer that cannot be written would be an error once more when Python
    ends."""
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
    # of torchrun's processes all meet the same mistake, and the first one tells it
    if os.environ.get("RANK", "0") != "0" and not getattr(error, "of_one_process", False):
        return UNUSABLE
    if str(error).split():  # `pyvae` alone shows its help and has nothing to say
        print_error(str(error))
    return UNUSABLE


def _not_foreseen(error: Exception) -> int:
    print_error(unexpected(error))
    return UNEXPECTED


def build_app() -> typer.Typer:
    """The application with the commands of all installed packages."""
    app = typer.Typer(
        help="VAEs of published write-ups in PyTorch, held against their R originals.",
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
        no_args_is_help=True,
    )
    app.callback()(_about)
    app.command("train")(train_command)
    app.command("trace")(trace_command)
    app.command("reproduce")(reproduce_command)
    app.command("verify")(verify_command)
    app.command("sample")(sample_command)
    app.command("figures")(figures_command)
    app.command("recipes")(recipes_command)
    app.command("doctor")(doctor_command)
    for _ in open_plugins(COMMANDS, lambda add: add(app)):
        pass
    for command in app.registered_commands:
        command.help = _unwrapped(command.help or inspect.getdoc(command.callback) or "")
    return app


def _unwrapped(text: str) -> str:
    """A text whose paragraphs are lines: the terminal's width alone breaks them."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pyvae {metadata.version('pyvae')}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """What stands in front of a command."""
