"""Which models of Keras a program trains, and with which optimisers: it makes these before it says
what they are for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from pyvae.recording.keras.optimiser import is_keras_optimiser, optimisers_of

__all__ = ["KerasProgram", "compiled_model", "is_outermost"]

CONTEXT = "keras.src.backend.common.global_state"
TRAINER = "keras.src.backend.torch.trainer"
Whole = Callable[[nn.Module], tuple[nn.Module, str]]


def is_outermost(module: nn.Module) -> bool:
    """Whether a layer or model of Keras is called by the program, and by no other layer."""
    state = sys.modules.get(CONTEXT)
    context = None if state is None else state.get_global_attribute("current_call_ctx")
    return context is None or context.entry_layer is module


def compiled_model() -> str:
    """The name of a model that Keras is to hand to torch.compile; empty if there is none."""
    return next((one.name for one in _models() if getattr(one, "jit_compile", None) is True), "")


class KerasProgram:
    """A program that may train models of Keras.

    Arguments:
        whole: Returns the outermost module that a module is part of, and its name.
    """

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self._made = 0  # optimisers, since the first call
        self._looked: dict[int, int] = {}  # how many there were when a model was looked at
        self._restore: Callable[[], None] | None = None

    def trained(
        self, module: nn.Module
    ) -> tuple[nn.Module | Mapping[str, nn.Module], list[Any]] | None:
        """What is trained, and its optimisers, if a module that is called is a part of that: what
        was compiled, or what the optimisers may train that the program holds. None otherwise."""
        if self._looked.get(id(module)) == self._made and not hasattr(module, "optimizer"):
            return None
        whole: Any = self._whole(module)[0]
        found = optimisers_of(whole, _models())
        if found:
            return whole, found
        if self._looked.get(id(module)) == self._made:
            return None
        self._looked[id(module)] = self._made
        free = [one for one in gc.get_objects() if is_keras_optimiser(one)]
        models: list[Any] = [*self._outermost(whole)]
        if free and all(one.built for one in free):
            mine = {id(v) for one in free for v in one._trainable_variables}
            models = [m for m in models if any(id(v) in mine for v in m.trainable_variables)]
        if not free or not models:
            return None
        return (models[0] if len(models) == 1 else _named(models)), free

    def _outermost(self, whole: nn.Module) -> Iterator[nn.Module]:
        """The models that are part of no other, and have something to train."""
        found: list[Any] = []
        for one in [whole, *_models()]:
            outer: Any = self._whole(one)[0]
            mine = {id(variable) for variable in outer.trainable_variables}
            there = [{id(variable) for variable in other.trainable_variables} for other in found]
            if not any(mine <= other for other in there):  # a Sequential holds a model like it
                found = [o for o, its in zip(found, there, strict=True) if not its <= mine]
                found.append(outer)
        yield from found

    def begin(self, trains: Callable[[Any], None]) -> None:
        """Sees from now on that an optimiser is made, and that Keras is about to train a model,
        which may draw numbers before it calls a layer.

        Arguments:
            trains: Told of such a model.
        """
        if self._restore is not None:
            return
        kinds = sys.modules["keras"].optimizers.Optimizer.__mro__
        kind = next(one for one in kinds if one.__name__ == "BaseOptimizer")
        trainer: Any = sys.modules[TRAINER].TorchTrainer
        old, prepare = kind.__init__, trainer.make_train_function

        def made(optimiser: Any, *args: Any, **kwargs: Any) -> None:
            self._made += 1
            old(optimiser, *args, **kwargs)

        def prepared(model: Any, *args: Any, **kwargs: Any) -> Any:
            trains(model)
            return prepare(model, *args, **kwargs)

        def restore() -> None:
            kind.__init__ = old
            trainer.make_train_function = prepare

        kind.__init__ = made
        trainer.make_train_function = prepared
        self._restore = restore

    def close(self) -> None:
        """Sees nothing more of it."""
        if self._restore is not None:
            self._restore()


def _models() -> list[Any]:
    keras = sys.modules.get("keras")
    if keras is None:
        return []
    return [one for one in gc.get_objects() if issubclass(type(one), keras.Model)]


def _named(models: Sequence[Any]) -> dict[str, nn.Module]:
    """Models by the names that Keras has for them."""
    found: dict[str, nn.Module] = {}
    for model in models:
        name = model.name.replace(".", "_")
        while name in found:
            name = f"{name}_{len(found) + 1}"
        found[name] = model
    return found
