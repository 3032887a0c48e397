"""The report: a comparison on one self-contained HTML page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from comparisons.report import figures
from comparisons.report.network.of_recipe import network_of
from comparisons.report.network.render import FOLDER, SCRIPT, NetworkView, script_hash
from comparisons.report.tables import (
    last_step_line,
    libtorch_line,
    not_judged_line,
    stage_line,
    ulp_text,
)
from comparisons.steps.comparison import Comparison
from pyvae.errors import print_error, printable
from pyvae.figures.glyphs import glyphs_of_other_fonts
from pyvae.figures.style import own_style
from pyvae.files.writing import write_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace
from pyvae.version import __version__

__all__ = ["page_environment", "picture", "write_report"]

CHANCE = {
    "injected": "injected: both engines get the same draws",
    "torch": "both draw with LibTorch's generator from the same seed",
    "r": "R's own generator, from the same seed on both sides",
}


def write_report(
    comparisons: Sequence[Comparison],
    path: Path,
    command: str,
) -> None:
    """Writes the page; if its pictures cannot be drawn, without them.

    Arguments:
        comparisons: One for each objective.
        path: The file.
        command: The command line that made it.
    """
    networks = [network_of(comparison) for comparison in comparisons]
    page = (
        page_environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            comparisons=comparisons,
            agrees=all(comparison.agrees for comparison in comparisons),
            objectives=OBJECTIVES,
            sides=(comparisons[0].under_test, comparisons[0].reference),
            settings=_settings(comparisons),
            versions=_versions(comparisons[0]),
            networks=[
                NetworkView(network, f"n{number}") if network else None
                for number, network in enumerate(networks, start=1)
            ],
            stage_line=stage_line,
            last_step_line=last_step_line,
            not_judged_line=not_judged_line,
            libtorch_line=libtorch_line,
            panels=_pictures(comparisons),
            command=command,
            version=__version__,
        )
    )
    write_file(path, page)


def page_environment(*folders: Path) -> jinja2.Environment:
    """What a page's template is filled in by: text from anywhere is text, never markup.

    Arguments:
        folders: Where templates are, besides those of the network.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.globals |= {"script": SCRIPT, "script_hash": script_hash()}
    environment.filters |= {
        "number": _number,
        "short": "{:.3g}".format,
        "long": "{:.9g}".format,
        "ulps": ulp_text,
        "capitalise": lambda text: text[:1].upper() + text[1:],
    }
    return environment


def _settings(comparisons: Sequence[Comparison]) -> dict[str, str]:
    trace = comparisons[0].under_test
    settings = trace.settings
    most = max(trace.steps, comparisons[0].reference.steps)
    return {
        "recipe": trace.recipe,
        "objectives": ", ".join(dict.fromkeys(OBJECTIVES[c.objective].title for c in comparisons)),
        "start": ", and ".join(dict.fromkeys(_start(c) for c in comparisons)),
        "data": f"{trace.data['name']}, {trace.data.get('images', '?')} images",
        "steps": f"{most} step{'' if most == 1 else 's'} of {settings.batch_size} images",
        "latent dimensions": str(settings.latent_dim),
        "learning rate": f"{settings.learning_rate:g} (Adam)",
        **{name.replace("_", " "): f"{value:g}" for name, value in settings.hyper.items()},
        "precision": settings.dtype,
        "seed": str(settings.seed),
        "randomness": CHANCE[settings.rng],
        "tolerance": "none: every bit has to be equal"
        if comparisons[0].exact
        else "what rounding explains (docs/explanation/how-close-is-close.md)",
        "mode": "re-synchronised: every step from the state of the engine under test"
        if comparisons[0].mode == "resync"
        else "free: each engine goes its own way",
    }


def _start(comparison: Comparison) -> str:
    """What the runs started from, in words."""
    about = comparison.under_test.start
    where = f", {about['source']}" if about.get("source") else ""
    title = about.get("title")
    return comparison.start_words + (f" ({title}{where})" if title else "")


def _versions(comparison: Comparison) -> list[tuple[str, str, str]]:
    """What each side's numbers depend on: name, under test, reference."""
    sides = comparison.under_test, comparison.reference
    names = dict.fromkeys(name for trace in sides for name in trace.environment)
    return [(name, *(_value(trace, name) for trace in sides)) for name in names]  # type: ignore[misc]


def _value(trace: Trace, name: str) -> str:
    return str(trace.environment.get(name, "–"))


def _number(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "–"


def shown(value: object) -> object:
    """A value of the page: no name turns the text around it."""
    return printable(value) if type(value) is str else value


def _pictures(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The figures as addresses, by caption; none where they cannot be drawn."""
    try:
        with own_style():
            panels = figures.report_panels(comparisons)
            return {caption: picture(figure) for caption, figure in panels.items()}
    except Exception as error:  # the page says what was found without them, too
        print_error(f"the report is without pictures ({type(error).__name__}: {error})")
        return {}


def picture(figure: Figure) -> str:
    """A figure as a data: address."""
    content = io.BytesIO()
    with glyphs_of_other_fonts(figure):
        figure.savefig(content, format="png", dpi=170)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
