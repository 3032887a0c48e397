"""What the runs of `pyvae compare` start from, as it is typed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from stand_ins.narrow import NARROW_CONV

from comparisons.cli.starts import default_steps, make_starts, objectives_to_compare
from pyvae.cli.main import main
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.model.start import Start
from pyvae.recipes import get_recipe
from pyvae.recipes.conv import CONV
from pyvae.runs import starts
from pyvae.runs.starts import trained_start
from pyvae.runs.train import train_into
from pyvae.trace.trace import Trace

DATA = ("--data", "digits", "--batch-size", "4", "--engine", "base-r")
SMALL = (*DATA, "--latent-dim", "4")
undrawn = pytest.mark.usefixtures("undrawn")
narrow = pytest.mark.usefixtures("narrow_recipes")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """A run of the VAE with few channels, two steps long, with its last checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "conv"
    settings = CONV.settings(objective="vae", batch_size=4, latent_dim=4, steps=2, dtype="float64")
    train_into(folder, Run(NARROW_CONV, settings, digits), PyTorchEngine("cpu"))
    return folder


@pytest.fixture
def shipped(trained, monkeypatch):
    """That run's state, as if it were the one that is shipped."""
    shipped = Start(
        "trained", "the parameters after 2 steps", Trace.load(trained / "vae").parameters
    )
    monkeypatch.setattr(starts, "trained_start", lambda recipe, settings=None: shipped)
    return shipped


@narrow
@undrawn
@pytest.mark.r
@pytest.mark.slow
def test_by_default_conv_starts_twice_and_everything_says_which(shipped, tmp_path, capsys):
    """With few channels; tests/pages has the widths, and the state, of the article."""
    assert main(["compare", *SMALL, "--steps", "1", "--report", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "each from initial parameters, and from the parameters after " in said
    about = json.loads((tmp_path / "comparison.json").read_text())
    assert list(about["objectives"]) == ["vae", "emae", "vae-trained", "emae-trained"]
    starts = [one["start"]["name"] for one in about["objectives"].values()]
    assert starts == ["initial", "initial", "trained", "trained"]
    assert about["settings"]["objective"] == ["vae", "emae"]
    report = (tmp_path / "report.html").read_text()
    for objective in ("VAE", "EMAE"):
        for start in ("initial parameters", "the trained state"):
            assert f"{objective} from {start}: BCE" in " ".join(said.split())
            assert f"<h2>{objective} from {start} " in report
            assert f"{objective} from {start}: the same draws from the prior" in report
    for name in ("history", "stages", "latent_means"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert set(zip(table["objective"], table["start"], strict=True)) == {
            (objective, start) for objective in ("vae", "emae") for start in ("initial", "trained")
        }, name
    for engine in ("pytorch", "base-r"):
        trace = Trace.load(tmp_path / "traces" / f"vae-trained-{engine}")
        assert trace.start == shipped.describe()
        assert not Trace.load(tmp_path / "traces" / f"vae-{engine}").start
    run = json.loads((tmp_path / "run.json").read_text())
    assert "--start=both" in run["arguments"]
    assert [one.get("name") for one in run["starts"]] == [None, None, "trained", "trained"]


@narrow
@undrawn
@pytest.mark.r
@pytest.mark.slow
def test_a_disagreement_from_the_trained_state_alone_is_the_verdict(
    shipped, monkeypatch, tmp_path, capsys
):
    """A mistake that shows only where the network has learned something."""
    from stand_ins.patched_r import replace_engine

    replace_engine(monkeypatch, """
      right <- session_restore
      session_restore <- function(session, step, parameter, ...) {
        parameter[["decoder.fc1.bias"]] <- parameter[["decoder.fc1.bias"]] * 1.001
        right(session, step, parameter, ...)
      }
    """)  # fmt: skip
    arguments = [*SMALL, "--objective", "vae", "--steps", "1", "--out", str(tmp_path)]
    assert main(["compare", *arguments]) == 1
    about = json.loads((tmp_path / "comparison.json").read_text())
    verdicts = {name: one["verdict"] for name, one in about["objectives"].items()}
    assert verdicts == {"vae": "agree", "vae-trained": "disagree"}
    assert capsys.readouterr().out.endswith("verdict: disagree\n")


@narrow
@undrawn
@pytest.mark.r
def test_a_run_is_gone_on_from_with_its_moments(trained, tmp_path, capsys):
    """And the objective is the one that there is a run of. Its traces can be compared again."""
    out = tmp_path / "out"
    arguments = ["--start", str(trained), "--steps", "2", "--out", str(out)]
    assert main(["compare", *SMALL, *arguments]) == 0
    said = capsys.readouterr().out
    assert "from the parameters after 2 steps of digits, with Adam's moments" in said
    about = json.loads((out / "comparison.json").read_text())
    assert list(about["objectives"]) == ["vae-run"]
    assert about["objectives"]["vae-run"]["start"]["taken"] == 2
    traces = [Trace.load(out / "traces" / f"vae-run-{name}") for name in ("pytorch", "base-r")]
    assert traces[0].start == traces[1].start
    pair = [str(trace.folder) for trace in traces]
    assert main(["compare", *pair, "--out", str(tmp_path / "again")]) == 0
    assert "VAE from a trained run: BCE + KL" in capsys.readouterr().out
    initial = tmp_path / "initial"
    assert main(["trace", *SMALL, "--steps", "2", "--dtype", "float64", "--objective", "vae",
                 "--out", str(initial)]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["compare", pair[1], str(initial), "--out", str(tmp_path / "no")]) == 2
    assert "has start run" in capsys.readouterr().err


@narrow
@undrawn
@pytest.mark.r
def test_a_mistake_is_named_by_what_adam_had_kept(monkeypatch, trained, tmp_path, capsys):
    """In the first step of the comparison, which is Adam's third."""
    from stand_ins.patched_r import replace_engine

    replace_engine(monkeypatch, "adam_settings$epsilon <- 1e-7")
    arguments = ["--start", str(trained), "--steps", "2", "--out", str(tmp_path)]
    assert main(["compare", *SMALL, *arguments]) == 1
    said = capsys.readouterr().out
    assert "first part at step 1, adam.update (parameter of encoder.conv1.weight)" in said
    assert "looks like: base-r: epsilon = 1e-07 where it is 1e-08" in said


@narrow
@undrawn
@pytest.mark.r
def test_a_folder_of_before_there_was_a_start_goes_on_as_it_was_begun(
    tmp_path, monkeypatch, capsys
):
    """Its run.json names no start, and no number of steps where none was given."""
    monkeypatch.setattr("comparisons.cli.starts.STEPS", 2)
    arguments = ["--objective", "vae", "--start", "initial", "--out", str(tmp_path)]
    assert main(["compare", *DATA, *arguments]) == 0
    file = tmp_path / "run.json"
    about = json.loads(file.read_text())
    assert not any(word.startswith("--steps") for word in about["arguments"])
    about["arguments"].remove("--start=initial")
    file.write_text(json.dumps(about))
    capsys.readouterr()
    assert main(["compare", "--resume", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2 steps of 4" in said
    assert "each from initial parameters" not in said
    assert list(json.loads((tmp_path / "comparison.json").read_text())["objectives"]) == ["vae"]
    assert "--start=initial" in json.loads(file.read_text())["arguments"]


BAD = {
    "absent": (
        ("--start", "absent"),
        "--start 'absent' does not exist: expected initial, trained, both, or the folder of a run",
    ),
    "file": (("--start", __file__), f"--start '{__file__}' is a file: expected initial, trained"),
    "nothing": (("--start", ""), "--start '': expected initial, trained, both, or the folder"),
    "empty": (("--start", "."), "holds no run"),
    "objective": (
        ("--start", "RUN", "--objective", "emae"),
        "a run of objective vae, none of emae",
    ),
    "both objectives": (("--start", "RUN", "--objective", "both"), "none of emae"),
    "latent": (("--start", "RUN", "--latent-dim", "5"), "4 latent dimensions, not 5"),
    "recipe": (("--start", "RUN", "--recipe", "beta"), "a run of recipe conv, not of beta"),
    "trained": (("--start", "trained"), "has other latent dimensions than 4. Use --start initial"),
    "both": (("--start", "both"), "has other latent dimensions than 4"),
    "not shipped": (("--start", "trained", "--recipe", "beta"), "no trained state of recipe beta"),
    "native": (
        ("--start", "trained", "--rng", "native", "--seeds", "2", "--margin", "1"),
        "--start cannot be used with --rng native",
    ),
    "saved": (("a", "b", "--start", "initial"), "--start cannot be used with two traces"),
}


@narrow
@pytest.mark.r
@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line_and_exit_code_2(
    name, trained, tmp_path, monkeypatch, capsys
):
    arguments, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    given = [str(trained) if word == "RUN" else word for word in arguments]
    size = () if name == "saved" else SMALL
    assert main(["compare", *size, *given]) == 2
    error = capsys.readouterr().err
    assert words in error, error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_both_starts_together_take_no_more_steps_than_one():
    """Each run has a step more, which is looked into."""
    one, each = default_steps("initial"), default_steps("both")
    assert one == default_steps("/a/run")
    assert 2 * (each + 1) <= one + 1


def test_starts_come_in_order():
    settings = CONV.settings()
    assert make_starts("initial", CONV, settings) == [None]
    one, two = make_starts("both", CONV, settings)
    assert one is None
    assert two.sha256 == trained_start(CONV).sha256
    with pytest.raises(UserError, match="ships no trained state of recipe beta"):
        make_starts("both", get_recipe("beta"), get_recipe("beta").settings())


def test_of_the_published_objectives_those_that_there_are_runs_of(trained):
    assert objectives_to_compare("both", CONV) == ("vae", "emae")
    assert objectives_to_compare(str(trained), CONV) == ["vae"]
    other = replace(CONV, objectives=("emae",), further=("em", "vae"))
    assert objectives_to_compare(str(trained), other) == ["vae"]
    assert objectives_to_compare(str(trained), replace(other, further=())) == ("emae",)


def test_parameters_of_half_precision_are_the_same_numbers_on_both_sides():
    state = trained_start(CONV).state("float64")
    values = np.concatenate([v.ravel() for k, v in state.items() if k.startswith("parameter/")])
    assert np.array_equal(values, values.astype(np.float16).astype(np.float64))
