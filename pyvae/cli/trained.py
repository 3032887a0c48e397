"""Commands that use a trained run: encode, reconstruct, interpolate, sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyvae.cli.options import choices
from pyvae.cli.options.image_set import ImageSet
from pyvae.cli.options.shared import RecipeFile
from pyvae.errors import UserError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from pyvae.data.images import ImageData
    from pyvae.trace.trace import Trace

__all__ = [
    "ImagesFrom",
    "encode_command",
    "interpolate_command",
    "reconstruct_command",
    "sample_command",
]

CSV, NPZ = ".csv", ".npz"

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A folder of pyvae train, with one objective.")
]
ImagesFrom = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FILE",
        help="Images, as pyvae train takes them (default: those that the run was trained on).",
        autocompletion=choices.complete(choices.DATA),
    ),
]
Images = Annotated[
    str, typer.Option(metavar="IMAGES", help="Which images, from 1: 1-100, or 3,7-9, or all.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists already.")]


def encode_command(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Table, arrays or picture to write: a .csv, .npz or .png file."
        ),
    ],
    images: Images = "all",
    data: ImagesFrom = None,
    overwrite: Overwrite = False,
    recipe: RecipeFile = None,
) -> None:
    """Write the latents of images: the posterior of a trained run.

    A csv file has a row for each image: image (from 1), label (where there are labels), the means
    mu_1, mu_2, ... and the logarithms of the variances log_var_1, ... An npz file has the arrays
    image, label, mu and log_var. A picture shows the means in the plane, a colour for each label;
    of more than two latent dimensions it shows the first two principal components.

    They are computed in evaluation mode: without dropout.
    """
    from pyvae.figures.draw_run import trace_latents_figure
    from pyvae.runs.trained.posterior import encode

    _check_out(out, overwrite, CSV, NPZ)
    trace, found, rows = _open(run, data, images, recipe)
    posterior = encode(trace, found, rows)
    if out.suffix == CSV:
        from pyvae.files.csv import csv_text

        table = posterior.to_pandas()
        for place, (name, values) in enumerate(_which(found, rows).items()):
            table.insert(place, name, values)
        _write(out, csv_text(table))
    elif out.suffix == NPZ:
        _write(out, _npz(**_which(found, rows), **posterior._asdict()))
    else:
        _draw(out, lambda: trace_latents_figure(trace, found, rows, posterior.mu))


def reconstruct_command(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture or arrays to write: a .png or .npz file.")
    ],
    images: Images = "1-12",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the draws.")] = 1,
    data: ImagesFrom = None,
    overwrite: Overwrite = False,
    recipe: RecipeFile = None,
) -> None:
    """Reconstruct images with a trained run: decode their posterior means, and draws from it.

    A picture has each image with its reconstructions below it, 120 images at most. An npz file has
    the arrays image (from 1), label (where there are labels), original, of_mean and of_draw.
    """
    import numpy as np

    from pyvae.figures.draw_run import trace_reconstructions_figure
    from pyvae.figures.reconstructions import check_pictured
    from pyvae.runs.trained.posterior import reconstruct

    _check_seed(seed)
    _check_out(out, overwrite, NPZ)
    trace, found, rows = _open(run, data, images, recipe)
    if out.suffix != NPZ:
        check_pictured(len(rows), found.shape)  # before any is reconstructed
    of_mean, of_draw = (reconstruct(trace, found, rows, seed=which) for which in (None, seed))
    if out.suffix == NPZ:
        original = found.batch(np.asarray(rows), trace.settings.torch_dtype).numpy()
        arrays = _which(found, rows) | {"original": original}
        _write(out, _npz(**arrays, of_mean=of_mean, of_draw=of_draw))
    else:
        _draw(out, lambda: trace_reconstructions_figure(trace, found, rows, of_mean, of_draw))


def interpolate_command(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture or arrays to write: a .png or .npz file.")
    ],
    images: Annotated[
        str, typer.Option(metavar="A,B", help="From which image to which, counted from 1.")
    ] = "1,2",
    n: Annotated[int, typer.Option("-n", metavar="N", help="Number of images, with both ends.")] = (
        12
    ),
    data: ImagesFrom = None,
    overwrite: Overwrite = False,
    recipe: RecipeFile = None,
) -> None:
    """Decode the way from one image to another through the latents of a trained run.

    The way is straight, in even steps, between the posterior means of the two images. An npz file
    has the arrays z, the latents, and pixels, what they decode to.
    """
    from pyvae.figures.draw_run import trace_interpolation_figure
    from pyvae.runs.trained.generated import interpolate

    _check_number(n, 2)
    _check_out(out, overwrite, NPZ)
    trace, found, rows = _open(run, data, images, recipe)
    if len(rows) != 2:
        raise UserError(f"--images {images}", expected="two images, such as 1,2")
    first, last = rows
    way = interpolate(trace, found, first, last, n)
    if out.suffix == NPZ:
        _write(out, _npz(**way._asdict()))
    else:
        _draw(out, lambda: trace_interpolation_figure(trace, found, rows, way.pixels))


def sample_command(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture to write, such as samples.png.")
    ],
    n: Annotated[int, typer.Option("-n", metavar="N", help="Number of images.")] = 16,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the latent variables.")] = 1,
    overwrite: Overwrite = False,
    recipe: RecipeFile = None,
) -> None:
    """Draw new images (or points) from a trained run: the prior, decoded."""
    from pyvae.figures.draw_run import trace_samples_figure
    from pyvae.runs.trained.generated import sample

    _check_number(n, 1)
    _check_seed(seed)
    _check_out(out, overwrite)
    trace = _open_run(run, recipe)
    prior = "p(z|y), the clusters in turn" if "clusters" in trace.settings.hyper else "N(0, I)"
    samples = sample(trace, n, seed)
    _draw(out, lambda: trace_samples_figure(samples, trace, prior))


def _check_number(n: int, least: int) -> None:
    from pyvae.runs.trained.generated import MOST

    if not least <= n <= MOST:
        raise UserError(f"-n {n}", expected=f"{least} to {MOST}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed}", expected="0 to 2^63 - 1")


def _check_out(path: Path, overwrite: bool, *others: str) -> None:
    """Raises UserError unless a picture, or a file that ends in one of `others`, can be written.

    Arguments:
        path: The file.
        overwrite: Whether one that is there may be replaced.
        others: Endings besides those of pictures.
    """
    from pyvae.figures.style import check_figure_path

    check_figure_path(path, others)
    if path.exists() and not overwrite:
        raise UserError(
            f"'{path}' exists already", "choose another name, or replace it with --overwrite"
        )


def _open_run(run: Path, recipe: str | None) -> Trace:
    from pyvae.recipes import open_recipe
    from pyvae.runs.trained.network import load_trace

    if recipe is not None:
        open_recipe(recipe)
    return load_trace(run)


def _open(
    run: Path, data: str | None, images: str, recipe: str | None
) -> tuple[Trace, ImageData, list[int]]:
    """The trace of a run, images, and the rows of those that were asked for."""
    from pyvae.runs.verify import load_run_data
    from pyvae.trace.recipe import recipe_of
    from pyvae.training.inputs import load_for

    asked = ImageSet.parse(images)
    trace = _open_run(run, recipe)
    found = load_for(recipe_of(trace), data) if data else load_run_data(trace)
    return trace, found, asked.rows(len(found))


def _which(data: ImageData, rows: list[int]) -> dict[str, NDArray]:
    """The numbers of images, from 1, and their labels, if they have any."""
    import numpy as np

    found = {"image": np.asarray(rows) + 1}
    return found if data.labels is None else found | {"label": data.labels[rows].numpy()}


def _npz(**arrays: NDArray) -> bytes:
    import io

    import numpy as np

    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _write(path: Path, content: str | bytes) -> None:
    from pyvae.files.writing import output_folder, write_file

    output_folder(path.parent)
    write_file(path, content)
    print(f"written: {printable(str(path))}")


def _draw(path: Path, make: Callable[[], Figure]) -> None:
    from pyvae.figures.style import draw_figure
    from pyvae.files.writing import output_folder

    output_folder(path.parent)
    draw_figure(make, path)
    print(f"written: {printable(str(path))}")
