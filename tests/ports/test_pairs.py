"""Pairs of programs, PyTorch and R's torch, that know nothing of a recorder: from the same seed
every bit of ten steps is equal, or what differs first is named, and with what makes it equal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from comparisons import compare_programs

PROGRAMS = Path(__file__).parent / "programs"
PAIRS = ("cnn", "lstm", "transformer", "teacher")
Change = tuple[str, str]
Record = Callable[..., Path]

R_ORDER = """import torch


def parameters(module):
    # as R's torch lists them: a module's own after those of its children
    found = [p for child in module.children() for p in parameters(child)]
    return found + list(module.parameters(recurse=False))
"""


def changed(program: Path, changes: tuple[Change, ...], folder: Path) -> Path:
    """A copy of a program with lines of it changed."""
    text = program.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    copy = folder / program.name
    copy.write_text(text)
    return copy


@pytest.fixture
def python(pyvae, tmp_path) -> Record:
    """Records ten steps of the Python program of a pair, with changes."""

    def record(pair: str, *changes: Change, folder: str = "python") -> Path:
        program = changed(PROGRAMS / f"{pair}.py", changes, tmp_path)
        done = pyvae("record", "--out", folder, "--steps", "10", "--", program.name)
        assert done.returncode == 0, done.stderr
        return tmp_path / folder

    return record


@pytest.fixture
def r(r_environment, tmp_path) -> Record:
    """Records ten steps of the R program of a pair, with changes."""

    def record(pair: str, *changes: Change) -> Path:
        program = changed(PROGRAMS / f"{pair}.R", changes, tmp_path)
        done = subprocess.run(
            ["Rscript", "-e", f"pyvae::record_script('{program.name}', 'r', steps = 10)"],
            cwd=tmp_path,
            env=r_environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / "r"

    return record


MISTAKES = {
    "schedule": (
        "cnn", ("step_size=4", "step_size=3"), "part at step 4, optimizer (sgd)",
        "lr = 0.025 where it is 0.05",
    ),
    "mean over words": (
        "lstm", ("states.mean(dim=1)", "states[:, -1]"),
        "part at step 1, dropout (dropout), forward",
        "between lstm.0 and dropout",
    ),
    "norm after": (
        "transformer", ("self.attention(h, h, h)", "self.attention(x, x, x)"),
        "part at step 1, block1.attention (multihead_attention), forward",
        "takes block1.norm1",
    ),
    "decay": (
        "teacher", ("+ 1), 0.9)", "+ 1), 0.6)"), "part at step 3, fc1.bias of teacher",
        "wrong moves them after step 2 by 0.4 of the way to the model's (a decay of 0.6)",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_copy_is_placed(python, mistake):
    pair, change, place, looks_like = MISTAKES[mistake]
    whole, wrong = python(pair), python(pair, change, folder="wrong")
    found = compare_programs(whole, wrong)
    assert found.verdict.startswith(place)
    assert found.first is not None
    assert any(looks_like in words for words in found.first.words)


FLOAT64 = {
    "python": ("num_threads(1)", "num_threads(1)\ntorch.set_default_dtype(torch.float64)"),
    "r": ("num_threads(1)", "num_threads(1)\ntorch_set_default_dtype(torch_float64())"),
}
IGNITE = ("optim_adamw(", "optim_ignite_adamw(")
HALVED = {
    "python": (
        "nn.utils.clip_grad_norm_(model.parameters(), 0.5)",
        "[p.grad.mul_(0.5) for p in model.parameters()]",
    ),
    "r": (
        "nn_utils_clip_grad_norm_(model$parameters, 0.5)",
        "for (p in model$parameters) p$grad$mul_(0.5)",
    ),
}


@pytest.mark.slow
@pytest.mark.r_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pair", PAIRS)
def test_both_languages_agree(python, r, pair, dtype):
    changes = [[FLOAT64[language]] if dtype == "float64" else [] for language in ("python", "r")]
    if (pair, dtype) == ("lstm", "float64"):  # whose optim_adamw computes in float32
        changes[1].append(IGNITE)
    if (pair, dtype) == ("transformer", "float64"):  # whose clipping does, see below
        for one, language in zip(changes, HALVED, strict=True):
            one.append(HALVED[language])
    found = compare_programs(python(pair, *changes[0]), r(pair, *changes[1]))
    assert found.agrees, found.verdict
    assert found.precision == dtype
    assert len(found.steps) == 10
    assert not any(found.networks[0].only)


@pytest.mark.slow
@pytest.mark.r_torch
def test_in_float64_adamws_corrections_in_float32_are_named(python, r):
    found = compare_programs(python("lstm", FLOAT64["python"]), r("lstm", FLOAT64["r"]))
    assert found.first is not None
    assert found.verdict == "part at step 1, optimizer (adamw), update of fc.weight (parameter)"
    assert "the bias corrections of optim_adamw are computed in float32" in found.first.words[0]


@pytest.mark.slow
@pytest.mark.r_torch
def test_in_float64_rs_clipping_is_seen_to_be_less_exact(python, r):
    """R's nn_utils_clip_grad_norm_ is off by 4e-8, as float32 is."""
    found = compare_programs(
        python("transformer", FLOAT64["python"]), r("transformer", FLOAT64["r"])
    )
    assert found.verdict == "part at step 1, fc.weight, gradient that the optimiser gets"
    assert 1e-9 < found.first.judged.difference.needed < 1e-6


@pytest.mark.slow
@pytest.mark.r_torch
def test_every_bit_without_adamw(python, r):
    """R's AdamW has another order of operations; its SGD with decay is `optim_ignite_sgd`."""
    found = compare_programs(
        python("lstm", ("torch.optim.AdamW(", "torch.optim.SGD(")),
        r("lstm", ("optim_adamw(", "optim_ignite_sgd(")),
        exact=True,
    )
    assert found.verdict == "equal: every bit of 510 quantities in 10 steps"


@pytest.mark.slow
@pytest.mark.r_torch
def test_adamws_own_order_of_operations_is_named(python, r):
    found = compare_programs(python("lstm"), r("lstm"), exact=True)
    assert found.first is not None
    assert found.verdict == "part at step 1, optimizer (adamw), update of fc.weight (parameter)"
    assert "the bias corrections of optim_adamw are computed in float32" in found.first.words[0]


@pytest.mark.slow
@pytest.mark.r_torch
def test_every_bit_with_norms_added_in_one_order(python, r):
    """R lists parameters in another order; so the norm by which gradients are clipped is another in
    its last bit, on most processors. With PyTorch's own order that is where the two part."""
    reference = r("transformer")
    found = compare_programs(python("transformer"), reference, exact=True)
    if found.first is not None:
        assert "gradient that the optimiser gets" in found.verdict
        assert "R torch's own order of parameters: the norm" in found.first.words[0]
    clipped = (
        ("import torch\nimport", f"{R_ORDER}\n\nimport"),
        ("clip_grad_norm_(model.parameters()", "clip_grad_norm_(parameters(model)"),
    )
    same = compare_programs(
        python("transformer", *clipped, folder="in-r-order"), reference, exact=True
    )
    assert same.verdict.startswith("equal: every bit of 2,130 quantities in 10 steps")
