"""The names that the help and the shell's completion offer are those that there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyvae.cli.main import main
from pyvae.cli.options import choices
from pyvae.data.images import DATA_NAMES
from pyvae.engines.adam import ADAMS
from pyvae.engines.devices import choose_device
from pyvae.engines.precision import PRECISIONS
from pyvae.engines.registry import engine_names
from pyvae.errors import UserError
from pyvae.model.settings import DTYPES, RNGS
from pyvae.recipes import RECIPES
from pyvae.reproduction.articles import ARTICLES

PYVAE = Path(sys.executable).with_name("pyvae")


def test_the_names_are_those_of_the_packages():
    assert tuple(RECIPES) == choices.RECIPES
    assert (*ARTICLES, "all") == choices.ARTICLES
    assert choices.DATA == DATA_NAMES
    assert tuple(DTYPES) == choices.DTYPES
    assert ("injected", "native", *RNGS[1:]) == choices.RNGS
    assert choices.PRECISIONS == PRECISIONS
    assert tuple(ADAMS) == choices.ADAMS
    assert choices.engines() == engine_names()
    with pytest.raises(UserError, match=f"expected one of {', '.join(choices.DEVICES)}"):
        choose_device("nothing")


@pytest.fixture
def offered(monkeypatch, capsys):
    """What bash is offered for the last of some words."""

    def offer(*words):
        monkeypatch.setenv("_PYVAE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("pyvae", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out.split()

    return offer


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("co",), ["compare"]),
        (("train", "cl"), ["clustering", "clustering-semi-supervised", "clustering-toy"]),
        (("compare", "--recipe", "mlp"), ["mlp", "mlp-wide"]),
        (("train", "conv", "--objective", ""), ["vae", "emae", "em", "both", "all"]),
        (("train", "mlp", "--objective", ""), ["elbo"]),
        (("train", "conf", "--objective", ""), []),
        (("trace", "--recipe", "beta", "--objective", ""), ["beta"]),
        (("trace", "--objective", "e"), ["emae", "em"]),
        (("train", "clustering", "--variant", ""), ["semi-supervised", "toy"]),
        (("train", "conv", "--data", "m"), ["mnist"]),
        (("train", "conv", "--dtype", ""), ["float32", "float64"]),
        (("train", "conv", "--rng", ""), ["injected", "native", "torch", "r"]),
        (("train", "conv", "--device", "c"), ["cpu", "cuda"]),
        (("train", "conv", "--precision", ""), ["full", "tf32", "bf16"]),
        (("trace", "--engine", ""), ["pytorch", "base-r", "r-torch"]),
        (("trace", "--adam", ""), ["torch", "r-torch"]),
        (("compare", "--engine", "a"), ["auto"]),
        (("compare", "--under-test", "p"), ["pytorch"]),
        (("compare", "--mode", ""), ["free", "resync"]),
        (("compare", "--rng", ""), ["injected", "seeded", "native"]),
        (("compare", "--margin-"), ["--margin-units", "--margin-spread"]),
        (("reproduce", "s"), ["strided-conv"]),
        (("verify", "x", "--data", "to"), ["toy"]),
        (("encode", "x", "--data", "k"), ["kmnist"]),
        (("weights", "x", "--dtype", "float1"), ["float16"]),
        (("weights", "x", "--for", ""), ["python", "r"]),
    ],
)
def test_the_shell_is_offered_what_an_option_may_be(offered, words, expected):
    assert offered(*words) == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_once_it_has_been_installed(tmp_path):
    """In a new shell of the user's."""
    home = {"HOME": str(tmp_path), "PATH": f"{PYVAE.parent}:{os.environ['PATH']}"}

    def bash(script):
        words = ["bash", "-c", script]
        return subprocess.run(words, env=home, capture_output=True, text=True, check=True)

    done = bash("pyvae --install-completion; exit")
    assert "bash completion installed" in done.stdout
    script = (
        'source "$HOME/.bashrc"\n'
        "COMP_WORDS=(pyvae compare --mode r) COMP_CWORD=3\n"
        '_pyvae_completion pyvae\necho "${COMPREPLY[@]}"\n'
    )
    done = bash(script)
    assert (done.stdout, done.stderr) == ("resync\n", "")
