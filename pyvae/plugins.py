"""What other packages add to pyvae through entry points. One that is broken is named in a line,
and everything else works."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from typing import Any, TypeVar

from pyvae.errors import UserError, print_error

__all__ = ["names", "open_plugin", "open_plugins"]

Made = TypeVar("Made")


def names(group: str) -> list[str]:
    """The names of a group's entry points, sorted."""
    return sorted({entry.name for entry in _entries(group)})


def open_plugin(group: str, name: str, use: Callable[[Any], Made]) -> Made:
    """Loads the entry point of that name and does something with it.

    Arguments:
        group: Of entry points.
        name: One of `names`.
        use: Is given what was loaded.

    Raises:
        UserError: If it is broken, or two packages have one of this name.
    """
    found = [entry for entry in _entries(group) if entry.name == name]
    if len(found) != 1:
        packages = " and ".join(sorted(map(_package, found)))
        raise UserError(f"{packages} both have '{name}' in {group}", "uninstall one of them")
    return _open(found[0], use)


def open_plugins(group: str, use: Callable[[Any], Made]) -> Iterator[Made]:
    """Loads all entry points of a group, by name, and does something with each; those that are
    broken are told on standard error and left out."""
    for entry in sorted(_entries(group), key=lambda entry: entry.name):
        try:
            made = _open(entry, use)
        except UserError as error:
            print_error(str(error))
        else:
            yield made


def _entries(group: str) -> tuple[metadata.EntryPoint, ...]:
    """A group's entry points, looked up once, as each look-up reads all installed packages: what
    is installed while this program runs is seen by the next one."""
    return _look_for(metadata.entry_points, group, tuple(sys.path))


@cache
def _look_for(
    look: Callable[..., Any], group: str, path: tuple[str, ...]
) -> tuple[metadata.EntryPoint, ...]:
    return tuple(look(group=group))


def _open(entry: metadata.EntryPoint, use: Callable[[Any], Made]) -> Made:
    try:
        return use(entry.load())
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # what others wrote may raise anything
        raise UserError(
            f"plug-in '{entry.name}' of {_package(entry)} ({entry.group}: {entry.value}) is broken "
            f"({type(error).__name__}: {error})",
            "update or uninstall that package",
        ) from error


def _package(entry: metadata.EntryPoint) -> str:
    """The package that has it, and its version."""
    if entry.dist is None:
        return "an unknown package"
    return f"{entry.dist.name} {entry.dist.version}"
