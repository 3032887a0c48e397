"""Writes and prints what a comparison of two recorded programs found."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from comparisons.ports.matching.names import names_table
from comparisons.ports.result import PortComparison
from comparisons.report.ports.lines import VERDICTS, lines
from pyvae.files.csv import csv_text
from pyvae.files.writing import write_file

__all__ = ["conclude", "summary"]


def conclude(
    found: PortComparison,
    console: Console,
    folder: Path,
    command: Sequence[str],
    report: bool,
    given: Path | None = None,
) -> int:
    """Writes the tables, the page if it is asked for, and prints what was found.

    Arguments:
        found: The comparison.
        console: Prints.
        folder: Where it is written.
        command: The command that made it.
        report: Whether to write the page.
        given: The map of names that the user gave: it stays as it is.

    Returns:
        The exit code: 0 if the two agree, 1 if they part.
    """
    write_file(folder / "differences.csv", csv_text(found.table()))
    names = folder / "names.csv"
    if given is None or given.resolve() != names.resolve():
        write_file(names, csv_text(names_table(found.networks, found.parameters)))
    about = json.dumps(summary(found), indent=2, allow_nan=False, ensure_ascii=False)
    write_file(folder / "comparison.json", about + "\n")
    page = folder / "report.html"
    page.unlink(missing_ok=True)  # of an earlier comparison
    if report:
        from comparisons.report.ports.page import write_page

        write_page(found, page, shlex.join(["pyvae", *command]))
    for line in lines(found):
        console.print(line, soft_wrap=True)
    console.print(f"written: {folder}", soft_wrap=True)
    console.print(f"verdict: {found.verdict}", soft_wrap=True)
    return 0 if found.agrees else 1


def summary(found: PortComparison) -> dict[str, Any]:
    """All that was found, for programs to read."""
    counts = Counter(one.verdict for one in found.judged)
    first = found.first
    about: dict[str, Any] = {
        "verdict": "agree" if found.agrees else "part",
        "words": found.verdict,
        "sides": {
            side.name: {
                "engine": side.trace.engine,
                "program": side.trace.program,
                "environment": side.trace.environment,
                "steps": len(side.trace.steps),
                "values without a partner": found.lacking[number],
            }
            for number, side in enumerate(found.sides)
        },
        "steps": list(found.steps),
        "precision": found.precision,
        "exact": found.exact,
        "quantities": {verdict: counts[verdict] for verdict in VERDICTS},
        "declared_otherwise": list(found.declared),
        "computed_another_way": [[one.a.name, one.b.name] for one in found.other_ways],
        "accepted": found.met,
        "notes": list(found.notes),
    }
    if first is not None:
        judged, difference = first.judged, first.judged.difference
        about["first_part"] = {
            "step": judged.step,
            "pass": judged.quantity.passing,
            "quantity": {
                found.names[0]: judged.quantity.key,
                found.names[1]: judged.quantity.key_b,
            },
            "place": first.place,
            "looks_like": list(first.words),
            "wrong": first.wrong,
            "element": first.element,
            "max_abs": _number(difference.max_abs),
            "needed": _number(difference.needed),
            "allowed": judged.rtol,
        }
    return about


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
