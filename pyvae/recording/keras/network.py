"""A Keras model as the recorder takes it: layers and variables by Keras' own names.

On its torch backend Keras computes with PyTorch's functions, and each of its layers is a
`torch.nn.Module`; but a model's layers stand in lists of Keras' own, which `named_modules` does not
know, and its variables are all called by their path.

Source: https://keras.io/api/models/model/, Keras 3
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from pyvae.recording.keras.kernels import Kernel, kernels_of

__all__ = [
    "KerasNetwork",
    "as_network",
    "has_weights",
    "is_keras",
    "is_symbolic",
    "keras_version",
    "other_backend",
    "plain",
]

INPUT = "InputLayer"  # computes nothing
SYMBOLIC = "meta"  # the device on which Keras asks for shapes
TORCH = "torch"


def is_keras(module: object) -> bool:
    """Whether a module is a layer or model of Keras."""
    keras = sys.modules.get("keras")
    return keras is not None and issubclass(type(module), keras.layers.Layer)


def keras_version() -> str:
    """The version of Keras that the program has loaded; empty if it has not."""
    keras = sys.modules.get("keras")
    return "" if keras is None else str(keras.__version__)


def other_backend() -> str:
    """The library that Keras computes with, if the program has loaded Keras and it is not torch."""
    keras = sys.modules.get("keras")
    backend = "" if keras is None else str(keras.backend.backend())
    return "" if backend == TORCH else backend


def is_symbolic(given: Iterable[object] = ()) -> bool:
    """Whether Keras calls a model, or what is given to it, for the shapes alone."""
    core = sys.modules.get("keras.src.backend.torch.core")
    if core is None:
        return False
    kind = sys.modules["keras"].KerasTensor
    return core.get_device() == SYMBOLIC or _has(given, kind)


def _has(given: Any, kind: type, deeper: int = 4) -> bool:
    if issubclass(type(given), kind) or not deeper:
        return issubclass(type(given), kind)
    inner = given.values() if isinstance(given, dict) else given
    return isinstance(given, dict | list | tuple) and any(
        _has(one, kind, deeper - 1) for one in inner
    )


def plain(variable: Any) -> Any:
    """The tensor of a variable of Keras: its `value` may be one of another precision."""
    held = getattr(variable, "_value", None)
    return variable.value if held is None else held


class KerasNetwork(nn.Module):
    """A Keras model with the names that Keras has for its layers, as `dense`, and its variables, as
    `dense.kernel`. What is no trainable variable by itself (a moving mean) is a buffer.

    Arguments:
        model: The model, or a layer.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        object.__setattr__(self, "model", model)  # no child: its own names would come in between

    model: Any

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        memo = set() if memo is None else memo
        yield from _walk(self.model, prefix, memo)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self._variables("_trainable_variables", prefix)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        yield from self._variables("_non_trainable_variables", prefix)

    def kernels(self) -> dict[str, Kernel]:
        """The variables that PyTorch keeps in another order, by name: a trace has them in that."""
        turned = {
            id(plain(variable)): kernel
            for _, layer in self.named_modules()
            for variable, kernel in kernels_of(layer)
        }
        named = self._variables("_trainable_variables", "")
        return {name: turned[id(tensor)] for name, tensor in named if id(tensor) in turned}

    def _variables(self, kind: str, prefix: str) -> Iterator[tuple[str, Any]]:
        taken: dict[str, int] = {}
        for path, layer in self.named_modules(prefix=prefix):
            for variable in getattr(layer, kind, ()):
                name = f"{path}.{variable.name}" if path else variable.name
                taken[name] = count = taken.get(name, 0) + 1
                yield name if count == 1 else f"{name}#{count}", plain(variable)


def _walk(layer: Any, path: str, memo: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """A layer and all that are in it, each once, in the order in which Keras has them."""
    if layer in memo:
        return
    memo.add(layer)
    yield path, layer
    taken: dict[str, int] = {}
    for one in _held(layer):
        if type(one).__name__ == INPUT or one in memo:
            continue
        taken[one.name] = count = taken.get(one.name, 0) + 1
        name = one.name if count == 1 else f"{one.name}#{count}"
        yield from _walk(one, f"{path}.{name}" if path else name, memo)


def _held(layer: Any) -> list[Any]:
    """The layers that a layer holds itself: a Sequential model's are also in a model within it."""
    keras = sys.modules["keras"]
    if isinstance(layer, keras.Sequential):
        return list(layer.layers)
    return list(layer._flatten_layers(recursive=False, include_self=False))


def has_weights(module: Any) -> bool:
    """Whether a layer of Keras has a variable that can be trained: one that scales images, or drops
    numbers, has others."""
    return any(one._trainable_variables for _, one in _walk(module, "", set()))


_known: WeakKeyDictionary[nn.Module, KerasNetwork] = WeakKeyDictionary()


def as_network(module: nn.Module) -> nn.Module:
    """A model of Keras as the recorder takes it, the same one each time; any other as it is."""
    if isinstance(module, KerasNetwork) or not is_keras(module):
        return module
    if module not in _known:
        _known[module] = KerasNetwork(module)
    return _known[module]
