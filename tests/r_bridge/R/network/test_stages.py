"""Networks declared as stages: what both interpreters in R have in common."""

from __future__ import annotations

import pytest

from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r


def stage(name, layer, *inputs, **more):
    return {"name": name, "layer": layer, "inputs": list(inputs), "options": {}} | more


STAGES = [
    stage("input", "input"),
    stage("labels", "input", draw="given"),
    stage("a", "linear", "input"),
    stage("b", "linear", "a", module="a"),
    stage("c", "multiply", "b", "labels"),
    stage("aside", "relu", "a"),
]
KNOWN = ["input", "linear", "multiply", "relu"]


@pytest.fixture(scope="module")
def r():
    with RProcess((R_FILES / "network" / "stages.R",), threads=1) as process:
        process.evaluate(
            """modules <- function(stages, known) {
              lapply(network_stages(stages, unlist(known)), `[[`, "module")
            }
            needed <- function(stages, known, to, given) {
              stages <- network_stages(stages, unlist(known))
              as.list(names(network_needed(stages, to, as.character(unlist(given)))))
            }
            taken <- function(stages, known, name, draws) {
              network_input(network_stages(stages, unlist(known))[[name]], draws)
            }; NULL"""
        )
        yield process


def words(told):
    return [str(one[0]) for one in told]


def test_a_stages_module_is_its_name_unless_it_says_so(r):
    told = r.call("modules", stages=STAGES, known=KNOWN)
    assert list(told) == [one["name"] for one in STAGES]
    assert words(told.values()) == ["input", "labels", "a", "a", "c", "aside"]


@pytest.mark.parametrize(
    ("to", "given", "names"),
    [
        ("c", [], ["input", "labels", "a", "b", "c"]),
        ("aside", [], ["input", "a", "aside"]),
        ("c", ["b"], ["labels", "b", "c"]),
        ("input", [], ["input"]),
    ],
)
def test_what_a_stage_is_computed_from(r, to, given, names):
    assert words(r.call("needed", stages=STAGES, known=KNOWN, to=to, given=given)) == names


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (stage("x", "conv3d", "a"), "stage 'x' has layer 'conv3d'; expected one of input, linear"),
        (stage("x", "relu", "y"), "stage 'x' reads 'y', which is no stage before it"),
        (stage("a", "relu", "input"), "stage 'a' is there twice"),
    ],
)
def test_what_cannot_be_declared_is_told(r, extra, message):
    with pytest.raises(RError, match=message):
        r.call("modules", stages=[*STAGES, extra], known=KNOWN)


def test_what_is_not_there_is_told(r):
    with pytest.raises(RError, match="there is no stage 'z'"):
        r.call("needed", stages=STAGES, known=KNOWN, to="z", given=[])
    with pytest.raises(RError, match="input 'labels' was not given; draws are: mask"):
        r.call("taken", stages=STAGES, known=KNOWN, name="labels", draws={"mask": 1.0})
    found = r.call("taken", stages=STAGES, known=KNOWN, name="labels", draws={"given": 7.0})
    assert found == [7.0]
