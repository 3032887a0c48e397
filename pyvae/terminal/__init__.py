"""What a command shows on the terminal while it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.terminal.console import Terminal
    from pyvae.terminal.job_progress import JobProgress
    from pyvae.terminal.step_progress import ShowProgress

__all__ = ["JobProgress", "ShowProgress", "Terminal"]
__getattr__ = lazy_exports(
    __name__,
    {
        "ShowProgress": "pyvae.terminal.step_progress",
        "JobProgress": "pyvae.terminal.job_progress",
        "Terminal": "pyvae.terminal.console",
    },
)
