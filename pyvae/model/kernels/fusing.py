"""When several layers may be computed as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyvae.model.all_reduce import is_shared
from pyvae.model.kernels.choice import is_fast

__all__ = ["may_fuse"]


def may_fuse(x: Tensor, *layers: nn.Module) -> bool:
    """Whether layers that follow each other may be computed as one, without what lies between.

    They may where faster kernels are wanted, in single precision on a CPU, in training mode with
    the whole batch in this process, unless somebody watches a layer (a probe hooks it).

    Arguments:
        x: What the first takes.
        layers: All of them.
    """
    return (
        is_fast()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and all(layer.training and not _is_watched(layer) for layer in layers)
        and not is_shared()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
    )


def _is_watched(layer: nn.Module) -> bool:
    hooks = (
        layer._forward_hooks,
        layer._forward_pre_hooks,
        layer._backward_hooks,
        layer._backward_pre_hooks,
    )
    return any(hooks)
