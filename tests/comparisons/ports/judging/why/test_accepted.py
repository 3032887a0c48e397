"""What two libraries do otherwise, and may be accepted."""

from __future__ import annotations

import pytest

from comparisons.ports.expected.keras.optimisers import eps_words, with_place_of_eps
from comparisons.ports.judging.declared import variance_differences
from comparisons.ports.judging.why.accepted import (
    KNOWN,
    check_accepted,
    how_to_accept,
    name_of,
    not_accepted,
)
from comparisons.ports.matching.matched import StageMatch
from pyvae.errors import UserError
from pyvae.trace.program import ProgramStage


def norm(**options):
    return ProgramStage("norm", "batch_norm2d", (), options)


def test_each_is_known_by_what_is_said_of_it():
    """On whichever side Keras is."""
    for keras_first in (True, False):
        same = {"eps": 1e-7}
        assert name_of(f"port: {eps_words(same, same, keras_first)}") == "adam-eps"
        values = ("false", "true") if keras_first else ("true", "false")
        said = "eps_inside = {} where it is {}".format(*values)
        assert [*map(name_of, with_place_of_eps([said]))] == ["rmsprop-eps"]
        sides = [norm(unbiased_running_var=False), norm()]
        pair = StageMatch(*(sides if keras_first else sides[::-1]), "name")
        assert [*map(name_of, variance_differences(pair))] == ["running-variance"]


def test_nothing_else_is():
    others = [eps_words({"eps": 1e-7}, {"eps": 1e-8}, True), "momentum = 0.1 where it is 0.01"]
    assert [*map(name_of, others)] == ["", ""]
    assert not_accepted(others, {*KNOWN}) == others
    inside = "eps_inside = false where it is true"
    assert with_place_of_eps([others[0], inside]) == [others[0]]  # which eps it is comes first


def test_it_is_offered_where_it_is_all_that_is_said():
    known = f"port: {KNOWN['adam-eps']} before"
    assert "--accept adam-eps goes on" in how_to_accept([known, known])[0]
    assert how_to_accept([known, "port: lr = 0.1 where it is 0.01"]) == how_to_accept([]) == []


def test_what_is_accepted_is_checked():
    assert check_accepted(["adam-eps", "adam-eps"], exact=False) == {"adam-eps"}
    assert check_accepted([], exact=True) == frozenset()
    with pytest.raises(
        UserError, match=r"'adam' is no difference .* running-variance, adam-eps, rm"
    ):
        check_accepted(["adam"], exact=False)
    with pytest.raises(UserError, match="with --exact nothing can be accepted"):
        check_accepted(["adam-eps"], exact=True)
