"""Many seeds of two engines, in processes."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest
import torch
from stand_ins import gated
from stand_ins.patched_r import PatchedBaseR, add_engine, replace_engine

from comparisons.runs.sides import Sides
from comparisons.seeds import run_seeds as native
from comparisons.seeds.equivalence import Margins, overall
from comparisons.seeds.measures import measures
from comparisons.seeds.run_seeds import compare_outcomes, plan, run_seeds
from comparisons.seeds.saved_outcome import load_outcome
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import UserError
from pyvae.model.run import Run
from pyvae.parallel.processes import Processes
from pyvae.recipes import get_recipe, open_recipe
from pyvae.training.loop import train

pytestmark = pytest.mark.slow

SEEDS = 3
WRONG = """right <- initial_parameters
initial_parameters <- function(layers) lapply(right(layers), function(w) 3 * w)"""


@pytest.fixture
def inline(inline, conv, monkeypatch):
    """As it is, of a narrow `conv`: processes know a recipe by its name alone."""
    monkeypatch.setattr(
        native, "open_recipe", lambda name: conv if name == conv.name else open_recipe(name)
    )


def both(under_test="pytorch", reference="pytorch"):
    return Sides(under_test, reference, "native", False, "torch")


def planned(settings, sides=None, seeds=SEEDS, **changes):
    """The runs of a comparison of two tiny steps."""
    run = settings(**{"steps": 2, "dtype": "float32"} | changes)
    sides = sides or both()
    about = {name: {"R": "4"} for name in (sides.under_test, sides.reference)}
    return plan(sides, [run], seeds, about | {"pytorch": {"torch": "2"}})


class Seen(list):
    """What `run_seeds` says of each run: its file, and whether it was there before."""

    def __call__(self, run, outcome, was_there, where):
        assert outcome.seed == run.settings.seed
        assert where == ""
        self.append((run.file, was_there))

    def those(self, was_there):
        return {file for file, there in self if there == was_there}


def go(runs, conv, data, folder, sides=None, jobs=2):
    seen = Seen()
    outcomes = run_seeds(runs, sides or both(), conv, data, folder, Processes(jobs, 1), 1, seen)
    return outcomes, seen


# The plan


def test_the_sides_have_seeds_of_their_own(settings):
    runs = plan(
        both(), [settings(objective=name, seed=10) for name in ("vae", "emae")], 4, {"pytorch": {}}
    )
    assert len(runs) == 2 * 2 * 4
    assert len({run.file for run in runs}) == 16
    for objective in ("vae", "emae"):
        seeds = {
            side: [
                run.settings.seed
                for run in runs
                if (run.side, run.settings.objective) == (side, objective)
            ]
            for side in ("under-test", "reference")
        }
        assert seeds == {"under-test": [10, 11, 12, 13], "reference": [14, 15, 16, 17]}


def test_each_engine_draws_with_its_own_generator(settings):
    runs = planned(
        settings,
        both("pytorch", "base-r"),
    )
    for run in runs:
        mine = run.side == "under-test"
        assert run.engine == ("pytorch" if mine else "base-r")
        assert run.settings.rng == ("torch" if mine else "r")
        assert run.about == ({"torch": "2"} if mine else {"R": "4"})
    # so that a first result of both sides is there early
    assert [run.side for run in runs[:2]] == ["under-test", "reference"]


@pytest.mark.parametrize("seeds", [-1, 0, 1, 2, 10_001])
def test_too_few_seeds_or_too_many_are_one_line(settings, seeds):
    with pytest.raises(UserError) as caught:
        planned(settings, seeds=seeds)
    assert str(caught.value) == f"--seeds {seeds}: expected 3 to 10000"


@pytest.mark.parametrize(
    ("pair", "seed"), [(("pytorch", "base-r"), 2**31 - 5), (("base-r", "pytorch"), 2**31 - 2)]
)
def test_seeds_that_an_engine_cannot_take_are_one_line_before_anything_runs(settings, pair, seed):
    assert planned(settings, both(*pair), seed=seed - 1)
    with pytest.raises(UserError) as caught:
        planned(settings, both(*pair), seed=seed)
    assert str(caught.value) == (
        f"--seed {seed} with --seeds 3 gives base-r seed 2147483648, and its generator takes none "
        "above 2147483647. Choose a smaller --seed."
    )
    assert planned(settings, seed=seed)  # PyTorch can


# Running


def test_every_run_is_the_one_that_its_seed_gives_alone(inline, conv, settings, few, tmp_path):
    runs = planned(settings)
    outcomes, seen = go(runs, conv, few, tmp_path / "seeds")
    assert sorted(seen) == sorted((run.file, False) for run in runs)
    assert {path.name for path in (tmp_path / "seeds").iterdir()} == outcomes.keys()
    for run in runs:
        alone = train(Run(conv, run.settings, few), PyTorchEngine("cpu"))
        assert np.array_equal(outcomes[run.file].losses, alone.losses)
        assert np.array_equal(outcomes[run.file].mu, alone.latent_means["evaluation"])


def test_what_is_done_is_not_done_again(inline, conv, settings, few, tmp_path):
    runs = planned(settings)
    first, _ = go(runs, conv, few, tmp_path)
    absent, damaged, other = (tmp_path / runs[place].file for place in (0, 3, 4))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    absent.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-7])
    other.write_bytes((tmp_path / runs[5].file).read_bytes())
    (tmp_path / f".{absent.name}.a1b2c3d4").write_text("of one that was killed")
    again, seen = go(runs, conv, few, tmp_path)
    done = {absent.name, damaged.name, other.name}
    assert seen.those(was_there=False) == done
    assert seen.those(was_there=True) == {run.file for run in runs} - done
    assert {path.name for path in tmp_path.iterdir()} == first.keys()
    for name in first:
        assert np.array_equal(first[name].losses, again[name].losses)
        assert (kept[tmp_path / name] == (tmp_path / name).stat().st_mtime_ns) == (name not in done)


def test_no_process_is_started_where_all_is_done(
    inline, conv, settings, few, tmp_path, monkeypatch
):
    runs = planned(settings)
    go(runs, conv, few, tmp_path)
    monkeypatch.delattr("pyvae.parallel.processes._open_pool")
    assert go(runs, conv, few, tmp_path)[1].those(was_there=False) == set()


@pytest.mark.slow
def test_runs_of_other_settings_are_done_again(inline, conv, settings, few, tmp_path):
    go(planned(settings), conv, few, tmp_path)
    _, seen = go(planned(settings, learning_rate=2e-3), conv, few, tmp_path)
    assert seen.those(was_there=True) == set()


def test_a_run_that_fails_is_one_line_and_the_others_stay(
    inline, conv, settings, few, tmp_path, monkeypatch
):
    runs = planned(settings)
    right = native.train

    def failing(run, *arguments, **options):
        if run.settings.seed == runs[2].settings.seed:
            raise UserError("out of paper")
        return right(run, *arguments, **options)

    monkeypatch.setattr(native, "train", failing)
    with pytest.raises(UserError) as caught:
        go(runs, conv, few, tmp_path)
    assert str(caught.value) == f"pytorch, seed {runs[2].settings.seed}: out of paper"
    assert not (tmp_path / runs[2].file).exists()
    monkeypatch.setattr(native, "train", right)
    _, seen = go(runs, conv, few, tmp_path)
    assert runs[2].file in seen.those(was_there=False)
    assert len(seen.those(was_there=True)) >= 1


@pytest.mark.r
@pytest.mark.slow
def test_an_error_in_r_is_one_line_with_engine_and_seed(
    inline, conv, settings, few, tmp_path, monkeypatch
):
    replace_engine(monkeypatch, "session_step <- function(...) stop('a port of its own')")
    runs = planned(settings, both("pytorch", "base-r"))
    words = r"^base-r, seed \d: R error: a port of its own; in session_step"
    with pytest.raises(UserError, match=words) as caught:
        go(runs, conv, few, tmp_path, both("pytorch", "base-r"))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*reference*"))


def test_an_engine_of_other_versions_is_one_line(inline, conv, settings, few, tmp_path):
    """A worker's may be others: its outcome would say what is not so."""
    environment = PyTorchEngine("cpu", kernels="torch").environment()
    run = settings(steps=2, dtype="float32")
    right = plan(both(), [run], SEEDS, {"pytorch": {"environment": environment}})
    assert len(go(right[:1], conv, few, tmp_path / "right")[0]) == 1
    wrong = plan(both(), [run], SEEDS, {"pytorch": {"environment": {"torch": "1.0"}}})
    with pytest.raises(UserError) as caught:
        go(wrong[:1], conv, few, tmp_path / "wrong")
    assert str(caught.value).startswith(
        f"pytorch, seed 2: pytorch has torch {torch.__version__} on"
    )
    assert ", but 1.0 where the command was given. Install the same version there." in str(
        caught.value
    )
    assert list((tmp_path / "wrong").iterdir()) == []


@pytest.mark.parametrize("lasting", [True, False])
def test_only_a_process_of_its_own_keeps_its_engines(settings, few, tmp_path, lasting):
    (run,) = planned(settings)[:1]
    try:
        native._run_seed(run, tmp_path, "conv", "torch", 1, lasting, [few], lambda: None)
        assert (len(native._engines) == 0) is lasting
    finally:
        native.close_engines()


def test_a_seed_that_is_not_wanted_any_more_ends(settings, few, tmp_path):
    asked = []

    def ask():
        asked.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        native._run_seed(planned(settings)[0], tmp_path, "conv", "torch", 1, True, [few], ask)
    assert asked == [1]
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_diverges_is_a_result(inline, conv, settings, few, tmp_path):
    """In the second step, of which the loss is not a number; and where it has run to the end."""
    sides = both()
    runs = planned(settings, sides, learning_rate=1e6, steps=3)
    good = planned(settings, sides, steps=3)
    mixed = [*good[:-1], runs[-1]]
    outcomes, _ = go(mixed, conv, few, tmp_path, sides)
    diverged = outcomes[mixed[-1].file]
    assert np.isfinite(diverged.losses[0]).all()
    assert np.isnan(diverged.losses[-1]).all()
    assert len(diverged.losses) == len(diverged.epochs)
    assert np.isnan(diverged.mu).all()
    (found,) = compare_outcomes(mixed, outcomes, Margins(1000))
    assert {result.verdict for result in found.results} == {"different"}
    seed = mixed[-1].settings.seed
    assert found.results[0].problem == f"pytorch (B), seed {seed}: loss is nan"
    again, seen = go(mixed, conv, few, tmp_path, sides)  # nor is it done again
    assert seen.those(was_there=False) == set()
    assert np.array_equal(again[mixed[-1].file].losses, diverged.losses, equal_nan=True)


def test_a_seed_that_diverges_at_once_is_a_result(
    inline, conv, settings, few, tmp_path, monkeypatch
):
    """Already its first loss is not a number."""

    class Blind(PyTorchEngine):
        def start(self, *arguments):
            super().start(*arguments)
            self.network.decoder.conv2.bias.data[0] = np.nan

    monkeypatch.setattr(native, "_engine", lambda *given: Blind("cpu"))
    runs = planned(settings)
    outcomes, _ = go(runs, conv, few, tmp_path)
    for outcome in outcomes.values():
        assert outcome.losses.shape == (1, 3)
        assert np.isnan(outcome.losses).all()
        assert outcome.epochs.tolist() == [1]
    (found,) = compare_outcomes(runs, outcomes, Margins(1))
    assert overall(found.results) == "different"


@pytest.mark.r
@pytest.mark.slow
def test_a_seed_of_base_r_that_diverges_is_a_result(inline, conv, settings, few, tmp_path):
    """It refuses a step as PyTorch's engine does."""
    sides = both("base-r", "base-r")
    runs = planned(settings, sides, learning_rate=1e6)
    outcomes, _ = go(runs, conv, few, tmp_path, sides)
    assert all(np.isnan(outcome.losses[-1]).any() for outcome in outcomes.values())
    (found,) = compare_outcomes(runs, outcomes, Margins(1))
    assert overall(found.results) == "different"


@pytest.mark.r_torch
@pytest.mark.slow
def test_a_seed_of_r_torch_that_diverges_is_a_result(inline, settings, few, tmp_path, monkeypatch):
    conv = get_recipe("conv")  # of which R's torch has its own network
    monkeypatch.setattr(native, "open_recipe", open_recipe)
    sides = both("r-torch", "r-torch")
    run = settings(steps=3, learning_rate=1e6, dtype="float32")
    runs = plan(sides, [run], SEEDS, {"r-torch": {}})
    outcomes, _ = go(runs, conv, few, tmp_path, sides)
    assert all(np.isnan(outcome.losses[-1]).all() for outcome in outcomes.values())


# Comparing


@pytest.mark.slow
def test_objectives_are_compared_apart_and_an_engine_with_itself_has_two_names(
    inline, conv, settings, few, tmp_path
):
    runs = plan(
        both(),
        [settings(objective=name, steps=1) for name in ("emae", "vae")],
        SEEDS,
        {"pytorch": {}},
    )
    outcomes, _ = go(runs, conv, few, tmp_path)
    found = compare_outcomes(runs, outcomes, Margins(1e6))
    assert [one.objective for one in found] == ["emae", "vae"]
    for one in found:
        assert {outcome.engine for outcome in one.under_test} == {"pytorch (A)"}
        assert {outcome.engine for outcome in one.reference} == {"pytorch (B)"}
        assert [outcome.seed for outcome in one.under_test] == [2, 3, 4]
        assert [outcome.seed for outcome in one.reference] == [5, 6, 7]
        assert {outcome.objective for outcome in (*one.under_test, *one.reference)} == {
            one.objective
        }
        assert (one.results[0].a.engine, one.results[0].b.engine) == ("pytorch (A)", "pytorch (B)")
        assert one.results[0].verdict == "equivalent"


def test_two_engines_keep_their_names(settings):
    runs = planned(settings, both("pytorch", "base-r"))
    rng = np.random.default_rng(1)
    outcomes = {
        run.file: native.RunOutcome(
            run.engine, "vae", run.settings.seed, rng.normal(size=(2, 3)), np.ones(2), 12,
            rng.normal(size=(12, 5)),
        )
        for run in runs
    }  # fmt: skip
    (found,) = compare_outcomes(runs, outcomes, Margins(1))
    assert {outcome.engine for outcome in found.under_test} == {"pytorch"}
    assert {outcome.engine for outcome in found.reference} == {"base-r"}


# In processes of their own


def wait_for_children(but=()):
    """Until the processes that did the runs have ended."""
    for child in multiprocessing.active_children():
        if child not in but:
            child.join()


@pytest.fixture
def other():
    """A process that somebody else has started."""
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(10**6,))
    other.start()
    yield other
    other.terminate()
    other.join()


@pytest.mark.slow
def test_processes_give_the_bits_of_this_one_and_leave_others_alone(settings, few, tmp_path, other):
    runs, conv = planned(settings), get_recipe("conv")
    outcomes, seen = go(runs, conv, few, tmp_path, jobs=2)
    assert sorted(seen) == sorted((run.file, False) for run in runs)
    for run in runs:
        here = train(Run(conv, run.settings, few), PyTorchEngine("cpu"))
        assert np.array_equal(here.losses, outcomes[run.file].losses)
        assert np.array_equal(here.latent_means["evaluation"], outcomes[run.file].mu)
    wait_for_children(but=[other])
    assert other.is_alive()


@pytest.mark.slow
def test_a_process_that_is_killed_is_one_line_and_what_is_done_stays(
    conv, settings, few, tmp_path, monkeypatch
):
    """The process of a run that would never end."""
    monkeypatch.setattr(native, "_run_seed", gated.run_seed)
    runs = planned(settings)
    assert gated.WAITS in [run.settings.seed for run in runs]
    done = []

    def kill(run, outcome, was_there, where):
        done.append(run.file)
        if len(done) == 1:
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(UserError) as caught:
        run_seeds(runs, both(), conv, few, tmp_path, Processes(2, 1), 1, kill)
    assert str(caught.value).startswith(
        "a process that was training was killed, perhaps for lack of memory. Run the same command "
    )
    wait_for_children()
    there = {run.file for run in runs if load_outcome(run, tmp_path)}
    assert set(done) <= there
    assert len(there) < len(runs)


def test_labels_go_to_the_processes_and_means_are_not_divided(inline, digits, tmp_path):
    """A recipe that is given labels, and one whose loss is a mean over images."""
    for name, hyper in (("clustering-semi-supervised", {"labels": 10}), ("beta", {})):
        recipe = get_recipe(name)
        run = recipe.settings(batch_size=6, latent_dim=2, steps=1, dtype="float32", hyper=hyper)
        runs = plan(both(), [run], 3, {"pytorch": {}})[:1]
        folder = tmp_path / name
        (outcome,) = run_seeds(runs, both(), recipe, digits, folder, Processes(1, 1), 1).values()
        per_image = outcome.losses[:, 0] / (1 if name == "beta" else 6)
        assert np.array_equal(outcome.loss_per_image, per_image)
        assert measures(outcome)["loss"] == pytest.approx(per_image[0])


@pytest.mark.r
@pytest.mark.slow
def test_wrong_initial_weights_are_found_and_right_ones_are_equivalent(
    inline, conv, settings, digits, tmp_path, monkeypatch
):
    """What a comparison on injected draws cannot see: R starts with weights of three times the size
    of PyTorch's."""

    class Wrong(PatchedBaseR):
        name = "wrong-r"

        def __init__(self, threads):
            super().__init__(WRONG, threads)

    add_engine(monkeypatch, "wrong-r", Wrong)
    verdicts = {}
    for reference in ("base-r", "wrong-r"):
        sides = both("pytorch", reference)
        runs = planned(settings, sides, seeds=5, batch_size=25, steps=5)
        outcomes, seen = go(runs, conv, digits, tmp_path, sides)
        # PyTorch's runs are the same
        assert len(seen.those(was_there=True)) == (5 if reference == "wrong-r" else 0)
        (found,) = compare_outcomes(runs, outcomes, Margins(5))
        verdicts[reference] = {result.measure: result.verdict for result in found.results}
    assert set(verdicts["base-r"].values()) == {"equivalent"}
    assert verdicts["wrong-r"]["loss"] == "different"
    assert verdicts["wrong-r"]["reconstruction"] == "different"
