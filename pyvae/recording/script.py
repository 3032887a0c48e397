"""Records a script as it is: finds its optimisers and their model while it runs, or, of a script
that trains nothing, the networks that it calls."""

from __future__ import annotations

import functools
import gc
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pyvae.errors import UserError, print_error
from pyvae.recording.checks import check_model
from pyvae.recording.keras.network import (
    KerasNetwork,
    as_network,
    has_weights,
    is_keras,
    other_backend,
)
from pyvae.recording.keras.program import KerasProgram, compiled_model, is_outermost
from pyvae.recording.networks import Networks, Several
from pyvae.recording.passes import Passes
from pyvae.recording.record import record, record_passes
from pyvae.recording.recording import Recording
from pyvae.recording.seen.layers import snake_case
from pyvae.recording.seen.untrained import variable_of
from pyvae.recording.watch import calls_a_network
from pyvae.trace.program_folder import check_new_folder

__all__ = ["Found", "find_models", "run_recorded"]

FAILED = 1  # Python's exit code of a script that raised an error


def run_recorded(script: Path, arguments: Sequence[str], folder: Path, **options: Any) -> int:
    """Runs a script as `python SCRIPT ARGUMENTS` does, and records its training; if it makes no
    optimiser, its forward passes.

    Arguments:
        script: The script.
        arguments: Its arguments.
        folder: A new folder for the trace.
        **options: As `record` takes them.

    Returns:
        The script's exit code.

    Raises:
        UserError: If it cannot be read, calls no network, or cannot be recorded.
    """
    _check_script(script, folder)
    check_new_folder(folder, bool(options.get("overwrite")), how_to_overwrite="--overwrite")
    found = Found(folder, options)
    try:
        with _as_main(script, arguments), found.watching():
            code = _run(script)
    except KeyboardInterrupt:
        found.end(script, "the script was interrupted")
        raise
    if found.refused is not None and code == 0:
        raise found.refused
    if found.recording is None and code == 0:
        raise _nothing_seen(script)
    if found.recording is None:
        print_error(
            f"no step was recorded to '{folder}': '{script}' ended with exit code {code} before it "
            "made an optimizer of torch.optim or called a network"
        )
        return code
    steps = found.end(script, "the script ended with an error" if code else "")
    return code if code or steps else 2  # which it has said


def _nothing_seen(script: Path) -> UserError:
    """What is wrong with a script of which nothing was recorded."""
    if compiled_model():
        return UserError(
            f"Keras compiles model '{compiled_model()}' with torch.compile, which hides its layers",
            "leave out jit_compile=True",
        )
    return UserError(
        f"'{script}' made no optimizer of torch.optim and called no network, and nothing was "
        "recorded",
        f"Keras computes with {other_backend()}: run it with KERAS_BACKEND=torch"
        if other_backend()
        else "record a script that trains or uses a torch.nn.Module",
    )


def _check_script(script: Path, folder: Path) -> None:
    if script.is_dir():
        raise UserError(f"'{script}' is a folder", "give the path of a Python script")
    if not script.is_file():
        raise UserError(f"script '{script}' is not there", "give the path of a Python script")
    if script.suffix.lower() == ".r":
        call = f'pyvae::record_script("{script}", "{folder}")'
        raise UserError(f"'{script}' is an R script, which R records", f"run: Rscript -e '{call}'")


@contextmanager
def _as_main(script: Path, arguments: Sequence[str]) -> Iterator[None]:
    before = sys.argv, sys.path
    sys.argv = [str(script), *arguments]
    sys.path = [str(script.resolve().parent), *sys.path]
    try:
        yield
    finally:
        sys.argv, sys.path = before


def _run(script: Path) -> int:
    """Runs a script; its errors are printed as Python prints them."""
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return FAILED
    except UserError:  # bad input of the recording
        raise
    except Exception as error:
        traceback.print_exception(error.with_traceback(_own_frames(error.__traceback__)))
        return FAILED
    return 0


def _own_frames(frames: TracebackType | None) -> TracebackType | None:
    """The frames of a traceback from the script on."""
    ours = (__file__, runpy.__file__, "<frozen runpy>")
    while frames is not None and frames.tb_frame.f_code.co_filename in ours:
        frames = frames.tb_next
    return frames


@dataclass
class Found:
    """The optimisers that a script has made, and their recording; before there are any, that of the
    networks that it calls.

    Attributes:
        folder: Where it goes.
        options: As `record` takes them.
        optimisers: Those that were made.
        models: What they train.
        made: What was made of several of these, which is no model of the script's.
        recording: That of all of them; None until there is one.
        refused: Why there is none yet: the trace to start from has no such parameters. It may have
            those of several models, of which the script has made one.
        hooks: What takes the refusal out of the optimisers again.
    """

    folder: Path
    options: dict[str, Any]
    optimisers: list[Optimizer] = field(default_factory=list)
    models: list[nn.Module] = field(default_factory=list)
    made: list[nn.Module] = field(default_factory=list)
    recording: Recording | None = None
    refused: UserError | None = None
    hooks: list[RemovableHandle] = field(default_factory=list)
    _hook: RemovableHandle | None = None
    _keras: KerasProgram = field(default_factory=lambda: KerasProgram(_whole))
    _own: tuple[int, int] = field(default_factory=lambda: (os.getpid(), threading.get_ident()))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sees every optimiser that is made, and the first network that is called."""
        old = Optimizer.__init__
        self._hook = modules.register_module_forward_pre_hook(self.call)

        @functools.wraps(old)
        def made(optimiser: Optimizer, *args: Any, **kwargs: Any) -> None:
            old(optimiser, *args, **kwargs)
            self.add(optimiser)

        Optimizer.__init__ = made  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Optimizer.__init__ = old  # type: ignore[method-assign]
            self._let_go()
            self._keras.close()

    def call(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Begins to record forward passes with the first network that is called."""
        if torch.compiler.is_compiling():  # Keras with jit_compile, which hides what is called
            return
        if is_keras(module):
            self._keras.begin(self._fit)
        here = self._own == (os.getpid(), threading.get_ident())
        if not here or not calls_a_network(module, given):
            return
        if is_keras(module):
            if not is_outermost(module) or not has_weights(module):
                return
            if torch.is_grad_enabled() and self._trains_keras(module):
                self.recording.enter(module, given)  # type: ignore[union-attr]
                return
        if self.recording is not None:
            return
        self.recording = one = record_passes(self.folder, _whole, **self.options)
        one.enter(module, given)
        if not is_keras(module):  # which may be trained later
            self._let_go()

    def _fit(self, model: Any) -> None:
        """Keras is about to train a model: what it draws before the first call is recorded, too."""
        here = self._own == (os.getpid(), threading.get_ident())
        if here and self._hook is not None and model.trainable_variables:
            self._trains_keras(model)

    def _trains_keras(self, module: nn.Module) -> bool:
        """Records the training of a model of Keras that is called, if it has an optimiser; it has
        one when it is called with gradients."""
        found = self._keras.trained(module)
        if found is None:
            return False
        self._let_go()
        if isinstance(self.recording, Passes):  # before the training
            self.recording.discard()
        self.recording = record(*found, self.folder, **self.options)
        return True

    def _let_go(self) -> None:
        """Stops waiting for a first call: the hook makes every call slower."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def add(self, optimiser: Optimizer) -> None:
        """Records a further optimiser as well; one that is made after the first step is late."""
        self._let_go()
        if isinstance(self.recording, Passes):  # before the training
            self.recording.discard()
        elif self.recording is not None:
            if self.recording.trace.steps or not self.recording.goes_on():
                print_error(
                    "an optimizer that the script made after its first step is not recorded"
                )
                self.recording.late = True
                return
            self.recording.cancel()
        self.optimisers.append(optimiser)
        mine = find_models(optimiser, self.made)
        self.models += [one for one in mine if not any(one is other for other in self.models)]
        model = self.models[0]
        if len(self.models) > 1:
            model = check_model(_named(self.models))
            self.made.append(model)
        self.recording = self.refused = None
        try:
            self.recording = record(model, self.optimisers, self.folder, **self.options)
        except UserError as error:
            if self.options.get("start") is None:
                raise
            self.refused = error
            self.hooks.append(optimiser.register_step_pre_hook(self._refuse))
            return
        while self.hooks:
            self.hooks.pop().remove()

    def _refuse(self, *_: object) -> None:
        if self.refused is not None:
            raise self.refused

    def end(self, script: Path, ended: str, none: str = "None") -> int:
        """Ends the recording with its script, and says how many steps it has; returns that.

        Arguments:
            script: The script.
            ended: Why it ended, if not by itself.
            none: The word for nothing in the script's language.
        """
        one = self.recording
        if one is None:
            return 0
        passes = isinstance(one, Passes)
        hint = f". To record forward passes, use record(model, {none}, folder) in the script."
        one.no_step = (
            f"'{script}' ended within the first call of a network"
            if passes
            else f"'{script}' ended before the first step() of its optimizer{'' if ended else hint}"
        )
        one.end_of_program(ended)
        steps = len(one.trace.steps)
        if steps and not self.options.get("quiet"):
            of = f" of {one.wanted}" if not passes and steps < (one.wanted or 0) else ""
            what = ("forward pass", "es") if passes else ("step", "s")
            more = "" if steps == 1 and not of else what[1]
            print_error(f"recorded {steps}{of} {what[0]}{more} to '{self.folder}'")
        return steps


def _named(models: Iterable[nn.Module]) -> dict[str, nn.Module]:
    """Models by their class."""
    found: dict[str, nn.Module] = {}
    for model in models:
        name = kind = snake_case(type(model).__name__)
        while name in found:
            name = f"{kind}{len(found) + 1}"
        found[name] = model
    return found


def find_models(optimiser: Optimizer, without: Sequence[nn.Module] = ()) -> list[nn.Module]:
    """The outermost module that has all parameters of an optimiser; or the one that has most, that
    which has most of the others, and so on: in the order of the parameters.

    Arguments:
        optimiser: The optimiser.
        without: Modules that are not looked at.

    Raises:
        UserError: If no module has any.
    """
    order = [id(one) for group in optimiser.param_groups for one in group["params"]]
    wanted = set(order)
    modules = [one for one in _modules() if not any(one is other for other in without)]
    held = [({id(p) for p in one.parameters()}, sum(1 for _ in one.modules())) for one in modules]
    found: list[nn.Module] = []
    while wanted:
        counts = [(len(wanted & mine), size) for mine, size in held]
        best = max(range(len(counts)), key=counts.__getitem__, default=None)
        if best is None or not counts[best][0]:
            break
        found.append(modules[best])
        wanted -= held[best][0]
    if not found:
        raise UserError(
            "the optimizer's parameters belong to no torch.nn.Module",
            "use record(model, optimizer, folder) in the script",
        )
    places = {one: at for at, one in reversed([*enumerate(order)])}
    return sorted(
        found, key=lambda model: min(places[id(p)] for p in model.parameters() if id(p) in places)
    )


def _whole(module: nn.Module) -> tuple[nn.Module, str]:
    """The outermost module that a module is part of, and its name."""
    alike = [one for one in _modules() if is_keras(one) == is_keras(module)]
    held = [(one, [*as_network(one).modules()]) for one in alike]
    holders = [(one, parts) for one, parts in held if any(part is module for part in parts)]
    # a Sequential of Keras has the same parts as a model within it
    best, _ = max(
        holders, key=lambda one: (len(one[1]), "Sequential" in type(one[0]).__name__),
        default=(module, []),
    )  # fmt: skip
    return best, variable_of(best) or snake_case(type(best).__name__)


def _modules() -> list[nn.Module]:
    """All modules that there are, but for the recorder's own."""
    # not isinstance: what stands in for another object may run code of its own
    kinds = (one for one in gc.get_objects() if issubclass(type(one), nn.Module))
    return [one for one in kinds if not issubclass(type(one), Networks | Several | KerasNetwork)]
