"""What weights are to be called, by a map of names."""

from __future__ import annotations

from collections.abc import Iterable

from pyvae.errors import UserError

__all__ = ["rename"]


def rename(names: Iterable[str], rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Gives names new ones.

    A row holds two names, of weights or of modules with all their weights; whichever column the
    present name stands in, the other is the new one.

    Arguments:
        names: The present names.
        rows: The map.

    Returns:
        The new name of every name.

    Raises:
        UserError: If a row names nothing that is there, or two weights get one name.
    """
    names = list(names)
    found: dict[str, str] = {}
    for a, b in rows:
        pairs = _matching(names, a, b) or _matching(names, b, a)
        if not pairs:
            raise UserError(
                f"the map names '{a}' and '{b}', neither of which is there",
                "correct the map",
                expected=f"names such as {', '.join(names[:3])}",
            )
        for name, new in pairs.items():
            if found.get(name, new) != new:
                raise UserError(
                    f"the map calls '{name}' both '{found[name]}' and '{new}'", "correct the map"
                )
            found[name] = new
    result = {name: found.get(name, name) for name in names}
    taken: dict[str, str] = {}
    for name, new in result.items():
        if new in taken:
            raise UserError(
                f"'{taken[new]}' and '{name}' would both be called '{new}'", "correct the map"
            )
        taken[new] = name
    return result


def _matching(names: Iterable[str], old: str, new: str) -> dict[str, str]:
    """Finds the weight of a name, or those of a module."""
    inside = f"{old}."
    return {
        name: new + name[len(old) :] for name in names if name == old or name.startswith(inside)
    }
