"""Pictures of traces, and what all figures share. The same colours mean the same thing
everywhere: VAE firebrick and EMAE steelblue, as in the R article; the ten digits tab10."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyvae.errors import UserError, printable
from pyvae.figures.glyphs import drawable, glyphs_of_other_fonts, width
from pyvae.files.writing import replacing
from pyvae.model.objectives import OBJECTIVES
from pyvae.trace.trace import Trace

__all__ = [
    "COLOURS",
    "DIGIT_COLOURS",
    "LINES",
    "MEANS_NOTE",
    "add_note",
    "as_text",
    "check_figure_path",
    "digit_sheet",
    "draw_digits",
    "draw_figure",
    "group_colours",
    "loss_label",
    "own_style",
    "run_title",
    "samples_note",
    "save_figure",
    "save_or_say",
    "titles_and_colours",
    "whole_numbers",
    "wrapped",
]

SPARE_COLOURS = ("goldenrod", "slateblue", "saddlebrown", "deeppink", "darkslategray")


class _Colours(dict[str, str]):
    """Of an objective without a colour of its own: a spare one, always the same."""

    def __missing__(self, objective: str) -> str:
        others = [name for name in OBJECTIVES if name not in self]
        number = others.index(objective) if objective in others else len(others)
        return SPARE_COLOURS[-1 - number % len(SPARE_COLOURS)]


COLOURS = _Colours(
    {
        "vae": "firebrick",
        "emae": "steelblue",
        "em": "darkorange",
        "elbo": "seagreen",
        "beta": "rebeccapurple",
        "clustering": "darkcyan",
        "semi-supervised": "mediumvioletred",
        "clustering-points": "olivedrab",
    }
)


class _Lines(dict[str, str]):
    """Of an objective without a line of its own: solid."""

    def __missing__(self, objective: str) -> str:
        return "-"


LINES = _Lines(vae="--")
DIGIT_COLOURS = matplotlib.colormaps["tab10"](range(10))  # (10, 4)
FORMATS = (".png", ".pdf", ".svg", ".jpg")
MEANS_NOTE = (
    "Each line is one latent dimension; a line that stays near 0 for all images carries no "
    "information."
)
LEAST_DEVIATION = 0.05  # of a pixel over images; of MNIST's digits it is 0.3 and more


def whole_numbers(axis: Axis, most: int = 9) -> None:
    """Ticks at whole numbers alone, also where only one of them is in sight; at most so many."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1))


def samples_note(samples: Iterable[NDArray]) -> str:
    """What to say where images of one network hardly differ from each other; else nothing.

    Arguments:
        samples: (N, 784), of a network each; of points, (N, 2), nothing is said.
    """
    sound = [x[np.isfinite(x).all(axis=1)] for x in samples if x.shape[1] != 2]
    deviations = [float(images.std(axis=0).max()) for images in sound if len(images) > 1]
    if not deviations or min(deviations) >= LEAST_DEVIATION:
        return ""
    return (
        "Images that hardly differ from each other (no pixel's standard deviation over them is "
        f"above {min(deviations):.2g} of white): too few steps, or a decoder that ignores the "
        "latents."
    )


def draw_digits(axes: Axes, images: NDArray, columns: int) -> None:
    """Images side by side with a thin line between, in rows of so many columns."""
    sheet = digit_sheet(images, columns)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def digit_sheet(images: NDArray, columns: int) -> NDArray[np.float64]:
    """One image (29 rows - 1, 29 columns - 1) of images (N, 784), grey lines between them;
    black where there is none.

    Raises:
        UserError: If they are not images of 784 pixels.
    """
    if images.ndim != 2 or images.shape[1] != 784:
        raise UserError(f"images of shape {images.shape}", expected="(N, 784): 28x28 pixels each")
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * 29 - 1, columns * 29 - 1), 0.5)
    for index, image in enumerate(images):
        top, left = 29 * (index // columns), 29 * (index % columns)
        sheet[top : top + 28, left : left + 28] = image.reshape(28, 28)
    for index in range(len(images), rows * columns):
        top, left = 29 * (index // columns), 29 * (index % columns)
        sheet[top : top + 28, left : left + 28] = 0
    return sheet


def add_note(figure: Figure, note: str) -> None:
    """Writes a note small at the bottom of a figure, in as many lines as it needs."""
    note = note.strip()
    if note:
        figure.supxlabel(wrapped(figure, note, 8), fontsize=8, color="dimgray")


def wrapped(figure: Figure, text: str, size: float = 10, share: float = 1) -> str:
    """A text of that size in points, broken so that no line is wider than the figure, or than a
    share of it."""
    room = share * figure.get_figwidth() * 72 / size  # ems
    return "\n".join(_broken(as_text(line), room) for line in text.splitlines())


def _broken(line: str, room: float) -> str:
    """A line broken so that none is as wide as so many ems: a title is centred
    over its axes, not over the figure."""
    characters = int(room / 0.62)
    room *= 0.85
    while True:
        broken = textwrap.fill(line, characters)
        widest = max((width(part) for part in broken.splitlines()), default=0)
        if widest <= room or characters <= 2:
            return broken
        characters = max(2, int(characters * min(0.95, room / widest)))


def as_text(text: str) -> str:
    """A text from elsewhere, such as a file's name, for a figure: its dollar signs are no
    mathematics, and control characters, which have no shape, are written out, as are letters that
    no font has."""
    return drawable(printable(text)).replace("$", r"\$")


def group_colours(groups: int) -> NDArray:
    """Colours (groups, 4) of digits or clusters 0, 1, ...: tab10, tab20 for more than ten."""
    if groups <= len(DIGIT_COLOURS):
        return DIGIT_COLOURS[:groups]
    return matplotlib.colormaps["tab20"](np.arange(groups) % 20)


def titles_and_colours(labels: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Title and colour of what is shown, by label: an objective's own for its name or title,
    else the label itself and a colour that is no objective's."""
    names = {objective.title: name for name, objective in reversed(OBJECTIVES.items())}
    spare = iter(SPARE_COLOURS * len(OBJECTIVES))
    found: dict[str, tuple[str, Any]] = {}
    for label in labels:
        name = label if label in OBJECTIVES else names.get(label)
        found[label] = (
            (OBJECTIVES[name].title, COLOURS[name]) if name is not None else (label, next(spare))
        )
    return found


def loss_label(objective: str) -> str:
    """The label of an axis of losses, with their unit."""
    unit = OBJECTIVES[objective].unit
    return f"loss ({unit})" if unit else "loss"


def run_title(trace: Trace) -> str:
    """What was run, in a line."""
    return (
        f"recipe {trace.recipe}, {trace.data['name']}, batch {trace.settings.batch_size}, "
        f"{trace.steps:,} step{'s' if trace.steps != 1 else ''}, {trace.settings.dtype}"
    )


@contextmanager
def own_style() -> Iterator[None]:
    """matplotlib's defaults until the end, whatever the user's `matplotlibrc` says (LaTeX, other
    fonts); afterwards the user's settings are as they were. A figure is made and saved in it."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        # of characters that the font lacks, and of what matplotlib will change one day
        warnings.filterwarnings("ignore", "Glyph ")
        for category in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Saves a figure, under a temporary name first."""
    FigureCanvasAgg(figure)  # needs no screen
    with replacing(path) as temporary, glyphs_of_other_fonts(figure):
        figure.savefig(temporary, dpi=150)


def draw_figure(make: Callable[[], Figure], path: Path) -> None:
    """Makes a figure in pyvae's own style and saves it.

    Raises:
        UserError: If it cannot be made or written, whatever the reason.
    """
    try:
        with own_style():
            save_figure(make(), path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"picture '{path}' cannot be written ({error.strerror or error})"
        ) from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UserError(f"picture '{path}' cannot be drawn ({why})") from error


def save_or_say(make: Callable[[], Figure], path: Path, say: Callable[[str], object]) -> bool:
    """Draws a picture beside results that do not depend on it: where that fails, a line says so
    and the command goes on. A picture that an earlier run left there is removed then.

    Arguments:
        make: Makes the figure.
        path: The file.
        say: Called with the line.

    Returns:
        Whether it was drawn.
    """
    try:
        draw_figure(make, path)
    except UserError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        say(str(error))
        return False
    return True


def check_figure_path(path: Path) -> None:
    """Raises UserError unless a figure can be written under this name."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"'{path}' is no picture's name",
            expected=f"a name that ends in one of {', '.join(FORMATS)}",
        )
    if path.is_dir():
        raise UserError(f"'{path}' is a folder", expected="a picture's name")


def _scale(factor: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Multiplying and dividing by a factor: a secondary axis wants both ways."""
    return lambda y: y * factor, lambda y: y / factor
