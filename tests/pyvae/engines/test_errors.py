"""What is wrong in an engine, and whether it says something about the network."""

from __future__ import annotations

import pytest

from pyvae.engines.errors import EngineError, EngineMissingError, is_outage
from pyvae.errors import UserError
from r_bridge.errors import RError, RProcessError


class OwnOutageError(EngineError):
    outage = True


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (EngineError("it is wrong"), False),
        (EngineError("a label 'out of memory'"), False),  # an engine's own word is taken
        (EngineMissingError("it is not there"), True),
        (OwnOutageError("gone"), True),
        (RError("R error: non-conformable arguments"), False),
        (RError("R error: cannot allocate vector of size 8 Gb"), True),
        (RProcessError("the R process ended"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UserError("--seed -1"), False),
    ],
)
def test_an_outage_says_nothing_about_the_network(error, outage):
    assert is_outage(error) is outage


@pytest.mark.parametrize("kind", [EngineMissingError, RError, RProcessError])
def test_what_goes_wrong_in_an_engine_is_an_error_of_the_user_and_has_one_name(kind):
    assert issubclass(kind, EngineError)
    assert issubclass(EngineError, UserError)
