"""pyvae weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae.cli.options.shared import OUTPUT, in_panel

if TYPE_CHECKING:
    from pyvae.weights.convert import Conversion

__all__ = ["weights_command"]

READ = "What is read"

read, written = in_panel(READ), in_panel(OUTPUT)


def weights_command(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Weights: safetensors, torch.save() of PyTorch, torch_save() of R, luz, or Keras.",
        ),
    ],
    part: Annotated[
        str | None,
        read(metavar="NAME", help="Which state dict, of a checkpoint that holds several."),
    ] = None,
    from_keras: Annotated[
        bool,
        read("--from-keras", help="The names in a safetensors or npz file are Keras'."),
    ] = False,
    to: Annotated[
        Path, written(metavar="FILE", help="File to write: .safetensors, or .pt (a state dict).")
    ],
    language: Annotated[
        str,
        written("--for", metavar="LANGUAGE", help="Who reads it: python, or r (R's torch, luz)."),
    ] = "python",
    names: Annotated[
        Path | None,
        written(
            "--map",
            metavar="CSV",
            help="CSV file with columns a and b: what weights, or modules, are to be called.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, written("--overwrite", help="Replace the file if it exists already.")
    ] = False,
) -> None:
    """Convert weights between PyTorch, R's torch, safetensors, and from Keras.

    Every number keeps its bits, and nothing that a file holds is executed. Printed is each weight's
    name, shape and type, and what was done to it: pyvae weights from_r.pt --to model.safetensors.
    """
    from pyvae.weights.convert import convert_weights

    done = convert_weights(
        file, to, language=language, names=names, part=part, keras=from_keras, overwrite=overwrite
    )
    _show(done, to)


def _show(done: Conversion, to: Path) -> None:
    """Prints what was converted."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pyvae.terminal.console import Terminal

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("weight", "shape", "type", "what was done"):
        table.add_column(head, overflow="fold")
    for one in done.weights:
        shape = f"({', '.join(map(str, one.shape))})"
        table.add_row(*(Text(text) for text in (one.name, shape, one.dtype, one.done)))
    console = Terminal()
    console.print(table)
    if done.left_out:
        console.print(f"left out: {', '.join(done.left_out)}", soft_wrap=True)
    for note in done.notes:
        console.print(f"note: {note}", soft_wrap=True)
    count = len(done.weights)
    console.print(
        f"written: {to} ({count} weight{'' if count == 1 else 's'}, from {done.kind})",
        soft_wrap=True,
    )
    console.print(f"to load it: {done.load}", soft_wrap=True)
