"""The precision of matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pyvae.errors import UserError, choose

__all__ = ["PRECISIONS", "Precision", "channels_last", "multiplies_bf16"]

PRECISIONS = ("full", "tf32", "bf16")
# what PyTorch calls the instructions of x86 and ARM
BF16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def multiplies_bf16() -> bool:
    """Whether this machine's processor has instructions that multiply in bfloat16."""
    if hasattr(torch.cpu, "get_capabilities"):
        abilities = torch.cpu.get_capabilities()
        return any(abilities.get(name, False) for name in BF16)
    # an older PyTorch tells it of x86 alone; what has AMX has AVX512-BF16, too
    return torch.cpu._is_avx512_bf16_supported()


class Precision:
    """The precision of matrix products and convolutions; parameters, losses and Adam stay in the
    run's dtype.

    `full`: in the run's dtype. PyTorch's own default on a GPU is not that: its convolutions there
    round single precision to TF32.
    `tf32`: single precision with factors rounded to 10 bits (TensorFloat-32), on an NVIDIA GPU.
    `bf16`: factors and feature maps in bfloat16, 8 bits (`torch.autocast`), on a GPU, or a
    processor that has instructions for it (AMX, AVX512-BF16): on others PyTorch imitates it, slower
    than single precision.

    Arguments:
        name: One of `PRECISIONS`.
        device: Where it is computed.
        dtype: The run's.

    Raises:
        UserError: If the device, its processor or the dtype does not have it.
    """

    def __init__(self, name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        choose("precision", name, PRECISIONS)
        if name == "tf32" and device.type != "cuda":
            raise UserError("--precision tf32 needs an NVIDIA GPU", "use --precision full on a CPU")
        if name != "full" and dtype != torch.float32:
            raise UserError(
                f"--precision {name} with --dtype float64",
                "use --dtype float32 or --precision full",
            )
        if name == "bf16" and device.type == "cpu" and not multiplies_bf16():
            raise UserError(
                "--precision bf16 needs a processor with AMX or AVX512-BF16, and this one has "
                "neither",
                "use --precision full",
            )
        self.name = name
        self.device = device

    def prepare(self, network: nn.Module) -> None:
        """Prepares a network for training; on a GPU it changes settings of the whole process."""
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self.name == "tf32"
            torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        if self.name == "bf16":
            # in bfloat16 a probability above 0.998 would be 1, and a black pixel impossible
            for module in network.modules():
                if isinstance(module, nn.Sigmoid):
                    module.register_forward_pre_hook(_single)
        if self.name == "bf16" and self.device.type == "cpu":
            channels_last(network)
            for module in network.modules():
                if isinstance(module, nn.MaxPool2d):
                    module.register_forward_hook(_gradient_channels_last)

    def computing(self) -> AbstractContextManager[object]:
        """The context in which a network is called."""
        if self.name == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def finish(self, output: Any) -> Any:
        """Converts what a network returned to single precision, for the loss."""
        return _map(Tensor.float, output) if self.name == "bf16" else output


def channels_last(network: nn.Module) -> None:
    """Lays the channels of two-dimensional layers' weights side by side in memory; those of
    three-dimensional ones, which `nn.Module.to` refuses, stay as they are."""
    for value in (*network.parameters(), *network.buffers()):
        if value.ndim == 4:
            value.data = value.data.to(memory_format=torch.channels_last)


def _single(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return _map(Tensor.float, inputs)


def _gradient_channels_last(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
    """Brings the gradient of a max-pool into the order of its input: in another one it takes five
    times as long. Of one image without a batch, or with indices, it is left as it comes."""
    if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad:
        output.register_hook(lambda g: g.contiguous(memory_format=torch.channels_last))


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Applies a function to the tensors within tuples and named tuples."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        changed = [_map(change, part) for part in value]
        return type(value)(*changed) if hasattr(value, "_fields") else tuple(changed)
    return value
