"""What all figures share: colours, titles, notes, and how they are saved.

Colours mean the same everywhere: VAE is firebrick and EMAE steelblue, as in the R article, and the
ten digits have the colours of tab10.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from pyvae.data.pixels import DIGITS
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
    "draw_or_log",
    "group_colours",
    "image_sheet",
    "loss_label",
    "own_style",
    "run_title",
    "samples_note",
    "save_figure",
    "titles_and_colours",
    "whole_numbers",
    "wrapped",
]

SPARE_COLOURS = ("goldenrod", "slateblue", "saddlebrown", "deeppink", "darkslategray")


class _Colours(dict[str, str]):
    """Colours by objective; an objective without one gets a spare colour, always the same."""

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
    """Line styles by objective; solid by default."""

    def __missing__(self, objective: str) -> str:
        return "-"


LINES = _Lines(vae="--")
DIGIT_COLOURS = matplotlib.colormaps["tab10"](range(10))  # (10, 4)
FORMATS = (".png", ".pdf", ".svg", ".jpg")
MEANS_NOTE = "Each line is one latent dimension; a flat line says nothing about the image."
LEAST_DEVIATION = 0.05  # of a pixel over images; MNIST's digits have 0.3 and more


def whole_numbers(axis: Axis, most: int = 9) -> None:
    """Puts ticks at whole numbers only, at most `most` of them."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1))


def samples_note(samples: Iterable[NDArray]) -> str:
    """Returns a note if images of one network hardly differ from each other, else an empty text.

    Arguments:
        samples: (N, 784), an array for each network; points, (N, 2), are not checked.
    """
    sound = [x[np.isfinite(x).all(axis=1)] for x in samples if x.shape[1] != 2]
    deviations = [float(images.std(axis=0).max()) for images in sound if len(images) > 1]
    if not deviations or min(deviations) >= LEAST_DEVIATION:
        return ""
    return (
        "The images hardly differ from each other (no pixel's standard deviation over them is "
        f"above {min(deviations):.2g} of white): there were too few steps, or the decoder ignores "
        "the latents."
    )


def draw_digits(axes: Axes, images: NDArray, columns: int, shape: tuple[int, ...] = DIGITS) -> None:
    """Draws images in rows of `columns`, with thin lines between them; those of three channels in
    colour."""
    sheet = image_sheet(images, columns, shape)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()


def digit_sheet(images: NDArray, columns: int) -> NDArray[np.float64]:
    """Joins images (N, 784) into one, (29 rows - 1, 29 columns - 1), with grey lines between.

    Raises:
        UserError: If they are not images of 784 pixels.
    """
    if images.ndim != 2 or images.shape[1] != 784:
        raise UserError(f"images of shape {images.shape}", expected="(N, 784): 28x28 pixels each")
    return image_sheet(images, columns)


def image_sheet(
    images: NDArray, columns: int, shape: tuple[int, ...] = DIGITS
) -> NDArray[np.float64]:
    """Joins images of a shape (channels, height, width) into one, with grey lines between.

    Arguments:
        images: (N, channels * height * width).
        columns: The number of images in a row.
        shape: Of one image. Three channels are red, green and blue; of any other number the mean is
            drawn.

    Returns:
        (rows * (height + 1) - 1, columns * (width + 1) - 1), of three channels with a last axis of
        length 3.

    Raises:
        UserError: If they are not images of this shape.
    """
    if len(shape) != 3 or images.ndim != 2 or images.shape[1] != math.prod(shape):
        numbers = f"{math.prod(shape)}: {'x'.join(map(str, shape))} numbers each"
        raise UserError(f"images of shape {images.shape}", expected=f"(N, {numbers})")
    channels, height, width = shape
    pictures = np.moveaxis(images.reshape(-1, *shape), 1, -1)
    if channels != 3:
        pictures = pictures.mean(axis=-1, keepdims=True)
    rows = math.ceil(len(images) / columns)
    down, right = height + 1, width + 1
    sheet = np.full((rows * down - 1, columns * right - 1, pictures.shape[-1]), 0.5)
    for index in range(rows * columns):
        top, left = down * (index // columns), right * (index % columns)
        picture = pictures[index] if index < len(images) else 0
        sheet[top : top + height, left : left + width] = picture
    return sheet if channels == 3 else sheet[:, :, 0]


def add_note(figure: Figure, note: str) -> None:
    """Writes a note in small letters at the bottom of a figure, in as many lines as it needs."""
    note = note.strip()
    if note:
        figure.supxlabel(wrapped(figure, note, 8), fontsize=8, color="dimgray")


def wrapped(figure: Figure, text: str, size: float = 10, share: float = 1) -> str:
    """Breaks a text of `size` points so that no line is wider than a share of the figure."""
    room = share * figure.get_figwidth() * 72 / size  # ems
    return "\n".join(_broken(as_text(line), room) for line in text.splitlines())


def _broken(line: str, room: float) -> str:
    """Breaks a line into as few lines as are narrower than `room` ems, all about as long: no word
    stands alone in the last one.

    A title is centred over its axes, not over the figure, and so needs some room to spare.
    """
    characters = int(room / 0.62)
    room *= 0.85
    while True:
        broken = textwrap.wrap(line, characters)
        widest = max(map(width, broken), default=0)
        if widest <= room or characters <= 2:
            break
        characters = max(2, int(characters * min(0.95, room / widest)))
    while characters > 2:
        characters -= 1
        shorter = textwrap.wrap(line, characters)
        if len(shorter) > len(broken) or max(map(width, shorter), default=0) > widest:
            break
        broken = shorter
    return "\n".join(broken)


def as_text(text: str) -> str:
    """Makes text from elsewhere, such as a file's name, safe to draw in a figure.

    Dollar signs do not start mathematics; control characters, and letters that no font has, are
    written out.
    """
    return drawable(printable(text)).replace("$", r"\$")


def group_colours(groups: int) -> NDArray:
    """Returns colours (groups, 4) of digits or clusters: tab10, or tab20 for more than ten."""
    if groups <= len(DIGIT_COLOURS):
        return DIGIT_COLOURS[:groups]
    return matplotlib.colormaps["tab20"](np.arange(groups) % 20)


def titles_and_colours(labels: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Returns a title and a colour for each label.

    The name or the title of an objective gets the objective's own; any other label gets itself
    and a colour of no objective.
    """
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
    """Returns the label of an axis of losses, with their unit."""
    unit = OBJECTIVES[objective].unit
    return f"loss ({unit})" if unit else "loss"


def run_title(trace: Trace) -> str:
    """Returns a line on what was run."""
    return (
        f"recipe {trace.recipe}, {trace.data['name']}, batch {trace.settings.batch_size}, "
        f"{trace.steps:,} step{'s' if trace.steps != 1 else ''}, {trace.settings.dtype}"
    )


@contextmanager
def own_style() -> Iterator[None]:
    """Sets matplotlib's defaults within a block, and the user's own settings again after it.

    Figures are made and saved in it, whatever the user's `matplotlibrc` says on LaTeX or fonts.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        # about letters that the font lacks, and about what matplotlib will change
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
        UserError: If it cannot be drawn or written, whatever the reason.
    """
    try:
        with own_style():
            save_figure(make(), path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"figure '{path}' cannot be written ({error.strerror or error})") from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UserError(f"figure '{path}' cannot be drawn ({why})") from error


def draw_or_log(make: Callable[[], Figure], path: Path, log: Callable[[str], object]) -> bool:
    """Draws a figure that results do not depend on; logs a line if that fails.

    If it fails, the figure of an earlier run is removed, too.

    Arguments:
        make: Makes the figure.
        path: The file.
        log: Called with the line.

    Returns:
        Whether it was drawn.
    """
    try:
        draw_figure(make, path)
    except UserError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        log(str(error))
        return False
    return True


def check_figure_path(path: Path, others: Sequence[str] = ()) -> None:
    """Raises UserError unless the name is that of a figure's file, or ends in one of `others`."""
    what = "a file that this command writes" if others else "a figure"
    endings = (*others, *FORMATS)
    if path.suffix.lower() not in FORMATS and path.suffix not in others:
        raise UserError(
            f"'{path}' is not the name of {what}",
            f"use a name that ends in {', '.join(endings[:-1])} or {endings[-1]}",
        )
    if path.is_dir():
        raise UserError(f"'{path}' is a folder", "give the name of a file")
