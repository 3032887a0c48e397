"""Which differences of a network follow from the first one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from shown.shown_networks import chain, entry, network

from comparisons.report.network.model import STATES, ShownNetwork, power

# x - s0 - s1 - s3 and x - s2 - s3
FORKED = [(), (0,), (0,), (1, 2)]


def states(net: ShownNetwork) -> dict[str, str]:
    return {one.key: net.state(one) for one in net.order}


def forked(column: str, first: tuple[int, str], off: list[tuple[int, str]]) -> ShownNetwork:
    verdicts = {(i, c): "equal" for c in ("forward", column) for i in range(4)}
    verdicts |= dict.fromkeys([first, *off], "")
    return network(FORKED, verdicts, first)


def test_what_uses_a_stage_that_differs_follows_and_what_does_not_stands_by_itself():
    found = states(forked("forward", (1, "forward"), [(2, "forward"), (3, "forward")]))
    assert found == {
        "forward/s0": "equal", "forward/s1": "first", "forward/s2": "own", "forward/s3": "follows",
    }  # fmt: skip


def test_all_of_backward_follows_from_a_difference_of_forward():
    off = [(i, "backward") for i in range(4)]
    found = states(forked("backward", (3, "forward"), off))
    assert [found[f"backward/s{i}"] for i in range(4)] == ["follows"] * 4


def test_a_gradient_that_differs_goes_on_to_the_stages_before_it_alone():
    first, off = (1, "backward"), [(0, "backward"), (2, "backward")]
    found = states(forked("backward", first, off))
    assert [found[f"backward/s{i}"] for i in (0, 1, 2)] == ["follows", "first", "own"]


@pytest.mark.parametrize(
    ("column", "other", "state"),
    [
        ("gradient", "gradient", "own"),
        ("gradient", "update", "follows"),  # clipping by the norm of all gradients
        ("update", "update", "own"),
        ("backward", "update", "follows"),
    ],
)
def test_parameters_follow_as_far_as_they_are_computed_from_it(column, other, state):
    verdicts = {(1, column): "", (3, other): ""}
    assert states(network(FORKED, verdicts, (1, column)))[f"{other}/s3"] == state


def test_where_nothing_is_known_of_the_order_nothing_is_said_to_stand_by_itself():
    verdicts = {(0, "forward"): "", (1, "forward"): ""}
    found = states(network([(), ()], verdicts, (0, "forward")))
    assert found == {"forward/s0": "first", "forward/s1": "follows"}


def test_a_cell_is_the_worst_of_its_entries():
    net = network([()], {(0, "forward"): "equal"})
    (stage,) = net.stages
    worse = entry("forward", "second", "within", 1e-7)
    least = entry("forward", "third", "within", 1e-9)
    stage = replace(stage, entries=(*stage.entries, worse, least))
    assert net.cell(stage, "forward") is worse
    assert net.cell(stage, "update") is None


def test_a_stage_has_the_colour_of_the_column_of_the_first_difference():
    net = chain(3, 1, "backward")
    assert [net.stage_state(stage) for stage in net.stages] == ["follows", "first", "within"]
    assert net.focus == "backward"
    assert net.columns == ("forward", "backward")


def test_where_all_agree_a_stage_has_the_colour_of_its_worst():
    net = chain(3)
    assert {net.stage_state(stage) for stage in net.stages} == {"within"}
    assert net.at is None


@pytest.mark.parametrize(
    ("needed", "verdict", "words"),
    [
        (0.0, "equal", "equal"), (0.0, "within", "0"), (3.2e-5, "within", "1e-5"),
        (1.0, "", "1e0"), (math.inf, "", "n/a"), (math.nan, "", "n/a"),
    ],
)  # fmt: skip
def test_sizes_are_powers_of_ten(needed, verdict, words):
    one = replace(entry("forward", "x", "equal"), needed=needed, verdict=verdict)
    assert power(one) == words
    assert power(replace(one, note="shape (2,) against (3,)")) == "shape"


def test_every_state_has_a_mark_of_its_own():
    marks = [mark for mark, _ in STATES.values()]
    assert len(set(marks)) == len(marks)
