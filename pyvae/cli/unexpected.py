"""Reports of unexpected errors: mistakes in pyvae, or in a package that it uses."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from importlib import metadata

from pyvae.version import DISTRIBUTION

__all__ = ["report_unexpected"]

PACKAGES = (
    DISTRIBUTION,
    "torch",
    "numpy",
    "pandas",
    "matplotlib",
    "rich",
    "typer",
    "rpy2-rinterface",
)


def report_unexpected(error: BaseException) -> str:
    """Writes command, versions and traceback into a temporary file that only its owner can read.

    Returns:
        The error in a line, with the file to report it with. Where no file can be written, the
        traceback goes to standard error.
    """
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    text = _report(error)
    try:
        handle, path = tempfile.mkstemp(prefix="pyvae-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        return f"unexpected error: {what}. Please report it with the text above."
    return f"unexpected error: {what}. Please report it with the file '{path}'."


def _report(error: BaseException) -> str:
    lines = [
        f"command: {shlex.join(sys.argv)}",
        f"Python {platform.python_version()}, {platform.platform()}",
    ]
    for name in PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join([*lines, "", *traceback.format_exception(error)])
