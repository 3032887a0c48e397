"""Trained runs: their traces and their networks."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch

from pyvae.errors import UserError
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import VAE
from pyvae.trace.recipe import recipe_of
from pyvae.trace.trace import Trace

__all__ = ["load_network", "load_trace", "load_traces"]


def load_network(trace: Trace) -> VAE:
    """The trained network of a trace, in evaluation mode.

    Raises:
        UserError: If the trace's parameters do not fit its recipe and settings.
    """
    settings, recipe = trace.settings, recipe_of(trace)
    parameters = {name: torch.from_numpy(value) for name, value in trace.parameters.items()}
    try:
        with torch.device("meta"):  # takes no memory, whatever size the trace says
            wanted = recipe.network(settings.latent_dim, **settings.hyper).state_dict()
        if {name: value.shape for name, value in wanted.items()} != {
            name: value.shape for name, value in parameters.items()
        }:
            raise ValueError("other names, or other shapes")
        with torch.random.fork_rng(devices=[]):
            network = recipe.network(settings.latent_dim, **settings.hyper)
        network = network.to(settings.torch_dtype)
        network.load_state_dict(parameters)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"the run's parameters do not fit recipe {trace.recipe} with "
            f"{settings.latent_dim} latent dimensions",
            "use a run that pyvae train wrote",
        ) from error
    network.eval()
    return network


def load_traces(run: Path) -> list[Trace]:
    """The complete traces of a run, in the order of the objectives.

    Arguments:
        run: A folder with a trace, or with a folder for each.

    Raises:
        UserError: If there is none that is complete.
    """
    if run.is_file():
        raise UserError(f"'{run}' is a file", "give the folder that pyvae train wrote")
    folders = (
        [run]
        if (run / "trace.json").is_file()
        else sorted(path.parent for path in run.glob("*/trace.json"))
    )
    order = list(OBJECTIVES)
    traces = [trace for trace in map(Trace.load, folders) if trace.complete]
    traces.sort(key=lambda trace: order.index(trace.settings.objective))
    if not traces:
        raise UserError(
            f"'{run}' holds no finished run",
            f"run: pyvae train conv --out {shlex.quote(str(run))}",
        )
    return traces


def load_trace(run: Path) -> Trace:
    """The trace of a run with one objective.

    Raises:
        UserError: If there is none that is complete, or more than one.
    """
    traces = load_traces(run)
    if len(traces) > 1:
        names = " or ".join(str(run / trace.settings.objective) for trace in traces)
        raise UserError(f"'{run}' holds {len(traces)} runs", f"name one of them: {names}")
    return traces[0]
