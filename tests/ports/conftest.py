"""R with the package of this repository."""

from __future__ import annotations

import pytest
from processes.r_package import r_with_the_package


@pytest.fixture(scope="session")
def r_environment(tmp_path_factory):
    """The environment in which `Rscript` finds the package."""
    return r_with_the_package(tmp_path_factory.mktemp("library"))
