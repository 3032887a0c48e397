"""The version of what is installed: pyproject.toml has it, for all packages."""

from __future__ import annotations

from importlib import metadata

__all__ = ["__version__"]


def _installed() -> str:
    try:
        return metadata.version("pyvae")
    except metadata.PackageNotFoundError:  # a folder of sources that nobody has installed
        return "0+unknown"


__version__ = _installed()
