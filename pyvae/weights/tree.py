"""Finds the state dict in a checkpoint, which may hold an optimizer's state and more beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pyvae.errors import UserError

__all__ = ["SavedState", "choose_state"]

OPTIMISER = "param_groups"  # what an optimizer's state has, in both languages


@dataclass(frozen=True)
class SavedState:
    """A state dict as a file holds it.

    Attributes:
        kind: What kind of file it was.
        tensors: By name, in the file's order.
        left_out: What else there was, in words.
        done: What was done to a tensor when it was read, by name, in words.
        notes: What its reader should know.
    """

    kind: str
    tensors: dict[str, Tensor]
    left_out: tuple[str, ...] = ()
    done: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def choose_state(kind: str, tree: object, part: str | None, file: str) -> SavedState:
    """Chooses the state dict of what a file holds.

    Arguments:
        kind: What kind of file it is.
        tree: Tensors, in dicts within dicts.
        part: The dict to take, its keys joined with dots; None: the only one there is.
        file: The file, for messages.

    Raises:
        UserError: If there is none, or several and none is named.
    """
    found = dict(_states(tree))
    if part is not None:
        if part not in found:
            raise UserError(
                f"'{file}' has no state dict '{part}'",
                "give one of these with --part" if found else "",
                expected=_listed(found) if found else "",
            )
        name = part
    elif not found:
        raise UserError(
            f"'{file}' holds no state dict",
            "save one: torch.save(model.state_dict(), FILE), in R torch_save(model$state_dict(), "
            "FILE)",
        )
    elif "" in found or len(found) == 1:
        name = "" if "" in found else next(iter(found))
    else:
        raise UserError(
            f"'{file}' holds {len(found)} state dicts: {_listed(found)}", "choose one with --part"
        )
    chosen = found[name]
    tensors = {str(key): one for key, one in chosen.items() if isinstance(one, Tensor)}
    more = [str(key) for key, one in chosen.items() if not isinstance(one, Tensor)]
    if name and isinstance(tree, Mapping):
        more += [str(key) for key in tree if str(key) != name.partition(".")[0]]
    return SavedState(kind, tensors, tuple(more))


def _states(tree: object, path: str = "") -> Iterator[tuple[str, Mapping]]:
    """Yields every dict that holds tensors, outside of optimizers, with its place."""
    if not isinstance(tree, Mapping) or OPTIMISER in tree:
        return
    if any(isinstance(one, Tensor) for one in tree.values()):
        yield path, tree
        return
    for key, one in tree.items():
        yield from _states(one, f"{path}.{key}" if path else str(key))


def _listed(found: Mapping[str, object]) -> str:
    names = list(found)
    return ", ".join(names[:8]) + (f", ... ({len(names)})" if len(names) > 8 else "")
