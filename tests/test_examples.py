"""The notebooks and R scripts of examples/, and what two pages show of the R package, run as they
stand, but for what `LIGHTER` and `lighter_page` say.

PYVAE_UPDATE_DOCS=1 .venv/bin/python -m pytest tests/test_examples.py keeps what notebooks print.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes.r_package import absent_packages
from processes.undrawn import UNDRAWN
from processes.warm import SERVED

nbformat = pytest.importorskip("nbformat", reason="needs nbclient: the extra dev")

EXAMPLES = Path(__file__).parents[1] / "examples"
LARGEST = 300_000  # bytes of a notebook
FIXED = re.compile(  # measured numbers, and where the largest difference is
    r"(?<![\w.])\d+\.\d+(?![\w.])|(?<![\w.])\d[\d.]*e[-+]?\d+|(?<= of )\S+ in step \d+(?= \(needed)"
)
NUMBER = re.compile(r"[+-]?\d[\d.]*")
NOTEBOOKS = {  # what has to stand in what is printed, in this order
    "own_port": [
        "first part at step 1, relu (relu), backward (gradient of fc1)",
        "looks like: port: its gradient passes as if it were not there",
        "first part at step 1, optimizer (adamw), update of fc2.weight",
        "looks like: port: weight decay added to the gradient (L2, as Adam does), not decoupled",
        "agree",
    ],
    "article_figures": ["'vae': ", "'emae': ", "vae", "nats per image", "emae"],
    "equivalence": ["equivalent", "loss", "slow port", "different", "margin 0.5: inconclusive"],
}
FIGURES = {"own_port": 0, "article_figures": 4, "equivalence": 1}
NEEDS_R = {"equivalence"}
IMPORTED = ("callr", "cli", "generics", "jsonlite", "processx", "reticulate", "rlang")  # in R
SCRIPTS = {
    "own_port": [*NOTEBOOKS["own_port"][:4], "agree"],
    "article_figures": ["vae", "emae", "written: figures/article_latent.png"],
    "equivalence": ["verdict: equivalent", "loss: difference", ": equivalent", "agree on interval"],
}
LIGHTER = {  # old and new text of what would only take longer
    "article_figures.R": ("epochs = 3, batch_size = 50", "epochs = 3, steps = 6, batch_size = 8"),
    "article_figures.ipynb": ("epochs=3, batch_size=50", "epochs=3, steps=6, batch_size=8"),
    # at a rate at which nine steps bring the loss of a slow port apart, and not those of seeds
    "equivalence.R": ('"--epochs", 4', '"--steps", 9, "--learning-rate", 3e-4'),
    "equivalence.ipynb": ("epochs=4, batch_size", "steps=9, learning_rate=3e-4, batch_size"),
}
PAGES = {  # with so many fits in R, and the one objective that is compared
    "README.md": (1, "vae"),
    "docs/how-to/use-it-from-r.md": (2, "emae"),
}
ALL = [pytest.param(name, marks=pytest.mark.r if name in NEEDS_R else ()) for name in NOTEBOOKS]


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def printed(notebook: Any) -> str:
    """All text of a notebook's outputs."""
    found = []
    for cell in cells(notebook, "code"):
        for output in cell.outputs:
            assert output.get("name") != "stderr", output.text
            # what is written comes in as many pieces as it takes time
            found.append(output.get("text") or output.get("data", {}).get("text/plain", "") + "\n")
    return "".join(found)


def pictures(notebook: Any) -> int:
    outputs = [output for cell in cells(notebook, "code") for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def assert_in_order(words: list[str], text: str) -> None:
    place = 0
    for one in words:
        place = text.find(one, place)
        assert place >= 0, f"'{one}' is not there, or not in its place:\n{text}"
        place += len(one)


def copy_lighter(name: str, folder: Path) -> None:
    """Copies the examples, this one lighter."""
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    old, new = LIGHTER.get(name, ("", ""))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new) if old else text)


@pytest.fixture
def kernel(request, tmp_path_factory, monkeypatch):
    """The name of a kernel in a warm process, where that is possible."""
    if sys.platform != "linux":
        return "python3"
    python = str(request.getfixturevalue("warm_python").program)
    folder = tmp_path_factory.mktemp("jupyter")
    about = folder / "kernels" / "warm" / "kernel.json"
    about.parent.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about.write_text(json.dumps({"argv": argv, "display_name": "warm", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder))
    # kernels have this process' environment, and start `pyvae` in such processes, too
    for name, text in {**SERVED, "PYVAE_TESTS_PYTHON": python}.items():
        monkeypatch.setenv(name, text)
    return "warm"


def execute(name: str, folder: Path, kernel: str) -> Any:
    """Runs a notebook of this folder."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    about = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(  # a kernel may take longer than nbclient's minute to start
        notebook, kernel_name=kernel, resources=about, startup_timeout=600
    ).execute()
    return notebook


def keep(notebook: Any, path: Path) -> None:
    """Writes a notebook with its outputs, and nothing that differs from run to run."""
    for cell in notebook.cells:
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_notebook_prints_what_is_kept(name, tmp_path, kernel):
    """Words as they are kept; measured numbers may be those of another machine."""
    path = EXAMPLES / f"{name}.ipynb"
    if os.environ.get("PYVAE_UPDATE_DOCS"):
        shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    else:
        copy_lighter(path.name, tmp_path)
    notebook = execute(name, tmp_path, kernel)
    assert_in_order(NOTEBOOKS[name], printed(notebook))
    assert pictures(notebook) == FIGURES[name]
    if os.environ.get("PYVAE_UPDATE_DOCS"):
        keep(notebook, path)
    kept = nbformat.read(path, as_version=4)
    update = "run this file with PYVAE_UPDATE_DOCS=1"
    varies = NUMBER if path.name in LIGHTER else FIXED
    assert varies.sub("#", printed(kept)) == varies.sub("#", printed(notebook)), update
    assert pictures(kept) == FIGURES[name], update
    assert str(EXAMPLES.parent) not in path.read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_small(path):
    assert path.stem in NOTEBOOKS
    assert path.stat().st_size < LARGEST
    assert len(json.loads(path.read_text())["cells"]) <= 12


def lighter_page(page: str) -> str:
    """What a page of the documentation shows of the R package, with fewer and smaller steps; of
    the two objectives that it compares one here, the other one on the other page."""
    fits, objective = PAGES[page]
    text = (EXAMPLES.parent / page).read_text()
    examples = re.findall(r"```r\n(.*?)```", text, re.DOTALL)
    (example,) = [one for one in examples if "vae_fit(" in one]
    assert example.count('start = "trained", epochs = 1') == fits
    assert "steps = 3, batch_size = 50" in example
    return example.replace("epochs = 1", "epochs = 1, steps = 1, batch_size = 4").replace(
        "steps = 3, batch_size = 50", f'"{objective}", steps = 1, batch_size = 4'
    )


@pytest.fixture(scope="module")
def said_in_r(request, tmp_path_factory):
    """What each page and script prints, and the folder that it ran in: one after the other in one
    session, where Python and PyTorch start once; each with variables of its own."""
    absent = absent_packages(*IMPORTED)
    if absent:
        pytest.skip(f"needs R's packages {', '.join(absent)} (make setup-r)")
    r_package = request.getfixturevalue("r_package")
    # the venv that the pages name is where make puts it; this one need not be that
    prefix = Path(r_package["RETICULATE_PYTHON"]).parents[1]
    folders = {name: tmp_path_factory.mktemp("in_r") for name in (*PAGES, *SCRIPTS)}
    code = ["one <- function(folder, file) {", "  setwd(folder)",
            "  tryCatch(source(file, local = new.env(), print.eval = TRUE),",
            "           error = function(e) cat('failed:', conditionMessage(e), '\\n'))",
            "  cat('\\n---\\n')", "}"]  # fmt: skip
    for name, folder in folders.items():
        file = folder / f"{Path(name).stem}.R"
        if name in PAGES:
            file.write_text(lighter_page(name).replace("./.venv", str(prefix)))
        else:
            copy_lighter(file.name, folder)
        assert "library(pyvae)" in file.read_text()  # none lives on what another one has loaded
        code.append(f"one('{folder}', '{file.name}')")
    environment = {name: text for name, text in r_package.items() if name != "RETICULATE_PYTHON"}
    done = subprocess.run(
        ["Rscript", "-e", "\n".join(code)], cwd=folder, env=environment | UNDRAWN | SERVED,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    parts = done.stdout.split("\n---\n")[: len(folders)]
    for part in parts:
        assert "failed:" not in part, part + done.stderr
    return dict(zip(folders, zip(parts, folders.values(), strict=True), strict=True))


@pytest.mark.r
@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_in_r_prints_what_it_should(name, said_in_r):
    printed, folder = said_in_r[name]
    assert_in_order(SCRIPTS[name], printed)
    if name == "article_figures":
        sizes = [path.stat().st_size for path in folder.glob("figures/*.png")]
        assert len(sizes) == 4
        assert min(sizes) > 5000


@pytest.mark.r
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_of_the_r_package_runs(page, said_in_r):
    printed, _ = said_in_r[page]
    assert re.findall(r"^ +(\w+) +loss ", printed, re.MULTILINE) == [PAGES[page][1]]
    assert printed.count("verdict: agree") == 1


def test_both_languages_have_the_same_examples():
    assert {path.stem for path in EXAMPLES.glob("*.R")} == {*NOTEBOOKS}
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == {*NOTEBOOKS}
    page = (EXAMPLES.parent / "docs" / "tutorials" / "examples.md").read_text()
    assert all(f"examples/{name}.{kind})" in page for name in NOTEBOOKS for kind in ("R", "ipynb"))
