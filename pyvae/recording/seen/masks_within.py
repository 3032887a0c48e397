"""The masks that a layer draws within itself: dropout between the layers of an LSTM, or of the
weights of attention. No function that can be seen from outside draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DROPS_WITHIN", "DrawnWithin", "drops_within", "masks_as_one", "masks_of_one"]

RECURRENT = ("lstm", "gru", "rnn")
DROPS_WITHIN = (*RECURRENT, "multihead_attention", "scaled_dot_product_attention")
DRAW = torch.ops.aten.bernoulli_.float


def drops_within(layer: str, options: Mapping[str, Any], training: bool) -> float:
    """The probability with which a layer drops something within itself; 0 if it does not."""
    p: Any = 0
    if layer == "scaled_dot_product_attention":  # it is not told whether it trains
        p = options.get("dropout_p")
    elif layer not in RECURRENT or int(options.get("num_layers") or 1) > 1:
        p = options.get("dropout") if training and layer in DROPS_WITHIN else 0
    return float(p) if isinstance(p, int | float) and 0 < p < 1 else 0.0


class DrawnWithin(TorchDispatchMode):
    """While it is in force, each mask that dropout draws is seen, or is another's.

    Arguments:
        p: The probability to drop.
        given: Called with what was drawn, which is to be overwritten; none: it stays as it is.
        drawing: Whether to draw at all; else the generator stays as it is.

    Attributes:
        drawn: The masks as they were used, 1 to keep and 0 to drop.
    """

    def __init__(
        self, p: float, given: Callable[[Tensor], None] | None = None, drawing: bool = True
    ) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []
        self._keep = 1 - p
        self._given = given
        self._drawing = drawing
        self._is_open = False

    def open(self) -> DrawnWithin:
        self._is_open = True
        self.__enter__()
        return self

    def close(self) -> None:
        """Ends it; does nothing if it has ended."""
        if self._is_open:
            self._is_open = False
            self.__exit__(None, None, None)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # a default is not handed on
        if function is not DRAW or (args[1] if len(args) > 1 else 0.5) != self._keep:
            return function(*args, **kwargs)
        drawn = function(*args, **kwargs) if self._drawing else args[0]
        if self._given is not None:
            self._given(drawn)
        with suppress(RuntimeError):  # no room for it, which is not to end the program
            self.drawn.append(drawn.detach().to(torch.uint8))
        return drawn


def masks_as_one(
    layer: str, options: Mapping[str, Any], drawn: Sequence[Tensor], dims: int = 4
) -> NDArray[np.uint8] | None:
    """The masks that a layer drew as one array.

    Arguments:
        layer, options: The layer.
        drawn: Its masks, in the order in which it drew them.
        dims: How many dimensions it returned, for a function of attention.

    Returns:
        Of a recurrent layer (layers - 1, time, batch, features), whatever `batch_first` is; of
        attention (batch, heads, queries, keys). None if they are not as many as the layer has, as
        when a library of the GPU's drew them unseen.
    """
    held = [one.cpu().numpy().astype(np.uint8) for one in drawn]
    if layer in RECURRENT:
        wanted = int(options.get("num_layers") or 1) - 1
        alike = len({one.shape for one in held}) == 1
        return np.stack(held) if len(held) == wanted and alike else None
    if len(held) != 1:
        return None
    (one,) = held
    if layer == "multihead_attention" and one.ndim == 3:  # (batch x heads, queries, keys)
        heads = int(options.get("num_heads") or 1)
        return one.reshape(-1, heads, *one.shape[1:]) if len(one) % heads == 0 else None
    return one[0] if dims == one.ndim - 1 and len(one) == 1 else one


def masks_of_one(layer: str, mask: Tensor) -> list[Tensor]:
    """The masks that a layer uses, in their order, of what `masks_as_one` returns."""
    return list(mask) if layer in RECURRENT else [mask]
