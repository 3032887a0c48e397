"""Reads Keras' weights: HDF5 files (`.h5`, `.weights.h5`), `.keras`, or arrays by Keras' names."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pyvae.errors import UserError
from pyvae.files.reading import most_unpacked, open_file
from pyvae.weights.keras_layers import KerasLayer, UnknownLayerError, as_pytorch
from pyvae.weights.tree import SavedState

__all__ = ["from_keras_names", "read_keras"]

KERAS = "Keras"
INSIDE = "model.weights.h5"  # of a .keras file
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "model_weights")
NO_LAYERS = ("optimizer", "optimizer_weights", "metrics", "compile_metrics", "seed_generator")
FLATTENED = (
    "behind Flatten a Dense layer of Keras counts its inputs as (height, width, channel), "
    "PyTorch's Linear as (channel, height, width): permute x before you flatten it"
)
EPSILON = "Keras' normalisation layers have epsilon 0.001 by default, PyTorch's 1e-05: set eps"


class Variable(NamedTuple):
    """A variable of a Keras file: its place, what else its layer is called, and its numbers."""

    place: tuple[str, ...]
    called: str
    value: NDArray


def read_keras(path: Path) -> SavedState:
    """Reads Keras' weights from a `.h5`, `.weights.h5` or `.keras` file.

    Raises:
        UserError: If h5py is missing, or no layer is known.
        UNREADABLE: If it is damaged, or refers to other files.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return _state(_variables(file, size), path)
        with zipfile.ZipFile(file) as archive:
            info = archive.getinfo(INSIDE)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{INSIDE} is compressed by a method that Keras does not use")
            if info.file_size > most_unpacked(size) or info.compress_size > size:
                raise ValueError(f"{INSIDE} would unpack to {info.file_size} bytes")
            return _state(_variables(io.BytesIO(archive.read(info)), info.file_size), path)


def from_keras_names(arrays: Mapping[str, NDArray], path: Path) -> SavedState:
    """Takes arrays for Keras' by their names, such as `dense/kernel`, `dense.kernel:0`.

    Arguments:
        arrays: Of a safetensors or npz file.
        path: The file, for messages.
    """
    places = {name: tuple(name.replace("/", ".").split(".")) for name in arrays}
    first = {place[0] for place in places.values()}
    if len(first) == 1 and min(map(len, places.values())) > 2:  # the model's name
        places = {name: place[1:] for name, place in places.items()}
    return _state([Variable(places[name], "", value) for name, value in arrays.items()], path)


def _variables(file: BinaryIO, size: int) -> list[Variable]:
    """Lists the arrays of an HDF5 file, without following links to other files."""
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError:
        raise UserError(
            "Keras' HDF5 files are read with h5py, which is not installed", "run: pip install h5py"
        ) from None
    found: list[Variable] = []
    room = most_unpacked(size)

    def visit(name: str, one: Any) -> None:
        nonlocal room
        place = tuple(name.split("/"))
        if not isinstance(one, h5py.Dataset) or place[0] in NO_LAYERS:
            return
        if one.external or one.is_virtual:
            raise ValueError(f"'{name[:80]}' stands in another file, which pyvae does not open")
        if one.dtype.kind not in "fiub":
            raise ValueError(f"'{name[:80]}' has values of type {one.dtype}")
        room -= one.nbytes
        if room < 0:
            raise ValueError("its arrays would unpack to more than 200 times the file's size")
        called = one.parent.attrs.get("name", "") if place[-2:-1] == ("vars",) else ""
        found.append(Variable(place, str(called), one[()]))

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return found


def _state(variables: Iterable[Variable], path: Path) -> SavedState:
    layers: dict[tuple[str, bool], KerasLayer] = {}
    left: list[str] = []
    for one in variables:
        if any(part in NO_LAYERS for part in one.place):
            left.append("/".join(one.place))
            continue
        *place, variable = one.place
        name, backward = _layer_name(place, one.called)
        hint = " ".join((*place, one.called)).lower()
        layer = layers.setdefault((name, backward), KerasLayer(name, hint, {}, backward))
        layers[name, backward] = KerasLayer(
            name, hint, {**layer.variables, variable.removesuffix(":0"): one.value}, backward
        )
    tensors, done = {}, {}
    for layer in layers.values():
        try:
            stored = list(as_pytorch(layer))
        except UnknownLayerError as error:
            left.append(f"{layer.name} ({error})")
            continue
        for part in stored:
            name = f"{layer.name}.{part.name}" if layer.name else part.name
            value = np.array(part.value, part.value.dtype.newbyteorder("="), order="C")
            tensors[name], done[name] = torch.from_numpy(value), part.done
    if not tensors:
        raise UserError(
            f"'{path}' holds no weights of Keras that pyvae knows{_because(left)}",
            "expected are variables named as Keras names them, such as dense/kernel",
        )
    return SavedState(KERAS, tensors, tuple(left), done, _notes(layers.values()))


def _layer_name(place: list[str], called: str) -> tuple[str, bool]:
    """Returns what a layer's parameters are to be called after, and whether it runs backwards."""
    parts = place[:-1] if place[-1:] == ["vars"] else list(place)
    own = called and len(parts) > 1 and parts[-2] in CONTAINERS  # else the attribute's name
    if own:
        parts[-1] = called
    parts = [part for part in parts if part not in CONTAINERS]
    if len(parts) > 1 and parts[0] in parts[1:]:  # a layer's group, then the model, then it again
        parts = parts[parts.index(parts[0], 1) :]
    if len(parts) > 1 and parts[-1].endswith("cell"):
        parts = parts[:-1]
    recurrent = any(word in part for word in ("lstm", "gru", "rnn", "cell") for part in place)
    direction = parts[-1].partition("_")[0] if len(parts) > 1 and recurrent else ""
    if direction in ("forward", "backward"):
        parts = parts[:-1]
    return ".".join(parts), direction == "backward"


def _notes(layers: Iterable[KerasLayer]) -> tuple[str, ...]:
    ranks = {value.ndim for layer in layers for value in layer.variables.values()}
    hints = " ".join(layer.hint for layer in layers)
    names = {name for layer in layers for name in layer.variables}
    notes = [FLATTENED] if ranks & {4, 5} and 2 in ranks else []
    return (*notes, EPSILON) if "normalization" in hints or "gamma" in names else tuple(notes)


def _because(left: list[str]) -> str:
    return f" ({'; '.join(left[:3])})" if left else ""
