"""Fixtures that tests of several packages share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import psutil
import pytest
import torch
from matplotlib.figure import Figure
from processes.r_package import r_with_the_package
from processes.undrawn import UNDRAWN, save_a_pixel
from processes.warm import Warm
from processes.warm_python import WarmPython
from stand_ins.narrow import NARROW

from pyvae.data.images import load_digits
from pyvae.errors import UserError
from pyvae.model.settings import Settings
from pyvae.recipes import RECIPES, get_recipe
from r_bridge.installed.r_torch import find_r_torch
from r_bridge.installed.rpy2 import check_r

PYVAE = Path(sys.executable).with_name("pyvae")
LONGEST = {"test_the_package_passes_its_check", "test_the_types_fit"}  # on one core each

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell: what the tests start would be deaf to Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on how fast the machine is, and the time that an example takes says nothing.
hypothesis.settings.register_profile(
    "any machine",
    hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]),
)
hypothesis.settings.load_profile("any machine")

# What tests write need not outlive a power cut: a disk takes milliseconds for each file. Tests of a
# disk that is full put another in its place.
os.fsync = lambda handle: None

if not torch.cuda.is_available():
    # `torch.manual_seed` keeps each seed, with the stack that it was called from, for devices that
    # may come: eight milliseconds.
    for module in (torch.cuda, torch.xpu, torch.mtia):
        module.manual_seed_all = lambda seed: None


@pytest.fixture(scope="session")
def digits():
    return load_digits()


@pytest.fixture(scope="session")
def conv():
    return get_recipe("conv")


@pytest.fixture
def settings(conv):
    """Makes settings for a short run with a small batch."""

    def make(**changes) -> Settings:
        small = {"batch_size": 12, "latent_dim": 5, "steps": 3, "dtype": "float64"}
        return conv.settings(**small | changes)

    return make


def pytest_collection_modifyitems(config, items):
    """Those that take minutes wait until they are asked for. The longest tests come first: at the
    end all other processes would wait for them."""
    if "long" not in config.getoption("markexpr"):
        put_off = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=put_off)
    items.sort(key=lambda item: item.name not in LONGEST)


def pytest_runtest_setup(item):
    """Tests marked `r` or `r_torch` skip, saying so, where there is no usable R, or R's torch;
    before their fixtures, which may start one."""
    names = {marker.name for marker in item.iter_markers()}
    if names & {"r", "r_torch"}:
        try:
            check_r()
        except UserError as error:
            pytest.skip(f"needs R: {error}")
    if "r_torch" in names:
        problem = find_r_torch().problem()
        if problem:
            pytest.skip(f"needs R's torch: {problem}")


@pytest.fixture(scope="session")
def warm():
    """Starts commands in processes that have imported PyTorch before."""
    if sys.platform != "linux":
        pytest.skip("needs Linux: forks a Python that has imported PyTorch")
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture(scope="session")
def warm_python(warm):
    """A Python that runs `-m pyvae` in such processes, for R programs."""
    with WarmPython(warm) as python:
        yield python


@pytest.fixture(scope="session")
def r_package(request, tmp_path_factory):
    """The environment of `Rscript` with this repository's R package, whose `pyvae` commands run in
    warm processes where that is possible."""
    fork = sys.platform == "linux"
    python = request.getfixturevalue("warm_python").program if fork else sys.executable
    return r_with_the_package(tmp_path_factory.mktemp("library"), python=str(python))


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made and not drawn, which takes longer than a small run: for tests that ask of
    them no more than that they are there. How they are drawn: tests/pyvae/figures,
    tests/comparisons/report."""
    monkeypatch.setattr(Figure, "savefig", save_a_pixel)


@pytest.fixture
def narrow_recipes(monkeypatch):
    """Commands in this process find recipes with few channels under the published names."""
    for name, recipe in NARROW.items():
        monkeypatch.setitem(RECIPES, name, recipe)


@pytest.fixture
def pyvae(warm, tmp_path):
    """Runs the `pyvae` command, in an empty folder, without MNIST. Its figures are not drawn, if it
    is not asked for them."""

    def run(
        *arguments: str, drawn: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PYVAE_DATA": str(tmp_path / "none")} | environment
        environment |= {} if drawn else UNDRAWN
        return warm.run(PYVAE, *arguments, folder=tmp_path, environment=os.environ | environment)

    return run


@pytest.fixture(scope="session")
def is_running():
    """Tells whether a process is there."""

    def is_there(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return is_there


@pytest.fixture(scope="session")
def is_gone():
    """Tells whether a process has ended, whether or not somebody has asked for its exit code."""

    def has_ended(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return has_ended
