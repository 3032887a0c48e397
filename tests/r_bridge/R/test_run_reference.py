"""The R article in R alone: runs of run_reference.R as a user starts them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess

import numpy as np
import pytest
import torch

from comparisons.saved.compare import compare_traces
from comparisons.saved.pairs import load_pairs
from pyvae.data.images import ImageData
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.trace.trace import Trace
from pyvae.training.loop import train
from r_bridge import R_FILES
from r_bridge.installed.environment import r_environment
from r_bridge.rpy2_fit import find_r

pytestmark = pytest.mark.r

IMAGES = 34
SMALL = ("--batch-size", "10", "--latent-dim=3")
FIGURES = ["loss_hist.png", "mu_EMAE.png", "mu_VAE.png", "emae_gen.png", "vae_gen.png"]
TRACE = ["history.csv", "latents.safetensors", "parameters.safetensors", "trace.json"]


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(3).integers(0, 256, (IMAGES, 784), dtype=np.uint8)
    return ImageData("mnist", torch.from_numpy(pixels), None, "made up")


@pytest.fixture(scope="module")
def mnist(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    head = struct.pack(">4B3I", 0, 0, 8, 3, len(images), 28, 28)
    (folder / "train-images-idx3-ubyte").write_bytes(head + images.pixels.numpy().tobytes())
    return folder


def command(*arguments, scripts=R_FILES):
    rscript = find_r().with_name("Rscript")
    return [str(part) for part in (rscript, scripts / "run_reference.R", *arguments)]


def run(*arguments, folder, environment=None, **options):
    """Runs the script in a folder, on one thread."""
    return subprocess.run(
        command(*arguments, **options),
        cwd=folder,
        env=r_environment(find_r(), 1) | {"PYVAE_DATA": ""} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def article(mnist, tmp_path_factory):
    """A run of both objectives in base R, and its folder."""
    folder = tmp_path_factory.mktemp("article")
    return run("--data", mnist, "--steps=5", *SMALL, folder=folder), folder / "article-r"


def repeated(trace, images, conv, adam="torch", **options):
    """The same run in PyTorch, from the trace's settings alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(trace.environment["threads"]))
    try:
        return train(Run(conv, trace.settings, images), PyTorchEngine("cpu", adam), **options)
    finally:
        torch.set_num_threads(threads)


def test_the_article_leaves_figures_and_traces(article):
    ran, folder = article
    assert (ran.returncode, ran.stderr) == (0, "")
    assert names(folder) == sorted([*FIGURES, "vae", "emae"])
    assert ran.stdout.splitlines()[-1] == "written: article-r"
    for objective in ("vae", "emae"):
        assert names(folder / objective) == TRACE
        trace = Trace.load(folder / objective)
        assert (trace.engine, trace.recipe, trace.steps) == ("base-r", "conv", 5)
        assert (trace.settings.rng, trace.settings.dtype) == ("r", "float64")
        assert (trace.data["name"], trace.data["images"]) == ("mnist", IMAGES)
        assert trace.environment["threads"] == "1"
        assert trace.samples.shape == (16, 784)
        assert {mode: mu.shape for mode, mu in trace.latent_means.items()} == {
            "training": (10, 3),
            "evaluation": (10, 3),
        }


def test_a_line_an_epoch_says_what_the_article_prints(article):
    ran, folder = article
    said = re.findall(
        r"epoch (\d) of 2: ([\d,.]+) nats, summed over its (\d) batch(?:es)? \(as the article "
        r"prints it\); ([\d.]+) nats per image; \d+ s, \d:\d\d:\d\d left",
        ran.stdout,
    )
    expected = [
        (f"{row.epoch}", f"{row.total:,.2f}", f"{row.steps}", f"{row.nats_per_image:.3f}")
        for objective in ("vae", "emae")
        for row in Trace.load(folder / objective).epoch_table().itertuples()
    ]
    assert said == expected


def test_pytorch_repeats_it_from_the_seed_and_compare_agrees(article, images, conv, tmp_path):
    _, folder = article
    for objective in ("vae", "emae"):
        (tmp_path / objective).mkdir()
        trace = Trace.load(folder / objective)
        repeated(trace, images, conv).save(tmp_path / objective)
    for python, r in load_pairs(tmp_path, folder):
        comparison = compare_traces(python, r)
        assert comparison.agrees, comparison.quantities
        np.testing.assert_allclose(python.samples, r.samples, atol=1e-12)


def test_steps_that_are_looked_into_are_compared_stage_by_stage(mnist, images, conv, tmp_path):
    """As `pyvae compare` advises where the two disagree."""
    ran = run(
        "--data", mnist, "--steps=2", "--objective=vae", "--probe=1-2", *SMALL,
        "--batch-size=3", folder=tmp_path,  # the last one counts
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    r = Trace.load(tmp_path / "article-r" / "vae")
    assert r.probed == [1, 2]
    (tmp_path / "python").mkdir()
    probes = {1: {}, 2: {}}
    python = repeated(r, images, conv, probe=probes.get)
    for step, probe in probes.items():
        python.save_probe(tmp_path / "python", step, probe)
    python.save(tmp_path / "python")
    ((a, b),) = load_pairs(tmp_path / "python", tmp_path / "article-r" / "vae")
    comparison = compare_traces(a, b)
    assert comparison.agrees
    assert comparison.inspected_steps == [1, 2]
    quantities = conv.quantities(r.settings)
    assert len(comparison.stages) == 2 * len(quantities)
    assert all(stage.max_abs <= 1e-9 * stage.largest for stage in comparison.stages)


@pytest.mark.r_torch
@pytest.mark.parametrize(("objective", "dtype"), [("emae", "float32"), ("vae", "float64")])
def test_r_torch_is_repeated_in_every_bit(mnist, images, conv, tmp_path, objective, dtype):
    options = ["--engine", "r-torch", "--objective", objective, "--threads", "1"]
    if dtype != "float32":  # the default
        options += ["--dtype", dtype]
    ran = run("--data", mnist, "--steps", "5", *options, *SMALL, folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    trace = Trace.load(tmp_path / "article-r" / objective)
    assert (trace.engine, trace.settings.rng) == ("r-torch", "torch")
    assert trace.settings.dtype == dtype
    assert {"R torch", "LibTorch"} < trace.environment.keys()
    python = repeated(trace, images, conv, adam="r-torch")
    assert np.array_equal(python.losses, trace.losses)
    assert np.array_equal(python.samples, trace.samples)
    for kind in ("parameters", "latent_means"):
        for name, value in getattr(python, kind).items():
            assert np.array_equal(value, getattr(trace, kind)[name]), name


def test_one_objective_has_three_figures_wherever_the_files_are(mnist, tmp_path):
    odd = "ü 'a' \"b\" $HOME `id` \\n \\ 日本 %d #&;|<>()!"
    scripts = tmp_path / f"s {odd}" / "R"
    for folder in ("R", "rpackage/R"):
        shutil.copytree(R_FILES.parent / folder, scripts.parent / folder)
    out = tmp_path / f"o {odd}" / "deep"
    options = ("--objective=emae", "--steps", "1", f"--out={out}", *SMALL)
    ran = run(*options, folder=tmp_path, scripts=scripts, environment={"PYVAE_DATA": str(mnist)})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert names(out) == ["emae", "emae_gen.png", "loss_hist.png", "mu_EMAE.png"]
    assert names(tmp_path) == [f"o {odd}", f"s {odd}"]


def test_help_names_every_option_and_the_recipes_settings(conv, tmp_path):
    ran = run("--steps", "3", "--help", folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    published = conv.settings()
    for name in ("epochs", "batch_size", "latent_dim", "learning_rate", "seed"):
        option = "--" + name.replace("_", "-")
        (default,) = re.findall(rf"\n  {option} [^-]*?\(default: ([\d.]+)\)", ran.stdout)
        assert float(default) == getattr(published, name)
    refused = run("--no-such", folder=tmp_path).stderr
    known = re.search(r"one of ([^.]*)\.", refused).group(1).split(", ")
    assert re.findall(r"\n  (--[a-z-]+)", ran.stdout) == [*known, "--help"]
    assert "OMP_NUM_THREADS" in ran.stdout


BAD = {
    "unknown": (["--epoch", "3"], "unknown option '--epoch': expected one of --engine, "),
    "no option": (["vae"], "unknown option 'vae': expected one of"),
    "no value": (["--steps"], "option --steps has no value. See --help."),
    "next option": (["--steps", "--seed", "3"], "option --steps has no value"),
    "empty": (["--out="], "option --out has no value"),
    "engine": (
        ["--engine", "pytorch"],
        "unknown engine 'pytorch': expected one of base-r, r-torch",
    ),
    "objective": (["--objective", "mu"], "unknown objective 'mu': expected one of vae, emae, both"),
    "dtype": (["--dtype", "float32"], "--engine base-r, which computes in float64. Leave"),
    "epochs": (["--epochs", "0"], "--epochs 0: expected a whole number from 1 to 2147483647"),
    "fraction": (["--steps", "1.5"], "--steps 1.5: expected a whole number"),
    "negative": (["--batch-size=-1"], "--batch-size -1: expected a whole number"),
    "latent": (
        ["--latent-dim", "10001"],
        "--latent-dim 10001: expected a whole number from 1 to 10",
    ),
    "seed": (
        ["--seed", "2147483648"],
        "--seed 2147483648: expected a whole number from 0 to 21474",
    ),
    "large": (
        ["--engine", "r-torch", "--seed", "9007199254740993"],  # R would round it to 2^53
        "--seed 9007199254740993: expected a whole number from 0 to 9007199254740992",
    ),
    "rate": (["--learning-rate", "nan"], "--learning-rate nan: expected a number above 0"),
    "word": (["--learning-rate", "fast"], "--learning-rate fast: expected a number above 0"),
    "threads": (["--threads", "3"], "R's BLAS uses 1, and .* Set OPENBLAS_NUM_THREADS=3"),
    "no steps": (["--probe", "0"], "--probe 0: expected steps such as 1, or 1,3-5"),
    "late": (["--probe", "1,99999"], "--probe 1,99999: expected steps from 1 to "),
    "few": (["--batch-size", "35"], "34 images are fewer than one batch of 35. .*--batch-size 34"),
    "no folder": (["--data", "none"], "'none' is no folder.* Choose another --data"),
    "no file": (["--data", "empty"], "'empty' has no train-images-idx3-ubyte.* expected"),
    "damaged": (["--data", "damaged"], "data file 'damaged/train-.*' is damaged: it ends after 5"),
    "out": (["--out", "file"], "output folder 'file' cannot be written. Choose another"),
    "within": (["--out", "taken"], "output folder 'taken/vae' cannot be written"),
}


def assert_one_line(ran, words):
    """Exit code 2, and one line on stderr that says this."""
    (line,) = ran.stderr.splitlines()
    assert ran.returncode == 2
    assert line.startswith("run_reference: ")
    assert re.search(words, line), line


@pytest.fixture(scope="module")
def refused(mnist, tmp_path_factory):
    """What the script says of each bad input, and the files before and after: of one R session,
    which does what `Rscript run_reference.R` does with its arguments."""
    folders, calls = {}, []
    for case, (arguments, _) in BAD.items():
        folder = folders[case] = tmp_path_factory.mktemp("bad")
        for name in ("empty", "damaged", "taken"):
            (folder / name).mkdir()
        (folder / "damaged" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0")
        for file in ("file", "taken/vae"):
            (folder / file).touch()
        data = [] if "--data" in arguments else ["--data", str(mnist)]
        words = [*data, "--out", "x", *SMALL, *arguments]  # the last one counts
        calls.append(f"refuse({json.dumps(str(folder))}, c({', '.join(map(json.dumps, words))}))")
    before = {case: sorted(folder.rglob("*")) for case, folder in folders.items()}
    code = f"""reference <- "{R_FILES / "run_reference.R"}"
    source(reference)
    reference_file <- reference  # by which it finds the other files
    refuse <- function(folder, arguments) {{
        setwd(folder)
        said <- tryCatch(run_reference(arguments), user_error = conditionMessage)
        cat(encodeString(said), "\n", sep = "")
    }}
    """
    done = subprocess.run(
        [find_r(), "--no-echo", "--no-save"],
        input=code + "\n".join(calls),
        env=r_environment(find_r(), 1) | {"PYVAE_DATA": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    after = {case: sorted(folder.rglob("*")) for case, folder in folders.items()}
    lines = done.stdout.splitlines()  # one each: nothing else is printed
    return dict(zip(BAD, lines, strict=True)), before, after


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_written(case, refused):
    said, before, after = refused
    assert re.search(BAD[case][1], said[case]), said[case]
    assert after[case] == before[case]


def test_bad_input_ends_the_script_with_its_line(mnist, tmp_path):
    ran = run("--data", mnist, "--steps", "1.5", *SMALL, folder=tmp_path)
    assert_one_line(ran, "--steps 1.5: expected a whole number")
    assert ran.stdout == ""
    assert names(tmp_path) == []


def test_without_data_it_says_where_to_name_it(tmp_path):
    assert_one_line(run(folder=tmp_path), "neither --data nor PYVAE_DATA is set. Give")


def test_a_missing_old_or_broken_torch_is_told(mnist, tmp_path):
    nowhere = {"R_LIBS": "", "R_LIBS_USER": str(tmp_path), "R_LIBS_SITE": str(tmp_path)}
    options = ("--data", mnist, "--engine", "r-torch", *SMALL)
    ran = run(*options, folder=tmp_path, environment=nowhere)
    assert_one_line(ran, r'no package torch. In R: install.packages\("torch"\).*--engine base-r')
    (tmp_path / "torch").mkdir()
    about = "Package: torch\nVersion: 0.12.0\nBuilt: R 4.0.0; ; 2023-01-01 00:00:00 UTC; unix\n"
    (tmp_path / "torch" / "DESCRIPTION").write_text(about)
    ran = run(*options, folder=tmp_path, environment=nowhere)
    assert_one_line(ran, r"R torch 0.12.0 is too old: expected 0.13 or newer")
    (tmp_path / "torch" / "DESCRIPTION").write_text(about.replace("0.12.0", "0.17.0"))
    ran = run(*options, folder=tmp_path, environment=nowhere)  # a package with nothing in it
    assert_one_line(ran, r"R torch 0.17.0 cannot be loaded \(R: .*torch::install_torch\(reinstall")
    assert names(tmp_path) == ["torch"]


@pytest.mark.r_torch
def test_a_missing_libtorch_is_told(mnist, tmp_path):
    environment = {"TORCH_HOME": str(tmp_path / "none")}
    options = ("--data", mnist, "--engine", "r-torch", *SMALL)
    ran = run(*options, folder=tmp_path, environment=environment)
    assert_one_line(ran, r"has no LibTorch in .*none. In R: torch::install_torch\(\)")


@pytest.mark.parametrize("engine", ["base-r", pytest.param("r-torch", marks=pytest.mark.r_torch)])
def test_what_diverges_is_told_and_its_losses_kept(mnist, tmp_path, engine):
    options = ("--engine", engine, "--learning-rate", "1e6", *SMALL)
    ran = run("--data", mnist, *options, folder=tmp_path)
    assert_one_line(ran, r"training diverged in step 2: .* Try a smaller --learning-rate")
    assert names(tmp_path / "article-r") == ["vae"]
    trace = Trace.load(tmp_path / "article-r" / "vae")
    assert not trace.complete
    assert np.isfinite(trace.losses).all()
    assert trace.steps == 1


@pytest.mark.slow
def test_an_interrupted_run_keeps_its_losses_in_place_of_an_older_trace(mnist, article, tmp_path):
    _, folder = article
    shutil.copytree(folder, tmp_path / "out")
    process = subprocess.Popen(
        command("--data", mnist, "--out", "out", *SMALL),
        cwd=tmp_path,
        env=r_environment(find_r(), 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        process.stdout.readline()  # what runs, and two epochs of three steps
    os.kill(process.pid, signal.SIGINT)
    said, complaint = process.communicate(timeout=600)
    assert process.returncode == 130
    assert complaint == "run_reference: interrupted\n"
    assert "the losses until then are in out/vae" in said
    assert names(tmp_path / "out" / "vae") == ["history.csv", "trace.json"]
    trace, older = (Trace.load(path / "vae") for path in (tmp_path / "out", folder))
    assert not trace.complete
    assert 6 <= trace.steps < 150
    assert np.array_equal(trace.losses[:5], older.losses)
    assert list(trace.epochs[:7]) == [1, 1, 1, 2, 2, 2, 3][: trace.steps]


def test_a_clock_that_is_set_back_takes_no_time_back():
    """Of the times that it tells."""
    code = f"""source("{R_FILES / "run_reference.R"}")
    reads <- c(100, 105, 50, 52, 4000, 3999)
    read <- 0
    wall_clock <- function() reads[read <<- read + 1]
    cat(vapply(reads, function(one) now(), 0))"""
    rscript = find_r().with_name("Rscript")
    done = subprocess.run([rscript, "-e", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "5", "5", "7", "3955", "3955"]


def test_a_trace_that_cannot_be_written_is_told(mnist, tmp_path):
    (tmp_path / "article-r" / "vae" / "history.csv" / "in the way").mkdir(parents=True)
    ran = run("--data", mnist, "--steps", "1", *SMALL, folder=tmp_path)
    assert_one_line(ran, r"file '.*history.csv' cannot be written \(.*irectory'\)$")
    assert names(tmp_path / "article-r" / "vae") == ["history.csv"]
