"""Whether what is said of a difference names a mistake, or tells nothing of its cause."""

from __future__ import annotations

import re

__all__ = ["tells_nothing"]

# True of a difference whatever the mistake is
TELLS_NOTHING = (
    r"numbers? differs?", r"elements? differs?", r"other random numbers", r"^other numbers",
    r"has shape", r"comes from outside", r"cannot be computed again",
    r"is not what it should be for its own inputs", r"only \S+ (has|takes)",
    r"\S+'s takes \S+, \S+'s takes", r" has .* where \S+ has .*, (between|before)",
    r"is not what the step before left", r"in another order$", r"does not$",
    r"gets no gradient", r"in no known pattern",
    r"not what backward left", r"not known (how|which)",
)  # fmt: skip


def tells_nothing(words: str) -> bool:
    """Whether a sentence is no name of a mistake."""
    return any(re.search(one, words) for one in TELLS_NOTHING)
