"""The article's whole experiment on a GPU: `python -m benchmarks.cuda`.

VAE and EMAE, 50 epochs each, 24,000 steps, in each precision, with draws made on the host (the
same as on the CPU) and on the GPU. Leaves cuda.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

from pyvae.data.images import ImageData, load_data
from pyvae.engines.devices import choose_device
from pyvae.engines.precision import PRECISIONS
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.files.writing import output_folder, write_file
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.training.loop import train

__all__ = ["measure"]

RNGS = ("injected", "torch")
CHECKED = 20  # steps that are held against the CPU's


def measure(
    data: ImageData, epochs: int, device: str, precision: str, rng: str, steps: int | None = None
) -> dict[str, Any]:
    """Trains VAE and EMAE of recipe conv, one after the other, and waits for the device.

    Arguments:
        data: The images.
        epochs, steps: As for `pyvae.model.settings.Settings`.
        device: `cuda` or `cpu`.
        precision: One of `PRECISIONS`.
        rng: `injected`, or `torch`: drawn on the device.

    Returns:
        seconds and steps of both together, ms_a_step, last_nats (per image, by objective),
        peak_mb of the device's memory (None on the CPU), and worst_against_cpu: the largest
        relative difference of the first losses from the CPU's with the same draws (None where
        the draws are the device's own).
    """
    recipe = get_recipe("conv")
    engine = PyTorchEngine(device, precision=precision)
    on_gpu = engine.device.type == "cuda"
    seconds, done, nats, worst = 0.0, 0, {}, 0.0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for objective in recipe.objectives:
        settings = recipe.settings(objective=objective, epochs=epochs, steps=steps, rng=rng)
        start = time.perf_counter()
        trace = train(Run(recipe, settings, data), engine)
        if on_gpu:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - start
        done += trace.steps
        nats[objective] = float(trace.losses[-1, 0]) / settings.batch_size
        if rng == "injected":
            first = recipe.settings(objective=objective, steps=min(CHECKED, trace.steps))
            expected = train(Run(recipe, first, data), PyTorchEngine("cpu")).losses[:, 0]
            found = trace.losses[: len(expected), 0]
            worst = max(worst, float(np.abs(found / expected - 1).max()))
    return {
        "seconds": seconds,
        "steps": done,
        "ms_a_step": 1000 * seconds / done,
        "last_nats": nats,
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
        "worst_against_cpu": worst if rng == "injected" else None,
    }


def benchmark(
    epochs: Annotated[int, typer.Option(metavar="N", help="Of each objective.")] = 50,
    data: Annotated[str, typer.Option(metavar="NAME", help="auto, mnist or digits.")] = "mnist",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")] = Path(__file__).parent,
) -> None:
    """Times the R article's VAE and EMAE on the GPU, in each precision."""
    choose_device("cuda")
    images = load_data(data)
    results: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "runs": [],
    }
    table = Table(title=f"VAE and EMAE, {epochs} epochs each, on {results['gpu']}")
    for column in ("precision", "draws", "seconds", "ms a step", "peak MB", "worst against CPU"):
        table.add_column(column, justify="right")
    measure(images, 1, "cuda", "full", "torch", steps=50)  # the driver's and libraries' start
    for precision in PRECISIONS:
        for rng in RNGS:
            run = measure(images, epochs, "cuda", precision, rng)
            results["runs"].append({"precision": precision, "rng": rng, **run})
            write_file(output_folder(out) / "cuda.json", json.dumps(results, indent=2) + "\n")
            against = run["worst_against_cpu"]
            table.add_row(
                precision, "host" if rng == "injected" else "GPU", f"{run['seconds']:.1f}",
                f"{run['ms_a_step']:.3f}", f"{run['peak_mb']:,.0f}",
                "" if against is None else f"{against:.1e}",
            )  # fmt: skip
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code, 2 without a GPU."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(benchmark)
    try:
        app(arguments, standalone_mode=False)
    except (UserError, TyperException, OSError) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        print(f"benchmarks: {' '.join(message.split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
