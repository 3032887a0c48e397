"""pyvae record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyvae.cli.options.shared import OUTPUT, QUIET, RECORDED, in_panel
from pyvae.errors import UserError

__all__ = ["record_command"]

SAME = "Same start, same chance"

recorded, same = in_panel(RECORDED), in_panel(SAME)


def record_command(
    *,
    script: Annotated[
        Path,
        typer.Argument(metavar="SCRIPT", help="A Python script that trains or uses a network."),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own arguments.")
    ] = None,
    steps: Annotated[
        int,
        recorded(
            metavar="N", help="Training steps to record (of each optimizer), or forward passes."
        ),
    ] = 3,
    every: Annotated[int, recorded(metavar="N", help="Record every N-th step.")] = 1,
    start: Annotated[
        Path | None,
        same(metavar="TRACE", help="Start from the parameters and buffers recorded in TRACE."),
    ] = None,
    names: Annotated[
        Path | None,
        same(
            metavar="FILE",
            help="CSV file with columns a and b: what parameters, layers and modules are called on "
            "either side, such as the names.csv of pyvae compare.",
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        same(metavar="TRACE", help="Feed the dropout masks and random numbers recorded in TRACE."),
    ] = None,
    overwrite: Annotated[
        bool, in_panel(OUTPUT)("--overwrite", help="Replace a trace that DIR holds already.")
    ] = False,
    out: Annotated[Path, in_panel(OUTPUT)(metavar="DIR", help="Output folder.")],
    quiet: Annotated[
        bool, in_panel(OUTPUT)(*QUIET, help="Do not say how much is recorded.")
    ] = False,
) -> None:
    """Run a PyTorch script of your own and record its first training steps, for pyvae compare.

    The script is not changed, and it computes the same bits: pyvae record --out python -- train.py
    --epochs 1. Its output, errors and exit code are its own. Of a script that makes no optimizer,
    forward passes are recorded: each call of its network. A script of Keras is recorded where Keras
    computes with torch (KERAS_BACKEND=torch).
    """
    from pyvae.recording.script import run_recorded

    for name, value in (("--steps", steps), ("--every", every)):
        if value < 1:
            raise UserError(f"{name} {value}", expected="1 or more")
    code = run_recorded(
        script, arguments or [], out, steps=steps, every=every, start=start, names=names,
        replay=replay, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
    if code:
        raise SystemExit(code)
