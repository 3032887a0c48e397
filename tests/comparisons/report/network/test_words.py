"""A compared network in ten lines."""

from __future__ import annotations

from dataclasses import replace

from shown.shown_networks import chain, network

from comparisons.report.network.words import LONGEST, network_lines, rest_words, short


def test_a_network_of_200_stages_is_told_in_ten_lines():
    lines = list(network_lines(chain(200, 120)))
    assert len(lines) <= 10
    assert [line.split()[0] for line in lines[:4]] == ["s116", "s117", "s118", "s119"]
    assert lines[4].split() == [">", "s120", "(linear)", "forward", "first", "1e-1"]
    assert [line.split()[3] for line in lines[5:8]] == ["follows"] * 3
    assert lines[-1].strip() == (
        "the rest of step 1: forward 120 agree, 79 follow from it; backward 200 follow from it"
    )


def test_the_first_and_the_last_stage_have_fewer_neighbours():
    assert len(list(network_lines(chain(200, 0)))) == 1 + 3 + 1
    assert len(list(network_lines(chain(200, 199)))) == 4 + 1 + 1
    assert len(list(network_lines(chain(1, 0)))) == 1 + 1


def test_of_what_agrees_there_are_no_lines():
    assert list(network_lines(chain(200))) == []


def test_what_does_not_follow_is_named():
    off = dict.fromkeys([(i, "forward") for i in range(1, 7)], "")
    net = network([(), *[(0,)] * 6], off, (1, "forward"))
    assert rest_words(net) == (
        "the rest of step 1: forward 5 differ independently. "
        "Independent of it: forward/s2, forward/s3, forward/s4 and 2 more"
    )


def test_stages_without_the_column_are_passed_over():
    verdicts = {(0, "gradient"): "equal", (2, "gradient"): ""}
    lines = list(network_lines(network([(), (0,), (1,)], verdicts, (2, "gradient"))))
    assert [line.split()[0] for line in lines[:-1]] == ["s0", ">"]


def test_a_long_name_keeps_its_end():
    name = "encoder.layers.11.self_attention.output_projection.weight (linear)"
    assert len(short(name)) == LONGEST
    assert short(name).endswith("weight (linear)")
    net = chain(3, 1)
    stages = [replace(stage, name=name) for stage in net.stages]
    *lines, _ = network_lines(replace(net, stages=stages))
    assert len(lines) == 3
    assert all(len(line) < 80 for line in lines)
