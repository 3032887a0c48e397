"""What the tests need of pytest; what they share is in fixtures.py."""

from __future__ import annotations

import importlib

import pytest

pytest.register_assert_rewrite("alike", "stand_ins.kept_runs")  # what differs is shown


def pytest_configure(config):
    """A process that only hands tests out to others needs nothing of what they share: it would
    import PyTorch, too, while they do."""
    here = config.getoption("dist", "no") == "no" or config.getoption("collectonly")
    if here or hasattr(config, "workerinput"):
        config.pluginmanager.register(importlib.import_module("fixtures"), "shared fixtures")
