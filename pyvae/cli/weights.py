"""pyvae weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae.cli.options.choices import complete
from pyvae.cli.options.grouped import grouped
from pyvae.cli.options.shared import OUTPUT, in_panel
from pyvae.errors import UserError

if TYPE_CHECKING:
    from pyvae.weights.convert import Conversion

__all__ = ["weights_command"]

READ = "What is read"
TYPES = ("float16", "float32", "float64")

read, written = in_panel(READ), in_panel(OUTPUT)


@dataclass(frozen=True)
class Written:
    """What is written, and where."""

    to: Annotated[
        Path, written(metavar="FILE", help="File to write: .safetensors, or .pt (a state dict).")
    ]
    language: Annotated[
        str,
        written(
            "--for",
            metavar="LANGUAGE",
            help="Who reads it: python, or r (R's torch, luz).",
            autocompletion=complete(("python", "r")),
        ),
    ] = "python"
    names: Annotated[
        Path | None,
        written(
            "--map",
            metavar="CSV",
            help="CSV file with columns a and b: what weights, or modules, are to be called.",
        ),
    ] = None
    dtype: Annotated[
        str | None,
        written(
            metavar="|".join(TYPES),
            autocompletion=complete(TYPES),
            help="Of a run: type of the numbers (default: the run's own).",
        ),
    ] = None
    overwrite: Annotated[
        bool, written("--overwrite", help="Replace the file if it exists already.")
    ] = False


@grouped
def weights_command(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|RUN",
            help="Weights: safetensors, torch.save() of PyTorch, torch_save() of R, luz, or Keras; "
            "or the folder of a run of pyvae train.",
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
    output: Written,
) -> None:
    """Convert weights between PyTorch, R's torch, safetensors, and from Keras.

    Every number keeps its bits, and nothing that a file holds is executed. Printed is each weight's
    name, shape and type, and what was done to it: pyvae weights from_r.pt --to model.safetensors.

    Of a run, its parameters are written as safetensors, and beside them a .json file that says how
    to get them again.
    """
    from pyvae.weights.convert import convert_weights

    if file.is_dir():
        other = output.language != "python"
        given = {"--part": part, "--from-keras": from_keras, "--map": output.names, "--for": other}
        _write_state(file, output, [name for name, value in given.items() if value])
        return
    if output.dtype is not None:
        raise UserError("--dtype is for a run: weights in a file keep every bit", "leave it out")
    done = convert_weights(
        file, output.to, language=output.language, names=output.names, part=part,
        keras=from_keras, overwrite=output.overwrite,
    )  # fmt: skip
    _show(done, output.to)


def _write_state(run: Path, output: Written, wrong: list[str]) -> None:
    """Writes the last state of a run."""
    from pyvae.runs.starts import last_state, runs_in
    from pyvae.runs.state_file import write_state
    from pyvae.terminal.console import Terminal
    from pyvae.weights.write import check_target

    to = output.to
    if wrong:
        raise UserError(f"{wrong[0]} cannot be used with a run", f"leave out {wrong[0]}")
    if to.suffix != ".safetensors":
        raise UserError(f"--to {to}", expected="a file that ends in .safetensors, for a run")
    check_target(to, output.overwrite)
    found = runs_in(run)
    if len(found) > 1:
        raise UserError(
            f"'{run}' holds runs of {' and '.join(found)}",
            f"name one of them, such as '{next(iter(found.values())).folder}'",
        )
    (trace,) = found.values()
    state = last_state(trace)
    write_state(to, trace, state.steps, state.parameters, output.dtype or trace.settings.dtype)
    Terminal().print(
        f"written: {to} ({len(state.parameters)} weights after step {state.steps:,}) and "
        f"{to.with_suffix('.json')}",
        soft_wrap=True,
    )


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
