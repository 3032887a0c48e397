"""Pictures of two runs."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from PIL import Image
from shown.figures_help import assert_readable, note_of

from comparisons.report import figures
from comparisons.steps.comparison import compare_whole_runs, tell_starts_apart
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.figures.style import save_figure
from pyvae.model.run import Run
from pyvae.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comparisons(request):
    """PyTorch against PyTorch: pictures do not need R."""
    conv, digits = request.getfixturevalue("conv"), request.getfixturevalue("digits")

    made = []
    for objective in ("vae", "emae"):
        run = conv.settings(objective=objective, batch_size=12, latent_dim=5, steps=3)
        a = train(Run(conv, run, digits), PyTorchEngine("cpu"))
        b = train(Run(conv, run, digits), PyTorchEngine("cpu"))
        b.engine = "base-r"
        b.losses = b.losses * (1 + np.array([[0], [1e-15], [0]]))
        made.append(compare_whole_runs(a, b))
    return made


@pytest.mark.parametrize(
    ("name", "count"), [("loss_history", 2), ("latent_means", 1), ("samples", 2)]
)
def test_figures_can_be_seen(comparisons, name, count, tmp_path):
    figure = getattr(figures, f"{name}_figure")(comparisons[:count])
    save_figure(figure, tmp_path / "figure.png")
    picture = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
    assert picture.std() > 10
    assert min(picture.shape) > 400


@pytest.mark.parametrize("name", ["loss_history", "latent_means", "samples"])
def test_engines_of_long_names_stay_inside_and_one_step_has_one_tick(comparisons, name):
    short = [
        copy.deepcopy(trace) for trace in (comparisons[0].under_test, comparisons[0].reference)
    ]
    for trace in short:
        trace.losses, trace.epochs = trace.losses[:1], trace.epochs[:1]
        trace.samples = 0.5 + trace.samples / 100
    short[0].engine, short[1].engine = "W" * 60, "a$b$" * 10 + "\u65e5" * 40
    figure = getattr(figures, f"{name}_figure")([compare_whole_runs(*short)])
    assert_readable(figure)
    for axes in figure.axes:
        if axes.get_xlabel() == "step":
            low, high = axes.get_xlim()
            assert [tick for tick in axes.get_xticks() if low < tick < high] == [1]
            assert all(
                line.get_marker() != "None" for line in axes.lines if len(line.get_xdata()) == 1
            )
    said = {"latent_means": "Each line is one latent", "samples": "The images hardly differ"}
    assert note_of(figure).startswith(said.get(name, "Look for circles"))
    assert "Look for" in note_of(figure)


@pytest.mark.filterwarnings("error", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "value"),
    [("loss_history", np.nan), ("loss_history", np.inf), ("latent_means", np.inf),
     ("samples", np.inf)],
)  # fmt: skip
def test_a_run_that_went_astray_is_drawn_too(comparisons, value, name, tmp_path):
    astray = copy.deepcopy(comparisons[0].reference)
    astray.losses[1:] = value
    astray.latent_means["training"][3] = value
    astray.samples[2] = value
    comparison = compare_whole_runs(comparisons[0].under_test, astray)
    save_figure(getattr(figures, f"{name}_figure")([comparison]), tmp_path / "figure.png")


def test_every_axis_of_losses_is_labelled_and_in_the_articles_colours(comparisons):
    figure = figures.loss_history_figure(comparisons)
    for axes in figure.axes:
        assert axes.get_xlabel() == "step"
        assert axes.get_ylabel()
        colours = {line.get_label(): to_rgba(line.get_color()) for line in axes.lines}
        for label, colour in colours.items():
            if label.startswith("VAE"):
                assert colour == to_rgba("firebrick")
            if label.startswith("EMAE"):
                assert colour == to_rgba("steelblue")


def test_the_difference_shows_equal_bits_apart_from_small_differences(comparisons):
    axes = figures.loss_history_figure(comparisons).axes[3]
    assert axes.get_yscale() == "log"
    (points,) = [line for line in axes.lines if line.get_label() == "VAE"]
    assert points.get_xdata().tolist() == [2]
    assert points.get_ydata()[0] == pytest.approx(1e-15, rel=0.3)


def test_latent_means_are_drawn_as_they_are(comparisons):
    figure = figures.latent_means_figure(comparisons)
    for row, comparison in enumerate(comparisons):
        for column, trace in enumerate((comparison.under_test, comparison.reference)):
            drawn = np.array([line.get_ydata() for line in figure.axes[3 * row + column].lines])
            assert np.array_equal(drawn.T, trace.latent_means["training"])
        bars = [bar.get_height() for bar in figure.axes[3 * row + 2].patches]
        spread = comparison.under_test.latent_means["evaluation"].std(axis=0)
        assert bars == pytest.approx(spread.tolist())  # in the mode in which they are counted


def of(comparison, start="", steps=3, **means):
    """A comparison of other latent means, steps and start."""
    side = replace(
        comparison.under_test,
        latent_means=means or comparison.under_test.latent_means,
        losses=np.ones((steps, 3)),
        start={"name": start} if start else {},
    )
    return replace(comparison, under_test=side)


def test_dimensions_are_counted_in_evaluation_mode_where_the_run_has_left_it(comparisons):
    """Of a network that is hardly trained batch norm spreads the means in training mode alone."""
    spread, still = np.arange(12.0)[:, None] * np.ones(5), np.zeros((12, 5))
    still[:, 0] = spread[:, 0]
    for means, words in (
        ({"training": spread, "evaluation": still}, "means of 1 of 5 dimensions vary over images "
         "(variance above 0.01 in evaluation mode)"),
        ({"training": spread}, "means of 5 of 5 dimensions vary over images "
         "(variance above 0.01 in training mode)"),
    ):  # fmt: skip
        one = of(comparisons[0], **means)
        title = figures.latent_means_figure([one]).axes[2].get_title()
        assert " ".join(title.split()) == f"VAE: {words}"
        assert any(words in caption for caption in figures.report_panels([one]))


@pytest.mark.parametrize(
    ("start", "steps", "said"),
    [("", 1, "after 1 step:"), ("", 99, "after 99 steps:"), ("", 100, ""), ("trained", 3, "")],
)
def test_swinging_lines_of_random_weights_are_not_taken_for_learning(
    comparisons, start, steps, said
):
    one = of(comparisons[0], start, steps)
    note = " ".join(note_of(figures.latent_means_figure([one, one])).split())
    words = "lines swing because the weights are random, which is no sign"
    assert note.count(words) == bool(said)
    assert said in note


def test_differences_of_every_objective_are_within_the_picture(comparisons):
    """A large one of the first objective, beside a small one of the second."""
    apart = copy.deepcopy(comparisons[0].reference)
    apart.losses *= 1.5
    pair = [compare_whole_runs(comparisons[0].under_test, apart), comparisons[1]]
    axes = figures.loss_history_figure(pair).axes[3]
    low, high = axes.get_ylim()
    for line in axes.lines:
        drawn = np.asarray(line.get_ydata(), dtype=float)
        assert ((low <= drawn) & (drawn <= high)).all()


def test_no_circle_is_below_a_legend(comparisons):
    """One is told to look for them."""
    for make, at in ((figures.loss_history_figure, 2), (figures.latent_means_figure, 2)):
        figure = make(comparisons)
        FigureCanvasAgg(figure).draw()
        axes = figure.axes[at]
        box = axes.get_legend().get_window_extent()
        circles = [line for line in axes.lines if line.get_marker() == "o"]
        assert circles
        for line in circles:
            drawn = axes.transData.transform(line.get_xydata())
            assert not box.count_contains(drawn)


def test_panels_of_the_report_are_one_picture_each(comparisons):
    panels = figures.report_panels(comparisons)
    assert len(panels) == 2 + 2 * 3 + 2 * 2
    for caption, figure in panels.items():
        (axes,) = figure.axes
        assert "decoded" in caption or (axes.get_xlabel() and axes.get_ylabel())


@pytest.fixture(scope="module")
def equal(comparisons):
    """The same runs, every bit of which is equal and has to be."""
    return [
        compare_whole_runs(one.under_test, replace(one.under_test, engine="r-torch"), exact=True)
        for one in comparisons
    ]


@pytest.mark.filterwarnings("error")
def test_runs_whose_every_bit_is_equal_are_drawn_without_a_warning(equal, tmp_path):
    """A tolerance of zero, and no difference to be drawn, on a logarithmic axis."""
    save_figure(figures.loss_history_figure(equal), tmp_path / "figure.png")
    assert np.asarray(Image.open(tmp_path / "figure.png").convert("L")).std() > 10


@pytest.mark.filterwarnings("error")
def test_panels_of_runs_whose_every_bit_is_equal_come_without_a_warning(equal, tmp_path):
    for figure in figures.report_panels(equal[:1]).values():
        save_figure(figure, tmp_path / "panel.png")


def test_where_every_bit_is_equal_the_difference_says_so(equal):
    axes = figures.loss_history_figure(equal).axes[3]
    words = [text.get_text() for text in axes.texts]
    assert words == ["every bit equal"]  # and no tolerance
    low, high = axes.get_ylim()
    assert 0 < low < figures.BITWISE_EQUAL < high
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(drawn) == 2  # one for each objective, in a way that both can be seen
    assert len({str(line.get_marker()) for line in drawn}) == 2
    for line in drawn:
        assert list(line.get_ydata()) == [figures.BITWISE_EQUAL] * 3
    titles = [axes.get_title() for axes in figures.loss_history_figure(equal).axes]
    assert "R torch (r-torch)" in titles


@pytest.fixture(scope="module")
def of_two_starts(comparisons):
    """The same from a trained state: of other numbers, so that each has its own place."""
    made = []
    for comparison in comparisons:
        sides = [copy.deepcopy(side) for side in (comparison.under_test, comparison.reference)]
        for side in sides:
            side.start = {"name": "trained", "sha256": "0" * 64}
            side.samples = np.linspace(0, 1, side.samples.size).reshape(side.samples.shape)
            side.latent_means = {k: mu * 1.0 for k, mu in side.latent_means.items()}
            for mu in side.latent_means.values():
                mu[:, 0] += np.arange(len(mu))
        made.append(compare_whole_runs(*sides))
    return tell_starts_apart([*comparisons, *made])


def test_two_starts_have_places_of_their_own(of_two_starts):
    losses, means, samples = (
        getattr(figures, f"{name}_figure")(of_two_starts)
        for name in ("loss_history", "latent_means", "samples")
    )
    for figure in (losses, means, samples):
        assert_readable(figure)
        assert "Look for" in note_of(figure)
    words = ["initial parameters", "the trained state"]
    assert [part.get_suptitle() for part in losses.subfigs] == [f"from {w}" for w in words]
    assert [len(part.axes) for part in losses.subfigs] == [4, 4]
    said = [part.get_suptitle() for part in samples.subfigs]  # what has learned something first
    assert said == [f"3 steps from {start}" for start in reversed(words)]
    assert "From initial parameters: the images hardly differ" in note_of(samples)
    titles = [" ".join(axes.get_title().split()) for axes in means.axes[2::3]]
    assert titles[0] == (
        "VAE from the trained state: means of 1 of 5 dimensions vary over images "
        "(variance above 0.01 in evaluation mode)"
    )
    assert [title.partition(":")[0] for title in titles] == [
        f"{name} from {start}" for start in reversed(words) for name in ("VAE", "EMAE")
    ]


def test_every_panel_of_the_report_says_of_which_start_it_is(of_two_starts):
    captions = list(figures.report_panels(of_two_starts))
    assert len(captions) == 2 * 2 + 4 * 3 + 4 * 2
    assert all(("initial parameters" in one) != ("the trained state" in one) for one in captions)
    assert all("Look for" in one for one in captions if "latent means in" not in one)
