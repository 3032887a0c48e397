"""The command line of the benchmarks; see `--help`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from benchmarks.suite import Plan, run_suite
from pyvae.errors import UserError

HERE = Path(__file__).parent
INTERRUPTED = 130


def benchmark(
    quick: Annotated[
        bool, typer.Option("--quick", help="Less of everything, in under a minute.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="PART,...", help="conv, recipes, startup, draws, bridge, growth (default: all)."
        ),
    ] = None,
    data: Annotated[str, typer.Option(metavar="NAME", help="auto, mnist or digits.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of every side (default: the cores).")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="How often each side has its turn.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")] = HERE,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as markdown, too.")
    ] = None,
) -> None:
    """Measures pyvae beside plain loops in PyTorch and R torch, base R and the machine's limits,
    side by side in turns; leaves results.json and pictures in DIR, and prints tables."""
    plan = Plan.of(quick, only, threads, rounds)
    with tempfile.TemporaryDirectory(prefix="pyvae-benchmark-") as spare:
        run_suite(plan, data, Path(spare), out, markdown)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code: 0 done, 2 unusable input or environment, 130 interrupted.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(benchmark)
    try:
        result = app(arguments, standalone_mode=False)
    except (UserError, TyperException, OSError) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        print(f"benchmarks: {' '.join(message.split())}", file=sys.stderr)
        return 2
    if result == INTERRUPTED:  # typer makes it of KeyboardInterrupt
        print("benchmarks: interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
