"""Converts a file of weights into another kind of file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyvae.errors import choose
from pyvae.files.name_map import read_name_map
from pyvae.weights.languages import FIRST_LAYER, in_language
from pyvae.weights.names import rename
from pyvae.weights.read import read_weights
from pyvae.weights.write import check_target, how_to_load, write_weights

__all__ = ["Conversion", "ConvertedWeight", "convert_weights"]


@dataclass(frozen=True)
class ConvertedWeight:
    """One weight that was written.

    Attributes:
        name: Its name in the new file.
        shape: Its shape there.
        dtype: Its type, as PyTorch calls it, without `torch.`.
        done: What was done to it, in words.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    done: str


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        kind: The kind of file that was read, in words.
        weights: In the order of the file.
        left_out: What the file holds besides.
        notes: What to know of the weights.
        load: The line of code that loads the new file into a model.
    """

    kind: str
    weights: list[ConvertedWeight]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    load: str = field(default="")


def convert_weights(
    source: str | Path,
    target: str | Path,
    *,
    language: str = "python",
    names: str | Path | None = None,
    part: str | None = None,
    keras: bool = False,
    overwrite: bool = False,
) -> Conversion:
    """Converts a file of weights: every number keeps its bits.

    Read are safetensors, state dicts that `torch.save` wrote, files of R torch's `torch_save()` and
    luz, and Keras' weights. Nothing that a file holds is executed.

    Arguments:
        source: The file to read.
        target: The file to write: `.safetensors`, or a state dict (`.pt`, `.pth`).
        language: Who reads it, `python` or `r`: the names and shapes are theirs.
        names: A CSV file with the columns a and b: what is to be called how.
        part: Of a checkpoint with several state dicts, which.
        keras: Whether the names in a safetensors or npz file are Keras'.
        overwrite: Whether the target may be replaced.

    Raises:
        UserError: If either file, or the map, is not usable.

    Example:
        convert_weights("from_r.pt", "model.safetensors")
    """
    source, target = Path(source), Path(target)
    language = choose("language", language, FIRST_LAYER)
    check_target(target, overwrite)
    rows = [] if names is None else read_name_map(Path(names))
    state = read_weights(source, part, keras=keras)
    said, translated = in_language(state.tensors, language)
    new = rename((one for one, _ in said.values()), rows)
    written, about = {}, []
    for old, (name, tensor) in said.items():
        done = [state.done.get(old, ""), translated.get(old, "")]
        if new[name] != old:
            done.append(f"was {old}")
        written[new[name]] = tensor
        about.append(
            ConvertedWeight(
                new[name],
                tuple(tensor.shape),
                str(tensor.dtype).removeprefix("torch."),
                "; ".join(word for word in done if word) or "as it was",
            )
        )
    write_weights(target, written)
    load = how_to_load(target, language)
    return Conversion(state.kind, about, state.left_out, (*state.notes, *_looks_like(said)), load)


def _looks_like(names: Iterable[str]) -> list[str]:
    """A note where names are Keras' after all."""
    last = {"kernel", "gamma", "moving_mean", "embeddings"}
    alike = [name for name in names if "/" in name and name.rpartition("/")[2] in last]
    if not alike:
        return []
    return [
        f"'{alike[0]}' is a name of Keras', and its numbers are written as they were: with "
        "--from-keras they are put into the order that PyTorch has"
    ]
