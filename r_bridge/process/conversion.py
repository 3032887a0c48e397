"""Values between NumPy and R, exact and with the same index order on both sides.

An array of shape (2, 3, 5) becomes an R array with dim c(2, 3, 5): element [i, j, k] in
Python is [i + 1, j + 1, k + 1] in R. Needs a running R (rpy2); used in the R process alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rpy2.rinterface as ri
from numpy.typing import NDArray

from r_bridge.process.wire import Kept

__all__ = ["from_r", "to_r"]


def to_r(value: Any, kept: dict[str, Any]) -> Any:
    """A Python value as an R object.

    Raises:
        TypeError: If R has nothing to hold it.
    """
    if value is None:
        return ri.NULL
    if isinstance(value, Kept):
        return kept[value.name]
    if isinstance(value, bool):
        return ri.BoolSexpVector([value])
    if isinstance(value, int):
        return ri.IntSexpVector([value])
    if isinstance(value, float):
        return ri.FloatSexpVector([value])
    if isinstance(value, str):
        return ri.StrSexpVector([value])
    if isinstance(value, dict):
        vector = ri.ListSexpVector([to_r(item, kept) for item in value.values()])
        vector.names = ri.StrSexpVector(list(value))
        return vector
    if isinstance(value, list):
        return ri.ListSexpVector([to_r(item, kept) for item in value])
    if isinstance(value, np.ndarray):
        return _array_to_r(value)
    raise TypeError(f"no R value for {type(value).__name__}")


def _array_to_r(array: NDArray) -> Any:
    # .ravel() and memoryview: on a 2-D array from_memoryview would keep the first dimension only
    flat = array.ravel(order="F")
    if array.dtype == np.bool_:
        vector = ri.BoolSexpVector.from_memoryview(flat.astype(np.int32).data)
    elif array.dtype in (np.float32, np.float64):
        vector = ri.FloatSexpVector.from_memoryview(flat.astype(np.float64, copy=False).data)
    elif array.dtype in (np.int32, np.uint8):
        vector = ri.IntSexpVector.from_memoryview(flat.astype(np.int32, copy=False).data)
    else:
        raise TypeError(f"no R array for {array.dtype}")
    if array.ndim > 1:
        vector.do_slot_assign("dim", ri.IntSexpVector(array.shape))
    return vector


def from_r(value: Any, copy: bool = True) -> Any:
    """An R object as a Python value: vectors and arrays as NumPy arrays (text as lists),
    named lists as dicts, NULL as None.

    Arguments:
        value: The R object.
        copy: Without it arrays are views of R's memory: they are good for as long as somebody
            holds `value`, and no longer.

    Raises:
        TypeError: If the object is none of these.
    """
    if value is ri.NULL or value.typeof == ri.RTYPES.NILSXP:
        return None
    if value.typeof == ri.RTYPES.VECSXP:
        items = [from_r(item, copy) for item in value]
        return items if value.names is ri.NULL else dict(zip(value.names, items, strict=True))
    if value.typeof == ri.RTYPES.STRSXP:
        return [str(item) for item in value]
    if value.typeof not in (ri.RTYPES.REALSXP, ri.RTYPES.INTSXP, ri.RTYPES.LGLSXP):
        raise TypeError(f"no Python value for R's {value.typeof.name}")
    view = _memory(value)
    array = view.copy() if copy else view  # the view alone does not keep the R object alive
    if value.typeof == ri.RTYPES.LGLSXP:
        array = array.astype(np.bool_)
    dim = value.do_slot("dim") if "dim" in value.list_attrs() else None
    return array if dim is None else array.reshape(tuple(dim), order="F")


def _memory(value: Any) -> NDArray:
    """A view of an R vector's own memory, in its order.

    Not through rpy2's `memoryview()`: every call of that takes a reference from None, and after
    some thousand calls Python 3.11 ends with "deallocating None".
    """
    dtype = np.dtype(np.float64 if value.typeof == ri.RTYPES.REALSXP else np.int32)
    if len(value) == 0:
        return np.empty(0, dtype)
    pointer = value._R_GET_PTR(value.__sexp__._cdata)
    return np.frombuffer(ri.openrlib.ffi.buffer(pointer, len(value) * dtype.itemsize), dtype)
