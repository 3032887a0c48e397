"""`pyvae trace`, in this process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae import write_program_trace
from pyvae.cli.options.shared import STEPS
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.stages import quantities
from pyvae.trace.trace import Trace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_recipes")]

TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}
TINY = ("--data", "digits", "--batch-size", "3", "--latent-dim", "2", "--dtype", "float32")


@pytest.fixture
def tracing(command, tmp_path):
    """Runs `pyvae trace` in this process; the probes go when the test is over."""

    def trace(*arguments):
        return command("trace", *TINY, *arguments)

    yield trace
    for path in tmp_path.rglob("step-*.safetensors"):
        path.unlink()


@pytest.mark.parametrize(
    ("options", "probed"), [((), [1]), (("--probe", "2,4"), [2, 4]), (("--probe", "none"), [])]
)
def test_trace_writes_a_trace_and_the_probes_asked_for(tracing, conv, tmp_path, options, probed):
    code, out, err = tracing("--steps", 4, *options, "--out", "new/out")
    assert (code, err) == (0, "")
    assert "written: new/out" in out
    folder = tmp_path / "new" / "out"
    there = {path.name for path in folder.iterdir()}
    assert there == TRACE | {"run.json"} | ({"probes"} if probed else set())
    trace = Trace.load(folder)
    assert (trace.engine, trace.mode, trace.steps, trace.complete) == ("pytorch", "free", 4, True)
    assert trace.settings.objective == "vae"
    assert trace.probed == probed
    names = {f"step-{step:06d}.safetensors" for step in probed}
    assert {path.name for path in folder.glob("probes/*")} == names
    promised = {q.key for q in quantities(conv.stages, conv.parameter_names(2))}
    for step in probed:
        probe = trace.probe(step)
        assert probe.keys() == promised
        assert probe["forward/total"] == trace.losses[step - 1, 0]


@pytest.mark.usefixtures("undrawn")
def test_trace_writes_what_train_would(tracing, command, tmp_path):
    for name in ("traced", "trained"):
        arguments = ("--steps", "2", "--seed", "5", "--objective", "emae", "--out", name)
        done = (
            tracing(*arguments) if name == "traced" else command("train", "conv", *TINY, *arguments)
        )
        assert done[0] == 0
    traced, trained = Trace.load(tmp_path / "traced"), Trace.load(tmp_path / "trained" / "emae")
    assert np.array_equal(traced.losses, trained.losses)
    assert traced.settings == trained.settings
    assert all(np.array_equal(traced.parameters[k], v) for k, v in trained.parameters.items())


def test_trace_writes_both_objectives_into_two_folders(tracing, tmp_path):
    code, *_ = tracing("--steps", 2, "--objective", "both", "--probe", "2", "--out", "out")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "vae", "emae"}
    for name in ("vae", "emae"):
        trace = Trace.load(tmp_path / "out" / name)
        assert (trace.settings.objective, trace.probed) == (name, [2])
        assert trace.probe(2)["forward/total"] == trace.losses[1, 0]


def test_without_a_length_a_trace_has_as_many_steps_as_a_comparison(tracing, tmp_path, monkeypatch):
    monkeypatch.setattr(PyTorchEngine, "step", lambda self, x, draws: torch.ones(3))
    assert tracing("--probe", "none", "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").steps == STEPS
    assert tracing("--probe", "none", "--epochs", 1, "--batch-size", 20, "--out", "epoch")[0] == 0
    assert Trace.load(tmp_path / "epoch").steps == 1797 // 20


def test_a_second_trace_replaces_the_first_with_its_probes(tracing, tmp_path):
    assert tracing("--steps", 2, "--probe", "all", "--out", "out")[0] == 0
    assert tracing("--steps", 1, "--probe", "1", "--out", "out")[0] == 0
    trace = Trace.load(tmp_path / "out")
    assert (trace.steps, trace.probed) == (1, [1])
    assert [path.name for path in (tmp_path / "out" / "probes").iterdir()] == [
        "step-000001.safetensors"
    ]


@pytest.mark.parametrize(("objective", "held"), [("vae", "out"), ("both", "out/emae")])
def test_a_file_that_is_no_trace_is_not_replaced(
    tracing, tmp_path, assert_refused, everything_below, objective, held
):
    (tmp_path / held).mkdir(parents=True)
    (tmp_path / held / "trace.json").write_text("precious")
    before = everything_below(tmp_path)
    result = tracing("--steps", 1, "--objective", objective, "--out", "out")
    said = f"folder '{held}' has a file trace.json that is no trace. Choose another folder with"
    assert_refused(result, said)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    ("objective", "held"), [("vae", "out"), ("both", "out"), ("both", "out/emae")]
)
def test_the_trace_of_a_program_is_not_replaced(
    tracing, tmp_path, assert_refused, everything_below, objective, held
):
    steps = [{"loss/total": np.array(1.5)}]
    write_program_trace(tmp_path / held, "mine", steps=steps)
    before = everything_below(tmp_path)
    result = tracing("--steps", 1, "--objective", objective, "--out", "out")
    said = f"folder '{held}' holds the trace of a program. Choose another folder with --out."
    assert_refused(result, said)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("name", ["here", "link", "."])
def test_a_trace_goes_into_a_folder_that_is_there(tracing, tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    if name == ".":
        monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):
        code, _, err = tracing("--steps", 1, "--probe", "none", "--out", name)
        assert (code, err) == (0, "")
    assert Trace.load(tmp_path / "here").steps == 1


def test_following_ones_own_trace_gives_the_same_losses(tracing, tmp_path):
    steps = ("--steps", 3)
    assert tracing(*steps, "--probe", "all", "--out", "leader")[0] == 0
    assert tracing(*steps, "--probe", "none", "--follow", "leader", "--out", "follower")[0] == 0
    leader, follower = Trace.load(tmp_path / "leader"), Trace.load(tmp_path / "follower")
    assert (leader.mode, follower.mode) == ("free", "resync")
    assert np.array_equal(leader.losses, follower.losses)
    assert all(np.array_equal(follower.parameters[k], v) for k, v in leader.parameters.items())


def test_a_trace_that_cannot_be_followed_is_one_line_and_exit_code_2(
    tracing, tmp_path, assert_refused, everything_below
):
    assert tracing("--steps", 3, "--probe", "1", "--out", "leader")[0] == 0
    assert tracing("--steps", 2, "--probe", "1", "--out", "short")[0] == 0
    before = everything_below(tmp_path)
    for arguments, said in (
        (("--steps", 3, "--follow", "leader"), "'leader' was not probed in step 2."),
        (("--steps", 4, "--follow", "short"), "was not probed in step 2"),
        (
            ("--steps", 2, "--follow", "short", "--objective", "emae"),
            "has objective vae, and this run emae",
        ),
        (
            ("--steps", 2, "--follow", "short", "--objective", "both"),
            "has objective vae, and this run emae",
        ),
        (
            ("--steps", 2, "--follow", "short", "--latent-dim", 3),
            "has latent dim 2, and this run 3",
        ),
        (("--steps", 2, "--follow", "absent"), "there is no folder 'absent/vae'"),
        (("--steps", 2, "--follow", "short", "--out", "short"), "is the trace to follow"),
    ):
        assert_refused(tracing("--out", "out", *arguments), said)
        assert everything_below(tmp_path) == before


def test_a_spoiled_probe_of_the_leader_is_one_line_and_keeps_the_steps_before(
    tracing, tmp_path, assert_refused
):
    assert tracing("--steps", 3, "--probe", "all", "--out", "leader")[0] == 0
    probe = tmp_path / "leader" / "probes" / "step-000002.safetensors"
    probe.write_bytes(probe.read_bytes()[:100])
    result = tracing("--steps", 3, "--probe", "1", "--follow", "leader", "--out", "out")
    assert_refused(result, "step-000002.safetensors' cannot be read")
    trace = Trace.load(tmp_path / "out")
    assert (trace.steps, trace.complete, trace.mode, trace.probed) == (2, False, "resync", [1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--probe", "0"), "--probe '0': expected steps such as 1 or 1,3-5, or all, or none"),
        (("--probe", "3-1"), "--probe '3-1'"),
        (("--probe", "x"), "--probe 'x'"),
        (("--probe", ""), "--probe ''"),
        (("--probe", "1,9"), "--probe names step 9: expected steps from 1 to 4"),
        (("--probe", "5"), "--probe names step 5"),
        (("--probe",), "--probe"),
        (("--engine", "pytroch"), "'pytroch': expected one of pytorch, base-r, r-torch. Did you"),
        (("--engine", "base_r"), "Did you mean 'base-r'?"),
        (("--recipe", "covn"), "Did you mean 'conv'?"),
        (("--objective", "emea"), "Did you mean 'emae'?"),
        (("--data", "mnits"), "Did you mean 'mnist'?"),
        (("--steps", "0"), "--steps 0: expected 1 or more"),
        (("--batch-size", "1798"), "1797 images are fewer than one batch of 1798"),
        (("extra",), "extra"),
        (("--out", "file"), "'file' is a file. Choose a folder"),
        (("--out", "file/below"), "'file' is a file. Choose a folder"),
    ],
)
def test_bad_input_for_a_trace_is_one_line_and_writes_nothing(
    tracing, tmp_path, arguments, said, assert_refused, everything_below
):
    (tmp_path / "file").write_text("mine")
    before = everything_below(tmp_path)
    assert_refused(tracing("--steps", 4, "--out", "out", *arguments), said)
    assert everything_below(tmp_path) == before


def test_a_trace_needs_a_folder(tracing, assert_refused):
    assert_refused(tracing("--steps", 1), "--out")


def test_an_interrupted_trace_keeps_its_steps_and_probes(tracing, tmp_path, monkeypatch):
    step = PyTorchEngine.step
    done = []

    def interrupted(self, x, draws, probe=None):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(step(self, x, draws, probe))
        return done[-1]

    monkeypatch.setattr(PyTorchEngine, "step", interrupted)
    code, _, err = tracing("--steps", 9, "--probe", "2-9", "--out", "out")
    assert (code, err) == (130, "pyvae: interrupted\n")
    trace = Trace.load(tmp_path / "out")
    assert not trace.complete
    assert np.array_equal(trace.losses, torch.stack(done).double().numpy())
    assert trace.probed == [2]
    assert trace.probe(2)["forward/total"] == trace.losses[1, 0]


def test_a_diverging_trace_is_one_line_and_keeps_the_steps_before(
    tracing, tmp_path, assert_refused
):
    arguments = ("--learning-rate", "1e30", "--steps", "5", "--probe", "1", "--out", "out")
    assert_refused(tracing(*arguments), "smaller --learning-rate")
    trace = Trace.load(tmp_path / "out")
    assert not trace.complete
    assert 1 <= trace.steps < 5
    assert trace.probed == [1]


@pytest.mark.slow
@pytest.mark.r
def test_a_trace_of_r_follows_one_of_pytorch(tracing, tmp_path):
    both = ("--dtype", "float64", "--steps", 3)
    assert tracing(*both, "--probe", "1-2", "--out", "python")[0] == 0
    code, out, err = tracing(
        *both, "--engine", "base-r", "--probe", "none", "--follow", "python", "--out", "r"
    )
    assert (code, err) == (0, "")
    assert "base-r: 3 steps" in out
    python, r = Trace.load(tmp_path / "python"), Trace.load(tmp_path / "r")
    assert (r.engine, r.mode) == ("base-r", "resync")
    np.testing.assert_allclose(r.losses, python.losses, rtol=1e-13)
    assert r.parameters.keys() == python.parameters.keys()


def test_draws_are_written_for_who_asks(tracing, tmp_path):
    steps = ("--steps", 2, "--probe", "none", "--out", "out")
    assert tracing(*steps)[0] == 0
    assert not (tmp_path / "out" / "draws").exists()
    assert tracing(*steps, "--draws")[0] == 0
    names = {"initial.safetensors", "step-000001.safetensors", "step-000002.safetensors"}
    assert {path.name for path in (tmp_path / "out" / "draws").iterdir()} == names


@pytest.fixture
def threads():
    """Puts back PyTorch's number of threads."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(("rng", "adam"), [("torch", None), ("native", "torch"), ("r", "r-torch")])
def test_a_trace_with_a_generator_of_its_own(tracing, threads, conv, tmp_path, rng, adam):
    asked = () if adam is None else ("--adam", adam)
    arguments = ("--steps", 3, "--rng", rng, *asked, "--threads", 1, "--seed", 5, "--probe", "2")
    for name in ("once", "again"):
        torch.manual_seed(len(name))
        code, _, err = tracing(*arguments, "--out", name)
        assert (code, err) == (0, "")
    once, again = (Trace.load(tmp_path / name) for name in ("once", "again"))
    assert once.settings.rng == {"native": "torch"}.get(rng, rng)
    assert (once.environment["adam"], once.environment["threads"]) == (adam or "torch", "1")
    assert np.array_equal(once.losses, again.losses)
    assert all(np.array_equal(again.parameters[k], v) for k, v in once.parameters.items())
    drawn = {f"draw/{name}" for name in conv.draws(2)}
    promised = {q.key for q in quantities(conv.stages, conv.parameter_names(2))}
    assert once.probe(2).keys() == promised | drawn


def test_generators_and_orders_of_adam_give_different_runs(tracing, tmp_path):
    runs = {"a": (), "b": ("--rng", "torch"), "c": ("--rng", "r"), "d": ("--adam", "r-torch")}
    for name, options in runs.items():
        assert tracing("--steps", 2, *options, "--probe", "none", "--out", name)[0] == 0
    a, b, c, d = (Trace.load(tmp_path / name) for name in runs)
    first = [trace.losses[0, 0] for trace in (a, b, c)]
    assert len(set(first)) == 3
    assert np.array_equal(a.losses, d.losses)  # the second step's parameters come after its loss
    name = "encoder.fc1.weight"
    assert not np.array_equal(a.parameters[name], d.parameters[name])
    np.testing.assert_allclose(a.parameters[name], d.parameters[name], rtol=0, atol=1e-7)


def test_threads_are_those_asked_for(tracing, threads, tmp_path):
    assert tracing("--steps", 1, "--probe", "none", "--threads", 2, "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").environment["threads"] == "2"
    torch.set_num_threads(threads)
    assert tracing("--steps", 1, "--probe", "none", "--out", "out")[0] == 0
    assert Trace.load(tmp_path / "out").environment["threads"] == str(threads)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--rng", "toch"),
            "unknown rng 'toch': expected one of injected, native, torch, r. Did you mean",
        ),
        (("--rng", ""), "unknown rng ''"),
        (("--adam", "rtorch"), "expected one of torch, r-torch. Did you mean 'r-torch'?"),
        (("--adam", "r-torch", "--engine", "base-r"), "--adam r-torch with --engine base-r"),
        (("--threads", "0"), "--threads 0: expected 1 to 1024"),
        (("--threads", "-2"), "--threads -2: expected"),
        (("--threads", "9999"), "--threads 9999: expected"),
        (("--threads", "two"), "--threads"),
        (("--rng", "r", "--seed", 2**31), f"--seed {2**31} with R's generator: expected"),
        (
            ("--rng", "torch", "--draws"),
            "--draws cannot be used with --rng torch. Use --rng injected.",
        ),
    ],
)
def test_bad_input_for_a_generator_is_one_line_and_writes_nothing(
    tracing, threads, tmp_path, arguments, said, assert_refused, everything_below
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trace.json").write_text('{"format": 3}')
    before = everything_below(tmp_path)
    assert_refused(tracing("--steps", 1, "--out", "out", *arguments), said)
    assert everything_below(tmp_path) == before


@pytest.mark.r
def test_an_engine_in_r_with_a_generator_that_it_does_not_have(
    tracing, tmp_path, assert_refused, everything_below
):
    before = everything_below(tmp_path)
    arguments = ("--engine", "base-r", "--rng", "torch", "--steps", 1, "--out", "out")
    assert_refused(tracing(*arguments), "engine base-r cannot draw with the generator 'torch'")
    assert everything_below(tmp_path) == before
