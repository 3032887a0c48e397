"""What a comparison over many seeds shows of itself."""

from __future__ import annotations

from comparisons.runs.sides import Sides
from comparisons.seeds.equivalence import Margins, Side, compare_measure
from comparisons.seeds.many_seeds import ManySeeds, SeedOptions
from comparisons.seeds.run_seeds import SeedComparison


def test_a_notebook_shows_the_verdict_and_every_measure():
    values = {"<a>": (7.0, 7.2, 7.1), "<b>": (7.0, 7.05, 7.1)}
    sides = [Side(name, (1, 2, 3), of_seeds) for name, of_seeds in values.items()]
    results = [compare_measure(measure, *sides, 2.0) for measure in ("loss", "active_units")]
    found = ManySeeds(
        [], Sides("<a>", "<b>", "native", False, "torch"), SeedOptions(3, Margins(2.0)), {},
        [[SeedComparison("vae", [], [], results)]],
    )  # fmt: skip
    assert repr(found) == f"<<a> against <b>, 3 seeds each: {found.verdict}>"
    page = found._repr_html_()
    assert f"&lt;a&gt; against &lt;b&gt;, 3 seeds each: {found.verdict}" in page
    assert page.count("<tr") == 3
    for one in results:
        assert f"<td>{one.text(one.difference, '+')}</td>" in page
        assert f"<td>{one.margin:g} {one.unit}</td>" in page
