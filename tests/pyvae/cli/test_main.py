"""The `pyvae` command as a whole: help, exit codes, bad input, standard output."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from processes.undrawn import UNDRAWN

from pyvae.cli import main as cli
from pyvae.cli.main import PANELS, main
from pyvae.version import __version__

pytestmark = pytest.mark.slow

SMALL = ("--data", "digits", "--batch-size", "8", "--latent-dim", "3", "--steps", "2")
PYVAE = Path(sys.executable).with_name("pyvae")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "covn"), "unknown recipe 'covn': expected one of conv, mlp"),
        (("train", "conv", "--variant", "wide"), "--variant wide: recipe conv has no variants"),
        (("train", "mlp", "--variant", "wild"), "Did you mean 'wide'?"),
        (("train", "mlp", "--objective", "both"), "unknown objective 'both': expected one of elbo"),
        (("train", "conv", "--set", "beta=1"), "recipe conv has no"),
        (("train", "beta", "--set", "beta"), "--set 'beta': expected NAME=NUMBER"),
        (("train", "beta", "--set", "beta=-1"), "--set beta=-1: expected"),
        (("train", "clustering", "--set", "clusters=1"), "--set clusters=1: expected"),
        (("train", "clustering", "--set", "clusters=2.5"), "a whole number of 2 or more"),
        (("train", "clustering", "--set", "temperature=0"), "a number above 0"),
        (("train", "clustering", "--set", "temprature=1"), "Did you mean 'temperature'?"),
        (("train", "mlp", "--data", "toy"), "takes images of 28x28 pixels, and toy holds points"),
        (
            ("train", "clustering-toy", "--data", "digits"),
            "recipe clustering-toy takes points in the plane (--data toy)",
        ),
        (("train",), "no RECIPE was given. Name one of pyvae recipes, or use --resume RUN."),
        (("train", "conv", "--objective", "emea"), "Did you mean 'emae'?"),
        (("train", "conv", "--objective", "bth"), "Did you mean 'both'?"),
        (("train", "conv", "--data", "mnits"), "Did you mean 'mnist'?"),
        (("train", "conv", "--data", "mnist"), "PYVAE_DATA"),
        (("train", "conv", "--data", "absent.npz"), "'absent.npz' does not exist"),
        (("train", "conv", "--dtype", "float23"), "Did you mean 'float32'?"),
        (("train", "conv", "--device", "cdua"), "Did you mean 'cuda'?"),
        (("train", "conv", "--device", "gpu"), "Did you mean 'cuda'?"),
        (("train", "conv", "--latent-dim", "0"), "--latent-dim 0: expected 1 or more"),
        (("train", "conv", "--steps", "0"), "--steps 0: expected 1 or more"),
        (("train", "conv", "--epochs", "-1"), "--epochs -1: expected 1 or more"),
        (("train", "conv", "--batch-size", "0"), "--batch-size 0: expected 1 or more"),
        (
            ("train", "conv", "--data", "digits", "--batch-size", "1798"),
            "1797 images are fewer than one batch of 1798",
        ),
        (("train", "conv", "--learning-rate", "nan"), "--learning-rate nan"),
        (("train", "conv", "--learning-rate", "0"), "--learning-rate 0.0"),
        (("train", "conv", "--seed", "-1"), "--seed -1"),
        (("train", "conv", "--steps", "two"), "--steps two: expected a whole number"),
        (("train", "conv", "--steps", "2.5"), "--steps 2.5: expected a whole number"),
        (("train", "conv", "--learning-rate", "fast"), "--learning-rate fast: expected a number"),
        (
            ("train", "conv", "--steps"),
            "option '--steps' requires an argument. See pyvae train --help.",
        ),
        (
            ("compare", "--steps"),
            "option '--steps' requires an argument. See pyvae compare --help.",
        ),
        (("train", "conv", "--stepz", "1"), "no option --stepz. Did you mean --steps?"),
        (("train", "conv", "--lr", "1"), "there is no option --lr. See pyvae train --help."),
        (("train", "conv", "extra"), "unexpected argument 'extra'. See pyvae train --help."),
        (("trian", "conv"), "no such command 'trian'. Did you mean 'train', 'trace'?"),
        (("swim",), "no such command 'swim'. See pyvae --help."),
        (
            ("train", "conv", *SMALL, "--out", "file"),
            "'file' is a file. Choose a folder",
        ),
        (
            ("train", "conv", *SMALL, "--out", "file/below"),
            "'file' is a file. Choose a folder",
        ),
        (("train", "conv", *SMALL, "--out", "a" * 300), "cannot be written"),
        (("sample", "absent", "--out", "x.png"), "'absent' holds no finished run"),
        (
            ("sample", "file", "--out", "x.png"),
            "'file' is a file. Give the folder that pyvae train",
        ),
        (("sample", "run/vae", "--out", "x.xyz"), "'x.xyz' is no"),
        (("sample", "run/vae", "--out", "new/x"), "'new/x' is no"),
        (("sample", "run/vae", "--out", "x.png", "-n", "0"), "-n 0: expected 1 to 10000"),
        (("sample", "run/vae", "--out", "x.png", "-n", "many"), "-n many: expected a whole"),
        (("sample", "run/vae", "--out", "file/x.png"), "'file' is a file. Choose a folder"),
        (
            ("sample", "run", "--out", "x.png"),
            "'run' holds 2 runs. Name one of them: run/vae or run/emae.",
        ),
        (("sample", "run/vae"), "missing option '--out'. See pyvae sample --help."),
        (("figures", "absent"), "'absent' holds no finished run"),
        (("figures",), "missing argument 'RUN'. See pyvae figures --help."),
        (("recipes", "--loud"), "--loud"),
        (("train", "conv", "--objective", "VAE"), "Did you mean 'vae'?"),
        (("train", "conv", "--data", "a" * 300 + ".npz"), ""),
        (("sample", "a" * 300, "--out", "x.png"), ""),
        (("sample", "run/vae", "--out", "a" * 300 + ".png"), ""),
        (("sample", "run/vae", "--out", "folder.png"), ""),
        (("sample", "run/vae", "--out", "x.pgf"), ""),
        (("sample", "run/vae", "--out", "x.png", "--seed", "-1"), ""),
        (("sample", "run/vae", "--out", "x.png", "-n", str(10**14)), ""),
        (("train", "conv", *SMALL, "--latent-dim", str(10**14)), ""),
        (("train", "conv", *SMALL, "--latent-dim", str(10**30)), ""),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_writes_nothing(
    run, tmp_path, arguments, said, assert_refused, everything_below
):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    before = everything_below(tmp_path)
    assert_refused(run(*arguments), said)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("command", [["train", "clustering"], ["trace", "--recipe", "clustering"]])
def test_too_few_labels_leave_nothing_behind(command, tmp_path, capsys):
    arguments = ["--variant", "semi-supervised", "--set", "labels=5", "--data", "digits"]
    assert main([*command, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "--set labels=5 with 10 classes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_commands_are_listed_in_groups_with_compare_first(command):
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    listed = [line.split()[1] for line in out.splitlines() if line[:1] == "│" and line[2] != " "]
    assert [name for name in listed if name[0] != "-"] == [
        "compare", "train", "reproduce", "record", "weights", "trace", "verify", "sample",
        "encode", "reconstruct", "interpolate", "figures", "recipes", "doctor",
    ]  # fmt: skip
    groups = [line.split("─ ")[1].split(" ─")[0] for line in out.splitlines() if "╭" in line]
    assert groups == [
        "Options", "Train and compare", "Your own programs", "Work with runs", "Information",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["train", "compare", "trace", "reproduce"])
def test_the_options_are_grouped_and_help_is_in_the_last_group(command, name):
    _, out, _ = command(name, "--help")
    *first, last = out.split("╭─ ")[1:]
    groups = [text.split(" ─")[0] for text in (*first, last)]
    assert {"What to train", "How it is computed", "Where it goes"} < set(groups)
    assert "Options" not in groups
    assert "--help" in last
    assert not any("--help" in text for text in first)


def test_a_command_of_another_package_is_listed_after_ours(command, monkeypatch):
    def add(app):
        @app.command("more")
        def more() -> None:
            """Do more."""

    monkeypatch.setattr(cli, "open_plugins", lambda group, use: [use(add)])
    _, out, _ = command("--help")
    assert "more" in out[out.index("Commands of other packages") :]
    assert command("more") == (0, "", "")


def test_only_the_options_of_the_command_that_is_typed_are_read(command, monkeypatch):
    read, make = [], typer.main.get_command_from_info

    def noted(command_info, **options):
        read.append(command_info.name)
        return make(command_info, **options)

    monkeypatch.setattr(typer.main, "get_command_from_info", noted)
    assert command("recipes", "--help")[0] == 0
    assert read == ["recipes"]
    for words in ((), ("--help",), ("recipe",)):  # which show all commands, or look for one's name
        read.clear()
        command(*words)
        assert set(PANELS) <= set(read)


def test_help_version_and_completion_do_not_wait_for_pytorch():
    """Asked of a process of its own: this one has imported it."""
    code = (
        "import os, sys\n"
        "from pyvae.cli.main import main\n"
        "assert main(['--help']) == main(['compare', '--help']) == main(['--version']) == 0\n"
        "os.environ |= {'_PYVAE_COMPLETE': 'complete_bash', 'COMP_WORDS': 'pyvae train c',\n"
        "               'COMP_CWORD': '2'}\n"
        "try:\n"
        "    main([])\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0\n"
        "assert 'typer' in sys.modules\n"
        "slow = ('torch', 'pandas', 'matplotlib', 'sklearn')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "clustering-toy" in done.stdout


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_left_out_if_the_user_wants_none(no_color, coloured):
    """https://no-color.org; asked of a process of its own: the variables are read at its start."""
    given = {"FORCE_COLOR": "1", "NO_COLOR": no_color, "TERM": "xterm-256color"}
    done = subprocess.run(
        [PYVAE, "--help"], env=os.environ | given, capture_output=True, text=True, check=True
    )
    assert bool(re.search(r"\x1b\[[\d;]*[349]\d", done.stdout)) == coloured


@pytest.mark.parametrize("name", PANELS)
def test_every_command_has_help(command, name):
    code, out, err = command(name, "--help")
    assert (code, err) == (0, "")
    assert command(name, "-h") == (0, out, "")
    assert f"Usage: pyvae {name} " in out


@pytest.mark.parametrize("name", ["train", "trace", "reproduce", "verify", "compare"])
def test_the_width_alone_breaks_the_lines_of_a_help_text(command, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = command(name, "--help")
    assert code == 0
    text = out.partition("╭")[0]
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if "Usage:" not in part]
    lines = [part.strip("\n").split("\n") for part in paragraphs if part.strip()]
    assert any(len(paragraph) > 2 for paragraph in lines)
    for paragraph in lines:
        for line, following in itertools.pairwise(paragraph):
            # what comes next found no room on the line
            assert len(line.rstrip()) + 1 + len(following.split()[0]) > 60 - 2, line


def test_main_reads_the_process_arguments(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pyvae", "recipes"])
    assert main() == 0
    assert "conv:" in capsys.readouterr().out


def test_the_version(command):
    assert command("--version") == (0, f"pyvae {__version__}\n", "")


@pytest.fixture
def closed_pipe():
    """What nobody reads any more, as after `| head -1`."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize(
    ("program", "arguments", "unbuffered"),
    [
        ([PYVAE], ["--version"], ""),
        ([sys.executable, "-m", "pyvae"], ["--version"], "1"),
        ([PYVAE], ["--help"], ""),
    ],
    ids=["version", "unbuffered", "help"],
)
def test_a_closed_pipe_is_silent(closed_pipe, program, arguments, unbuffered):
    done = subprocess.run(
        [*program, *arguments],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=closed_pipe,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_is_closed_while_it_trains_is_silent(warm, tmp_path, closed_pipe, unbuffered):
    command = warm.start(
        PYVAE, "train", "beta", *SMALL, "--out", "o", folder=tmp_path, stdout=closed_pipe,
        environment=os.environ | UNDRAWN | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    _, error = command.communicate()
    assert (command.returncode, error) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_device_behind_standard_output_is_a_line(unbuffered):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PYVAE, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "pyvae: disk full while printing the output. Free some space.\n"


def test_as_a_user_types_it_whatever_matplotlib_is_set_to(pyvae, tmp_path):
    """With a backend and a `matplotlibrc` that each keep matplotlib from being imported."""
    plain = pyvae("train", "beta", *SMALL, "--out", "plain", drawn=True)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout.endswith("written: plain\n")
    (tmp_path / "matplotlibrc").write_text("text.usetex: true\nfigure.dpi: 7\nno.such: 1\n")
    settings = {"MPLBACKEND": "garbage", "MATPLOTLIBRC": "."}
    done = subprocess.run(
        [PYVAE, "train", "beta", *SMALL, "--out", "odd"], cwd=tmp_path, env=os.environ | settings,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    pictures = sorted(path.name for path in (tmp_path / "odd").glob("*.png"))
    assert pictures == [
        "latent_means.png", "latents_beta.png", "loss_history.png", "reconstructions_beta.png",
        "samples_beta.png",
    ]  # fmt: skip
    for name in pictures:
        assert (tmp_path / "odd" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
