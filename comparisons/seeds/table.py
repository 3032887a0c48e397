"""A comparison over seeds on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from comparisons.report.tables import print_table
from comparisons.seeds.equivalence import Equivalence, Side, overall

__all__ = ["print_equivalence"]

STYLES = {"equivalent": "green", "different": "red", "inconclusive": "yellow"}


def print_equivalence(title: str, results: Sequence[Equivalence], console: Console) -> None:
    """One objective: what differs by how much, the medians and ranges, the verdict.

    Arguments:
        title: The objective's, such as "VAE".
        results: Its measures.
        console: Where to.
    """
    a, b = results[0].a, results[0].b
    seeds = f"{a.n} seeds each" if a.n == b.n else f"{a.n} and {b.n} seeds"
    _print_tests(f"{title}: {a.engine} against {b.engine}, {seeds}", results, console)
    console.print()
    _print_medians(results, console)
    console.print()
    for result in results:
        if result.problem:
            console.print(result.problem, soft_wrap=True)
    verdict = overall(results)
    console.print(Text(f"{title}: ").append(verdict, STYLES[verdict]))


def _print_tests(title: str, results: Sequence[Equivalence], console: Console) -> None:
    """Two lines for each measure: units, standard deviations and intervals stand below."""
    a, b = results[0].a, results[0].b
    rows = [
        (
            Text(result.measure.replace("_", " ")).append(f"\n{result.unit}", "dim"),
            _mean(result, result.a),
            _mean(result, result.b),
            Text(result.text(result.difference, "+")).append(f"\n{_interval(result)}", "dim"),
            f"{result.margin:g}",
            "–" if result.no_spread else _p_value(result.p_value),
            Text(result.verdict, STYLES[result.verdict]),
        )
        for result in results
    ]
    print_table(
        console,
        title,
        "losses: mean over the steps of the last epoch\n"
        "active units (Var(mu) > 0.01), latent spread: final parameters, last batch\n"
        "equivalent: interval within ± margin (TOST, p < 0.05); different: outside",
        (
            "\nunit",
            f"{a.engine}\n± sd",
            f"{b.engine}\n± sd",
            "difference\n90 % interval",
            "margin",
            "p",
            "verdict",
        ),
        rows,
        spare=(5, 4, 1, 2, 3),
        numbers=True,
    )


def _interval(result: Equivalence) -> str:
    if not result.no_spread:
        return _from_to(result, result.interval, "+")
    same = f": all {result.text(result.a.mean)}" if result.difference == 0 else ""
    return f"no spread{same}"


def _mean(result: Equivalence, side: Side) -> Text:
    spread = "" if math.isnan(side.sd) else f"\n± {result.text(side.sd)}"
    return Text(result.text(side.mean)).append(spread, "dim")


def _from_to(result: Equivalence, ends: tuple[float, float], sign: str = "") -> str:
    if math.isnan(sum(ends)):
        return "–"
    return " to ".join(result.text(end, sign) for end in ends)


def _p_value(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _print_medians(results: Sequence[Equivalence], console: Console) -> None:
    a, b = results[0].a, results[0].b
    rows = []
    for result in results:
        cells = []
        for side in (result.a, result.b):
            cells += [result.text(side.median), _from_to(result, side.range)]
        rows.append((result.measure.replace("_", " "), *cells))
    heads = ("", f"{a.engine}\nmedian", "\nrange", f"{b.engine}\nmedian", "\nrange")
    print_table(console, "", "", heads, rows, spare=(4, 2), numbers=True)
