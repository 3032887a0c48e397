"""The functions that the R package `pyvae` calls.

In and out go bytes, numbers, texts, lists and dicts alone: every reticulate from 1.28 on converts
these alike, while older ones convert neither NumPy 2's arrays nor pandas 3's data frames.

An array travels as `{"bytes", "dim", "type"}`: its numbers in R's column-major order, so that
x[2, 1, 3] in R is x[1, 0, 2] here. Types are `uint8`, `int32` and `float64`.

What R calls answers `{"value": ...}`, or `{"error": {"given", "expected", "remedy"}}` where the
user has something to mend.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from pyvae.data.images import ImageData, load_data
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.files.arrays import parse_arrays
from pyvae.files.reading import UNREADABLE
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.recipe import VAE
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.recipes import get_recipe
from pyvae.recipes.clustering_modules import ClusteringVAE
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace
from pyvae.training.inputs import check_data, load_for
from pyvae.training.loop import training_steps

__all__ = ["Training", "describe", "generate", "pack", "predict", "save_images", "unpack"]

Packed: TypeAlias = Mapping[str, Any]  # an array, as above
Model: TypeAlias = Mapping[str, Any]  # parameters (safetensors), recipe, objective, ...
TYPES = {"uint8": np.uint8, "int32": np.int32, "float64": np.float64}
BATCH = 500  # images that go through a trained network at once


def unpack(packed: Packed) -> NDArray:
    """Unpacks an array that R sent."""
    numbers = np.frombuffer(packed["bytes"], TYPES[packed["type"]])
    return numbers.reshape([int(n) for n in packed["dim"]], order="F")


def pack(array: NDArray) -> dict[str, Any]:
    """Packs an array for R; numbers other than bytes and 32-bit integers become doubles."""
    if array.dtype not in (np.uint8, np.int32):
        array = array.astype(np.float64)
    # bytearray, because reticulate converts no bytes
    data = bytearray(array.tobytes(order="F"))
    return {"bytes": data, "dim": list(array.shape), "type": array.dtype.name}


def _answers(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    @wraps(function)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return {"value": function(*arguments, **named)}
        except UserError as error:
            parts = {"given": error.problem, "expected": error.expected, "remedy": error.remedy}
            return {"error": {name: _in_r(text) for name, text in parts.items()}}

    return answer


def _in_r(text: str) -> str:
    """A message in which the command line's options are called as R's arguments are."""
    text = re.sub(r"--set (\w+)=(\S+)", r"hyper = list(\1 = \2)", " ".join(text.split()))
    text = re.sub(r"--data ([\w-]+)", r'x = "\1"', text)
    return re.sub(r"--([a-z][a-z-]*)", lambda found: _argument(found[1]), text)


def _argument(option: str) -> str:
    """What an option of the command line is called in R."""
    return {"data": "x", "out": "folder", "set": "hyper"}.get(option, option.replace("-", "_"))


@_answers
def describe(recipe: str) -> dict[str, Any]:
    """Describes a recipe: its published settings, objectives and inputs."""
    found = get_recipe(recipe)
    return {
        "objectives": [*found.objectives, *found.further],
        "published": len(found.objectives),
        "features": found.features,
        "epochs": found.epochs,
        "batch_size": found.batch_size,
        "latent_dim": found.latent_dim,
        "learning_rate": found.learning_rate,
    }


def _images(x: Mapping[str, Any], labels: Packed | None = None) -> ImageData:
    """Images (or points) that R sent: whole numbers from 0 to 255, or numbers in [0, 1]."""
    pixels = np.ascontiguousarray(unpack(x))
    return ImageData(
        x["name"],
        torch.from_numpy(pixels),
        None if labels is None else torch.from_numpy(unpack(labels).astype(np.int64)),
        f"from R, {pixels.shape[0]} x {pixels.shape[1]}",
    )


class Training:
    """A run in a thread of its own, so that R can show progress and look for Ctrl-C meanwhile.

    Python answers Ctrl-C in the main thread, which is R's: a step is never left half done. (The
    handler of SIGINT must not be exchanged: behind it is reticulate's, which tells R.)

    Arguments:
        x: An array (N, 784) or (N, 2) with its name, or `{"data": NAME}` as
            `pyvae.data.images.load_data` takes it.
        labels: (N,), or None.
        settings: What `Settings` takes, without what is not given, and `recipe` and `device`.
    """

    def __init__(
        self, x: Mapping[str, Any], labels: Packed | None, settings: Mapping[str, Any]
    ) -> None:
        self._given = x, labels, dict(settings)
        self._notes: list[str] = []
        self._lines: list[str] = []
        self._said = 0  # of these
        self._step = 0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ended = threading.Event()  # join() returns at once after an interrupt (Python 3.11)

    @_answers
    def start(self) -> dict[str, Any]:
        """Checks everything and starts; returns what is going to be run."""
        x, labels, given = self._given
        self._given = {}, None, {}  # the bytes are not needed any more
        recipe = get_recipe(given.pop("recipe"))
        engine = PyTorchEngine(given.pop("device"))
        if engine.device.type == "cpu":
            keep_freed_memory()  # R's process; given back at the end of the run
        whole = ("epochs", "steps", "batch_size", "latent_dim", "seed")
        given |= {name: int(given[name]) for name in whole if name in given}
        settings = recipe.settings(**given)
        if settings.objective not in (*recipe.objectives, *recipe.further):
            raise UserError(
                f"recipe {recipe.name} has no objective {settings.objective}",
                expected=f"one of {', '.join((*recipe.objectives, *recipe.further))}",
            )
        if "data" in x:
            data = load_for(recipe, x["data"], settings, log=self._notes.append)
        else:
            data = _images(x, labels)
            check_data(recipe, data)
            if recipe.given is not None:
                recipe.given(data, settings)  # enough labels?
        self.steps = settings.total_steps(len(data))
        self.trace = Trace.of_run(Run(recipe, settings, data), engine)
        self.objective = OBJECTIVES[settings.objective]
        self._steps = training_steps(
            Run(recipe, settings, data), engine, self.trace, stop=self._stop.is_set
        )
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()
        return {
            "title": self.objective.title,
            "formula": self.objective.formula,
            "images": len(data),
            "data": data.name,
            "steps": self.steps,
            "batch_size": settings.batch_size,
            "device": engine.device.type,
            "notes": self._notes,
        }

    def _train(self) -> None:
        try:
            for progress in self._steps:
                self._step = progress.step
                if progress.epoch_ended:
                    self._lines.append(self._epoch_line())
        except BaseException as error:  # raised where R asks
            self._error = error
        finally:
            self._ended.set()

    @_answers
    def advance(self, seconds: float) -> dict[str, Any]:
        """Waits `seconds`, or until the run has ended; returns how far it is."""
        done = self._ended.wait(seconds)
        self._raise()
        lines = self._lines[self._said :]  # never emptied: the other thread may be adding
        self._said += len(lines)
        return {"done": done, "step": self._step, "lines": lines}

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _epoch_line(self) -> str:
        last = self.trace.epoch_table().iloc[-1]
        words = self.objective.words(last[self.objective.column])
        return f"epoch {last.epoch:.0f}: {words}"

    def stop(self) -> None:
        """Ends the run after its current step, and waits for that."""
        self._stop.set()
        while self._thread is not None and not self._ended.is_set():
            with suppress(KeyboardInterrupt):  # pressed again: it is about to end
                self._ended.wait()

    @_answers
    def finish(self) -> dict[str, Any]:
        """Stops the run if it has not ended, and returns what was trained."""
        self.stop()
        self._raise()
        trace, objective = self.trace, self.objective
        settings = trace.settings.as_dict()
        arrays = {name: np.asarray(a, order="C") for name, a in trace.parameters.items()}
        samples = trace.samples if trace.samples is not None else np.empty((0, 784))
        return {
            "recipe": trace.recipe,
            "settings": {name: value for name, value in settings.items() if value is not None},
            "data": trace.data,
            # torch.__version__ is no plain str, and would stay a Python object in R
            "environment": {name: str(value) for name, value in trace.environment.items()},
            "title": objective.title,
            "formula": objective.formula,
            "unit": objective.unit,
            "mean": objective.mean,
            "terms": list(trace.terms),
            "losses": pack(trace.losses),
            "epochs": pack(trace.epochs.astype(np.int32)),
            "latent_means": {mode: pack(mu) for mode, mu in trace.latent_means.items()},
            "samples": pack(samples),
            "parameters": bytearray(safetensors.numpy.save(arrays)),
            "interrupted": trace.steps < self.steps,
        }


def _network(model: Model) -> tuple[VAE, Settings]:
    recipe = get_recipe(model["recipe"])
    settings = recipe.settings(
        objective=model["objective"],
        latent_dim=int(model["latent_dim"]),
        dtype=model["dtype"],
        hyper=dict(model["hyper"]),
    )
    try:
        parameters = parse_arrays(bytes(model["parameters"]))
    except UNREADABLE as error:
        raise UserError(
            f"the fit's parameters cannot be read ({error})",
            "give a fit as vae_fit() returned it",
        ) from error
    trace = Trace("pytorch", recipe.name, settings, {}, {}, parameters=parameters)
    return load_network(trace), settings


@_answers
@torch.no_grad()
def predict(model: Model, kind: str, x: Mapping[str, Any]) -> dict[str, Any]:
    """Encodes, reconstructs or clusters images with a trained network, in evaluation mode.

    Arguments:
        model: The network.
        kind: `latent`: posterior means (N, L); `reconstruction`: these decoded, (N, 784), pixels
            in [0, 1]; `cluster`: q(y|x), (N, K).
        x: The images, an array with its name, or `{"data": PATH}` of an .npz file.

    Raises:
        UserError: If they cannot be read, the recipe cannot take them, or knows no clusters.
    """
    network, settings = _network(model)
    data = load_data(x["data"]) if "data" in x else _images(x)
    check_data(get_recipe(model["recipe"]), data)
    if kind == "cluster" and not isinstance(network, ClusteringVAE):
        raise UserError(
            f'type = "cluster": recipe {model["recipe"]} has no clusters',
            'use type = "latent" or "reconstruction"',
        )
    found = []
    for rows in torch.arange(len(data)).split(BATCH):
        batch = data.batch(rows.numpy(), settings.torch_dtype)
        if isinstance(network, ClusteringVAE) and kind == "cluster":
            found.append(network.cluster(batch))
            continue
        mu, _ = network.posterior(batch)
        found.append(mu if kind == "latent" else network.decode(mu))
    return pack(torch.cat(found).numpy())


@_answers
@torch.no_grad()
def generate(model: Model, noise: Packed) -> dict[str, Any]:
    """Decodes draws from the prior.

    Arguments:
        model: The network.
        noise: (N, L), draws from N(0, I): the latents, or what p(z|y) of the clusters in turn is
            drawn with.

    Returns:
        (N, 784), pixels in [0, 1].
    """
    network, settings = _network(model)
    drawn = torch.from_numpy(np.ascontiguousarray(unpack(noise))).to(settings.torch_dtype)
    parts = [network.decode(z) for z in network.from_prior(drawn).split(BATCH)]
    return pack(torch.cat(parts).numpy())


@_answers
def save_images(path: str, x: Packed, labels: Packed | None = None) -> str:
    """Writes images as the .npz file that `pyvae compare --data` takes."""
    arrays = {"images": np.ascontiguousarray(unpack(x))}
    if labels is not None:
        arrays["labels"] = unpack(labels).astype(np.int64)
    np.savez(Path(path), **arrays)  # type: ignore[arg-type]
    return path
