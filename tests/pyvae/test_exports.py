"""What packages offer, and that it is imported on first use."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

ROOMS = ["data", "figures", "files", "metrics", "model", "terminal", "trace"]
PACKAGES = ["pyvae", "comparisons", *(f"pyvae.{room}" for room in ROOMS)]

INSTALLED = ["pyvae", "comparisons", "r_bridge"]
SLOW = {"torch", "matplotlib", "pandas", "numpy", "scipy", "sklearn", "rich", "typer"}


def load(package: str) -> ModuleType:
    return importlib.import_module(package)


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in PACKAGES for name in load(package).__all__]
)
def test_a_name_that_a_package_offers_is_the_one_of_its_module(package, name):
    offered = getattr(load(package), name)
    assert not isinstance(offered, ModuleType)  # a module of that name would hide it
    if hasattr(offered, "__module__"):
        assert getattr(sys.modules[offered.__module__], name) is offered


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        _ = load(package).nonsense
    assert not hasattr(load(package), "nonsense")


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_lists_what_a_package_offers(package):
    assert set(load(package).__all__) <= set(dir(load(package)))


def test_all_packages_are_of_the_installed_version_and_typed():
    for name in INSTALLED:
        package = load(name)
        assert package.__version__ == metadata.version("port-parity")
        assert (Path(str(package.__file__)).parent / "py.typed").is_file()


def test_importing_packages_imports_nothing_that_takes_long():
    code = f"import sys, {', '.join([*PACKAGES, *INSTALLED])}\n"
    code += f"print(*({SLOW} & {{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
