"""The stages of a network, derived from one step that it computes.

While a step runs, forward hooks see every layer (a module whose class is in
`pyvae.model.derive.layers.LAYERS`): its path, its options and the tensors that it takes and
returns. A `TorchFunctionMode` sees the functions between them: those that only give a tensor
another shape are looked through, those in `pyvae.model.derive.layers.TERMS` are terms of the loss,
and sums of terms with constant weights are sums. What a network or a loss computes in any other way
cannot be a stage, and is an error where a stage uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from pyvae.errors import UserError
from pyvae.model.derive.layers import LAYERS, TERMS, layer_options, term_options
from pyvae.model.stages import Stage

__all__ = ["derive_stages", "second_use"]

_PREFIX: ContextVar[str] = ContextVar("prefix", default="")
# functions that change nothing but a tensor's shape, place or precision
SAME = (
    "clone", "contiguous", "cpu", "detach", "double", "flatten", "float", "ravel", "requires_grad_",
    "reshape", "squeeze", "to", "to_dense", "to_mkldnn", "type", "unflatten", "unsqueeze", "view",
)  # fmt: skip


@contextmanager
def second_use(name: str) -> Iterator[None]:
    """Names the stages of layers that a network goes through a second time.

    Example:
        >>> with second_use("labelled"):  # doctest: +SKIP
        ...     pi = self.classifier(labelled)  # its stages: labelled.classifier.conv1, ...
    """
    before = _PREFIX.set(f"{_PREFIX.get()}{name}.")
    try:
        yield
    finally:
        _PREFIX.reset(before)


def derive_stages(
    network: nn.Module,
    step: Callable[[], Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
    draws: Mapping[str, Tensor],
) -> tuple[Stage, ...]:
    """The stages of one step, in the order in which it computes them: inputs, layers, terms.

    Arguments:
        network: Whose layers they are. Its buffers change, as in any step.
        step: Computes the step without its backward pass, and returns the terms of the loss by
            name; a term that is the sum of others returns these as well.
        inputs: What the step takes besides draws, by the names of their stages; the batch first.
        draws: The dropout masks and noise that it takes, by name.

    Returns:
        A layer that is gone through again has the name that `second_use` gives it, or else its
        path and `#2`.

    Raises:
        UserError: If a stage takes something that is not described by stages.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> x = torch.ones(5, 3)
        >>> [s.name for s in derive_stages(network, lambda: network(x) and {}, {"input": x}, {})]
        ... # doctest: +SKIP
        ['input', '0', '1']
    """
    recorder = _Recorder(network, inputs, draws)
    with torch.no_grad(), recorder.watching(), recorder:
        losses = step()
    return (*recorder.stages, *recorder.terms(losses))


@dataclass(frozen=True)
class _Source:
    """What a tensor holds.

    Attributes:
        stage: The stage that returned it.
        draw: The draw that it is.
        unknown: What computed it, in words, if that cannot be a stage.
    """

    stage: str = ""
    draw: str = ""
    unknown: str = ""


@dataclass(frozen=True, eq=False)
class _Term:
    """A term of the loss, without its name."""

    layer: str
    inputs: tuple[str, ...]
    options: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class _Sum:
    """A weighted sum of terms and other sums."""

    parts: tuple[tuple[float, _Term | _Sum], ...]


class _Recorder(TorchFunctionMode):
    def __init__(
        self, network: nn.Module, inputs: Mapping[str, Tensor], draws: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.paths = {module: path for path, module in network.named_modules()}
        self.images = len(next(iter(inputs.values())))
        self.stages = [
            Stage(name, "input", (), name if k else None) for k, name in enumerate(inputs)
        ]
        self.names = set(inputs)
        self.kept: list[Tensor] = []  # an id belongs to a tensor only while it lives
        self.sources: dict[int, _Source] = {}
        self.losses: dict[int, _Term | _Sum] = {}
        self.created: list[_Term | _Sum] = []
        self.within: list[nn.Module] = []  # the layer that is being computed
        for name, x in inputs.items():
            self._remember(x, _Source(stage=name))
        for name, draw in draws.items():
            self._remember(draw, _Source(draw=name))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """With hooks on the network's layers."""
        with ExitStack() as hooks:
            for module, path in self.paths.items():
                if type(module) in LAYERS:
                    hooks.enter_context(module.register_forward_pre_hook(self._enter))
                    hooks.enter_context(module.register_forward_hook(self._leave, with_kwargs=True))
                elif not list(module.children()) and path:
                    hooks.enter_context(module.register_forward_pre_hook(self._refuse))
            yield

    def _refuse(self, module: nn.Module, args: Any) -> None:
        if self.within:
            return
        raise UserError(
            f"layer '{self.paths[module]}' is a {type(module).__name__}, which no stage describes",
            expected=f"one of {', '.join(sorted(kind.__name__ for kind in LAYERS))}",
        )

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.within.append(module)

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, result: Tensor) -> None:
        self.within.pop()
        path, layer = self.paths[module], LAYERS[type(module)]
        name = self._new_name(path)
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        taken = [self._source(f"layer '{path}'", x) for x in tensors]
        drawn = [source.draw for source in taken if source.draw]
        if len(drawn) > (layer.draws is not None):
            raise UserError(
                f"layer '{path}' takes no mask or noise, but is given '{drawn[-1]}'",
                f"give '{drawn[-1]}' among the inputs, not among the draws",
            )
        self.stages.append(
            Stage(
                name,
                layer.name,
                tuple(source.stage for source in taken if source.stage),
                drawn[0] if drawn else None,
                layer_options(path, module),
                "" if name == path else path,
                _shapes(x for x, source in zip(tensors, taken, strict=True) if source.stage),
            )
        )
        self._remember(result, _Source(stage=name))

    def _new_name(self, path: str) -> str:
        first = name = f"{_PREFIX.get()}{path}"
        uses = 1
        while name in self.names:
            uses += 1
            name = f"{first}#{uses}"
        self.names.add(name)
        return name

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self.within and isinstance(result, Tensor):
            self._follow(func, args, kwargs, result)
        return result

    def _follow(self, func: Callable[..., Any], args: Any, kwargs: Any, result: Tensor) -> None:
        """What a function between layers returns."""
        taken = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        name = getattr(func, "__name__", "").strip("_")
        if func in TERMS:
            inputs = [self._source(f"{func.__name__}()", x).stage for x in taken]
            options = {**term_options(func, args, kwargs), "per": TERMS[func].per}
            term = _Term(TERMS[func].name, tuple(inputs), options, _shapes(taken))
            self._remember_loss(result, term)
        elif any(id(x) in self.losses for x in taken):
            loss = self._combined(name.removeprefix("r"), name.startswith("r"), args)
            if loss is not None:
                self._remember_loss(result, loss)
        elif name in SAME and id(taken[0]) in self.sources:
            self._remember(result, self.sources[id(taken[0])])
        elif any(id(x) in self.sources for x in taken):
            words = resolve_name(func) or name
            self._remember(result, _Source(unknown=f"{words}()"))

    def _combined(self, operation: str, reversed_: bool, args: Any) -> _Term | _Sum | None:
        """Sums of terms, and terms times numbers; None for anything else."""
        values = [self.losses.get(id(x), x) for x in args]
        if operation == "neg":
            return _Sum(((-1.0, values[0]),))
        if len(values) != 2:
            return None
        one, other = reversed(values) if reversed_ else values
        are_losses = [isinstance(x, _Term | _Sum) for x in (one, other)]
        if operation in ("add", "sub") and all(are_losses):
            return _Sum(((1.0, one), (-1.0 if operation == "sub" else 1.0, other)))
        if operation == "mul" and isinstance(other, int | float):
            return _Sum(((float(other), one),))
        if operation == "mul" and isinstance(one, int | float):
            return _Sum(((float(one), other),))
        if operation in ("div", "truediv") and isinstance(other, int | float):
            if type(other) is int and other == self.images and _is_sum(one):
                return replace(one, options={**one.options, "per": "image"})
            return _Sum(((1 / other, one),)) if other and are_losses[0] else None
        return None

    def _remember_loss(self, tensor: Tensor, loss: _Term | _Sum) -> None:
        self.kept.append(tensor)
        self.losses[id(tensor)] = loss
        self.created.append(loss)

    def _remember(self, tensor: Tensor, source: _Source) -> None:
        self.kept.append(tensor)
        self.sources[id(tensor)] = source

    def _source(self, taker: str, tensor: Tensor) -> _Source:
        source = self.sources.get(id(tensor), _Source(unknown="something that is not recorded"))
        if source.unknown:
            raise UserError(
                f"{taker} takes the result of {source.unknown}, which no stage describes",
                "compute it in a module of a class in pyvae.model.derive.layers.LAYERS",
            )
        return source

    def terms(self, losses: Mapping[str, Tensor]) -> list[Stage]:
        """The terms of the loss as stages, in the order in which they were computed."""
        named: dict[_Term | _Sum, str] = {}
        for name, tensor in losses.items():
            loss = self.losses.get(id(tensor))
            if loss is None:
                raise UserError(
                    f"the term '{name}' of the loss is computed in a way that no stage describes",
                    "compute it as a sum of functions of pyvae.model.loss_terms with constant "
                    "weights",
                )
            named.setdefault(loss, name)
        stages = []
        for loss in sorted(named, key=self.created.index):
            name = named[loss]
            if isinstance(loss, _Term):
                stages.append(
                    Stage(name, loss.layer, loss.inputs, None, loss.options, shapes=loss.shapes)
                )
                continue
            weights: dict[str, float] = {}
            for weight, part in loss.parts:
                for key, value in _weights(part, named, weight).items():
                    weights[key] = weights.get(key, 0.0) + value
            options = {"weights": tuple(weights.values())}
            stages.append(Stage(name, "sum", tuple(weights), None, options))
        return stages


def _shapes(tensors: Iterable[Tensor]) -> tuple[tuple[int, ...], ...]:
    """Of one image of each."""
    return tuple(tuple(x.shape[1:]) for x in tensors)


def _is_sum(loss: Any) -> bool:
    return isinstance(loss, _Term) and loss.options["per"] == "sum"


def _weights(loss: _Term | _Sum, named: Mapping[Any, str], factor: float) -> dict[str, float]:
    """A loss as a weighted sum of those that have names."""
    if loss in named:
        return {named[loss]: factor}
    if isinstance(loss, _Term):
        raise UserError(
            f"a term of the loss ({loss.layer}) has no name",
            "return it by name beside the sum that it is part of",
        )
    weights: dict[str, float] = {}
    for weight, part in loss.parts:
        for name, value in _weights(part, named, factor * weight).items():
            weights[name] = weights.get(name, 0.0) + value
    return weights
