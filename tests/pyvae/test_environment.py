from __future__ import annotations

import math
import socket

import pytest

from pyvae.environment import MOST, read_seconds
from pyvae.errors import UserError

NAME = "PYVAE_SOME_SECONDS"


@pytest.mark.parametrize(("given", "expected"), [(None, 7.0), ("2.5", 2.5), ("1e3", 1000.0)])
def test_the_variable_overrides_the_default(monkeypatch, given, expected):
    monkeypatch.delenv(NAME, raising=False)
    if given is not None:
        monkeypatch.setenv(NAME, given)
    assert read_seconds(NAME, 7.0) == expected


@pytest.mark.parametrize("given", ["", "soon", "-1", "nan", "0", "2000001", "1e300", "inf"])
def test_a_value_that_is_not_a_time_is_refused(monkeypatch, given):
    monkeypatch.setenv(NAME, given)
    with pytest.raises(UserError, match=f"{NAME} is '{given}': expected .* above 0, at most 2,0"):
        read_seconds(NAME, 7.0)


def test_the_most_that_is_allowed_works_for_a_socket(monkeypatch):
    monkeypatch.setenv(NAME, str(MOST))
    with socket.socket() as one:
        one.settimeout(read_seconds(NAME, 7.0))
    monkeypatch.setenv(NAME, "inf")
    assert read_seconds(NAME, 7.0, most=math.inf) == math.inf


def test_zero_can_be_allowed(monkeypatch):
    monkeypatch.setenv(NAME, "0")
    assert read_seconds(NAME, 7.0, or_zero=True) == 0
    monkeypatch.setenv(NAME, "-0.1")
    with pytest.raises(UserError, match="expected a number of seconds, 0 or more"):
        read_seconds(NAME, 7.0, or_zero=True)
