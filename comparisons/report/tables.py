"""A comparison on the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comparisons.diagnosis.first_divergence import Divergence
from comparisons.report.network.of_recipe import network_of
from comparisons.report.network.words import rest_words
from comparisons.steps.comparison import Comparison
from pyvae.model.objectives import OBJECTIVES
from pyvae.model.stages import is_buffer
from pyvae.trace.trace import Trace

__all__ = [
    "allowed_text",
    "last_step_line",
    "libtorch_line",
    "not_judged_line",
    "plain_table",
    "print_comparison",
    "print_table",
    "stage_line",
    "ulp_text",
]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One objective: its agreement, and the first place where the two part."""
    _print_agreement(comparison, console)
    if comparison.failure:
        console.print(comparison.failure, style="bold", soft_wrap=True)
    for line in _problems(comparison):
        console.print(line, soft_wrap=True)
    if comparison.divergence is not None:
        _print_divergence(comparison.divergence, console)
        network = network_of(comparison)
        if network is not None and network.first is not None:
            console.print(rest_words(network), soft_wrap=True)
    if comparison.note:
        console.print(comparison.note, soft_wrap=True)


def _problems(comparison: Comparison) -> Iterator[str]:
    for name, agreement in comparison.quantities.items():
        if agreement.problem:
            yield f"{name}: {agreement.problem}"
        elif not agreement.agrees:
            yield f"{name}: worst at {agreement.worst}"
    for line in (
        stage_line(comparison),
        not_judged_line(comparison),
        libtorch_line(comparison),
    ):
        if line:
            yield line


def stage_line(comparison: Comparison) -> str:
    """The inspected stages, in a line; empty if there are none."""
    worst = comparison.worst_stage()
    if worst is None:
        return ""
    steps = comparison.inspected_steps
    which = f"step {steps[0]}"
    if len(steps) > 1:
        gap = "" if steps == list(range(steps[0], steps[-1] + 1)) else f" ({len(steps)} of them)"
        which = f"steps {steps[0]} to {steps[-1]}{gap}"
    agree = sum(agreement.agrees for agreement in comparison.stages)
    size = worst.problem or f"{worst.required_rtol:.1e} of its largest magnitude"
    if not worst.problem and worst.required_rtol == 0:
        return f"stages of {which}: all {len(comparison.stages):,} agree, without any difference"
    return (
        f"stages of {which}: {agree:,} of {len(comparison.stages):,} agree; the worst is "
        f"{worst.quantity.key} of step {worst.step}: {size} (allowed {allowed_text(worst.rtol)})"
    )


def last_step_line(comparison: Comparison) -> str:
    """The loss of the last step, on what scale; empty if there was none."""
    about = OBJECTIVES[comparison.objective]
    batch = comparison.under_test.settings.batch_size
    if not comparison.under_test.steps:
        return ""
    last = comparison.under_test.history().iloc[-1]
    what = "points" if about.unit == "nats per point" else "images"
    if about.mean:
        unit = f" {about.unit}" if about.unit else ""
        return f"last step: {last.total:.6g}{unit}, mean over {batch} {what}"
    return (
        f"last step: {last.total:,.2f} nats, sum over {batch} {what}; "
        f"{last[about.column]:.3f} {about.unit}"
    )


def not_judged_line(comparison: Comparison) -> str:
    """The parameters that are left out, in a line; empty if there are none."""
    names = comparison.not_judged
    if not names:
        return ""
    biases = [name for name in names if name.endswith(".bias")]
    return (
        f"not judged: {len(biases)} biases in front of a batch norm, which takes them off again, "
        f"and {len(names) - len(biases)} running means that follow them ({', '.join(biases)})"
    )


def libtorch_line(comparison: Comparison) -> str:
    """Why the last bits may differ though neither side is wrong: two LibTorchs whose batch norm
    rounds otherwise. Empty unless the place where the two part was found and shows rounding, and
    both sides chose the same kernels."""
    traces = comparison.under_test, comparison.reference
    versions = [_libtorch(trace) for trace in traces]
    normalised = any(is_buffer(name) for trace in traces for name in trace.parameters)
    words = () if comparison.divergence is None else comparison.divergence.words
    rounding = any(word.startswith("rounding") for word in words)
    same_kernels = len({trace.environment.get("kernels") for trace in traces}) == 1
    asked = comparison.exact and rounding and same_kernels
    if not (asked and normalised and all(versions)) or versions[0] == versions[1]:
        return ""
    return (
        f"LibTorch: {versions[0]} against {versions[1]}; batch norm's gradients in training may "
        "differ in their last bits from one to the other, which is no mistake of yours. --no-exact "
        "compares up to rounding"
    )


def _libtorch(trace: Trace) -> str:
    """The version of LibTorch, which PyTorch has as its own; empty if it computed without one."""
    version = trace.environment.get("LibTorch") or trace.environment.get("torch", "")
    return str(version).partition("+")[0]


def ulp_text(count: int) -> str:
    """A number of ULPs; -1 stands for none."""
    if count < 0:
        return "–"
    return f"{count:.0e}" if count > 9999 else str(count)


def allowed_text(rtol: float) -> str:
    """A tolerance; 0 where every bit has to be equal."""
    return f"{rtol:.0e}" if rtol else "0"


def plain_table(caption: str, headers: Sequence[str]) -> Table:
    """An empty table with a line below its heads.

    Arguments:
        caption: Below; nothing if empty.
        headers: Of the columns.
    """
    table = Table(
        caption=Text(caption) if caption else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, header in enumerate(headers):
        # a name may be broken; a verdict that is cut off is none
        table.add_column(header, no_wrap=place > 0, overflow="ellipsis" if place else "fold")
    return table


def print_table(
    console: Console,
    title: str,
    caption: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    spare: Sequence[int],
    styles: Sequence[str] = (),
    numbers: bool = False,
) -> None:
    """Prints a table as far as there is room.

    Arguments:
        console: Where to.
        title: A line above; nothing if empty. It is as wide as the terminal, not as the table.
        caption, headers: Of `plain_table`.
        rows: Its cells.
        spare: The columns that are left out where the terminal is too narrow for all, in this
            order.
        styles: Of the rows.
        numbers: All columns but the first hold numbers, which stand to the right; no edge.
    """
    unbounded = console.options.update(width=10_000)
    kept = list(range(len(headers)))
    for gone in (None, *spare):
        kept = [place for place in kept if place != gone]
        table = plain_table(caption, [headers[place] for place in kept])
        if numbers:
            table.show_edge = False
            for column in table.columns[1:]:
                column.justify = "right"
        for row, its in itertools.zip_longest(rows, styles):
            table.add_row(*(row[place] for place in kept), style=its)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    if title:
        console.print(Text(title, "table.title"))
    console.print(table)


def _verdict(agrees: bool) -> Text:
    return Text("agree", "green") if agrees else Text("disagree", "red")


def _print_agreement(comparison: Comparison, console: Console) -> None:
    """One objective's agreement, with the tolerance that would have sufficed."""
    about = OBJECTIVES[comparison.objective]
    rows = [
        (
            name.replace("_", " "),
            f"{agreement.max_abs:.1e}",
            f"{agreement.max_rel:.1e}",
            ulp_text(agreement.max_ulp),
            f"{agreement.required_rtol:.1e}",
            allowed_text(agreement.rule.rtol),
            agreement.rule.scale,
            _verdict(agreement.agrees),
        )
        for name, agreement in comparison.quantities.items()
    ]
    print_table(
        console,
        f"{comparison.title}: {about.formula}",
        last_step_line(comparison),
        ("", "max abs", "max rel", "max ULP", "needed", "allowed", "of each", "verdict"),
        rows,
        spare=(6, 2, 3, 1, 5, 4),
    )


def _print_divergence(found: Divergence, console: Console) -> None:
    title = f"first part at {found.sentence()}"
    console.print(title, style="bold", soft_wrap=True)
    for words in found.words:
        console.print(f"  looks like: {words}", soft_wrap=True)
    console.print(f"  worst element: {found.element()}", soft_wrap=True)
    if not found.around:
        return
    rows = [
        (
            Text(f"{'>' if agreement is found.agreement else ' '} {agreement.quantity.key}"),
            f"{agreement.largest:.1e}",
            f"{agreement.max_abs:.1e}",
            f"{agreement.required_rtol:.1e}",
            allowed_text(agreement.rtol),
            _verdict(agreement.agrees),
        )
        for agreement in found.around
    ]
    print_table(
        console,
        "",
        "",
        ("", "largest", "max abs", "needed", "allowed", "verdict"),
        rows,
        spare=(1, 2, 4, 3),
        styles=["bold" if agreement is found.agreement else "" for agreement in found.around],
    )
