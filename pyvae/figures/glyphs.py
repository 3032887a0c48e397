"""Finds fonts for letters that matplotlib's own font lacks, such as Japanese ones in a file's name.

A letter that no installed font has is written as Python writes it, such as \\u65e5.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, NullFormatter, ScalarFormatter

__all__ = ["drawable", "glyphs_of_other_fonts", "width"]

NUMBERS = (LogFormatter, NullFormatter, ScalarFormatter)
SIZE = 20.0  # at which letters are measured; any size would do


def drawable(text: str) -> str:
    """Writes out the letters of a text that no installed font has.

    Example:
        >>> drawable("a\\ufdd0")
        'a\\\\ufdd0'
    """
    if text.isascii():
        return text
    return "".join(
        letter if _own(letter) or _other_font(letter) else ascii(letter)[1:-1] for letter in text
    )


def width(text: str) -> float:
    """Returns the width of a text, in ems."""
    return sum(_width(letter) for letter in text)


@contextmanager
def glyphs_of_other_fonts(figure: Figure) -> Iterator[None]:
    """Draws letters that the font lacks in another font, without warnings."""
    for text in _texts(figure):
        letters = [letter for letter in set(text.get_text()) if not _own(letter)]
        fonts = {font for font in map(_other_font, letters) if font}
        if fonts:
            text.set_fontfamily([*FontProperties().get_family(), *sorted(fonts)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def _texts(artist: Artist) -> Iterator[Text]:
    """The texts of a figure, but for numbers along an axis: to ask for those makes all ticks, also
    of axes that are not drawn."""
    if isinstance(artist, Text):
        yield artist
    elif isinstance(artist, Axis) and isinstance(artist.get_major_formatter(), NUMBERS):
        yield artist.label
    else:
        for child in artist.get_children():
            yield from _texts(child)


@cache
def _font() -> FT2Font:
    return get_font(findfont(FontProperties()))


@cache
def _own(letter: str) -> bool:
    return letter == "\n" or _has(_font(), letter)


@cache
def _width(letter: str) -> float:
    if not _own(letter):
        return 1.0
    font = _font()
    font.set_size(SIZE, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / SIZE


@cache
def _other_font(letter: str) -> str | None:
    """Returns the name of an installed font that has a letter, of normal style if possible."""
    fonts = sorted(fontManager.ttflist, key=lambda font: (font.style != "normal", font.name))
    for font in fonts:
        try:
            if not font.name.startswith("Last Resort") and _has(get_font(font.fname), letter):
                return str(font.name)
        except (OSError, RuntimeError):  # such as one of coloured bitmaps
            continue
    return None


def _has(font: FT2Font, letter: str) -> bool:
    if not font.get_char_index(ord(letter)):
        return False
    font.set_size(SIZE, 72)
    font.load_char(ord(letter))
    return True
