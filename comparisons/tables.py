"""What a comparison says on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comparisons.comparison import Comparison
from comparisons.localisation import Divergence
from pyvae.objectives import OBJECTIVES

__all__ = [
    "allowed_text",
    "last_step_line",
    "not_judged_line",
    "plain_table",
    "print_comparison",
    "stage_line",
    "ulp_text",
]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """One objective: its agreement, and the first place where the two part."""
    console.print(_agreement_table(comparison))
    if comparison.failure:
        console.print(comparison.failure, style="bold", soft_wrap=True)
    for line in _problems(comparison):
        console.print(line, soft_wrap=True)
    if comparison.divergence is not None:
        _print_divergence(comparison.divergence, console)
    if comparison.note:
        console.print(comparison.note, soft_wrap=True)


def _problems(comparison: Comparison) -> Iterator[str]:
    for name, agreement in comparison.quantities.items():
        if agreement.problem:
            yield f"{name}: {agreement.problem}"
        elif not agreement.agrees:
            yield f"{name}: worst at {agreement.worst}"
    for line in (stage_line(comparison), not_judged_line(comparison)):
        if line:
            yield line


def stage_line(comparison: Comparison) -> str:
    """The stages that were looked into, in a line; empty if there were none."""
    worst = comparison.worst_stage()
    if worst is None:
        return ""
    steps = comparison.steps_looked_into
    which = f"step {steps[0]}"
    if len(steps) > 1:
        gap = "" if steps == list(range(steps[0], steps[-1] + 1)) else f" ({len(steps)} of them)"
        which = f"steps {steps[0]} to {steps[-1]}{gap}"
    agree = sum(agreement.agrees for agreement in comparison.stages)
    size = worst.problem or f"{worst.required_rtol:.1e} of its largest magnitude"
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


def ulp_text(count: int) -> str:
    """A number of ULPs; -1 stands for none."""
    if count < 0:
        return "–"
    return f"{count:.0e}" if count > 9999 else str(count)


def allowed_text(rtol: float) -> str:
    """A tolerance; 0 where every bit has to be equal."""
    return f"{rtol:.0e}" if rtol else "0"


def plain_table(title: str, caption: str, headers: Sequence[str], **style: Any) -> Table:
    """An empty table with a line below its heads.

    Arguments:
        title, caption: Above and below; nothing if empty.
        headers: Of the columns.
        style: Further arguments of `rich.table.Table`.
    """
    table = Table(
        title=Text(title) if title else None,
        caption=Text(caption) if caption else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        **style,
    )
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def _verdict(agrees: bool) -> Text:
    return Text("agree", "green") if agrees else Text("disagree", "red")


def _agreement_table(comparison: Comparison) -> Table:
    """One objective's agreement, with the tolerance that would have sufficed."""
    about = OBJECTIVES[comparison.objective]
    table = plain_table(
        f"{about.title}: {about.formula}",
        last_step_line(comparison),
        ("", "max abs", "max rel", "max ULP", "needed", "allowed", "of each", "verdict"),
    )
    for name, agreement in comparison.quantities.items():
        table.add_row(
            name.replace("_", " "),
            f"{agreement.max_abs:.1e}",
            f"{agreement.max_rel:.1e}",
            ulp_text(agreement.max_ulp),
            f"{agreement.required_rtol:.1e}",
            allowed_text(agreement.rule.rtol),
            agreement.rule.scale,
            _verdict(agreement.agrees),
        )
    return table


def _print_divergence(found: Divergence, console: Console) -> None:
    title = f"first part at {found.sentence()}"
    console.print(title, style="bold", soft_wrap=True)
    for words in found.words:
        console.print(f"  looks like: {words}", soft_wrap=True)
    console.print(f"  worst element: {found.element()}", soft_wrap=True)
    table = plain_table("", "", ("", "largest", "max abs", "needed", "allowed", "verdict"))
    for agreement in found.around:
        first = agreement is found.agreement
        table.add_row(
            Text(f"> {agreement.quantity.key}" if first else f"  {agreement.quantity.key}"),
            f"{agreement.largest:.1e}",
            f"{agreement.max_abs:.1e}",
            f"{agreement.required_rtol:.1e}",
            allowed_text(agreement.rtol),
            _verdict(agreement.agrees),
            style="bold" if first else "",
        )
    console.print(table)
