from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from pyvae.cli.options.step_set import StepSet
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.runs.record import record_traces, write_draws
from pyvae.trace.trace import Trace
from pyvae.training.feeds import batches

pytestmark = pytest.mark.slow

TRACE = {"trace.json", "history.csv", "parameters.safetensors", "latents.safetensors"}


class CountingEngine:
    """Its one parameter counts the steps; a step's losses are three times, twice and once that."""

    name = "counting"

    def __init__(self, fails_at=None, error=KeyboardInterrupt):
        self.fails_at, self.error = fails_at, error
        self.restored = []

    def start(self, recipe, settings, parameters):
        self.count, self.objective = 0, settings.objective

    def step(self, x, draws, probe=None):
        self.count += 1
        if self.count == self.fails_at:
            raise self.error
        if probe is not None:
            probe |= {"forward/total": np.array(3.0 * self.count)} | self.state()
            probe.pop("step")
        return torch.tensor([3.0, 2.0, 1.0]) * self.count

    def state(self):
        state = {f"{kind}/w": np.full(2, 1.0 * self.count) for kind in ("moment1", "moment2")}
        return state | {"parameter/w": np.full(2, 1.0 * self.count), "step": np.array(self.count)}

    def restore(self, state):
        self.restored.append(state)
        self.count = int(state["step"])

    def latent_means(self, x, draws, training):
        return np.zeros((len(x), 1))

    def decode(self, z):
        return np.zeros((len(z), 784))

    def parameters(self):
        return {"w": np.full(2, 1.0 * self.count)}

    def environment(self):
        return {}


class OneParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))


@pytest.fixture
def write(conv, digits, settings, tmp_path):
    """Writes traces of four steps below the folder of the test; returns the steps that a callback
    saw."""
    little = replace(conv, network=lambda latent_dim: OneParameter(), draws=lambda latent_dim: {})

    def run(engine=None, out="out", probe="1", follow=None, objectives=("vae",), **changes):
        recipe = conv if isinstance(engine, PyTorchEngine) else little
        asked = [settings(**{"steps": 4} | changes, objective=name) for name in objectives]
        seen = []
        record_traces(
            tmp_path / out, [Run(recipe, one, digits) for one in asked],
            engine or CountingEngine(), [lambda now: seen.append(now.step)],
            probed=StepSet.parse(probe), follow=None if follow is None else tmp_path / follow,
        )  # fmt: skip
        return seen

    return run


def files_below(folder):
    """Files with their contents, and folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def probes(folder):
    return sorted(path.name for path in (folder / "probes").glob("*"))


@pytest.mark.parametrize(
    ("probe", "steps"), [("1", [1]), ("2,4", [2, 4]), ("2-3", [2, 3]), ("all", [1, 2, 3, 4])]
)
def test_a_trace_and_the_probes_asked_for_are_written(write, tmp_path, probe, steps):
    seen = write(probe=probe)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == TRACE | {"probes"}
    assert probes(out) == [f"step-{step:06d}.safetensors" for step in steps]
    trace = Trace.load(out)
    assert (trace.probed, trace.mode, trace.engine, trace.complete) == (
        steps,
        "free",
        "counting",
        True,
    )
    assert trace.losses.tolist() == [[3.0 * k, 2.0 * k, k] for k in (1, 2, 3, 4)]
    for step in steps:
        assert trace.probe(step)["forward/total"] == 3 * step
    assert seen == [1, 2, 3, 4]


def test_without_probes_there_is_no_folder_for_them(write, tmp_path):
    write(probe="none")
    assert {path.name for path in (tmp_path / "out").iterdir()} == TRACE
    assert Trace.load(tmp_path / "out").probed == []


def test_several_objectives_go_into_a_folder_each(write, tmp_path):
    write(objectives=("vae", "emae"), probe="2")
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"vae", "emae"}
    for name in ("vae", "emae"):
        trace = Trace.load(out / name)
        assert trace.settings.objective == name
        assert trace.probed == [2]
        assert probes(out / name) == ["step-000002.safetensors"]


def test_a_second_trace_replaces_the_first_with_its_probes(write, tmp_path):
    write(probe="all")
    (tmp_path / "out" / "mine.txt").write_text("mine")
    write(probe="2", steps=2)
    assert probes(tmp_path / "out") == ["step-000002.safetensors"]
    assert Trace.load(tmp_path / "out").steps == 2
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    write(probe="none")
    assert {path.name for path in (tmp_path / "out").iterdir()} == TRACE | {"mine.txt"}


def test_traces_of_both_objectives_replace_that_of_one(write, tmp_path):
    """Who reads the folder would find the old one else."""
    write(objectives=("vae",))
    write(objectives=("vae", "emae"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"vae", "emae"}


@pytest.mark.parametrize("done", [1, 3])
def test_an_interrupted_run_keeps_its_steps_and_probes(write, tmp_path, done):
    with pytest.raises(KeyboardInterrupt):
        write(CountingEngine(fails_at=done + 1), probe="all")
    trace = Trace.load(tmp_path / "out")
    assert not trace.complete
    assert trace.losses[:, 0].tolist() == [3.0 * k for k in range(1, done + 1)]
    assert trace.probed == list(range(1, done + 1))
    assert [trace.probe(step)["forward/total"] for step in trace.probed] == [
        3.0 * k for k in trace.probed
    ]


def test_a_run_whose_first_step_fails_leaves_nothing(write, tmp_path):
    write(probe="all")
    with pytest.raises(RuntimeError):
        write(CountingEngine(fails_at=1, error=RuntimeError), probe="all")
    assert files_below(tmp_path / "out") == {}


def test_who_follows_starts_every_step_from_the_leaders_state(write, tmp_path):
    write(out="leader", probe="all")
    follower = CountingEngine()
    write(follower, out="follower", follow="leader", probe="none")
    leader = Trace.load(tmp_path / "leader")
    assert [state["step"] for state in follower.restored] == [1, 2, 3]
    for state in follower.restored:
        expected = leader.state_after(int(state["step"]))
        assert state.keys() == expected.keys()
        assert all(np.array_equal(state[key], expected[key]) for key in state)
    trace = Trace.load(tmp_path / "follower")
    assert trace.mode == "resync"
    assert trace.probed == []


def test_the_last_step_of_a_leader_need_not_be_probed(write, tmp_path):
    write(out="leader", probe="1-3")
    write(out="follower", follow="leader")
    assert Trace.load(tmp_path / "follower").steps == 4


def test_both_objectives_follow_theirs(write, tmp_path):
    both = ("vae", "emae")
    write(out="leader", objectives=both, probe="all")
    write(out="follower", objectives=both, follow="leader")
    for name in both:
        trace = Trace.load(tmp_path / "follower" / name)
        assert (trace.settings.objective, trace.mode) == (name, "resync")
    write(out="one", objectives=("emae",), follow="leader")  # the one that fits is found
    assert Trace.load(tmp_path / "one").settings.objective == "emae"


@pytest.mark.parametrize(
    ("leader", "follower", "said"),
    [
        (
            {"probe": "1"},
            {},
            r"'.*leader' was not probed in step 2\. Record it again with --probe all\.$",
        ),
        ({"probe": "1,3-4"}, {}, "was not probed in step 2"),
        ({"probe": "none"}, {}, "was not probed in step 1"),
        ({"probe": "all", "steps": 2}, {}, "was not probed in step 3"),
        ({"probe": "all"}, {"objectives": ("emae",)}, "has objective vae, and this run emae"),
        (
            {"probe": "all", "objectives": ("emae",)},
            {"objectives": ("vae", "emae")},
            "has objective emae, and this run vae",
        ),
        ({"probe": "all"}, {"latent_dim": 6}, "has latent dim 5, and this run 6"),
        ({"probe": "all"}, {"seed": 9}, ", and this run 9"),
        ({"probe": "all"}, {"batch_size": 13}, "has batch size 12, and this run 13"),
        ({"probe": "all"}, {"follow": "absent"}, r"there is no folder '.*absent.vae'"),
    ],
)
def test_a_leader_that_does_not_fit_is_the_users_error(write, tmp_path, leader, follower, said):
    write(out="leader", **leader)
    write(out="out")
    before = files_below(tmp_path)
    engine = CountingEngine()
    with pytest.raises(UserError, match=said):
        write(engine, **{"follow": "leader"} | follower)
    assert files_below(tmp_path) == before
    assert not hasattr(engine, "count")  # nothing was computed


def test_a_leader_of_another_recipe_is_the_users_error(write, tmp_path):
    write(out="leader", probe="all")
    about = tmp_path / "leader" / "trace.json"
    about.write_text(about.read_text().replace('"conv"', '"dense"'))
    with pytest.raises(UserError, match="has recipe dense, and this run conv"):
        write(follow="leader")


@pytest.mark.parametrize("key", ["parameter/w", "moment1/w", "moment2/w"])
@pytest.mark.parametrize("wrong", [None, np.ones(3), np.ones(())], ids=["absent", "three", "one"])
def test_a_leaders_probe_that_tells_no_state_is_the_users_error(write, tmp_path, key, wrong):
    """A leader may have been written by anybody."""
    write(out="leader", probe="all")
    path = tmp_path / "leader" / "probes" / "step-000002.safetensors"
    probe = safetensors.numpy.load_file(path)
    del probe[key]
    safetensors.numpy.save_file(probe | ({} if wrong is None else {key: wrong}), path)
    with pytest.raises(UserError, match=rf"no {key} \(2,\) in its probe of step 2"):
        write(follow="leader")
    assert Trace.load(tmp_path / "out").steps == 2


@pytest.mark.parametrize(
    ("objectives", "out"),
    [
        (("vae",), "leader"),
        (("vae",), "new/../leader"),
        (("vae",), "link"),
        (("vae", "emae"), "leader"),
    ],
)
def test_a_leader_is_not_overwritten(write, tmp_path, objectives, out):
    write(out="leader", objectives=objectives, probe="all")
    (tmp_path / "new").mkdir()
    (tmp_path / "link").symlink_to("leader")
    before = files_below(tmp_path)
    with pytest.raises(UserError, match=r"is the trace to follow\. Write to another folder"):
        write(out=out, objectives=objectives, follow="leader")
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("objective", ["vae", "emae"])
def test_following_ones_own_trace_is_the_same_run_to_the_bit(write, tmp_path, objective):
    small = {"objectives": (objective,), "batch_size": 3, "latent_dim": 2, "dtype": "float32"}
    write(PyTorchEngine("cpu"), out="leader", probe="1-3", **small)
    write(PyTorchEngine("cpu"), out="follower", probe="3", follow="leader", **small)
    leader, follower = Trace.load(tmp_path / "leader"), Trace.load(tmp_path / "follower")
    assert np.array_equal(follower.losses, leader.losses)
    assert len(set(leader.losses[:, 0])) == 4
    for name, value in leader.parameters.items():
        assert np.array_equal(follower.parameters[name], value)
    one, other = follower.probe(3), leader.probe(3)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key]) for key in one)
    for path in tmp_path.rglob("step-*.safetensors"):
        path.unlink()  # 30 MB each


def test_a_folder_may_be_a_link_or_where_one_is(write, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(out="link")
    write(out="link")
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in (tmp_path / "real").iterdir()} == TRACE | {"probes"}
    monkeypatch.chdir(tmp_path / "real")
    here = Path().stat().st_ino
    write(out="real")
    assert (tmp_path / "real").stat().st_ino == here  # the shell that stands there still does


def test_draws_are_all_that_another_engine_needs(conv, digits, settings, tmp_path, trained):
    """An engine that knows the files alone goes through the same run, bit for bit."""
    run = trained["emae"]
    write_draws(Run(conv, run.settings, digits), tmp_path / "draws")
    initial, *steps = (
        safetensors.numpy.load_file(path) for path in sorted((tmp_path / "draws").iterdir())
    )
    engine = PyTorchEngine("cpu")
    start = {name: torch.from_numpy(value) for name, value in initial.items()}
    engine.start(conv, run.settings, start)
    losses = []
    for step in steps:
        x = torch.from_numpy(step.pop("input"))
        assert all(set(np.unique(step[mask])) == {0, 1} for mask in ("dropout1", "dropout2"))
        draws = {k: v.astype(bool) if v.dtype == np.uint8 else v for k, v in step.items()}
        losses.append(engine.step(x, draws))
    assert np.array_equal(torch.stack(losses), run.losses)
    for name, value in run.parameters.items():
        assert np.array_equal(engine.parameters()[name], value)
    Trace.remove(tmp_path)
    assert not tmp_path.exists()


class RefusingEngine(CountingEngine):
    def start(self, recipe, settings, parameters):
        if settings.rng == "r" or settings.objective == "emae":
            raise UserError("this engine cannot")
        super().start(recipe, settings, parameters)


@pytest.mark.parametrize("changes", [{"rng": "r"}, {"objectives": ("vae", "emae")}])
def test_what_an_engine_cannot_run_removes_and_writes_nothing(write, tmp_path, changes):
    write(probe="all")
    before = files_below(tmp_path)
    for out in ("out", "other"):
        with pytest.raises(UserError, match="this engine cannot"):
            write(RefusingEngine(), out=out, **changes)
        assert files_below(tmp_path) == before


def test_a_leader_whose_chance_came_from_elsewhere_is_the_users_error(write, tmp_path):
    write(out="leader", probe="all")
    before = files_below(tmp_path)
    with pytest.raises(UserError, match="has rng injected, and this run torch"):
        write(follow="leader", rng="torch")
    assert files_below(tmp_path) == before


def test_own_draws_cannot_be_written_beforehand(conv, digits, settings, tmp_path):
    run = Run(conv, settings(rng="torch"), digits)
    with pytest.raises(
        UserError, match=r"--draws cannot be used with --rng torch\. Use --rng injected"
    ):
        record_traces(tmp_path / "out", run, PyTorchEngine("cpu"), draws=True)
    assert list(tmp_path.iterdir()) == []


def write_any(recipe, settings, data, out, probe="all", follow=None):
    run = Run(recipe, settings, data)
    probed = StepSet.parse(probe)
    record_traces(str(out), run, PyTorchEngine("cpu"), probed=probed, follow=follow and str(follow))


@pytest.mark.parametrize("name", ["mlp", "clustering-toy"])
def test_following_a_run_with_batch_norm_is_the_same_run_to_the_bit(name, small, data_of, tmp_path):
    recipe = get_recipe(name)
    settings, data = small(recipe, steps=4), data_of(recipe)
    write_any(recipe, settings, data, tmp_path / "leader")
    write_any(recipe, settings, data, tmp_path / "follower", "none", tmp_path / "leader")
    leader, follower = (Trace.load(tmp_path / one) for one in ("leader", "follower"))
    assert follower.mode == "resync"
    assert np.array_equal(follower.losses, leader.losses)
    for key, value in leader.parameters.items():
        assert np.array_equal(follower.parameters[key], value)


def test_a_leader_without_running_statistics_is_the_users_error(small, data_of, tmp_path):
    recipe = get_recipe("mlp")
    settings, data = small(recipe), data_of(recipe)
    write_any(recipe, settings, data, tmp_path / "leader")
    path = tmp_path / "leader" / "probes" / "step-000001.safetensors"
    probe = safetensors.numpy.load_file(path)
    del probe["buffer/encoder.bn1.running_var"]
    safetensors.numpy.save_file(probe, path)
    with pytest.raises(UserError, match=r"no buffer/encoder.bn1.running_var \(20,\) in its probe"):
        write_any(recipe, settings, data, tmp_path / "follower", "none", tmp_path / "leader")


def test_a_leader_with_other_hyperparameters_is_the_users_error(small, data_of, tmp_path):
    recipe = get_recipe("clustering-toy")
    data = data_of(recipe)
    write_any(recipe, small(recipe), data, tmp_path / "leader")
    other = small(recipe, hyper={"temperature": 0.7})
    with pytest.raises(UserError, match=r"has temperature 0.5, and this run 0.7"):
        write_any(recipe, other, data, tmp_path / "follower", "none", tmp_path / "leader")
    assert not (tmp_path / "follower").exists()


@pytest.mark.slow
def test_draws_hold_the_images_with_labels(small, data_of, tmp_path):
    recipe = get_recipe("clustering-semi-supervised")
    settings = small(recipe, steps=2)
    write_draws(Run(recipe, settings, data_of(recipe)), tmp_path / "draws")
    given = list(batches(Run(recipe, settings, data_of(recipe))))
    for step, x, draws in given:
        found = safetensors.numpy.load_file(tmp_path / "draws" / f"step-{step:06d}.safetensors")
        assert found.keys() == {"input", *draws}
        assert np.array_equal(found["input"], x)
        assert all(np.array_equal(found[name], value) for name, value in draws.items())
    Trace.remove(tmp_path)
