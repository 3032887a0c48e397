"""What a comparison leaves on disk, finished or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from stand_ins.patched_r import PatchedBaseR
from stand_ins.verdicts import named

from comparisons.runs.live import CompareOptions, compare
from pyvae.data.images import load_toy
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.recipes import RECIPES
from pyvae.runs.run_folder import RunFolder
from pyvae.trace.trace import Trace

pytestmark = pytest.mark.slow


class Stopping(PyTorchEngine):
    """An engine that fails at its third step."""

    name = "stopping"

    def start(self, *arguments):
        super().start(*arguments)
        self.count = 0

    def step(self, *arguments, **options):
        self.count += 1
        if self.count == 3:
            raise KeyboardInterrupt
        return super().step(*arguments, **options)


TOY = RECIPES["clustering-toy"]
NAME = "clustering-points"  # its objective, whose title is "clustering"


@pytest.fixture(scope="module")
def toy():
    """Thirty points: two batches of 12 an epoch."""
    return load_toy(30)


@pytest.fixture
def settings():
    """Makes settings of a network with 29,000 parameters: as small as there is one."""
    small = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64"}
    return lambda **changes: TOY.settings(**small | changes)


def run(reference, runs, data, out, **options):
    runs = [Run(TOY, settings, data) for settings in runs]
    return compare(runs, PyTorchEngine("cpu"), reference, out, CompareOptions(**options))


def test_an_interrupted_comparison_keeps_what_was_computed(settings, toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), [settings(steps=4)], toy, tmp_path)
    history = pd.read_csv(tmp_path / "interrupted" / "history.csv")
    assert history.groupby("engine").size().to_dict() == {"pytorch": 4, "stopping": 2}
    partial = Trace.load(tmp_path / "interrupted" / f"{NAME}-stopping")
    assert not partial.complete
    whole = Trace.load(tmp_path / "interrupted" / f"{NAME}-pytorch")
    assert whole.complete
    assert np.array_equal(partial.losses, whole.losses[:2])
    assert not (tmp_path / "traces").exists()


def test_a_finished_comparison_clears_what_an_interrupted_one_left(settings, toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), [settings()], toy, tmp_path)
    (comparison,) = run(named("stopping"), [settings()], toy, tmp_path)
    assert comparison.agrees
    assert comparison.quantities["loss"].max_ulp == 0  # the same engine twice: every bit
    assert not (tmp_path / "interrupted").exists()
    for engine in ("pytorch", "stopping"):
        trace = Trace.load(tmp_path / "traces" / f"{NAME}-{engine}")
        assert np.array_equal(trace.losses, comparison.under_test.losses)


@pytest.mark.slow
def test_what_is_not_ours_stays_and_older_traces_go(settings, toy, tmp_path):
    mine = [tmp_path / "traces" / "notes.txt", tmp_path / "interrupted" / "vae" / "thesis.txt"]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    for name in ("older", "other"):
        run(named(name), [settings()], toy, tmp_path)
    assert all(path.read_text() == "mine" for path in mine)
    saved = {path.parent.name for path in (tmp_path / "traces").glob("*/trace.json")}
    assert saved == {f"{NAME}-pytorch", f"{NAME}-other"}
    assert not (tmp_path / "traces" / f"{NAME}-older").exists()


def test_nothing_is_kept_where_nothing_was_computed(settings, toy, tmp_path):
    class Failing(PyTorchEngine):
        def start(self, *arguments):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(Run(TOY, settings(), toy), Failing("cpu"), PyTorchEngine("cpu"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_resynchronised_run_keeps_what_was_computed(settings, toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Stopping("cpu"), [settings(steps=4)], toy, tmp_path, mode="resync")
    history = pd.read_csv(tmp_path / "interrupted" / "history.csv")
    assert history.groupby("engine").size().to_dict() == {"pytorch": 3, "stopping": 2}


class Hasty(PyTorchEngine):
    """PyTorch with a learning rate that is off by 1 %."""

    name = "hasty"

    def start(self, *arguments):
        super().start(*arguments)
        self.optimizer.param_groups[0]["lr"] *= 1.01


@pytest.mark.parametrize("mode", ["free", "resync"])
def test_a_mistake_before_the_first_inspected_step_is_placed_where_it_begins(
    settings, toy, tmp_path, mode
):
    (comparison,) = run(Hasty("cpu"), [settings(steps=3)], toy, tmp_path, mode=mode, inspect={3})
    assert comparison.divergence is not None
    assert (comparison.divergence.step, comparison.divergence.stage) == (1, "adam.update")


# Going on after an interruption


class Interrupted(PyTorchEngine):
    """An engine that is stopped once, in one step of one objective, or when it takes that step
    again."""

    def __init__(self, name, stop):
        super().__init__("cpu")
        self.name, self.stop = name, stop
        self.taken = []  # (objective, step) of every step

    def start(self, *arguments):
        super().start(*arguments)
        self.count = 0

    def restore(self, state):
        super().restore(state)
        self.count = int(state["step"])

    def step(self, *arguments, **options):
        self.count += 1
        now = (self.settings.objective, self.count)
        if self.stop == (now if now not in self.taken else (*now, "again")):
            self.stop = None
            raise KeyboardInterrupt
        self.taken.append(now)
        return super().step(*arguments, **options)


class Comparing:
    """Comparisons of two engines, one of them stopped if that is asked for."""

    def __init__(self, recipe, data, out):
        self.recipe, self.data, self.out = recipe, data, out

    def __call__(self, runs, a=None, b=None, out=None, **options):
        """The comparisons; None if one was stopped."""
        self.said = []
        self.engines = Interrupted("engine-a", a), Interrupted("engine-b", b)
        out = out or self.out
        out.mkdir(exist_ok=True)

        options = CompareOptions(**{"inspect": ()} | options)
        runs = [Run(self.recipe, settings, self.data) for settings in runs]
        try:
            made = compare(runs, *self.engines, out, options, log=self.said.append)
        except KeyboardInterrupt:
            assert self.said.pop() == f"kept what was computed: {out / 'interrupted'}"
            return None
        return made

    @property
    def kept(self):
        """What is in the folder of interrupted runs."""
        folder = self.out / "interrupted"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def gives_the_same_bits(self, runs, **options):
        """As a comparison that was never interrupted, in all that it leaves."""
        whole = self.out.with_name("whole")
        assert self(runs, out=whole, **options) is not None
        return contents(self.out / "traces") == contents(whole / "traces")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def comparing(toy, tmp_path, monkeypatch):
    """Comparisons with a checkpoint after every step."""
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "0")
    return Comparing(TOY, toy, tmp_path / "out")


@pytest.mark.parametrize(
    ("rng", "side"),
    [
        ("torch", "a"),
        pytest.param("torch", "b", marks=pytest.mark.slow),
        pytest.param("injected", "b", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_comparison_goes_on_and_gives_the_same_bits(comparing, settings, rng, side):
    """Thirty images: the fourth of the steps is the second epoch's second."""
    runs = [settings(steps=5, rng=rng)]
    assert comparing(runs, **{side: (NAME, 4)}) is None
    assert comparing.said == []
    both = {f"{NAME}-engine-a", f"{NAME}-engine-b"}
    assert comparing.kept == {"history.csv"} | (both if side == "b" else {f"{NAME}-engine-a"})
    (comparison,) = comparing(runs)
    before = ["clustering in engine-a: all 5 steps were done before"] if side == "b" else []
    goes_on = f"clustering in engine-{side}: going on after step 3, where it was interrupted"
    assert comparing.said == [*before, goes_on]
    assert comparison.agrees
    assert comparing.kept == set()
    assert not (comparing.out / "interrupted").exists()
    assert comparing.gives_the_same_bits(runs)


@pytest.mark.slow
def test_interrupted_again_and_again_it_gives_the_same_bits(comparing, conv, few):
    """Two objectives, which `conv` has."""
    comparing = Comparing(conv, few, comparing.out)
    small = {"batch_size": 12, "latent_dim": 5, "steps": 4, "rng": "torch"}
    runs = [conv.settings(**small, objective=name) for name in ("vae", "emae")]
    assert comparing(runs, a=("vae", 2)) is None
    assert comparing.said == []
    assert comparing(runs, b=("vae", 3)) is None
    assert comparing.said == ["VAE in engine-a: going on after step 1, where it was interrupted"]
    assert comparing(runs, a=("emae", 1)) is None
    assert comparing.said == [
        "VAE in engine-a: all 4 steps were done before",
        "VAE in engine-b: going on after step 2, where it was interrupted",
    ]
    assert comparing(runs, b=("emae", 4)) is None
    assert comparing.said == [
        "VAE in engine-a: all 4 steps were done before",
        "VAE in engine-b: all 4 steps were done before",
    ]
    assert comparing.kept == {
        "history.csv", "vae-engine-a", "vae-engine-b", "emae-engine-a", "emae-engine-b",
    }  # fmt: skip
    history = pd.read_csv(comparing.out / "interrupted" / "history.csv")
    assert history.groupby(["objective", "engine"]).size().tolist() == [4, 3, 4, 4]
    made = comparing(runs)
    assert comparing.said[2:] == [
        "EMAE in engine-a: all 4 steps were done before",
        "EMAE in engine-b: going on after step 3, where it was interrupted",
    ]
    # nothing that was done is done again
    assert [engine.taken for engine in comparing.engines] == [[], [("emae", 4)]]
    assert all(comparison.agrees for comparison in made)
    assert comparing.kept == set()
    assert comparing.gives_the_same_bits(runs)


def test_a_finished_comparison_starts_again_from_nothing(comparing, settings):
    runs = [settings(steps=2)]
    for _ in range(2):
        assert comparing(runs) is not None
        assert comparing.said == []
        assert [len(engine.taken) for engine in comparing.engines] == [2, 2]


def test_resumed_what_is_complete_is_not_done_again(comparing, settings):
    """Killed when the traces were written, and the figures were not."""
    runs = [settings(steps=2)]
    assert comparing(runs) is not None
    assert comparing(runs, resumed=True) is not None
    assert comparing.said == [
        f"clustering in engine-{name}: all 2 steps were done before" for name in "ab"
    ]
    assert [engine.taken for engine in comparing.engines] == [[], []]
    assert comparing.gives_the_same_bits(runs)


def test_a_folder_that_was_removed_gets_its_checkpoint_at_once(comparing, settings, monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "1000")
    asked = []

    def removed_at_the_second(folder):
        asked.append(folder)
        return len(asked) == 2

    monkeypatch.setattr(RunFolder, "make_again", removed_at_the_second)
    runs = [settings(steps=3)]
    assert comparing(runs, a=(NAME, 3)) is None
    assert comparing(runs) is not None
    assert comparing.said == [
        "clustering in engine-a: going on after step 2, where it was interrupted"
    ]


@pytest.mark.slow
def test_another_run_starts_at_its_beginning_and_leaves_the_interrupted_one(comparing, settings):
    runs, others = [settings(rng="torch")], [settings(rng="torch", learning_rate=2e-3)]
    assert comparing(runs, b=(NAME, 3)) is None
    kept = contents(comparing.out / "interrupted" / f"{NAME}-engine-b")
    assert comparing(others) is not None
    other = "this folder holds another run (learning_rate 0.001, now 0.002): starting again"
    assert comparing.said == [f"clustering in engine-{name}: {other}" for name in "ab"]
    assert [len(engine.taken) for engine in comparing.engines] == [3, 3]
    assert contents(comparing.out / "interrupted" / f"{NAME}-engine-b") == kept
    # nor does it take the place of the first one where it is interrupted itself
    assert comparing(others, b=(NAME, 2)) is None
    assert contents(comparing.out / "interrupted" / f"{NAME}-engine-b") == kept
    for these, step in ((runs, 2), (others, 1)):
        assert comparing(these) is not None
        assert comparing.said == [
            "clustering in engine-a: all 3 steps were done before",
            f"clustering in engine-b: going on after step {step}, where it was interrupted",
        ]
        assert comparing.gives_the_same_bits(these)
    assert comparing.kept == set()


@pytest.mark.slow
def test_from_a_damaged_checkpoint_it_goes_on_from_the_one_before(comparing, settings):
    runs = [settings(rng="torch")]
    assert comparing(runs, a=(NAME, 3)) is None
    path = comparing.out / "interrupted" / f"{NAME}-engine-a" / "checkpoint-00000002.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert comparing(runs) is not None
    (line,) = comparing.said
    assert line.startswith("clustering in engine-a: the checkpoint of step 2 is damaged: ")
    assert line.endswith("; going on after step 1, where it was interrupted")
    assert [len(engine.taken) for engine in comparing.engines] == [2, 3]
    assert comparing.gives_the_same_bits(runs)


@pytest.mark.slow
def test_what_was_kept_of_a_free_run_is_no_part_of_a_resynchronised_one(comparing, settings):
    runs = [settings(rng="torch")]
    assert comparing(runs, b=(NAME, 3)) is None
    kept = contents(comparing.out / "interrupted" / f"{NAME}-engine-a")
    for stop in ((NAME, 3), None):  # nor is what was kept of another resynchronised one
        made = comparing(runs, b=stop, mode="resync", inspect={1})
    (comparison,) = made
    assert comparison.agrees
    assert (comparison.under_test.steps, comparison.reference.steps) == (3, 3)
    assert comparing.gives_the_same_bits(runs, mode="resync", inspect={1})
    # and the free one goes on where it stood
    assert contents(comparing.out / "interrupted" / f"{NAME}-engine-a") == kept
    assert comparing(runs) is not None
    assert len(comparing.said) == 2
    assert comparing.kept == set()


@pytest.mark.slow
def test_without_a_checkpoint_yet_it_starts_at_the_beginning(comparing, settings, monkeypatch):
    monkeypatch.setenv("PYVAE_CHECKPOINT_SECONDS", "1000")
    runs = [settings(rng="torch")]
    assert comparing(runs, a=(NAME, 3)) is None
    assert comparing.kept == {"history.csv", f"{NAME}-engine-a"}
    assert comparing(runs) is not None
    assert comparing.said == []
    assert [len(engine.taken) for engine in comparing.engines] == [3, 3]
    assert comparing.gives_the_same_bits(runs)


@pytest.mark.slow
def test_where_only_the_stages_were_missing_nothing_is_trained_again(comparing, settings):
    """Interrupted when both runs were complete and a step was being inspected."""
    runs = [settings(rng="torch")]
    assert comparing(runs, b=(NAME, 1, "again"), inspect={1}) is None
    assert comparing.kept == {"history.csv", f"{NAME}-engine-a", f"{NAME}-engine-b"}
    (comparison,) = comparing(runs, inspect={1})
    assert comparing.said == [
        f"clustering in engine-{name}: all 3 steps were done before" for name in "ab"
    ]
    assert [engine.taken for engine in comparing.engines] == [[(NAME, 1)]] * 2
    assert len(comparison.stages) == len(TOY.quantities(runs[0]))
    assert comparing.gives_the_same_bits(runs)


def compared_toy(patch, tmp_path):
    settings = TOY.settings(batch_size=20, steps=2, dtype="float64")
    with PatchedBaseR(patch) as reference:
        (comparison,) = run(reference, [settings], load_toy(60), tmp_path)
    return comparison


@pytest.mark.r
def test_evaluation_mode_is_compared_from_one_state(tmp_path):
    """Running statistics drift with biases that have no effect; from one state nothing has."""
    comparison = compared_toy(None, tmp_path)
    assert comparison.agrees
    assert comparison.quantities["evaluation_mode"].required_rtol < 1e-13


@pytest.mark.r
def test_a_mistake_in_evaluation_mode_alone_is_seen(tmp_path):
    patch = """right <- batch_norm_forward
    batch_norm_forward <- function(x, weight, bias, running_mean, running_var, momentum, eps,
                                   training) {
      right(x, weight, bias, running_mean, running_var, momentum,
            if (training) eps else eps + 1e-6, training)
    }"""
    comparison = compared_toy(patch, tmp_path)
    quantities = comparison.quantities
    assert not comparison.agrees
    assert not quantities["evaluation_mode"].agrees
    assert quantities["evaluation_mean"].agrees  # its tolerance leaves room for drift
    assert quantities["loss"].agrees
