"""Two traces on disk: the same comparison as a live one, and one line for what cannot be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from comparisons.saved.compare import compare_traces
from comparisons.saved.pairs import load_pairs
from comparisons.steps.comparison import summary
from pyvae.cli.main import main
from pyvae.data.images import load_digits
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.model.stages import Stage
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train
from r_bridge.process.client import RProcess

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_conv", "undrawn")]

FORMAT = (Path(__file__).parents[3] / "docs" / "reference" / "trace-format.md").read_text()
R_TRACE = Path(__file__).parents[3] / "r_bridge" / "rpackage" / "R" / "write_trace.R"


def write(folder: Path, probed=(1,), change=None, **changes) -> Path:
    """A trace of a small run of PyTorch, as `pyvae trace` writes it."""
    conv = get_recipe("conv")
    small = {"batch_size": 12, "latent_dim": 4, "steps": 2, "dtype": "float64"}
    run = conv.settings(**small | changes)
    folder.mkdir(parents=True)
    seen: dict[int, dict] = {step: {} for step in probed}
    trace = train(Run(conv, run, load_digits()), PyTorchEngine("cpu"), probe=seen.get)
    trace.engine = "other" if folder.name == "b" else "pytorch"
    for step, probe in seen.items():
        trace.save_probe(folder, step, probe)
    if change is not None:
        change(trace)
    trace.save(folder)
    return folder


@pytest.fixture(scope="module")
def saved(narrow_conv, tmp_path_factory):
    """Two traces of the same run. Read only."""
    root = tmp_path_factory.mktemp("traces")
    return write(root / "a"), write(root / "b")


@pytest.fixture
def pair(saved, tmp_path):
    """Two traces of the same run, the second to be damaged."""
    (tmp_path / "a").symlink_to(saved[0])
    damaged = shutil.copytree(saved[1], tmp_path / "b")
    about = json.loads((damaged / "trace.json").read_text())
    del about["sha256"]  # as another program writes it: nobody sees what is changed
    (damaged / "trace.json").write_text(json.dumps(about))
    return tmp_path / "a", damaged


def test_two_traces_of_the_same_run_agree_in_every_bit(saved):
    ((a, b),) = load_pairs(*saved)
    comparison = compare_traces(a, b)
    assert comparison.agrees
    assert comparison.quantities["loss"].max_ulp == 0
    assert len(comparison.stages) == 137
    assert all(stage.raw_max_abs == 0 for stage in comparison.stages)


@pytest.mark.r
@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "small"),
    [
        ("free", ("--data", "digits", "--objective", "both", "--steps", "1")),
        ("resync", ("--recipe", "beta", "--data", "digits", "--steps", "2")),
    ],
)
def test_two_traces_written_separately_give_the_comparison_of_a_live_run(
    tmp_path, monkeypatch, narrow_recipes, mode, small
):
    small = [*small, "--batch-size", "12", "--latent-dim", "4"]
    follow = ["--follow", "A"] if mode == "resync" else []
    probe = ["--probe", "all"] if mode == "resync" else []
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["compare", *small, "--engine", "base-r", "--mode", mode, "--out", "live"],
        ["trace", *small, *probe, "--out", "A"],
        ["trace", *small, *probe, *follow, "--engine", "base-r", "--out", "B"],
        ["compare", "A", "B", "--out", "saved"],
    ):
        assert main(arguments) == 0
    live, saved = (
        json.loads((tmp_path / name / "comparison.json").read_text()) for name in ("live", "saved")
    )
    if mode == "resync":  # of a trace nobody can ask a free run any more
        for about in live["objectives"].values():
            assert about.pop("free_run")["max_abs"] < 1e-10
            assert about.pop("other_way_round")["max_abs"] < 1e-10
        for about in saved["objectives"].values():
            assert "AMSGrad's maximum) shows only in free runs" in about.pop("note")
    assert live == saved
    assert live["mode"] == mode
    for table in ("history.csv", "stages.csv", "latent_means.csv"):
        assert (tmp_path / "live" / table).read_text() == (tmp_path / "saved" / table).read_text()


def test_a_disagreement_is_placed_offline_too(pair):
    path = pair[1] / "probes" / "step-000001.safetensors"
    probe = safetensors.numpy.load_file(path)
    probe["forward/encoder.dropout1"] = probe["forward/encoder.dropout1"] * 0.75
    safetensors.numpy.save_file(probe, path)
    ((a, b),) = load_pairs(*pair)
    found = compare_traces(a, b).divergence
    assert found is not None
    assert (found.step, found.stage, found.wrong) == (1, "encoder.dropout1", "other")
    assert "1/(1 - p) missing" in found.words[0]


def test_a_disagreement_where_nothing_was_probed_is_told_how_to_be_placed(pair):
    replace_history(pair[1], 2, lambda loss: loss * 1.001)
    ((a, b),) = load_pairs(*pair)
    comparison = compare_traces(a, b)
    assert not comparison.agrees
    assert comparison.divergence is None
    assert "the losses part at step 2" in comparison.note
    assert "--probe 2" in comparison.note


def replace_history(path: Path, row: int, change) -> None:
    """Changes the total loss of a step (from 1) on disk."""
    history = (path / "history.csv").read_text().splitlines()
    fields = history[row].split(",")
    fields[4] = repr(float(change(float(fields[4]))))
    history[row] = ",".join(fields)
    (path / "history.csv").write_text("\n".join(history) + "\n")


def test_exactly_a_single_bit_on_disk_is_a_disagreement(pair):
    def comparison(exact: bool):
        ((a, b),) = load_pairs(*pair)
        return compare_traces(a, b, exact)

    assert comparison(exact=True).agrees
    replace_history(pair[1], 2, lambda loss: np.nextafter(loss, np.inf))
    assert not comparison(exact=True).agrees
    assert "the losses part at step 2" in comparison(exact=True).note
    assert comparison(exact=False).agrees


def test_exactly_a_single_bit_of_a_stage_is_placed(pair, tmp_path, monkeypatch, capsys):
    path = pair[1] / "probes" / "step-000001.safetensors"
    probe = safetensors.numpy.load_file(path)
    value = probe["gradient/decoder.fc2"]
    value[3, 4] = np.nextafter(value[3, 4], np.inf)
    safetensors.numpy.save_file(probe, path)
    ((a, b),) = load_pairs(*pair)
    assert compare_traces(a, b).agrees
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "a", "b", "--out", "out", "--exact"]) == 1
    said = capsys.readouterr().out
    assert "first part at step 1, decoder.relu2, backward" in said
    assert "looks like: rounding: 1 of 1,536 elements differ, by at most 1 ULP" in said
    assert "[3, 4], counted from 0: " in said  # R takes no part
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["exact"] is True
    assert told["objectives"]["vae"]["loss"]["rtol"] == 0
    assert told["objectives"]["vae"]["stages"]["agree"] == 136


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Traces of a run whose engines drew for themselves. Read only."""
    root = tmp_path_factory.mktemp("drawn")
    return tuple(write(root / name, probed=(1, 2), rng="torch") for name in "ab")


def test_traces_of_engines_that_drew_for_themselves_agree_in_every_bit(drawn):
    assert "draw/dropout1" in Trace.load(drawn[0]).probe(1)
    ((a, b),) = load_pairs(*drawn)
    comparison = compare_traces(a, b, exact=True)
    assert comparison.agrees
    assert len(comparison.stages) == 2 * 137
    assert summary([comparison])["rng"] == "torch"


@pytest.mark.parametrize("side", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_mistake_in_a_run_on_own_draws_is_recognised_by_these_draws(drawn, tmp_path, side):
    """The draws are in one trace's probes alone, as where the other engine is R."""
    copies = [shutil.copytree(path, tmp_path / path.name) for path in drawn]
    for step in (1, 2):
        path = copies[side] / "probes" / f"step-{step:06d}.safetensors"
        probe = safetensors.numpy.load_file(path)
        probe = {key: value for key, value in probe.items() if not key.startswith("draw/")}
        if step == 2:
            probe["forward/encoder.dropout1"] *= 0.75
        safetensors.numpy.save_file(probe, path)
    ((a, b),) = load_pairs(*copies)
    found = compare_traces(a, b).divergence
    assert found is not None
    assert (found.step, found.stage) == (2, "encoder.dropout1")
    assert found.wrong == ("pytorch", "other")[side]
    assert "1/(1 - p) missing" in found.words[0]


def test_a_trace_written_before_there_was_an_rng_was_injected(pair):
    path = pair[1] / "trace.json"
    told = json.loads(path.read_text())
    del told["settings"]["rng"]
    path.write_text(json.dumps(told | {"format": 2}))
    ((a, b),) = load_pairs(*pair)
    assert b.settings.rng == "injected"
    assert compare_traces(a, b).agrees


def test_two_traces_of_one_engine_are_told_apart(tmp_path):
    a = write(tmp_path / "one")
    ((one, two),) = load_pairs(a, a)
    assert (one.engine, two.engine) == ("pytorch (A)", "pytorch (B)")
    assert set(summary([compare_traces(one, two)])["environment"]) == {one.engine, two.engine}


def cut(name: str):
    def damage(a: Path, b: Path) -> None:
        path = b / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def about(**changes):
    def damage(a: Path, b: Path) -> None:
        path = b / "trace.json"
        told = json.loads(path.read_text())
        for name, value in changes.items():
            if name in told["settings"]:
                told["settings"][name] = value
            elif name in told["data"]:
                told["data"][name] = value
            else:
                told[name] = value
        path.write_text(json.dumps(told))

    return damage


def without_a_stage(a: Path, b: Path) -> None:
    path = b / "probes" / "step-000001.safetensors"
    probe = safetensors.numpy.load_file(path)
    del probe["gradient/encoder.conv2"]
    safetensors.numpy.save_file(probe, path)


def without_evaluation(a: Path, b: Path) -> None:
    latents = safetensors.numpy.load_file(b / "latents.safetensors")
    del latents["evaluation"]
    safetensors.numpy.save_file(latents, b / "latents.safetensors")


def shorter(a: Path, b: Path) -> None:
    history = (b / "history.csv").read_text().splitlines()
    (b / "history.csv").write_text("\n".join(history[:-1]) + "\n")
    about(steps=1)(a, b)  # of the settings
    path = b / "trace.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 1}))


BAD = {
    "cut history": (cut("history.csv"), "'b' cannot be read"),
    "cut parameters": (cut("parameters.safetensors"), "trace 'b' cannot be read"),
    "cut latents": (cut("latents.safetensors"), "trace 'b' cannot be read"),
    "cut json": (cut("trace.json"), "trace 'b' cannot be read"),
    "cut probe": (cut("probes/step-000001.safetensors"), "step-000001.safetensors' cannot be read"),
    "no probe": (
        lambda a, b: (b / "probes" / "step-000001.safetensors").unlink(),
        "step-000001.safetensors' cannot be read",
    ),
    "other recipe": (
        about(recipe="mlp"),
        "not of the same run: 'a' has recipe conv, 'b' has mlp. Record",
    ),
    "other objective": (
        about(objective="emae"),
        "'a' has vae, 'b' has emae. Choose two traces of the same objectives",
    ),
    "other step count": (shorter, "not of the same run: 'a' has steps 2, 'b' has 1. Record one"),
    "other dtype": (about(dtype="float32"), "'a' has dtype float64, 'b' has float32"),
    "other seed": (about(seed=7), "'a' has seed 2, 'b' has 7"),
    "other batch size": (about(batch_size=13), "'a' has batch size 12, 'b' has 13"),
    "other data": (about(name="mnist"), "'a' has data digits, 'b' has mnist"),
    "other pixels": (about(sha256="0"), "'a' has pixels with checksum .*, 'b' has 0"),
    "missing stage": (
        without_a_stage,
        "trace 'b' lacks 1 of 137 entries in its probe of step 1, the first gradient/encoder.conv2",
    ),
    "missing means": (without_evaluation, "'b' has no latent means in evaluation mode"),
    "newer format": (
        about(format=99),
        "trace 'b' has format 99, but pyvae reads 1 to 5. Update",
    ),
    "other rng": (
        about(rng="torch"),
        "'a' has rng injected, 'b' has torch. Record one of them again with the other's --rng",
    ),
    "unknown rng": (about(rng="dice"), "unknown rng 'dice'"),
    "no number": (about(format="two"), 'trace .b. cannot be read .format is "two"'),
    "interrupted": (
        about(complete=False),
        "trace 'b' is incomplete: it was interrupted after 2 steps",
    ),
    "unknown mode": (about(mode="fast"), "unknown mode 'fast'"),
    "nothing": (lambda a, b: shutil.rmtree(b), "there is no folder 'b'"),
    "empty": (lambda a, b: (shutil.rmtree(b), b.mkdir()), "'b' holds no trace"),
}


@pytest.mark.parametrize("name", BAD)
def test_traces_that_cannot_be_compared_are_one_line_and_exit_code_2(
    name, pair, tmp_path, monkeypatch, capsys
):
    damage, words = BAD[name]
    damage(*pair)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "a", "b", "--out", "out"]) == 2
    out, error = capsys.readouterr()
    assert re.search(words, error), error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert "verdict" not in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a"], "1 trace: expected two traces, or none"),
        (["a", "b", "c"], "3 traces: expected two traces, or none"),
        (
            ["a", "b", "--steps", "3"],
            "--steps cannot be used with two traces, which say what was run. Leave",
        ),
        (["a", "b", "--mode", "resync"], "--mode cannot be used with two traces"),
    ],
)
def test_two_traces_and_nothing_else(arguments, words, pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err


def in_the_documents_words(trace: Trace) -> dict:
    """What the examples of docs/reference/trace-format.md call a run's results."""
    return {
        "losses": trace.losses,
        "parameters": trace.parameters,
        "latent_means": trace.latent_means,
        "settings": trace.settings.as_dict(),
        "data": {"name": trace.data["name"], "images": trace.data["images"]},
        "probes": {step: trace.probe(step) for step in trace.probed},
    }


def test_the_documents_python_example_writes_a_trace(saved, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", FORMAT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    given = in_the_documents_words(Trace.load(saved[0]))
    exec(compile(example, "docs/reference/trace-format.md", "exec"), given)  # noqa: S102 (our own page)
    ((a, mine),) = load_pairs(saved[0], tmp_path / "TRACE")
    assert mine.engine == "mine"
    assert all(stage.raw_max_abs == 0 for stage in compare_traces(a, mine).stages)
    assert compare_traces(a, mine).agrees


@pytest.mark.slow
@pytest.mark.r
def test_the_documents_r_example_writes_a_trace(saved, tmp_path):
    (example,) = re.findall(r"```r\n(.*?)```", FORMAT, re.DOTALL)
    code = example.replace("r_bridge/rpackage/R/write_trace.R", str(R_TRACE))
    code = code.replace('"TRACE"', json.dumps(str(tmp_path / "TRACE \u00fc 'x'")))
    given = in_the_documents_words(Trace.load(saved[0]))
    given["probes"] = {str(step): probe for step, probe in given["probes"].items()}
    with RProcess() as r:
        r.evaluate(f"written <- function({', '.join(given)}) {{ {code}; NULL }}; NULL")
        r.call("written", **given)
    ((a, mine),) = load_pairs(saved[0], tmp_path / "TRACE \u00fc 'x'")
    comparison = compare_traces(a, mine)
    assert mine.engine == "my-r"
    assert np.array_equal(mine.losses, a.losses)
    assert all(stage.raw_max_abs == 0 for stage in comparison.stages)
    assert len(comparison.stages) == 137
    assert comparison.agrees


def test_the_document_names_every_stage():
    for stage in get_recipe("conv").stages:
        assert isinstance(stage, Stage)
        assert f"`{stage.name}`" in FORMAT
