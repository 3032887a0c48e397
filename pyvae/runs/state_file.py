"""A trained state in two files: its numbers, and how to get them again.

`NAME.safetensors` has parameters and running statistics by name, in any precision. `NAME.json` says
which run they are of (recipe, settings, data, versions, number of steps), the commands that make
both files again, and the SHA-256 of the first.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyvae.errors import UserError, choose
from pyvae.files.arrays import array_bytes, parse_arrays
from pyvae.files.reading import UNREADABLE, read_bytes, read_json
from pyvae.files.writing import write_file
from pyvae.trace.trace import Trace

__all__ = ["TYPES", "read_state", "write_state"]

FORMAT = 1
TYPES = ("float16", "float32", "float64")


def write_state(
    path: Path, trace: Trace, steps: int, parameters: Mapping[str, NDArray], dtype: str
) -> None:
    """Writes a state.

    Arguments:
        path: The file of the numbers, `.safetensors`; the other one goes beside it.
        trace: Of the run.
        steps: After which step of it.
        parameters: By name.
        dtype: One of `TYPES`: the numbers are rounded to it.

    Raises:
        UserError: If a number does not fit, or a file cannot be written.
    """
    choose("dtype", dtype, TYPES)
    rounded = {}
    for name, value in parameters.items():
        with np.errstate(over="ignore"):
            rounded[name] = np.asarray(value, dtype)
        if not np.isfinite(rounded[name]).all():
            raise UserError(
                f"--dtype {dtype}: {name} has numbers that it cannot hold", "use --dtype float32"
            )
    content = array_bytes(rounded)
    about = {
        "format": FORMAT,
        "commands": _commands(path, trace, steps, dtype),
        "recipe": trace.recipe,
        "settings": trace.settings.as_dict(),
        "steps": steps,
        "data": trace.data,
        "environment": trace.environment,
        "dtype": dtype,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_file(path, content)
    write_file(path.with_suffix(".json"), json.dumps(about, indent=2) + "\n")


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Reads a state: what is said of it, and its parameters by name.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    try:
        about, content = read_json(path.with_suffix(".json")), read_bytes(path)
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise ValueError("its SHA-256 is not the one in the .json file")
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, not {FORMAT}")
        parameters = parse_arrays(content)
        for key in ("recipe", "steps"):
            about[key]
        about["settings"]["latent_dim"], about["data"]["name"]
    except UNREADABLE as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"'{path}' cannot be read ({why})", "write it again") from error
    return about, parameters


def _commands(path: Path, trace: Trace, steps: int, dtype: str) -> list[str]:
    """What to type to get the state again."""
    settings = trace.settings
    named = ("objective", "epochs", "batch_size", "latent_dim", "learning_rate", "seed", "rng")
    options = {name: getattr(settings, name) for name in named} | {"dtype": settings.dtype}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    words += [f"--set={name}={value:g}" for name, value in settings.hyper.items()]
    words += [f"--data={trace.data['name']}", f"--steps={steps}"]
    if "threads" in trace.environment:
        words.append(f"--threads={trace.environment['threads']}")
    return [
        shlex.join(["pyvae", "train", trace.recipe, *words, f"--out=runs/{trace.recipe}"]),
        shlex.join(
            ["pyvae", "weights", f"runs/{trace.recipe}", f"--dtype={dtype}", f"--to={path.name}"]
        ),
    ]
