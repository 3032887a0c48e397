"""Which parameters of networks that are not trained belong together."""

from __future__ import annotations

import numpy as np
import pytest
from recorded.teachers import Average, Learning, Renamed, Wrapped

from comparisons.ports import compare_programs
from comparisons.ports.side import load_sides
from comparisons.ports.teachers.pairs import match_untrained
from pyvae.files.arrays import read_arrays, write_arrays
from pyvae.trace.write_program import write_program_trace

MAKES = {
    "wrapped": {"make": Wrapped},
    "other names": {"make": Renamed},
    "a part of the model": {"inside": True},
}


@pytest.mark.parametrize("name", MAKES)
def test_the_same_network_otherwise_kept(compared, name):
    agreeing = compared(Learning(**MAKES[name]))
    assert agreeing.verdict.startswith("equal")
    assert not any("did not record" in note for note in agreeing.notes)
    for reverse in (False, True):
        found = compared(Learning(**MAKES[name], follow=Average(decay=0.9)), reverse=reverse)
        assert "all 7 parameters of teacher follow the model otherwise" in found.first.words[0]


def trace(folder, networks):
    """A program whose networks are as given in each step."""
    w = np.arange(6.0)
    steps = [
        {"start": {"w": w}, "forward": {"y": w[0]}, "parameter": {"w": w}, "untrained": one}
        for one in networks
    ]
    write_program_trace(folder, "numpy", steps=steps)
    return str(folder)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def pairs(tmp_path, first, second):
    sides = load_sides(trace(tmp_path / "a", [first]), trace(tmp_path / "b", [second]))
    return {one.a[0]: one.b[0] for one in match_untrained(*sides, [])}


def test_twins_in_another_order_are_told_by_their_numbers(tmp_path):
    one, two = {"w": numbers(1, 3), "v": numbers(2, 4)}, {"w": numbers(3, 3), "v": numbers(4, 4)}
    found = pairs(tmp_path, {"q1": one, "q2": two}, {"network": two, "network#2": one})
    assert found["untrained/q1/w"] == "untrained/network#2/w"
    assert found["untrained/q2/v"] == "untrained/network/v"
    renamed = [{f"fc.{name}": value for name, value in net.items()} for net in (two, one)]
    found = pairs(
        tmp_path / "renamed", {"q1": one, "q2": two}, dict(zip("ab", renamed, strict=True))
    )
    assert found["untrained/q1/w"] == "untrained/b/fc.w"
    assert found["untrained/q2/v"] == "untrained/a/fc.v"


def test_transposed_weights_are_the_same(tmp_path):
    w = numbers(1, 3, 4)
    a = trace(tmp_path / "a", [{"t": {"w": w}}, {"t": {"w": w + 1}}])
    b = trace(tmp_path / "b", [{"t": {"w": w.T}}, {"t": {"w": w.T + 1}}])
    assert compare_programs(a, b).agrees


def test_networks_without_anything_in_common_are_not_paired(tmp_path):
    found = pairs(tmp_path, {"t": {"w": numbers(1, 3)}}, {"other": {"v": numbers(2, 5)}})
    assert not found


def test_what_one_side_alone_has_is_no_difference(tmp_path):
    a = trace(tmp_path / "a", [{"t": {"w": numbers(1, 3)}}])
    b = trace(tmp_path / "b", [{}])
    assert compare_programs(a, b).agrees


def test_what_is_not_written_is_as_it_was(tmp_path):
    """Each side may write what has not changed, or not."""
    w = numbers(1, 3)
    networks = [{"t": {"w": w}}, {"t": {"w": w}}, {"t": {"w": w * 2}}]
    a, b = trace(tmp_path / "a", networks), trace(tmp_path / "b", [*networks[:2], {"t": {"w": w}}])
    found = compare_programs(a, b)
    assert found.first.place == "step 3, w of t, network that is not trained"


def odd_arrays():
    w = numbers(1, 3)
    spoiled = np.array([np.nan, np.inf, -np.inf])
    yield "not finite", [{"t": {"w": spoiled}}, {"t": {"w": -spoiled}}]
    yield "another shape", [{"t": {"w": w}}, {"t": {"w": w[:2]}}]
    yield "whole numbers", [{"t": {"w": np.arange(3)}}, {"t": {"w": np.arange(3) + 1}}]
    yield "nothing in it", [{"t": {"w": w[:0]}}, {"t": {"w": w}}]
    yield "one number", [{"t": {"w": w[0]}}, {"t": {"w": w[:1]}}]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", dict(odd_arrays()))
def test_odd_arrays_are_compared_all_the_same(tmp_path, name):
    plain = [{"t": {"w": numbers(1, 3)}}, {"t": {"w": numbers(1, 3) * 2}}]
    a, b = trace(tmp_path / "a", dict(odd_arrays())[name]), trace(tmp_path / "b", plain)
    for pair in ((a, b), (b, a), (a, a)):
        assert compare_programs(*pair).verdict


@pytest.mark.parametrize("key", ["untrained/", "untrained/t", "untrained//w", "untrained/t//w"])
def test_odd_names_are_compared_all_the_same(tmp_path, key):
    folders = [trace(tmp_path / name, [{"t": {"w": numbers(1, 3)}}]) for name in "ab"]
    path = tmp_path / "a" / "steps" / "step-000001.safetensors"
    write_arrays(path, read_arrays(path) | {key: numbers(1, 3)})
    for pair in (folders, folders[::-1], folders[:1] * 2):
        assert compare_programs(*pair).agrees
