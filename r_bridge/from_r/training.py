"""Training, started, watched and ended by R."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

from pyvae.data.images import ImageData, load_data
from pyvae.data.pixels import DIGITS
from pyvae.data.split import hold_out
from pyvae.engines.allocator import keep_freed_memory
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.recipe import Recipe
from pyvae.model.run import Run
from pyvae.model.settings import Settings
from pyvae.model.start import INITIAL, Start
from pyvae.recipes import open_recipe
from pyvae.runs.starts import trained_start
from pyvae.trace.trace import Trace
from pyvae.training.callbacks import Callback
from pyvae.training.feeds import InjectedFeed
from pyvae.training.inputs import check_data, load_for
from pyvae.training.loop import train
from pyvae.training.validation import StopEarly, Validate
from r_bridge.from_r.continued import Continued
from r_bridge.from_r.exchange import Packed, answers, images_from_r, pack
from r_bridge.from_r.trained import measure_dimensions
from r_bridge.from_r.watching import Asker, Reporter

__all__ = ["Training"]

KEPT = ("parameter/", "buffer/")  # of an engine's state, what a trace's parameters have already


@dataclass(frozen=True)
class _Data:
    """Images to train on, and those that are held out, if any; `rows` are the places of the latter
    among all that were given."""

    train: ImageData
    held_out: ImageData | None = None
    rows: np.ndarray | None = None


class Training:
    """A run in a thread of its own: R shows its progress, and can interrupt it, in the meantime.

    Python handles Ctrl-C in the main thread, which is R's: it never breaks off a step. (Leave the
    handler of SIGINT alone: it is reticulate's, and it informs R.)

    Arguments:
        x: An array (N, 784) or (N, 2) with its name, or `{"data": NAME}` as
            `pyvae.data.images.load_data` takes it.
        labels: (N,), or None.
        settings: `recipe`, `device`, `start`, and the arguments of `Settings` that were given.
        further: `validation`: the share of the images that is held out, or other images;
            `patience`: epochs without a better validation after which the run ends; `callbacks`:
            `step` or `epoch` if R is to be asked then whether to go on (`advance`, `reply`);
            `continued`: the fit that the run goes on from (`Continued.from_r`). All may be left
            out, or None.
    """

    def __init__(
        self,
        x: Mapping[str, Any],
        labels: Packed | None,
        settings: Mapping[str, Any],
        further: Mapping[str, Any] | None = None,
    ) -> None:
        self._request = x, labels, dict(settings), dict(further or {})
        self._notes: list[str] = []
        self._shown = 0  # lines of the reporter that R has
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()  # join() returns at once after an interrupt (Python 3.11)
        self._news = threading.Event()  # the end, or a question
        self._seconds = 0.0

    @answers
    def start(self) -> dict[str, Any]:
        """Checks the arguments, starts the run and describes it."""
        x, labels, given, further = self._request
        self._request = {}, None, {}, {}  # frees the images' bytes
        recipe = open_recipe(given.pop("recipe"))
        self._engine = PyTorchEngine(given.pop("device"))
        if self._engine.device.type == "cpu":
            keep_freed_memory()  # R's process; given back at the end of the run
        begin = given.pop("start", INITIAL)
        settings = _settings(recipe, given)
        data = self._load(recipe, settings, x, labels)
        self._data = _held_out(recipe, settings, data, further.get("validation"))
        continued = Continued.from_r(further.get("continued"))
        if continued is not None:
            settings = continued.settings(settings, self._data.train)
        self.run = Run(recipe, settings, self._data.train, _start(begin, recipe, settings))
        self.steps, objective = self.run.steps, self.run.objective
        self.trace = Trace.of_run(self.run, self._engine)
        self._resume = None if continued is None else continued.resume(self.trace)
        callbacks = self._watch(further, continued)
        done = self.trace.steps  # before the other thread adds to them
        self._thread = threading.Thread(target=self._train, args=(callbacks,), daemon=True)
        self._thread.start()
        return {
            "title": objective.title,
            "formula": objective.formula,
            "images": len(self.run.data),
            "held_out": 0 if self._data.held_out is None else len(self._data.held_out),
            "data": self.run.data.name,
            "steps": self.steps,
            "done": done,
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
        data = images_from_r(x, labels)
        check_data(recipe, data)
        if recipe.given is not None:
            recipe.given(data, settings)  # enough labels?
        return data

    def _watch(self, further: Mapping[str, Any], continued: Continued | None) -> list[Callback]:
        """The callbacks of the run: those that others look at come first."""
        held_out, patience = self._data.held_out, further.get("patience")
        rows = () if continued is None else continued.validation
        self._validate = None if held_out is None else Validate(held_out, rows)
        self._early = self._asker = None
        found: list[Callback] = [] if self._validate is None else [self._validate]
        if patience is not None:
            if self._validate is None:
                raise UserError("patience without validation", "give validation, such as 0.1")
            self._early = StopEarly(self._validate, int(patience))
            found.append(self._early)
        if further.get("callbacks"):
            self._asker = Asker(further["callbacks"], self._validate, self._news.set)
            found.append(self._asker)
        self._reporter = Reporter(self.run.objective, self._validate)
        return [*found, self._reporter]

    def _train(self, callbacks: list[Callback]) -> None:
        began = time.monotonic()
        try:
            train(self.run, self._engine, callbacks, trace=self.trace, resume=self._resume)
        except BaseException as error:  # raised in R's thread, by advance() or finish()
            self._error = error
        finally:
            self._seconds = time.monotonic() - began
            self._ended.set()
            self._news.set()

    @answers
    def advance(self, seconds: float) -> dict[str, Any]:
        """Waits that long, or until the run has ended or R is asked something, and returns the
        run's progress, with the `question` (`Asker.question`) if there is one."""
        self._news.wait(seconds)
        done = self._ended.is_set()
        self._raise()
        lines = self._reporter.lines[self._shown :]  # the other thread may be adding to them
        self._shown += len(lines)
        asked = None if self._asker is None else self._asker.question
        return {"done": done, "step": self._reporter.step, "lines": lines, "question": asked}

    def reply(self, go_on: bool) -> None:
        """Answers the question: whether the run goes on."""
        if self._asker is not None and self._asker.question is not None:
            self._news.clear()  # first: the next question may come at once
            self._asker.answer(bool(go_on))

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends the run after its current step, and waits for the end."""
        if self._thread is None:
            return
        self._reporter.stop.set()
        if self._asker is not None:
            self._asker.close()
        while not self._ended.is_set():
            with suppress(KeyboardInterrupt):  # pressed again: the run is about to end
                self._ended.wait()

    @answers
    def finish(self) -> dict[str, Any]:
        """Ends the run, if it goes on, and returns everything that a fit holds."""
        self.stop()
        self._raise()
        trace, objective = self.trace, self.run.objective
        settings = trace.settings.as_dict()
        samples = trace.samples if trace.samples is not None else np.empty((0, 784))
        return {
            "recipe": trace.recipe,
            "shape": list(self.run.recipe.shape),
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
            "parameters": _safetensors(trace.parameters),
            "start": trace.start,
            **self._beside_the_trace(),
        }

    def _beside_the_trace(self) -> dict[str, Any]:
        """What a fit holds and a trace does not."""
        rows = [] if self._validate is None else self._validate.rows
        names = list(rows[0]) if rows else []
        state = {
            name: value
            for name, value in self._engine.state().items()
            if name != "step" and not name.startswith(KEPT)
        }
        last = InjectedFeed(self.run).images(self.trace.steps)
        ended = self._how_it_ended()
        held = self._data.rows
        return {
            "optimiser": _safetensors(state),
            "validation": {name: pack(np.array([row[name] for row in rows])) for name in names},
            "held_out": None if held is None else pack(held.astype(np.int32)),
            "dimensions": measure_dimensions(
                self._engine.network, iter([last.to(self._engine.device)])
            ),
            "seconds": self._seconds,
            "ended": ended,
            "interrupted": ended == "interrupted",
        }

    def _how_it_ended(self) -> str:
        if self.trace.steps == self.steps:
            return "complete"
        if self._early is not None and self._early.stopped:
            return "early"
        return "callback" if self._asker is not None and self._asker.stopped else "interrupted"


def _held_out(recipe: Recipe, settings: Settings, data: ImageData, validation: Any) -> _Data:
    """The images in two parts, where some are held out."""
    if validation is None:
        return _Data(data)
    if isinstance(validation, Mapping):
        other = validation.get("data")
        held = (
            images_from_r(validation)
            if other is None
            else load_data(other, shape=recipe.shape or DIGITS)
        )
        check_data(recipe, held)
        return _Data(data, held)
    return _Data(*hold_out(data, float(validation), settings.seed))


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


def _safetensors(arrays: Mapping[str, np.ndarray]) -> bytearray:
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return bytearray(safetensors.numpy.save(contiguous))
