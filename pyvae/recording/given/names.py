"""What another program calls the parameters and layers of the one that is recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from pyvae.files.name_map import read_name_map

__all__ = ["OtherNames", "read_map"]

TOGETHER = " + "  # between names that are one on the other side, as `pyvae compare` writes it


class OtherNames:
    """The other program's names, from rows of two names each.

    Arguments:
        rows: The rows. One of a module goes for all that is in it.
        mine: The names of the program's own parameters, which tell in which column its names are;
            a row of which they do not is read both ways.
    """

    def __init__(self, rows: Iterable[tuple[str, str]] = (), mine: Iterable[str] = ()) -> None:
        stripped = [(a.strip(), b.strip()) for a, b in rows]
        rows = [row for row in stripped if all(row) and not any(TOGETHER in one for one in row)]
        mine = set(mine)
        first = sum((a in mine) - (b in mine) for a, b in rows) >= 0
        modules = {name.rsplit(".", n)[0] for name in mine for n in range(1, name.count(".") + 1)}
        self.pairs = [pair for row in rows for pair in _turned(row, (mine, modules), first)]
        self._longest_first = sorted(self.pairs, key=lambda pair: -len(pair[0]))

    def of(self, name: str, known: Collection[str]) -> str:
        """The other program's name for a parameter or layer; the same one if no row says another.

        Arguments:
            name: The program's own.
            known: Those that the other one has.
        """
        named = [other for own, other in self.pairs if own == name]
        within = [
            other + name.removeprefix(own)
            for own, other in self._longest_first
            if name.startswith(f"{own}.")
        ]
        found = [other for other in (*named, *within) if other in known]
        return found[0] if found else (*named, name)[0]


def _turned(
    row: tuple[str, str], mine: Iterable[Collection[str]], first: bool
) -> Iterator[tuple[str, str]]:
    """A row, the program's own name first: parameters tell more than modules do."""
    for names in mine:
        own = [name in names for name in row]
        if any(own):
            yield row if own[0] and (first or not own[1]) else row[::-1]
            return
    yield row
    yield row[::-1]


def read_map(path: Path, mine: Iterable[str]) -> OtherNames:
    """Reads a map of names: a CSV file with the columns a and b, as `pyvae compare` writes it.

    Arguments:
        path: The file.
        mine: The names of the program's own parameters, in either column.

    Raises:
        UserError: If it cannot be read.
    """
    return OtherNames(read_name_map(path), mine)
