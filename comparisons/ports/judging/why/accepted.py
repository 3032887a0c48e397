"""What two libraries do otherwise, which a faithful port may have: the user accepts it by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyvae.errors import UserError

__all__ = ["KNOWN", "check_accepted", "how_to_accept", "name_of", "not_accepted"]


# By what is said of each, whichever side is Keras'
KNOWN = {
    "running-variance": "its running variance moves towards the",
    "adam-eps": "the bias correction, where it is added",
    "rmsprop-eps": "the square root, where it is added",
}


def check_accepted(names: Iterable[str], exact: bool) -> frozenset[str]:
    """The differences that a user accepts.

    Arguments:
        names: Their names.
        exact: Whether every bit has to be equal.

    Raises:
        UserError: If there is none of that name, or every bit has to be equal.
    """
    found = frozenset(names)
    unknown = sorted(found - {*KNOWN})
    if unknown:
        raise UserError(
            f"'{unknown[0]}' is no difference of two libraries that can be accepted",
            f"choose of {', '.join(KNOWN)}",
        )
    if found and exact:
        raise UserError("with --exact nothing can be accepted", "leave out one of the two")
    return found


def name_of(words: str) -> str:
    """The name of the difference that words are about; empty if it is none of these."""
    return next((name for name, said in KNOWN.items() if said in words), "")


def how_to_accept(words: Iterable[str]) -> list[str]:
    """What to do about a difference of the libraries, for somebody who sees it first.

    Arguments:
        words: All that is said of the place where two programs part.
    """
    names = list(map(name_of, words))
    return [
        f"this is a difference of the two libraries, which a faithful port may have: --accept "
        f"{one} goes on beyond it"
        for one in dict.fromkeys(names if all(names) else [])
    ]


def not_accepted(words: Iterable[str], accepted: Collection[str]) -> list[str]:
    """What is said of other differences."""
    return [one for one in words if name_of(one) not in accepted]
