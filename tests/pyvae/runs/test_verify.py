from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins.narrow import NARROW_CONV

from pyvae.cli.main import main
from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.runs.verify import data_name, find_traces, verify, verify_trace
from pyvae.trace import trace as trace_module
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_recipes")]


@pytest.fixture(scope="module")
def trained(digits):
    """A short run of each objective of the narrow conv, by name. Read only."""
    small = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64", "seed": 3}
    runs = {name: NARROW_CONV.settings(objective=name, **small) for name in NARROW_CONV.objectives}
    return {
        name: train(Run(NARROW_CONV, settings, digits), PyTorchEngine("cpu"))
        for name, settings in runs.items()
    }


@pytest.fixture
def trace(trained, tmp_path):
    """One of a complete run of three steps, as read from disk."""
    trained["vae"].save(tmp_path)
    return Trace.load(tmp_path)


@pytest.mark.parametrize(("steps", "whole"), [(1, False), (2, False), (3, True), (100, True)])
def test_every_bit_comes_out_again(trace, digits, steps, whole):
    done = verify_trace(trace, PyTorchEngine("cpu"), digits, steps)
    assert (done.same, done.steps, done.whole, done.changed) == (True, min(steps, 3), whole, [])
    what = "losses, parameters, latent means and samples" if whole else "losses"
    assert str(done) == (
        f"{min(steps, 3)} of 3 steps run again: every bit of the {what} is the same"
    )


def test_one_bit_of_one_loss_is_seen_and_placed(trace, digits):
    right = trace.losses[1, 2]
    trace.losses[1, 2] = np.nextafter(right, np.inf)
    assert verify_trace(trace, PyTorchEngine("cpu"), digits, 1).same
    done = verify_trace(trace, PyTorchEngine("cpu"), digits, 2)
    assert not done.same
    assert str(done) == (
        "2 of 3 steps run again: not the same bits, regulariser of step 2 was "
        f"{float(trace.losses[1, 2])!r}, is {float(right)!r}"
    )


@pytest.mark.parametrize("kind", ["parameters", "latent_means", "samples"])
def test_one_bit_after_the_last_step_is_seen(trace, digits, kind):
    arrays = {
        "parameters": trace.parameters["encoder.fc2.bias"],
        "latent_means": trace.latent_means["evaluation"],
        "samples": trace.samples,
    }
    arrays[kind].reshape(-1).view(np.uint8)[0] ^= 1
    assert verify_trace(trace, PyTorchEngine("cpu"), digits, 2).same
    done = verify_trace(trace, PyTorchEngine("cpu"), digits, 3)
    names = {
        "parameters": "parameter encoder.fc2.bias",
        "latent_means": "latent means, mode evaluation",
        "samples": "samples",
    }
    assert done.first == names[kind]


def test_a_type_or_a_shape_that_is_another_is_a_difference(trace, digits):
    for name, value in (
        ("encoder.fc2.bias", trace.parameters["encoder.fc2.bias"].astype(np.float32)),
        ("encoder.fc2.weight", trace.parameters["encoder.fc2.weight"].T),
        ("encoder.fc3.bias", None),
    ):
        spoilt = replace(trace, parameters=dict(trace.parameters))
        if value is None:
            del spoilt.parameters[name]
        else:
            spoilt.parameters[name] = value
        assert verify_trace(spoilt, PyTorchEngine("cpu"), digits, 3).first == f"parameter {name}"


def test_versions_that_have_changed_are_named(trace, digits):
    trace.environment |= {"torch": "1.0", "moon": "full"}
    done = verify_trace(trace, PyTorchEngine("cpu"), digits, 1)
    assert done.changed == [f"torch 1.0, now {torch.__version__}", "moon full, now ?"]


def test_what_cannot_be_run_again_is_one_line(trace, digits):
    others = ImageData("digits", digits.pixels.flip(0), digits.labels, digits.source)
    fewer = ImageData("digits", digits.pixels[:100], None, digits.source)
    for spoilt, data, said in (
        (replace(trace, losses=trace.losses[:0]), digits, "has no steps"),
        (replace(trace, mode="resync"), digits, r"follows another trace .* \(mode resync\)"),
        (replace(trace, environment={"processes": "2"}), digits, "was computed by 2 processes"),
        (trace, others, "images are not those of the run .sha256 "),
        (trace, fewer, "images are not those of the run .images 1797, now 100"),
    ):
        with pytest.raises(UserError, match=said):
            verify_trace(spoilt, PyTorchEngine("cpu"), data, 1)


@pytest.mark.parametrize("name", ["a file.npz", "a file.NPY"])
def test_data_is_found_where_it_was(trace, tmp_path, name):
    assert data_name(trace) == "digits"
    file = tmp_path / name
    trace.data |= {"name": name, "source": f"file {file}"}
    with pytest.raises(UserError, match=rf"'{name}', is not there\. Name its file with --data"):
        data_name(trace)
    file.touch()
    assert data_name(trace) == str(file)


def test_traces_are_found_in_what_each_command_leaves(trained, tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        find_traces(tmp_path)
    for place in ("alone", "train/vae", "train/emae", "compare/traces/vae-pytorch"):
        (tmp_path / place).mkdir(parents=True)
        trained[Path(place).name.partition("-")[0] if "/" in place else "vae"].save(
            tmp_path / place
        )
    for name, objectives in (
        ("alone", ["vae"]), ("train", ["vae", "emae"]), ("compare", ["vae"]),
        ("train/emae", ["emae"]),
    ):  # fmt: skip
        assert [t.settings.objective for t in find_traces(tmp_path / name)] == objectives


def test_a_folder_is_verified_run_by_run(trained, tmp_path):
    """With as many threads as the run had, and afterwards with as many as before."""
    before = torch.get_num_threads()
    for name in ("vae", "emae"):
        trace = replace(trained[name], environment=trained[name].environment | {"threads": "3"})
        trace.save(tmp_path / name)
    said, seen = [], []

    def look(now):
        seen.append((now.run.settings.objective, now.step, torch.get_num_threads()))

    done = verify(str(tmp_path), 2, callbacks=[look], log=said.append)
    assert [(one.trace.settings.objective, one.steps) for one in done] == [("vae", 2), ("emae", 2)]
    assert seen == [(name, step, 3) for name in ("vae", "emae") for step in (1, 2)]
    assert torch.get_num_threads() == before
    assert said[0].startswith("VAE: ")
    assert f"VAE in pytorch: {done[0]}" in said


SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3")


@pytest.mark.usefixtures("undrawn")
def test_the_command_says_it_in_words_and_exit_code(command, tmp_path):
    run = ("train", "conv", *SMALL, "--steps", 3, "--objective", "both", "--rng", "torch")
    assert command(*run, "--out", "a run")[0] == 0
    code, out, err = command("verify", "a run")
    assert (code, err) == (0, "")
    assert out.count("3 of 3 steps run again: every bit of the losses, parameters, ") == 2
    assert out.endswith("verdict: the same bits\n")

    history = tmp_path / "a run" / "emae" / "history.csv"
    trace = Trace.load(history.parent)
    trace.losses[0, 0] += 1
    trace_module.write_file(history, trace_module.csv_text(trace.history()))
    about = history.with_name("trace.json")  # whoever changes a run can change its checksums, too
    about.write_text(about.read_text().replace('"sha256": {', '"other": {'))
    code, out, err = command("verify", "a run", "--steps", 1)
    assert (code, err) == (1, "")
    assert "EMAE in pytorch: 1 of 3 steps run again: not the same bits, total of step 1 was" in out
    assert "VAE in pytorch: 1 of 3 steps run again: every bit of the losses is the same" in out
    assert "EMAE: BCE + sum(mu^2)/2, summed over pixels and images, weights 1 and 1" in out
    assert out.endswith("verdict: other bits\n")


def test_its_bad_input_is_one_line(command, tmp_path):
    (tmp_path / "a file").touch()
    for arguments, said in (
        (("absent",), "'absent' holds no run"),
        (
            ("a file",),
            "'a file' is a file. Give the folder that pyvae train, trace or compare wrote",
        ),
        ((".",), "holds no run"),
        ((".", "--steps", 0), "--steps 0: expected 1 or more"),
        ((), "RUN"),
    ):
        code, out, err = command("verify", *arguments)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1


@pytest.mark.r
@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_comparison_is_verified_in_both_languages(tmp_path, capsys):
    arguments = (*SMALL, "--engine", "base-r", "--steps", "3", "--probe", "none")
    assert main(["compare", *arguments, "--objective", "vae", "--out", str(tmp_path)]) == 0
    assert main(["verify", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for engine in ("base-r", "pytorch"):
        assert f"VAE in {engine}: 3 of 3 steps run again: every bit of the losses, parame" in said
