"""Updates and gradients of R's torch itself, written down by ten lines of R."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from comparisons.ports.expected.r_torch_bugs import known_bugs
from comparisons.ports.expected.recompute import recompute
from comparisons.ports.expected.update import expected_update
from pyvae.files.arrays import read_arrays
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStage, ProgramStep
from r_bridge.rpy2_fit import find_r

pytestmark = [pytest.mark.r_torch, pytest.mark.slow]

DECAYED_BY_PLACE = {"sgd": "optim_sgd", "rmsprop": "optim_rmsprop"}
CASES = [
    ("sgd", {"lr": 0.1}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "centered": True}),
    ("rmsprop", {"lr": 0.01, "weight_decay": 0.01}),
    ("adam", {"lr": 0.01, "weight_decay": 0.01, "amsgrad": True}),
    ("adamw", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("adagrad", {"lr": 0.01, "lr_decay": 0.1, "weight_decay": 0.01}),
    ("adadelta", {"lr": 1.0, "weight_decay": 0.01}),
    ("asgd", {"lr": 0.01, "lambda": 0.01, "weight_decay": 0.01}),
    ("rprop", {"lr": 0.01}),
    ("ignite_sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("ignite_adam", {"lr": 0.01, "weight_decay": 0.01, "amsgrad": True}),
    ("ignite_adamw", {"lr": 0.01, "weight_decay": 0.1}),
    ("ignite_rmsprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    ("ignite_adagrad", {"lr": 0.01, "lr_decay": 0.1}),
]

SCRIPT = """
library(torch)
torch_set_num_threads(1)
torch_manual_seed(1)
save <- function(values, path) {
  values <- lapply(values, function(x) {
    if (is.numeric(x)) torch_tensor(x, dtype = torch_float64()) else x$detach()$clone()
  })
  safetensors::safe_save_file(values, path)
}
updates <- function(case, optimiser, ...) {
  named <- list(a = nn_parameter(torch_randn(3, 4)), b = nn_parameter(torch_randn(5)))
  opt <- optimiser(unname(named), ...)
  for (step in 1:3) {
    opt$zero_grad()
    ((named$a * torch_randn(3, 4))$sum() + (named$b * torch_randn(5))$sum())$backward()
    v <- list()
    for (n in names(named)) {
      v[[paste0("start/", n)]] <- named[[n]]$detach()$clone()
      v[[paste0("gradient/", n)]] <- named[[n]]$grad$clone()
    }
    opt$step()
    state <- opt$state_dict()$state
    for (i in seq_along(named)) {
      n <- names(named)[[i]]
      v[[paste0("parameter/", n)]] <- named[[n]]$detach()$clone()
      held <- state[[as.character(i)]]
      for (key in names(held)) v[[paste0("state/", n, ".", key)]] <- held[[key]]
    }
    save(v, file.path(out, sprintf("%s-%d.safetensors", case, step)))
  }
}
embedding <- function(row) {
  e <- nn_embedding(5, 3, padding_idx = row)
  words <- torch_tensor(matrix(c(1L, 2L, 3L, 4L, 5L, 2L), 2))
  y <- e(words)
  start <- e$weight$detach()$clone()
  gradient <- torch_randn(2, 3, 3)
  (y * gradient)$sum()$backward()
  save(list("forward/words" = words, "start/w" = start, "forward/e" = y, "gradient/e" = gradient,
            "gradient/w" = e$weight$grad), file.path(out, sprintf("row-%d.safetensors", row)))
}
"""


def in_r(value: object) -> str:
    return str(value).upper() if isinstance(value, bool) else repr(value)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """What R's torch computed for every case."""
    out = tmp_path_factory.mktemp("r_torch")
    lines = [f"out <- '{out.as_posix()}'", SCRIPT, "embedding(3)", "embedding(5)"]
    for number, (kind, settings) in enumerate(CASES):
        given = ", ".join(f"{name} = {in_r(value)}" for name, value in settings.items())
        lines.append(f"updates({number}, optim_{kind}, {given})")
    script = out / "script.R"
    script.write_text("\n".join(lines).replace("%s-%d", "%d-%d"))
    rscript = find_r().with_name("Rscript")
    done = subprocess.run([rscript, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{k}-{s}" for k, s in CASES])
def test_updates_are_those_of_r_torch_or_its_known_bug(number, written):
    kind, settings = CASES[number]
    group = OptimiserGroup(("a", "b"), settings)
    before: dict[str, np.ndarray] = {}
    for count in (1, 2, 3):
        step = ProgramStep(count, 0, Optimiser("optimizer", kind, (group,)))
        arrays = read_arrays(written / f"{number}-{count}.safetensors")
        words = known_bugs(step, arrays, before, "r-torch")
        if "weight_decay" in settings and kind in DECAYED_BY_PLACE:
            assert len(words) == 1
            assert DECAYED_BY_PLACE[kind] in words[0]
        else:
            assert words == []
            found = expected_update(step, arrays, before)
            assert found.keys() == {"a", "b"}
            for name, update in found.items():
                after, start = arrays[f"parameter/{name}"], arrays[f"start/{name}"]
                moved = np.abs(after - start).max()
                assert np.abs(update.parameter.numpy() - after).max() <= 1e-4 * moved
                for key, value in update.state.items():
                    state = arrays[f"state/{name}.{key}"]
                    assert np.abs(value.numpy() - state).max() <= 1e-5 * np.abs(state).max()
        before = arrays


@pytest.mark.parametrize("row", [3, 5])
def test_the_padding_row_of_an_embedding_is_r_torch_s_known_bug(row, written):
    arrays = read_arrays(written / f"row-{row}.safetensors")
    stage = ProgramStage("e", "embedding", ("words",), {"padding_idx": row}, {"weight": "w"})
    found = recompute(stage, arrays, 1)
    np.testing.assert_array_equal(found.outputs["e"], arrays["forward/e"])
    assert not np.array_equal(found.gradients["w"], arrays["gradient/w"])
    (words,) = known_bugs(ProgramStep(1), arrays, {}, "r-torch", [stage])
    assert f"padding_idx = {row}" in words
