"""What the page's template needs of a compared network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from shown.shown_networks import chain, entry, network

from comparisons.agreement.spread import spread_of
from comparisons.report.network.render import MOST_DRAWN, NEAR, NetworkView


def spread(one):
    return spread_of(np.zeros((2, 3)), np.full((2, 3), one.max_abs), one.allowed)


def test_differences_are_drawn_around_the_first_one_alone():
    view = NetworkView(replace(chain(200, 100), spread=spread), "n1")
    drawn = [stage for stage in view.stages if stage.drawn]
    names = [stage.title for stage in drawn]
    # what is equal, every second stage before the first difference, has nothing to draw
    assert names == [
        f"s{i} (linear)" for i in range(93, 100, 2)
    ] + [f"s{i} (linear)" for i in range(100, 100 + NEAR + 1)]  # fmt: skip
    far = next(stage for stage in view.stages if stage.title == "s90 (linear)")
    words = "Differences are drawn for the quantities just before and after the first difference"
    assert words in view.no_drawing(far)  # of a recipe fewer are kept than are drawn of a program
    equal = next(stage for stage in view.stages if stage.title == "s98 (linear)")
    assert view.no_drawing(equal) == "There is no difference to draw."


def test_the_first_difference_is_drawn_first():
    view = NetworkView(replace(chain(5, 3, "backward"), spread=spread), "n1")
    (stage,) = [stage for stage in view.stages if stage.is_first]
    assert [one.entry.column for one in stage.drawn] == ["backward", "forward"]


def test_no_page_draws_more_than_it_can_hold():
    net = network([()], {(0, "update"): ""}, (0, "update"), spread=spread)
    (stage,) = net.stages
    many = [entry("update", f"state/{i}", "") for i in range(500)]
    stage = replace(stage, entries=(*stage.entries, *many))
    net = replace(net, stages=[stage], order=[*net.order, *many])
    (shown,) = NetworkView(net, "n1").stages
    assert 0 < len(shown.drawn) <= MOST_DRAWN
    assert len(shown.entries) == 501


def test_where_all_agree_the_largest_difference_is_drawn():
    view = NetworkView(replace(chain(5), spread=spread), "n1")
    assert any(stage.drawn for stage in view.stages)
    assert view.rest == ""
    assert view.selected == "n1-1"


def test_where_every_bit_is_equal_nothing_is_drawn():
    verdicts = {(i, "forward"): "equal" for i in range(3)}
    view = NetworkView(network([(), (0,), (1,)], verdicts, spread=spread), "n1")
    assert not any(stage.drawn for stage in view.stages)


def test_values_that_are_not_kept_are_said_to_be_missing():
    view = NetworkView(chain(5, 2), "n1")
    (stage,) = [stage for stage in view.stages if stage.is_first]
    assert view.no_drawing(stage) == "The values themselves are not at hand any more."


def test_stages_that_are_not_drawn_are_summed_up():
    rows = NetworkView(chain(200, 100), "n1").rows
    assert (rows[0].state, rows[-1].state) == ("within", "follows")
    assert rows[0].label == "88 earlier stages: 44 equal in every bit; 44 within rounding"
    assert rows[-1].label.startswith("87 later stages: 87 differ")


def test_a_stage_that_is_a_number_is_shown_with_what_it_is_a_number_of():
    net = chain(4)
    names = ["encoder.layers.11", "relu#2", "3", "a.b.0.1"]
    layers = ["linear", "relu", "linear", "linear"]
    stages = [
        replace(stage, name=name, layer=layer)
        for stage, name, layer in zip(net.stages, names, layers, strict=True)
    ]
    rows = NetworkView(replace(net, stages=stages), "n1").rows
    assert [(row.part, row.label, row.layer) for row in rows] == [
        ("encoder", "layers.11", "linear"), ("", "relu#2", ""), ("", "3", "linear"),
        ("a", "b.0.1", "linear"),
    ]  # fmt: skip


def test_each_box_says_in_words_how_its_stage_stands():
    row = NetworkView(chain(5, 2), "n1").rows[2]
    assert row.words == (
        "forward: the first difference (1e-1); "
        "backward: differs, and depends on the first difference (1e-1)"
    )
