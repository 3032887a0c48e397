"""An R that serves several tests is as good as a new one for each."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from stand_ins.patched_r import PatchedBaseR

from r_bridge import R_FILES
from r_bridge.engines.base_r import BaseREngine
from r_bridge.errors import RError, RProcessError

pytestmark = pytest.mark.r

EVERYTHING = """local({
  kept <- mget(ls(globalenv(), all.names = TRUE), envir = globalenv())
  paste(names(kept), vapply(kept, function(one) paste(deparse(one), collapse = " "), ""))
})"""


def everything(engine):
    return engine.process.evaluate(EVERYTHING)


def test_nothing_of_one_test_reaches_the_next():
    with BaseREngine(threads=1) as engine:
        before = everything(engine)
    with BaseREngine(threads=1) as engine:
        pid = engine.process.pid
        assert everything(engine) == before
    patch = """adam_settings$epsilon <- 1; layers$relu <- NULL; .hidden <- mine <- set.seed(2)
    conv2d_forward(array(1, c(1, 3, 3, 2)), array(1, c(1, 1, 2, 2)), 0)"""
    with PatchedBaseR(patch) as engine:
        assert engine.process.pid == pid
        assert everything(engine) != before
        with pytest.raises(RError):
            engine.process.evaluate("stop('an error leaves it as good')")
    with BaseREngine(threads=1) as engine:
        assert engine.process.pid == pid
        assert everything(engine) == before
        known = engine.process.evaluate("length(environment(conv2d_patches)$known)")
        assert np.all(known == 0)


def test_two_at_once_are_two():
    with BaseREngine(threads=1) as one, BaseREngine(threads=1) as other:
        assert one.process.pid != other.process.pid


def test_one_that_died_is_not_taken_again(processes):
    source = R_FILES / "base_r" / "adam.R"
    with processes((source,)) as first:
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(RProcessError):
            first.evaluate("1")
    with processes((source,)) as second:
        assert second.pid != first.pid
        assert second.evaluate("1 + 1") == 2
