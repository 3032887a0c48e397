from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text
from PIL import Image

from pyvae.figures import glyphs
from pyvae.figures.glyphs import drawable, width
from pyvae.figures.style import as_text, save_figure

LACKED = "\u20df"  # in STIX, which matplotlib brings along, and not in its own font


@pytest.fixture
def only_matplotlibs(monkeypatch):
    """Fonts as a bare machine has them."""
    glyphs._other_font.cache_clear()
    fonts = [font for font in fontManager.ttflist if "matplotlib" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", fonts)
    yield
    glyphs._other_font.cache_clear()


def saved(path, text):
    """The picture of a text, and what was warned of."""
    figure = Figure(figsize=(3, 1))
    figure.suptitle(text)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        save_figure(figure, path)
    with Image.open(path) as image:
        return np.asarray(image.convert("L")), [str(one.message) for one in warned]


def test_letters_that_no_font_has_are_written_out(only_matplotlibs):
    assert as_text("digits ü µ “a” \u65e5\u672c.npz") == r"digits ü µ “a” \u65e5\u672c.npz"
    assert drawable(LACKED) == LACKED


@pytest.mark.parametrize("letter", [LACKED, "\u65e5", "\ufdd0", "\U0001f600"])
def test_no_letter_is_warned_of(only_matplotlibs, tmp_path, letter):
    assert saved(tmp_path / "a.png", as_text(letter))[1] == []
    assert saved(tmp_path / "b.png", letter)[1] == []  # not asked before


def test_a_letter_is_drawn_in_another_font_that_has_it(only_matplotlibs, tmp_path):
    picture, _ = saved(tmp_path / "a.png", LACKED)
    lacking, _ = saved(tmp_path / "b.png", "\ufdd0")
    assert (picture < 128).any()
    assert not np.array_equal(picture, lacking)
    family = glyphs._other_font(LACKED)
    assert any(
        get_font(font.fname).get_char_index(ord(LACKED))
        for font in fontManager.ttflist
        if font.name == family
    )


def test_a_letter_is_drawn_in_another_font_wherever_it_stands(only_matplotlibs, tmp_path):
    figure = Figure(figsize=(4, 3))
    left, right, last = figure.subplots(1, 3)
    for text in (left.set_title, left.set_xlabel, left.set_ylabel, figure.suptitle):
        text(f"a{LACKED}")
    left.set_xticks([0, 1], [f"b{LACKED}", "c"])
    left.set_yticks([0], [f"d{LACKED}"])
    left.plot([0, 1], label=f"e{LACKED}")
    left.legend()
    right.annotate(f"f{LACKED}", (0, 0))
    last.semilogy([1, 10])
    figure.colorbar(right.imshow(np.ones((2, 2)))).set_label(f"g{LACKED}")
    save_figure(figure, tmp_path / "a.png")
    found = [text for text in figure.findobj(Text) if LACKED in text.get_text()]
    assert {text.get_text()[0] for text in found} == set("abdefg")
    assert all(glyphs._other_font(LACKED) in text.get_fontfamily() for text in found)


def test_ticks_that_are_not_drawn_are_not_made(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.axis("off")
    save_figure(figure, tmp_path / "a.png")
    assert len(vars(axes.xaxis)["majorTicks"]) <= 1


@pytest.mark.parametrize("text", ["iiii", "WWWW", "a plain text", "ü µ"])
def test_a_text_is_as_wide_as_it_is_drawn(text):
    figure = Figure(figsize=(7, 4))
    drawn = figure.text(0, 0, text, fontsize=50, parse_math=False)
    figure.draw_without_rendering()
    extent = drawn.get_window_extent().width / figure.dpi * 72 / 50
    assert width(text) == pytest.approx(extent, rel=0.05)
