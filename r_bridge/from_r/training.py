"""The functions that the R package `pyvae` calls.

Arguments and results are bytes, numbers, strings, lists and dicts only. Every reticulate since 1.28
converts these; older versions convert neither NumPy 2 arrays nor pandas 3 data frames.

An array is a dict `{"bytes", "dim", "type"}` with its numbers in R's column-major order: x[2, 1, 3]
in R is x[1, 0, 2] here. Types are `uint8`, `int32` and `float64`.

Each function returns `{"value": ...}`, or `{"error": {"problem", "expected", "remedy"}}` with the
parts of a `UserError`.
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
from pyvae.model.objectives import Objective
from pyvae.model.recipe import VAE, Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.start import INITIAL, Start
from pyvae.recipes import get_recipe
from pyvae.recipes.clustering_modules import ClusteringVAE
from pyvae.runs.starts import trained_start
from pyvae.runs.trained import load_network
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback, Progress, StopTraining
from pyvae.training.inputs import check_data, load_for
from pyvae.training.loop import train

__all__ = ["Training", "describe", "generate", "pack", "predict", "save_images", "unpack"]

Packed: TypeAlias = Mapping[str, Any]  # an array, as above
Model: TypeAlias = Mapping[str, Any]  # parameters (safetensors), recipe, objective, ...
TYPES = {"uint8": np.uint8, "int32": np.int32, "float64": np.float64}
BATCH = 500  # images that go through a trained network at once


def unpack(packed: Packed) -> NDArray:
    """Returns the array that R sent."""
    numbers = np.frombuffer(packed["bytes"], TYPES[packed["type"]])
    return numbers.reshape([int(n) for n in packed["dim"]], order="F")


def pack(array: NDArray) -> dict[str, Any]:
    """Packs an array for R. Numbers other than bytes and 32-bit integers become doubles."""
    if array.dtype not in (np.uint8, np.int32):
        array = array.astype(np.float64)
    # bytearray, because reticulate converts no bytes
    data = bytearray(array.tobytes(order="F"))
    return {"bytes": data, "dim": list(array.shape), "type": array.dtype.name}


def _answers(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Makes a function return its value, or the `UserError` that it raises, as a dict."""

    @wraps(function)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return {"value": function(*arguments, **named)}
        except UserError as error:
            parts = {
                "problem": error.problem, "expected": error.expected, "remedy": error.remedy
            }  # fmt: skip
            return {"error": {name: _in_r(text) for name, text in parts.items()}}

    return answer


def _in_r(text: str) -> str:
    """Replaces the command line's options in a message by the arguments of the R functions."""
    text = re.sub(r"--set (\w+)=(\S+)", r"hyper = list(\1 = \2)", " ".join(text.split()))
    text = re.sub(r"--data ([\w-]+)", r'x = "\1"', text)
    return re.sub(r"--([a-z][a-z-]*)", lambda found: _argument(found[1]), text)


def _argument(option: str) -> str:
    """Returns the R argument for an option of the command line."""
    return {"data": "x", "out": "folder", "set": "hyper"}.get(option, option.replace("-", "_"))


@_answers
def describe(recipe: str) -> dict[str, Any]:
    """Returns a recipe's published settings, its objectives and the number of its inputs."""
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
    """Reads images (or points) from R: whole numbers from 0 to 255, or numbers in [0, 1]."""
    pixels = np.ascontiguousarray(unpack(x))
    return ImageData(
        x["name"],
        torch.from_numpy(pixels),
        None if labels is None else torch.from_numpy(unpack(labels).astype(np.int64)),
        f"from R, {pixels.shape[0]} x {pixels.shape[1]}",
    )


class _Reporter(Callback):
    """Records the progress of a run, one line for each epoch, and ends the run when asked to."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.step = 0
        self.lines: list[str] = []
        self.stop = threading.Event()

    def on_step(self, now: Progress) -> None:
        self.step = now.step
        if now.epoch_ended:
            last = now.trace.epoch_table().iloc[-1]
            words = self.objective.words(last[self.objective.column])
            self.lines.append(f"epoch {last.epoch:.0f}: {words}")
        if self.stop.is_set():
            raise StopTraining


def _settings(recipe: Recipe, given: Mapping[str, Any]) -> Settings:
    """Makes a recipe's settings from what R gives; R's whole numbers may be doubles."""
    whole = ("epochs", "steps", "batch_size", "latent_dim", "seed")
    settings = recipe.settings(
        **{name: int(value) if name in whole else value for name, value in given.items()}
    )
    objectives = (*recipe.objectives, *recipe.further)
    if settings.objective not in objectives:
        raise UserError(
            f"recipe {recipe.name} has no objective {settings.objective}",
            f"choose one of {', '.join(objectives)}",
        )
    return settings


def _start(name: str, recipe: Recipe, settings: Settings) -> Start | None:
    """What a run starts from: `initial` or `trained`."""
    if name == INITIAL:
        return None
    start = trained_start(recipe, settings)
    if start is None:
        raise UserError(
            f"--start {name}: pyvae ships no trained state of recipe {recipe.name} with "
            f"{settings.latent_dim} latent dimensions",
            "leave out --start",
        )
    return start


class Training:
    """A run in a thread of its own: R shows its progress, and can interrupt it, in the meantime.

    Python handles Ctrl-C in the main thread, which is R's: it never breaks off a step. (Leave the
    handler of SIGINT alone: it is reticulate's, and it informs R.)

    Arguments:
        x: An array (N, 784) or (N, 2) with its name, or `{"data": NAME}` as
            `pyvae.data.images.load_data` takes it.
        labels: (N,), or None.
        settings: `recipe`, `device`, `start`, and the arguments of `Settings` that were given.
    """

    def __init__(
        self, x: Mapping[str, Any], labels: Packed | None, settings: Mapping[str, Any]
    ) -> None:
        self._request = x, labels, dict(settings)
        self._notes: list[str] = []
        self._shown = 0  # lines of the reporter that R has
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()  # join() returns at once after an interrupt (Python 3.11)

    @_answers
    def start(self) -> dict[str, Any]:
        """Checks the arguments, starts the run and describes it."""
        x, labels, given = self._request
        self._request = {}, None, {}  # frees the images' bytes
        recipe = get_recipe(given.pop("recipe"))
        self._engine = PyTorchEngine(given.pop("device"))
        if self._engine.device.type == "cpu":
            keep_freed_memory()  # R's process; given back at the end of the run
        begin = given.pop("start", INITIAL)
        settings = _settings(recipe, given)
        data = self._load(recipe, settings, x, labels)
        self.run = Run(recipe, settings, data, _start(begin, recipe, settings))
        self.steps, objective = self.run.steps, self.run.objective
        self.trace = Trace.of_run(self.run, self._engine)
        self._reporter = _Reporter(objective)
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()
        return {
            "title": objective.title,
            "formula": objective.formula,
            "images": len(self.run.data),
            "data": self.run.data.name,
            "steps": self.steps,
            "batch_size": settings.batch_size,
            "device": self._engine.device.type,
            "notes": self._notes,
        }

    def _load(
        self, recipe: Recipe, settings: Settings, x: Mapping[str, Any], labels: Packed | None
    ) -> ImageData:
        """Returns the images, by name or from R, after checking that the recipe can take them."""
        if "data" in x:
            return load_for(recipe, x["data"], settings, self._notes.append)
        data = _images(x, labels)
        check_data(recipe, data)
        if recipe.given is not None:
            recipe.given(data, settings)  # enough labels?
        return data

    def _train(self) -> None:
        try:
            train(self.run, self._engine, [self._reporter], trace=self.trace)
        except BaseException as error:  # raised in R's thread, by advance() or finish()
            self._error = error
        finally:
            self._ended.set()

    @_answers
    def advance(self, seconds: float) -> dict[str, Any]:
        """Waits that long, or until the run has ended, and returns its progress."""
        done = self._ended.wait(seconds)
        self._raise()
        lines = self._reporter.lines[self._shown :]  # the other thread may be adding to them
        self._shown += len(lines)
        return {"done": done, "step": self._reporter.step, "lines": lines}

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends the run after its current step, and waits for the end."""
        if self._thread is None:
            return
        self._reporter.stop.set()
        while not self._ended.is_set():
            with suppress(KeyboardInterrupt):  # pressed again: the run is about to end
                self._ended.wait()

    @_answers
    def finish(self) -> dict[str, Any]:
        """Ends the run, if it goes on, and returns everything that a fit holds."""
        self.stop()
        self._raise()
        trace, objective = self.trace, self.run.objective
        settings = trace.settings.as_dict()
        arrays = {name: np.asarray(a, order="C") for name, a in trace.parameters.items()}
        samples = trace.samples if trace.samples is not None else np.empty((0, 784))
        return {
            "recipe": trace.recipe,
            "settings": {name: value for name, value in settings.items() if value is not None},
            "data": trace.data,
            # torch.__version__ is a subclass of str, which would stay a Python object in R
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
            "start": trace.start,
        }


def _network(model: Model) -> tuple[VAE, Settings]:
    """Builds a fit's network again."""
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
            "use a fit as vae_fit() returned it",
        ) from error
    trace = Trace("pytorch", recipe.name, settings, {}, {}, parameters=parameters)
    return load_network(trace), settings


@_answers
@torch.no_grad()
def predict(model: Model, kind: str, x: Mapping[str, Any]) -> dict[str, Any]:
    """Passes images through a trained network in evaluation mode.

    Arguments:
        model: The network.
        kind: `latent`: posterior means (N, L); `reconstruction`: these decoded, (N, 784), pixels
            in [0, 1]; `cluster`: q(y|x), (N, K).
        x: The images, an array with its name, or `{"data": PATH}` of an .npz file.

    Raises:
        UserError: If the images cannot be read, the recipe cannot take them, or has no clusters.
    """
    network, settings = _network(model)
    data = load_data(x["data"]) if "data" in x else _images(x)
    check_data(get_recipe(model["recipe"]), data)
    if kind == "cluster" and not isinstance(network, ClusteringVAE):
        raise UserError(
            f"recipe {model['recipe']} has no clusters", 'use type = "latent" or "reconstruction"'
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
        noise: (N, L), draws from N(0, I): the latents. Of a recipe with clusters the latents are
            drawn with this noise from p(z|y), each cluster y in turn.

    Returns:
        (N, 784), pixels in [0, 1].
    """
    network, settings = _network(model)
    drawn = torch.from_numpy(np.ascontiguousarray(unpack(noise))).to(settings.torch_dtype)
    parts = [network.decode(z) for z in network.from_prior(drawn).split(BATCH)]
    return pack(torch.cat(parts).numpy())


@_answers
def save_images(path: str, x: Packed, labels: Packed | None = None) -> str:
    """Writes images as an .npz file for `pyvae compare --data`."""
    arrays = {"images": np.ascontiguousarray(unpack(x))}
    if labels is not None:
        arrays["labels"] = unpack(labels).astype(np.int64)
    np.savez(Path(path), **arrays)  # type: ignore[arg-type]
    return path
