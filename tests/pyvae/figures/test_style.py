from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import hypothesis
import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from shown.figures_help import assert_readable, made_trace, note_of

from pyvae.errors import UserError
from pyvae.figures.losses import terms_figure
from pyvae.figures.runs import (
    latent_means_figure,
    loss_history_figure,
    samples_figure,
)
from pyvae.figures.spread import spread_figure
from pyvae.figures.style import (
    COLOURS,
    DIGIT_COLOURS,
    check_figure_path,
    digit_sheet,
    draw_digits,
    draw_figure,
    draw_or_log,
    group_colours,
    save_figure,
    titles_and_colours,
    whole_numbers,
    wrapped,
)
from pyvae.model.objectives import OBJECTIVES

pytestmark = pytest.mark.slow

modest = hypothesis.settings(max_examples=20)


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")) / 255


def drawn_sheet(images, columns):
    axes = Figure().subplots()
    draw_digits(axes, images, columns)
    return np.asarray(axes.images[0].get_array())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".PNG"])
def test_a_saved_figure_can_be_opened_and_shows_both_colours(tmp_path, traces, suffix):
    path = tmp_path / f"loss{suffix}"
    save_figure(loss_history_figure(traces), path)
    pixels = picture(path)
    for name in ("vae", "emae"):
        near = np.abs(pixels - to_rgb(COLOURS[name])).max(axis=2) < 0.15
        assert near.sum() > 50, name
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "make",
    [
        loss_history_figure,
        latent_means_figure,
        lambda traces: samples_figure(traces[0].samples, "VAE"),
    ],
    ids=["loss history", "latent means", "samples"],
)
def test_no_figure_is_blank(tmp_path, traces, make):
    save_figure(make(traces), tmp_path / "figure.png")
    shown = picture(tmp_path / "figure.png")[60:]  # below the title
    assert np.ptp(shown) > 0.5
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 10


def test_the_colours_are_those_of_the_article(traces):
    assert {name: COLOURS[name] for name in ("vae", "emae")} == {
        "vae": "firebrick",
        "emae": "steelblue",
    }
    lines = loss_history_figure(traces).axes[0].lines
    assert [to_hex(line.get_color()) for line in lines] == [
        to_hex("firebrick"),
        to_hex("steelblue"),
    ]


def test_every_objective_has_a_colour_of_its_own():
    assert set(COLOURS) == set(OBJECTIVES)
    assert len({to_hex(colour) for colour in COLOURS.values()}) == len(COLOURS)


def test_a_new_objective_has_a_spare_colour(trained, monkeypatch):
    for name in ("mine", "yours"):
        monkeypatch.setitem(OBJECTIVES, name, OBJECTIVES["vae"])
    settings = [
        dataclasses.replace(trained["vae"].settings, objective=n) for n in ("mine", "yours")
    ]
    figure = loss_history_figure(
        [dataclasses.replace(trained["vae"], settings=each) for each in settings]
    )
    colours = {to_hex(line.get_color()) for line in figure.axes[0].lines}
    assert len(colours) == 2
    assert not colours & {to_hex(colour) for colour in COLOURS.values()}
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-"}


def test_whole_numbers_puts_ticks_at_whole_numbers_only():
    axes = Figure().subplots()
    whole_numbers(axes.xaxis)
    for last in (*range(1, 30), 250, 10_000):
        axes.set_xlim(1 - 0.05 * last, 1.05 * last)
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert 1 <= len(ticks) <= 10
        assert all(tick == round(tick) for tick in ticks)


@pytest.mark.parametrize("many", [1, 3])
def test_ticks_of_steps_epochs_images_and_dimensions_are_whole(trained, many):
    trace = made_trace("conv", epochs=1, steps=many)
    epochs = made_trace("conv", epochs=many, steps=1)
    mu = np.random.default_rng(1).normal(size=(many, 2))
    for figure in (
        loss_history_figure([trace]),
        loss_history_figure([epochs]),
        latent_means_figure([dataclasses.replace(trace, latent_means={"training": mu})]),
        spread_figure({"vae": mu[:, 0] ** 2}, "title"),
        terms_figure(trace),
    ):
        figure.draw_without_rendering()
        for axes in figure.axes:
            low, high = axes.get_xlim()
            ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
            assert ticks
            assert all(tick == round(tick) for tick in ticks)


def test_titles_and_colours_are_the_objectives_for_name_and_title():
    found = titles_and_colours(["em", "VAE", "mine", "yours"])
    assert found["em"] == ("EM", COLOURS["em"])
    assert found["VAE"] == ("VAE", COLOURS["vae"])
    assert found["mine"][0] == "mine"
    hexes = {to_hex(colour) for colour in COLOURS.values()}
    assert not {to_hex(found["mine"][1]), to_hex(found["yours"][1])} & hexes
    assert found["mine"][1] != found["yours"][1]


def test_digits_have_ten_colours_and_more_groups_more():
    assert len({to_hex(colour) for colour in DIGIT_COLOURS}) == 10
    assert np.array_equal(group_colours(3), DIGIT_COLOURS[:3])
    assert len({to_hex(colour) for colour in group_colours(15)}) == 15


def test_a_long_note_is_broken_and_stays_inside(traces):
    note = "quick look: 2 of the published 50 epochs, " * 8
    figure = loss_history_figure(traces, note)
    assert_readable(figure)
    assert figure.get_supxlabel().count("\n") >= 2
    assert note_of(figure) == note.strip()


def test_lines_of_a_text_are_kept():
    assert wrapped(Figure(figsize=(7, 4)), "one\ntwo words") == "one\ntwo words"
    lengths = [len(line) for line in wrapped(Figure(figsize=(7, 4)), "a word, " * 18).splitlines()]
    assert len(lengths) == 2
    assert max(lengths) - min(lengths) < 10  # about as long


@pytest.mark.parametrize(
    ("name", "lines"), [("a" * 200, 3), ("W" * 200, 5), ("\u4e2d" * 60, 2), ("\ufdd0" * 60, 4)]
)
def test_a_long_name_without_a_space_stays_inside(trained, name, lines):
    trace = dataclasses.replace(trained["vae"], data={"name": name})
    figure = loss_history_figure([trace], f"note of {name}")
    assert_readable(figure)
    assert len(figure.axes[0].get_title().splitlines()) >= lines


def test_points_are_refused_as_digits():
    with pytest.raises(UserError, match=r"\(16, 2\).*28x28"):
        digit_sheet(np.zeros((16, 2)), 4)


@modest
@given(st.integers(1, 12), st.integers(1, 5))
def test_each_digit_is_where_it_belongs(count, columns):
    images = np.random.default_rng(count).uniform(size=(count, 784))
    sheet = drawn_sheet(images, columns)
    rows = -(-count // columns)
    assert sheet.shape == (29 * rows - 1, 29 * columns - 1)
    padded = np.pad(sheet, ((0, 1), (0, 1)), constant_values=0.5)
    tiles = padded.reshape(rows, 29, columns, 29).transpose(0, 2, 1, 3).reshape(-1, 29, 29)
    assert np.array_equal(tiles[:count, :28, :28].reshape(count, 784), images)
    assert not tiles[count:, :28, :28].any()
    assert (tiles[:, 28] == 0.5).all()
    assert (tiles[:, :, 28] == 0.5).all()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (5, 3), (16, 4), (17, 5)])
def test_samples_stand_in_a_grid_near_a_square(count, columns):
    axes = samples_figure(np.zeros((count, 784)), "a title").axes[0]
    assert axes.images[0].get_array().shape[1] == 29 * columns - 1
    assert axes.get_title() == "a title"
    assert axes.images[0].get_clim() == (0, 1)


def test_a_failure_leaves_the_old_figure_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    save_figure(Figure(figsize=(1, 1)), path)
    before = path.read_bytes()
    half = io.BytesIO(before).read(20)

    def fail(self, file, **options):
        Path(file).write_bytes(half)
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space left"):
        save_figure(Figure(figsize=(1, 1)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a/b.pdf", "a b.svg", "x.y.jpg"])
def test_pictures_names_are_accepted(name):
    assert check_figure_path(Path(name)) is None


@pytest.mark.parametrize("name", ["a.xyz", "a", "png", ".png", "a.png.txt", "a."])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match=r"not the name of a figure. Use a name that ends in .*png"):
        check_figure_path(Path(name))


def test_a_folder_is_refused_as_a_figure(tmp_path):
    folder = tmp_path / "a.png"
    folder.mkdir()
    with pytest.raises(UserError, match=r"a\.png' is a folder. Give the name of a file"):
        check_figure_path(folder)


def test_figures_have_a_style_of_their_own_and_leave_the_users_alone(traces, tmp_path):
    draw_figure(lambda: loss_history_figure(traces), tmp_path / "plain.png")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "savefig.bbox": "tight"}):
        before = dict(matplotlib.rcParams)
        draw_figure(lambda: loss_history_figure(traces), tmp_path / "odd.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_a_figure_that_cannot_be_drawn_is_a_line_and_that_of_an_earlier_run_is_removed(tmp_path):
    path, said = tmp_path / "a.png", []

    def broken():
        raise MemoryError

    assert draw_or_log(lambda: Figure(figsize=(1, 1)), path, said.append) is True
    assert (path.is_file(), said) == (True, [])
    assert draw_or_log(broken, path, said.append) is False
    assert said == [f"figure '{path}' cannot be drawn (MemoryError)"]
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_is_a_line(tmp_path):
    said = []
    path = tmp_path / "none" / "a.png"
    assert draw_or_log(lambda: Figure(figsize=(1, 1)), path, said.append) is False
    (line,) = said
    assert line.startswith(f"'{path}' cannot be written (No such file or directory)")


def test_letters_that_the_font_lacks_cause_no_warning(tmp_path, recwarn):
    draw_figure(lambda: samples_figure(np.zeros((1, 784)), "日本"), tmp_path / "a.png")
    assert list(recwarn) == []
