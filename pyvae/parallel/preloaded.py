"""What the fork server of `pyvae.parallel.starting` imports last; nobody else imports it."""

from __future__ import annotations

import gc

from pyvae.parallel.starting import surroundings

__all__ = ["SURROUNDINGS"]

SURROUNDINGS = surroundings()  # of the server, which all its processes inherit

gc.collect()
gc.freeze()  # else the first process that collects garbage copies every page
