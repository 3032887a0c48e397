"""Sees which modules of a model are called, with what, and what they return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pyvae.recording.keras.layers import main_functions
from pyvae.recording.keras.network import is_keras, is_symbolic
from pyvae.recording.seen.generators import DROPOUT
from pyvae.recording.seen.layers import is_layer, layer_name, module_options, module_roles
from pyvae.recording.seen.masks_within import DROPS_WITHIN
from pyvae.recording.seen.values import Call, tensors_in
from pyvae.recording.watch import Entered, Watch, survived

__all__ = ["ModuleCalls"]

MASKS = {"attn_mask", "key_padding_mask"}  # of attention, which are told apart by their names


@dataclass
class _EnteredModule(Entered):
    module: nn.Module | None = field(default=None)


class ModuleCalls:
    """Records the calls of a model's layers; other modules are looked into."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @survived
    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Notes what goes into a module."""
        if is_symbolic(args):
            return
        self.watch.begin_pass(module, args)
        path = self.watch.path_of(module) if self.watch.listens() else None
        if path is None:
            self.watch.enter_other(module)
            return
        entered = _EnteredModule(path, module=module, layer=is_layer(module))
        if is_keras(module) and self.watch.step is not None:
            entered.main, entered.start = main_functions(module), len(self.watch.step.calls)
        if entered.layer:
            entered.sources = self.watch.sources(args)
            layer = layer_name(module)
            if layer in DROPOUT and module.training:
                entered.state = self.watch.state_for(args)
            if layer in DROPS_WITHIN:
                self.watch.see_within(entered, layer, module_options(module), module.training)
        self.watch.entered.append(entered)

    def leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> Any:
        """Records the call of a layer, and what a network returns. As `_leave`."""
        replaced = self._leave(module, args, *rest)
        self.watch.end_pass(module, rest if replaced is None else (*rest[:-1], replaced))
        return replaced

    @survived
    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> Any:
        """Records the call of a layer.

        Arguments:
            module: The layer.
            args: Its arguments.
            *rest: Its named arguments and what it returned; None alone if it raised an error.

        Returns:
            What the layer is to return instead; None if it stays as it is.
        """
        if self.watch.untrained.inside is module:
            self.watch.leave_other(module, rest[-1])
            return None
        entered = self.watch.entered[-1] if self.watch.entered else None
        if not isinstance(entered, _EnteredModule) or entered.module is not module:
            return None
        self.watch.entered.pop().close()
        if is_keras(module) and len(rest) > 1:
            self.watch.put_together(module, entered)
        if not entered.layer or len(rest) < 2:
            return None
        kwargs, output = rest
        layer = layer_name(module)
        call = Call(
            entered.name or layer, layer, options=module_options(module), training=module.training
        )
        for role, one in module_roles(module, entered.name).items():
            source = one if isinstance(one, str) else self.watch.source(entered, one)
            call.roles[role] = source
        for _, tensor in tensors_in(args):
            call.inputs.append(self.watch.source(entered, tensor))
        for key, value in kwargs.items():
            for _, tensor in tensors_in(value):
                source = self.watch.source(entered, tensor)
                if key in MASKS:
                    call.roles[key] = source
                else:
                    call.inputs.append(source)
            if isinstance(value, bool):
                call.options[key] = value
        return self.watch.add(call, entered, args, output)
