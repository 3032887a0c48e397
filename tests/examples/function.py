"""A function of torch in the place of a layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from pyvae.recording.seen.arguments import Arguments, split_arguments
from pyvae.recording.seen.functions import known_function

__all__ = ["Function", "stand_in"]


class Function(nn.Module):
    """Calls a function.

    Arguments:
        function: Of torch.
        *rest: Its arguments after the tensors.
        listed: Whether it takes the tensors as one list.
        **options: Further arguments.
    """

    def __init__(
        self, function: Callable[..., Any], *rest: Any, listed: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.function, self.listed, self.rest, self.options = function, listed, rest, options
        known = known_function(function)
        assert known is not None
        self.layer = known.layer

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*self._given(inputs), **self.options)

    def arguments(self, inputs: tuple[Tensor, ...]) -> Arguments:
        """What a recorder makes of the arguments."""
        return split_arguments(self.function, self.layer, self._given(inputs), self.options)

    def _given(self, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return (list(inputs), *self.rest) if self.listed else (*inputs, *self.rest)


def stand_in(function: Callable[..., Any], run: Callable[[], Any]) -> Callable[..., Any]:
    """A function that recorders take for another, and that computes something else."""

    @functools.wraps(function)
    def other(*args: Any, **kwargs: Any) -> Any:
        if has_torch_function(args):
            return handle_torch_function(other, args, *args, **kwargs)
        return run()

    return other
