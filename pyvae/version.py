"""What pip calls this project, and the version that is installed, of all packages."""

from __future__ import annotations

from importlib import metadata

__all__ = ["DISTRIBUTION", "__version__"]

DISTRIBUTION = "port-parity"  # `pyvae` on PyPI is another project's


def _installed() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # a folder of sources that nobody has installed
        return "0+unknown"


__version__ = _installed()
