"""What a function is called in a trace: by its name in ATen, whether it was called as a method, an
operator or a function, in place or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["Function", "known_function"]

SAME = {
    "absolute": "abs", "multiply": "mul", "subtract": "sub", "divide": "div",
    "true_divide": "div", "truediv": "div", "rsub": "sub", "rdiv": "div", "rtruediv": "div",
    "rpow": "pow", "radd": "add", "rmul": "mul", "rmatmul": "matmul", "iadd": "add",
    "isub": "sub", "imul": "mul", "idiv": "div", "itruediv": "div", "ipow": "pow",
    "negative": "neg", "concat": "cat", "concatenate": "cat", "clip": "clamp",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
    "swapaxes": "transpose", "swapdims": "transpose", "moveaxis": "movedim", "arccos": "acos",
    "cross_entropy": "cross_entropy_loss", "dropout1d": "feature_dropout",
    "dropout2d": "feature_dropout", "dropout3d": "feature_dropout", "getitem": "index",
    "setitem": "index_put", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "invert": "bitwise_not", "mod": "remainder", "floordiv": "floor_divide",
    "fix": "trunc", "special_expit": "sigmoid",
    **dict.fromkeys(
        ("float", "double", "half", "bfloat16", "int", "long", "bool", "short", "byte", "type",
         "type_as", "cpu", "cuda"), "to",
    ),
}  # fmt: skip
PROPERTIES = {
    "T": "t", "mT": "transpose", "data": "detach", "real": "real", "imag": "imag", "H": "adjoint",
    "mH": "adjoint",
}  # fmt: skip
DRAWS = {
    "randn": "randn", "randn_like": "randn", "rand": "rand", "rand_like": "rand",
    "randint": "randint", "randint_like": "randint", "randperm": "randperm", "normal": "normal",
    "bernoulli": "bernoulli", "multinomial": "multinomial", "poisson": "poisson",
    "normal_": "normal", "uniform_": "uniform", "bernoulli_": "bernoulli", "random_": "random",
    "exponential_": "exponential", "log_normal_": "log_normal", "geometric_": "geometric",
    "cauchy_": "cauchy",
}  # fmt: skip
# Constants, and what computes nothing.
UNRECORDED = {
    "zeros", "ones", "empty", "full", "arange", "range", "linspace", "logspace", "eye", "tensor",
    "as_tensor", "asarray", "from_numpy", "scalar_tensor", "zeros_like", "ones_like",
    "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
    "tril_indices", "triu_indices", "empty_strided", "requires_grad_", "retain_grad", "backward",
    "register_hook", "deepcopy", "share_memory_", "pin_memory", "as_subclass", "set", "set_",
    "delete", "resize_", "record_stream", "reduce_ex", "rename_", "detach_", "zero_grad",
    "_set_grad_enabled",
}  # fmt: skip


@dataclass(frozen=True)
class Function:
    """What is known of a function.

    Attributes:
        layer: Its name in a trace.
        draw: Which distribution it draws from, if it does.
        in_place: Whether it changes its first argument.
    """

    layer: str
    draw: str = ""
    in_place: bool = False


@cache
def known_function(function: Callable[..., Any]) -> Function | None:
    """What is known of a function that PyTorch dispatches; None if it is not recorded."""
    name = getattr(function, "__name__", "")
    if name == "__get__":  # a property
        name = getattr(getattr(function, "__self__", None), "__name__", "")
        return Function(PROPERTIES[name]) if name in PROPERTIES else None
    if name == "__index__":  # a number, of a list or a range
        return None
    if name in DRAWS:
        return Function("draw", DRAWS[name], name.endswith("_"))
    dunder = name.startswith("__") and name.endswith("__")
    plain = name.strip("_") if dunder else name
    if not plain or plain in UNRECORDED:
        return None
    in_place = plain == "setitem" or (
        dunder and plain[0] == "i" and plain in SAME and plain != "invert"
    )
    if not dunder and plain.endswith("_") and not plain.endswith("__"):
        plain, in_place = plain[:-1], True
    return Function(SAME.get(plain, plain), in_place=in_place)
