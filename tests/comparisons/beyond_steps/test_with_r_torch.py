"""Kinks that rounding decides, and what an engine keeps to itself, with R's torch as an engine."""

from __future__ import annotations

import pytest
from stand_ins.patched_r import PatchedRTorch
from stand_ins.verdicts import OnAKink, compare_engines, named

pytestmark = [pytest.mark.r_torch, pytest.mark.slow]

STEPS = 9
LATE = 7  # more free steps than the five that a re-synchronised comparison has beside

# Before these steps a bias is set so that a pre-activation is zero up to rounding: `OnAKink`
ON_A_KINK = """
balanced <- function(go_on) {{
  force(go_on)
  function(session, x, draws = NULL) {{
    if ((session$step + 1) %in% c({steps})) with_no_grad({{
      bias <- session$values[["encoder.conv1.bias"]]
      bias[1]$fill_(0)
      image <- session_tensor(session, x)[1, ..]$reshape(c(1, 1, 28, 28))
      found <- nnf_conv2d(image, session$values[["encoder.conv1.weight"]])[1, 1, , ]$flatten()
      value <- as_array(found[torch_argmax(found$abs())])
      units <- 64 * 2^(floor(log2(abs(value))) - 52)
      bias[1]$fill_(-value {sign} units)
    }})
    go_on(session, x, draws)
  }}
}}
session_step <- balanced(session_step)
session_probe <- balanced(session_probe)
"""
AMSGRAD = """
to_start <- session_start
session_start <- function(..., learning_rate) {
  session <- to_start(..., learning_rate = learning_rate)
  session$optimizer <- optim_adam(session$values[session$trained], lr = learning_rate,
                                  amsgrad = TRUE)
  session
}
to_restore <- session_restore
session_restore <- function(session, ...) {
  to_restore(session, ...)
  held <- session$optimizer$state_dict()
  held$state <- lapply(held$state, function(state) {
    state$max_exp_avg_sq <- torch_zeros_like(state$exp_avg_sq)
    state
  })
  session$optimizer$load_state_dict(held)
  invisible(NULL)
}
"""
# After so many steps since it was given a state: a learning rate of a tenth
RATE = """
to_step <- session_train
session_train <- function(session, ...) {{
  session$age <- if (is.null(session$age)) 1 else session$age + 1
  group <- session$optimizer$param_groups[[1]]
  rate <- group$lr
  if (session$age >= {begin}) session$optimizer$param_groups[[1]]$lr <- rate * 0.1
  on.exit(session$optimizer$param_groups[[1]]$lr <- rate)
  to_step(session, ...)
}}
to_be_given <- session_restore
session_restore <- function(session, ...) {{
  session$age <- 0
  to_be_given(session, ...)
}}
"""
# Parameters are off by a little after each step: within what a single step may differ by
DRIFTS = """
to_drift <- session_train
session_train <- function(session, ...) {
  found <- to_drift(session, ...)
  with_no_grad(for (name in session$trained) session$values[[name]]$mul_(1 + 5e-12))
  found
}
"""


def on_a_kink(steps, above, patch=""):
    """R's torch, with kinks before these steps, changed by R code."""
    listed = ", ".join(map(str, steps))
    return PatchedRTorch(patch + ON_A_KINK.format(steps=listed, sign="+" if above else "-"), 1)


@pytest.fixture
def compared(conv, settings, digits, tmp_path):
    """The comparison of two engines."""

    def run(under_test, reference, steps=STEPS, **options):
        changed = settings(steps=steps)
        return compare_engines(under_test, reference, conv, changed, digits, tmp_path, **options)

    return run


@pytest.mark.parametrize(("mode", "kinks"), [("free", (3, 6)), ("resync", (1,))])
@pytest.mark.parametrize("first", ["pytorch", "r-torch"])
def test_a_comparison_that_rounding_drives_apart_agrees_and_says_so(compared, kinks, mode, first):
    with on_a_kink(kinks, True) as r_torch:
        both = [OnAKink("pytorch", False, kinks), r_torch]
        found = compared(*(both if first == "pytorch" else both[::-1]), steps=14, mode=mode)
    assert found.agrees
    assert found.divergence is None
    assert "neither engine is wrong" in found.note
    if mode == "free":
        assert found.joined_after == kinks


@pytest.mark.parametrize(
    ("mistake", "mode", "first"),
    [
        pytest.param(AMSGRAD, "free", "pytorch", id="amsgrad-free"),
        pytest.param(AMSGRAD, "resync", "r-torch", id="amsgrad-resync"),
        pytest.param(DRIFTS, "free", "r-torch", id="drifts"),
    ],
)
def test_a_mistake_beside_a_kink_still_disagrees(compared, mistake, mode, first):
    with on_a_kink((1,), True, mistake) as r_torch:
        both = [OnAKink("pytorch", False, (1,)), r_torch]
        found = compared(*(both if first == "pytorch" else both[::-1]), mode=mode)
    assert not found.agrees
    assert "neither engine is wrong" not in found.note


@pytest.mark.parametrize("kinks", [(), (3,)])
def test_what_begins_late_and_is_forgotten_is_found_where_it_begins(compared, kinks):
    with on_a_kink(kinks, True, RATE.format(begin=LATE)) as r_torch:
        python = OnAKink("pytorch", False, kinks) if kinks else named("pytorch")
        found = compared(python, r_torch, mode="resync")
    assert not found.agrees
    assert found.divergence.step == LATE
    assert found.divergence.wrong == "r-torch"
