"""The report: a comparison of two recorded programs on one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import jinja2

from comparisons.ports.judging.judged import Judged
from comparisons.ports.judging.quantities import PASSES
from comparisons.ports.matching.names import names_table
from comparisons.ports.result import PortComparison
from comparisons.report.html import Cell, by_part, picture, shown
from comparisons.report.ports.figure import differences_figure, losses_figure
from comparisons.report.ports.lines import coverage, one_sided
from pyvae.errors import print_error
from pyvae.figures.style import own_style
from pyvae.files.writing import write_file

__all__ = ["strips", "write_page"]

WORSE = ("equal", "within", "explained", "parted")
AROUND = 3  # quantities before and after the first that parts


def write_page(found: PortComparison, path: Path, command: str) -> None:
    """Writes the page; if its pictures cannot be drawn, without them.

    Arguments:
        found: The comparison.
        path: The file.
        command: The command line that made it.
    """
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([here, here.parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters["number"] = _number
    names = names_table(found.networks, found.parameters)
    other = names[(names["a"] != names["b"]) | (names["layout"] != "")]
    page = environment.get_template("page.html.j2").render(
        found=found,
        coverage=coverage(found),
        only=list(one_sided(found)),
        around=_around(found),
        strips=strips(found),
        other=[tuple(row) for row in other.itertuples(index=False)],
        versions=_versions(found),
        panels=_pictures(found),
        command=command,
        version=metadata.version("pyvae"),
    )
    write_file(path, page)


def strips(found: PortComparison) -> list[tuple[str, list[tuple[str, list[Cell]]]]]:
    """Every quantity that was compared, in the order of computation: (heading, parts) for each
    pass, (part, cells) for each part of the network."""
    worst: dict[str, Judged] = {}
    for one in found.judged:
        key = one.quantity.key
        if key not in worst or _badness(one) > _badness(worst[key]):
            worst[key] = one
    first = found.first.judged.quantity.key if found.first else None
    rows = []
    for passing, heading in PASSES.items():
        cells = [
            _cell(one, one.quantity.key == first)
            for one in worst.values()
            if one.quantity.passing == passing
        ]
        if cells:
            rows.append((heading, list(by_part(cells))))
    return rows


def _badness(one: Judged) -> tuple[int, float]:
    return WORSE.index(one.verdict), one.difference.needed


def _cell(one: Judged, first: bool) -> Cell:
    name = one.quantity.value[0]
    part, _, label = name.partition(".")
    if not label:
        part, label = "", part
    difference = one.difference
    words = f"{one.quantity.key}, worst in step {one.step}: "
    words += difference.problem or (
        f"{difference.needed:.1e} of its largest magnitude {difference.largest:.2g}"
    )
    words += f", allowed {one.rtol:.0e}"
    if one.verdict == "explained":
        words += f" ({one.why})"
    return Cell(part, label, _power(one), one.verdict != "parted", first, words)


def _power(one: Judged) -> str:
    if one.difference.problem:
        return "shape" if one.difference.problem.startswith("shape") else "n/a"
    if one.difference.equal or one.difference.needed == 0:
        return "equal"
    return f"1e{math.floor(math.log10(one.difference.needed)):d}"


def _around(found: PortComparison) -> list[Judged]:
    """The first quantity that parts, and its neighbours in the order of computation."""
    if found.first is None:
        return []
    at = next(i for i, one in enumerate(found.judged) if one is found.first.judged)
    return list(found.judged[max(0, at - AROUND) : at + AROUND + 1])


def _versions(found: PortComparison) -> Iterator[tuple[str, str, str]]:
    """What each side's numbers depend on."""
    first, second = (side.trace for side in found.sides)
    yield "engine", first.engine, second.engine
    yield "program", first.program or "–", second.program or "–"
    yield "language", first.language, second.language
    yield "counts from", str(first.index_base), str(second.index_base)
    for name in {**first.environment, **second.environment}:
        yield name, first.environment.get(name, "–"), second.environment.get(name, "–")


def _number(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{value:.1e}"


def _pictures(found: PortComparison) -> dict[str, str]:
    """The figures as addresses, by caption; none where they cannot be drawn."""
    try:
        with own_style():
            panels = {}
            losses = losses_figure(found)
            if losses is not None:
                panels["Losses of both"] = picture(losses)
            caption = "How far every quantity differs, in the order of computation, over the steps"
            panels[caption] = picture(differences_figure(found))
            return panels
    except Exception as error:  # the page says what was found without them, too
        print_error(f"the report is without pictures ({type(error).__name__}: {error})")
        return {}
