"""What is said of the mistakes that were written down beforehand, as a table.

PYTHONPATH=tests .venv/bin/python -m mistakes.beforehand.table
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from mistakes.beforehand import BEFOREHAND
from mistakes.beforehand.mistake import DTYPES, compared, kind_of, place_of

KINDS = ("rightly", "in part", "wrongly", "not")


def rows(dtype: str) -> list[tuple[str, ...]]:
    """Mistake, what a user wants, where it was placed, how it was named, what was said."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for one in BEFOREHAND:
            result = compared(one, DTYPES[dtype], Path(folder))
            said = "; ".join(result.first.words) if result.first else result.verdict
            place = result.first.place if result.first else ""
            placed = "right" if place_of(one, result) else "wrong"
            found.append((one.name, one.sentence, place, placed, kind_of(one, result), said))
    return found


def table(dtype: str) -> str:
    """The rows as Markdown, and how many of each kind."""
    found = rows(dtype)
    head = ("mistake", "should say", "place said", "place", "named", "what is said")
    lines = [head, ("---",) * len(head), *found]
    counts, placed = Counter(row[4] for row in found), Counter(row[3] for row in found)
    summary = ", ".join(f"{kind} {counts[kind]}" for kind in KINDS)
    text = "\n".join("| " + " | ".join(c.replace("|", "/") for c in line) + " |" for line in lines)
    return f"{dtype}: placed {placed['right']} of {len(found)}; named: {summary}\n\n{text}\n"


if __name__ == "__main__":
    start = time.process_time()
    for dtype in DTYPES:
        print(table(dtype))
    print(f"{time.process_time() - start:.1f} s of CPU")
