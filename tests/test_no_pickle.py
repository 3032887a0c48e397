"""No file's content is ever executed: nothing in the sources unpickles, evaluates text, or loads
with a function that would.

The exceptions: what Python's own processes send each other (`multiprocessing` and Dask pickle, over
connections that nobody else writes to), the script that `pyvae record` is asked to run, and the
recipe file that a user names. HDF5 holds numbers and no code: h5py reads Keras' weights."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pyvae", "r_bridge", "comparisons", "benchmarks")
MODULES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml",
    "code", "codeop", "runpy", "h5py", "xml",
}  # fmt: skip
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.jit.load", "torch.hub.load", "os.system",
    "os.popen",
}  # fmt: skip
EXCEPTIONS = {
    ROOT / "pyvae" / "weights" / "read_keras.py": {"import h5py"},
    # the user's own programs, run because the user says so
    ROOT / "pyvae" / "recording" / "script.py": {"import runpy"},
    ROOT / "pyvae" / "recipes" / "from_file.py": {"exec", "compile"},
}
METHODS = {"read_pickle", "to_pickle", "read_hdf", "unsafe_load", "full_load", "literal_eval"}


def name_of(function: ast.expr) -> str:
    """`torch.load` of a call of it; empty if it is no name."""
    parts = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    return ".".join(reversed([*parts, function.id])) if isinstance(function, ast.Name) else ""


def unsafe(source: str) -> list[str]:
    """What in a source could execute a file's content, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        found += [f"{node.lineno}: import {m}" for m in modules if m.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name == "importlib.import_module" and isinstance(node.args[0], ast.Constant):
            imported = str(node.args[0].value)
            if imported.split(".")[0] in MODULES:
                found.append(f"{node.lineno}: import {imported}")
        given = {
            word.arg: word.value.value
            for word in node.keywords
            if isinstance(word.value, ast.Constant)
        }
        package, _, method = name.rpartition(".")
        loads = package in ("np", "numpy") and method == "load"
        if (
            name in CALLS
            or method in METHODS
            or (loads and given.get("allow_pickle") is not False)
            or (name == "torch.load" and given.get("weights_only") is not True)
            or given.get("shell") is True
        ):
            found.append(f"{node.lineno}: {name}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_executes_what_is_in_a_file(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {file: unsafe(file.read_text()) for file in files}
    for file in found.keys() & EXCEPTIONS.keys():
        assert {line.partition(" ")[2] for line in found.pop(file)} == EXCEPTIONS[file]
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "import joblib.numpy_pickle",
        "importlib.import_module('pickle')",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=asked)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.hub.load('a', 'b')",
        "pd.read_pickle(path)",
        "eval(text)",
        "exec(text)",
        "ast.literal_eval(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_what_would_is_found(source):
    assert len(unsafe(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, weights_only=True)",
        "network.eval()",
        "json.load(file)",
        "re.compile(text)",
    ],
)
def test_what_would_not_is_left_alone(source):
    assert unsafe(source) == []


def test_r_executes_no_file_either():
    """But for its own sources, and a user's own images in R's own format: what R reads so could run
    code in R before 4.4 (CVE-2024-27322), as the documentation says."""
    for file in sorted((ROOT / "r_bridge").rglob("R/*.R")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            found = re.search(r"\b(readRDS|unserialize|load|dget)\(", line.split("#")[0])
            assert not found or file.name == "images.R", f"{file.name}:{number}"
