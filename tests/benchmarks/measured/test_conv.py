"""What is written down of recipe conv."""

from __future__ import annotations

import pytest

from benchmarks.given.case import Case
from benchmarks.given.images import write_idx_files
from benchmarks.limits.flops import step_flop
from benchmarks.limits.limits import PRODUCT_FLOP
from benchmarks.sides.child import start_r_torch
from pyvae.recipes import get_recipe


def test_ratios_are_pyvaes_time_to_the_others(conv_results):
    found = conv_results("pyvae", "plain", "rtorch", "base_r")
    assert found["ratio_plain"] == pytest.approx(0.5)
    assert found["ratio_rtorch"] == pytest.approx(0.75)
    assert found["ratio_base_r"] == pytest.approx(0.1)
    assert found["images_per_second"]["pyvae"] == pytest.approx(250 / 0.225, rel=1e-3)


def test_the_floor_is_the_work_at_the_products_speed(conv_results):
    found = conv_results("pyvae", "plain", "rtorch", "base_r")
    share = step_flop(get_recipe("conv"), 250, 30) / PRODUCT_FLOP
    assert found["floor_ms"] == pytest.approx(share * 150, rel=1e-3)  # of 100 and 200 ms
    assert found["ratio_floor"] == pytest.approx(150 / (share * 100), rel=1e-3)
    assert found["share_of_limit"] == pytest.approx(1 / found["ratio_floor"], rel=1e-3)


def test_the_copy_is_read_and_written(conv_results):
    found = conv_results("pyvae", "plain")
    assert found["copy_gb_per_second"] == pytest.approx(2 * 2**28 / 0.015 / 1e9, rel=1e-3)


def test_a_side_that_is_not_there_is_null(conv_results):
    found = conv_results("pyvae", "plain")
    for side in ("rtorch", "base_r"):
        assert found[f"{side}_ms"] is None
        assert found[f"ratio_{side}"] is None
        assert found["peak_mb"][side] is None
        assert found["range_ms"][side] is None
        assert found["steps"][side] == 0


@pytest.mark.r_torch
@pytest.mark.slow
def test_the_plain_loop_in_r_does_its_steps(tmp_path, digits):
    write_idx_files(digits, tmp_path / "digits")
    one = start_r_torch(Case(batch_size=100), tmp_path / "digits", 1)
    try:
        one.wait_until_ready()
        assert len(one.turn("conv", 18, skip=0).milliseconds) == 18  # beyond an epoch
    finally:
        one.close()
