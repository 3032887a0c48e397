"""What is put into PyTorch while a program is recorded, and taken out again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from pyvae.recording.functions import FunctionMode
from pyvae.recording.modules import ModuleCalls
from pyvae.recording.watch import Watch

__all__ = ["Hooks"]


class Hooks:
    """Puts hooks on modules, functions and `backward`.

    They are global: a model that is copied, pickled or compiled carries none of them along.

    Arguments:
        watch: Who is told.
        scaled: Called with the factor when a GradScaler scales a loss.
        compiled: Called with what torch.compile is given.
    """

    def __init__(
        self,
        watch: Watch,
        scaled: Callable[[float], None],
        compiled: Callable[[object], None],
    ) -> None:
        self._watch = watch
        self._scaled = scaled
        self._compiled = compiled
        self._handles: list[Any] = []
        self._patched: list[tuple[Any, str, Any, Any]] = []
        self._modules = ModuleCalls(watch)
        self._mode = FunctionMode(watch)
        self._stance: Any = None

    def install(self) -> None:
        """Puts them in; does nothing if they are there."""
        if self._handles:
            return
        self._handles = [
            modules.register_module_forward_pre_hook(self._modules.enter),
            modules.register_module_forward_hook(
                self._modules.leave, with_kwargs=True, always_call=True
            ),
        ]
        put_under(self._mode)
        if "torch._dynamo" in sys.modules:  # else nothing was compiled
            self._run_uncompiled()
        self._patch(torch.autograd, "backward", self._backward)
        self._patch(torch.amp.GradScaler, "scale", self._scale)
        self._patch(torch, "compile", self._compile)
        self._patch(nn.Module, "compile", self._compile)

    def enter(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """A module was called just before they were put in."""
        self._modules.enter(module, given)

    def remove(self) -> None:
        """Takes them out."""
        for handle in self._handles:
            handle.remove()
        if self._handles:
            take_out(self._mode)
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        for owner, name, old, new in reversed(self._patched):
            if getattr(owner, name) is new:  # another may have patched it since
                setattr(owner, name, old)
        self._handles, self._patched = [], []

    def _patch(self, owner: Any, name: str, wrap: Callable[..., Any]) -> None:
        old = getattr(owner, name)
        new = functools.wraps(old)(wrap(old))
        setattr(owner, name, new)
        self._patched.append((owner, name, old, new))

    def _backward(self, old: Callable[..., Any]) -> Callable[..., Any]:
        watch = self._watch

        def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            losses = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
            weights = (grad_tensors,) if isinstance(grad_tensors, Tensor) else grad_tensors
            watch.enter_backward(losses, weights)
            try:
                old(tensors, grad_tensors, *args, **kwargs)
            finally:
                watch.leave_backward()

        return backward

    def _scale(self, old: Callable[..., Any]) -> Callable[..., Any]:
        scaled = self._scaled

        def scale(scaler: torch.amp.GradScaler, outputs: Any) -> Any:
            found = old(scaler, outputs)
            if scaler.is_enabled():
                scaled(scaler.get_scale())
            return found

        return scale

    def _compile(self, old: Callable[..., Any]) -> Callable[..., Any]:
        compiled = self._compiled

        def compile_(*args: Any, **kwargs: Any) -> Any:
            compiled(args[0] if args else kwargs.get("model"))
            made = old(*args, **kwargs)
            self._run_uncompiled()
            return made

        return compile_

    def _run_uncompiled(self) -> None:
        """Has compiled functions run as they are written: else the recorder would be compiled
        into them."""
        if self._handles and self._stance is None:
            self._stance = torch.compiler.set_stance("force_eager")


def put_under(mode: TorchFunctionMode) -> None:
    """Puts a mode under all others, so that `with torch.device(...)` around or within the recording
    ends its own mode and not this one."""
    others = _taken_off()
    for one in (mode, *others):
        _push_mode(one)


def take_out(mode: TorchFunctionMode) -> None:
    """Takes a mode out, wherever it is."""
    for one in _taken_off():
        if one is not mode:
            _push_mode(one)


def _taken_off() -> list[TorchFunctionMode]:
    return [_pop_mode() for _ in _get_current_function_mode_stack()][::-1]
