"""Page faults and memory, of this process."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.processes import _minor_faults, memory_of, minor_faults, reset_peak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux counts, others do not")
MB = 10**6


def test_touched_pages_are_counted():
    before, memory = minor_faults([os.getpid()]), memory_of([os.getpid()])
    kept = bytearray(b"1") * (50 * MB)
    after, now = minor_faults([os.getpid()]), memory_of([os.getpid()])
    assert len(kept) == 50 * MB
    assert after > before
    assert now.now - memory.now == pytest.approx(50, abs=20)
    assert now.peak >= now.now - 1


def test_the_peak_begins_again():
    bytearray(b"1") * (100 * MB)
    before = memory_of([os.getpid()])
    reset_peak([os.getpid()])
    assert memory_of([os.getpid()]).peak <= before.peak


def test_several_processes_are_added_up():
    one, two = (memory_of([os.getpid()] * times) for times in (1, 2))
    assert two.now == pytest.approx(2 * one.now, rel=0.05)


def test_a_process_that_is_gone_has_none():
    assert minor_faults([2**22 + 1]) is None
    assert memory_of([2**22 + 1]) is None
    reset_peak([2**22 + 1])


def test_a_name_may_hold_blanks_and_brackets():
    fields = ["S", *map(str, range(4, 20))]  # state is the third field, minflt the tenth
    assert _minor_faults(f"12 (a (strange) name) {' '.join(fields)}") == 10
