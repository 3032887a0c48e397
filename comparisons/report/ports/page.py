"""The report: a comparison of two recorded programs on one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from comparisons.ports.judging.judged import Judged
from comparisons.ports.matching.names import names_table
from comparisons.ports.result import PortComparison
from comparisons.report.html import page_environment, picture
from comparisons.report.network.render import NetworkView
from comparisons.report.ports.figure import differences_figure, losses_figure
from comparisons.report.ports.lines import coverage, one_sided
from comparisons.report.ports.network import network_of
from pyvae.errors import print_error
from pyvae.figures.style import own_style
from pyvae.files.writing import write_file
from pyvae.version import __version__

__all__ = ["write_page"]

AROUND = 3  # quantities before and after the first that parts


def write_page(found: PortComparison, path: Path, command: str) -> None:
    """Writes the page; if its pictures cannot be drawn, without them.

    Arguments:
        found: The comparison.
        path: The file.
        command: The command line that made it.
    """
    here = Path(__file__).parent
    names = names_table(found.networks, found.parameters)
    other = names[(names["a"] != names["b"]) | (names["layout"] != "")]
    network = network_of(found)
    page = (
        page_environment(here, here.parent)
        .get_template("page.html.j2")
        .render(
            found=found,
            coverage=coverage(found),
            only=list(one_sided(found)),
            around=_around(found),
            view=NetworkView(network, "n1", found.sides[0].trace.index_base) if network else None,
            other=[tuple(row) for row in other.itertuples(index=False)],
            versions=_versions(found),
            panels=_pictures(found),
            command=command,
            version=__version__,
        )
    )
    write_file(path, page)


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
