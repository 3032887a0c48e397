"""What a mistake is: the layers of which people make it, words, and a function that makes it.

    @mistake("linear", "its weight is transposed")
    def transposed(call: Call) -> Tensor | None:
        weight = call["weight"]
        return call(weight=weight.T) if weight.shape[0] == weight.shape[1] else None

That is all: the function is found wherever it stands in this room, tried where a layer of that name
does not return what it should, and planted by a test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from typing import Any

from torch import Tensor

from comparisons.ports.expected.call import CONTEXT, Bound, by_place, options_of, same_name, takes
from comparisons.ports.expected.table import LAYERS

__all__ = ["ANY", "Call", "Mistake", "mistake", "mistakes_of"]

ANY = "*"  # any layer
Made = tuple[str, Any]  # words, and what is returned then: a tensor, or tuples of them


class Call:
    """A call of a layer, and how it would have returned something else.

    Calling it calls the layer's function of the table, in float64, with other inputs, parameters or
    options: `call()` is right, `call(eps=1e-3)`, `call(x.flip(-1))` and `call(bias=None)` are not.
    What it returns has gradients.

    Attributes:
        layer: Its name in the trace.
        updated: Buffers after the call, by role; a mistake may put its own in.
        left: Buffers as they were recorded after the step, by role.
    """

    def __init__(self, layer: str, bound: Bound, left: Mapping[str, Tensor] | None = None) -> None:
        self.layer, self.left = layer, left or {}
        self.updated: dict[str, Tensor] = {}
        self._bound = bound

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that went in, in the order of the arguments."""
        bound = self._bound
        return bound.inputs or tuple(bound.named[name] for name in bound.names)

    @property
    def options(self) -> dict[str, Any]:
        """Its options, those with defaults filled in."""
        given = {k: v for k, v in self._bound.options.items() if k not in CONTEXT}
        return options_of(self._bound.function) | given

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that went in in the place of a tensor, by the function's names."""
        named = self._bound.named
        return {name: value for name, value in named.items() if isinstance(value, float)}

    @property
    def training(self) -> bool:
        context = self._bound.context
        return bool(self._bound.options.get("training", context["training"]))

    @property
    def draw(self) -> Tensor | None:
        """The mask or noise that was recorded."""
        return self._bound.context.get("draw")

    @property
    def index_base(self) -> int:
        """From which number indices count."""
        return int(self._bound.context.get("index_base", 0))

    def __getitem__(self, role: str) -> Tensor:
        """A parameter, buffer or input, by the name of the table's function.

        Raises:
            KeyError: If it has none; the mistake cannot be made then.
        """
        value = self.get(role)
        if value is None:
            raise KeyError(role)
        return value

    def get(self, role: str) -> Tensor | None:
        value = self._bound.named.get(same_name(self._bound.function, role))
        return value if isinstance(value, Tensor) else None

    def __call__(self, *inputs: Tensor, **changed: Any) -> Any:
        """Calls the layer.

        Arguments:
            *inputs: Others than went in, from the first one on.
            **changed: Other parameters or options.

        Raises:
            KeyError: If the layer has none of that name.
        """
        bound = self._bound
        function = bound.function
        known = takes(function)
        named, options = dict(bound.named), dict(bound.options)
        rest = bound.inputs
        if by_place(function):
            free = [*bound.names, *(n for n in by_place(function) if n not in named)]
            named.update(zip(free[: len(inputs)], inputs, strict=True))
        else:
            pairs = zip_longest(inputs, bound.inputs)
            rest = tuple(there if one is None else one for one, there in pairs)
        for name, value in changed.items():
            if name not in known and name not in named:
                raise KeyError(name)
            by_keyword = name in known and known[name].kind is inspect.Parameter.KEYWORD_ONLY
            (options if by_keyword else named)[name] = value
        self.updated = {}
        if "updated" in options:
            options["updated"] = self.updated
        return replace(bound, inputs=rest, named=named, options=options)()


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make of a layer.

    Attributes:
        layers: Their names in a trace; `ANY`.
        words: What it is, after "SIDE: "; empty if the function has them.
        function: Makes it: takes the call; returns what the layer returns then, or None where it
            cannot be made. Or it yields several, each with its words.
        fits: Whether the function takes what was recorded, too, to fit a constant to it.
        backward: Whether it acts in the backward pass alone.
    """

    layers: tuple[str, ...]
    words: str
    function: Callable[..., Any]
    fits: bool
    backward: bool

    @property
    def name(self) -> str:
        return self.function.__name__

    def made(self, call: Call, found: Tensor | None = None) -> Iterator[Made]:
        """Makes it.

        Arguments:
            call: Of the layer.
            found: What was recorded of its (first) output, in float64.

        Yields:
            The words, and what the layer returns then, or a function that computes it: where that
            raises an error, the next ones are tried all the same.
        """
        if self.fits and found is None:
            return
        value = self.function(call, found) if self.fits else self.function(call)
        if not self.words:
            yield from value
        elif value is not None:
            yield self.words, value


def mistake(
    layers: str | tuple[str, ...], words: str = "", backward: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares a function as a mistake that people make of a layer.

    Arguments:
        layers: One or several, by their names in a trace; or `ANY`.
        words: What it is, after "SIDE: ", such as "its weight is transposed". Without them the
            function yields pairs of words and value; instead of a value that some arguments forbid
            it yields a function that computes it, such as `partial(call, stride=2)`.
        backward: Whether the forward pass is right, and the gradient is not.

    Example:
        >>> @mistake("linear", "its bias is subtracted")
        ... def subtracted(call):
        ...     return call(bias=-call["bias"])
    """
    names = (layers,) if isinstance(layers, str) else layers
    unknown = [name for name in names if name != ANY and name not in LAYERS]
    if unknown:
        raise ValueError(f"no layer of the table: {', '.join(unknown)}")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        fits = len(inspect.signature(function).parameters) > 1
        REGISTERED.append(Mistake(names, words, function, fits, backward))
        return function

    return register


REGISTERED: list[Mistake] = []


@cache
def find_mistakes() -> tuple[Mistake, ...]:
    """Imports every module of this room, and returns what they declare."""
    room = __name__.rpartition(".")[0]
    for found in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
        importlib.import_module(found.name)
    return tuple(one for one in REGISTERED if one.function.__module__.startswith(f"{room}."))


@cache
def mistakes_of(layer: str) -> tuple[Mistake, ...]:
    """The mistakes that people make of a layer, those of its own first."""
    own = [one for one in find_mistakes() if layer in one.layers]
    return (*own, *(one for one in find_mistakes() if ANY in one.layers))
