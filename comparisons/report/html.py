"""The report: a comparison on one self-contained HTML page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from comparisons.agreement.stage import StageAgreement
from comparisons.report import figures
from comparisons.report.tables import (
    allowed_text,
    last_step_line,
    libtorch_line,
    not_judged_line,
    stage_line,
    ulp_text,
)
from comparisons.steps.comparison import TINY, Comparison
from pyvae.errors import print_error, printable
from pyvae.figures.glyphs import glyphs_of_other_fonts
from pyvae.figures.style import own_style
from pyvae.files.writing import write_file
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.stages import PASSES
from pyvae.trace.trace import Trace

__all__ = ["Cell", "by_part", "picture", "shown", "strip", "write_report"]

HEADINGS = {
    "start": "what the step starts from",
    "forward": "forward, and the terms of the loss",
    "backward": "backward: gradients, from the loss to the input",
    "first moment": "Adam's first moment",
    "second moment": "Adam's second moment",
    "parameter": "parameters after the step",
}
CHANCE = {
    "injected": "injected: both engines get the same draws",
    "torch": "both draw with LibTorch's generator from the same seed",
    "r": "R's own generator, from the same seed on both sides",
}


@dataclass(frozen=True)
class Cell:
    """One quantity in the strip, the worst of all inspected steps.

    Attributes:
        part: The part of the network, such as `encoder`; cells of one part stand together.
        label: The rest of its name.
        size: Its difference, as a power of ten.
        agrees: Whether it agrees in every step.
        first: Whether the two part here first.
        title: All about it, in words.
    """

    part: str
    label: str
    size: str
    agrees: bool
    first: bool
    title: str


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters["number"] = _number
    environment.filters["ulps"] = ulp_text
    environment.filters["capitalise"] = lambda text: text[:1].upper() + text[1:]
    page = environment.get_template("report.html.j2").render(
        comparisons=comparisons,
        agrees=all(comparison.agrees for comparison in comparisons),
        objectives=OBJECTIVES,
        sides=(comparisons[0].under_test, comparisons[0].reference),
        settings=_settings(comparisons),
        versions=_versions(comparisons[0]),
        strips=[strip(comparison) for comparison in comparisons],
        stage_line=stage_line,
        last_step_line=last_step_line,
        not_judged_line=not_judged_line,
        libtorch_line=libtorch_line,
        panels=_pictures(comparisons),
        command=command,
        version=metadata.version("pyvae"),
    )
    write_file(path, page)


def strip(comparison: Comparison) -> list[tuple[str, list[tuple[str, list[Cell]]]]]:
    """Every quantity that was compared, in the order of computation: (heading, parts) for each
    pass, (part, cells) for each part of the network."""
    first = comparison.divergence.agreement.quantity.key if comparison.divergence else None
    worst: dict[str, StageAgreement] = {}
    for agreement in comparison.stages:
        key = agreement.quantity.key
        if key not in worst or _badness(agreement) > _badness(worst[key]):
            worst[key] = agreement
    found = []
    for passing in PASSES:
        cells = [
            _cell(agreement, agreement.quantity.key == first)
            for agreement in worst.values()
            if agreement.quantity.passing == passing
        ]
        if cells:
            found.append((HEADINGS[passing], list(by_part(cells))))
    return found


def by_part(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """Neighbours of the same part of the network together."""
    run: list[Cell] = []
    for cell in cells:
        if run and run[-1].part != cell.part:
            yield run[0].part, run
            run = []
        run.append(cell)
    if run:
        yield run[0].part, run


def _badness(agreement: StageAgreement) -> float:
    return math.inf if agreement.problem else agreement.required_rtol / (agreement.rtol or TINY)


def _cell(agreement: StageAgreement, first: bool) -> Cell:
    part, _, label = agreement.quantity.name.partition(".")
    if not label:
        part, label = "", part
    size = agreement.required_rtol
    words = f"{agreement.quantity.key}, worst in step {agreement.step}: "
    words += agreement.problem or f"{size:.1e} of its largest magnitude {agreement.largest:.2g}"
    words += f", allowed {allowed_text(agreement.rtol)}"
    if agreement.explained:
        words += f" ({agreement.explained})"
    return Cell(part, label, _power(agreement), agreement.agrees, first, words)


def _power(agreement: StageAgreement) -> str:
    if agreement.problem:
        return "shape" if agreement.problem.startswith("shape") else "n/a"
    if agreement.required_rtol == 0:
        return "equal"
    return f"1e{math.floor(math.log10(agreement.required_rtol)):d}"


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
    return "–" if math.isnan(value) else f"{value:.1e}"


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
