"""The R article's figures, drawn by R: what is on them."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from pyvae.trace.trace import Trace
from r_bridge import R_FILES
from r_bridge.errors import RError
from r_bridge.process.client import RProcess

pytestmark = pytest.mark.r

FIREBRICK, STEELBLUE = (178, 34, 34), (70, 130, 180)


@pytest.fixture(scope="module")
def r():
    with RProcess(sources=(R_FILES.parent / "rpackage" / "R" / "article_figures.R",)) as process:
        yield process


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def run(rng, objective="vae", steps=8, per_epoch=4):
    """What R is given of a run."""
    return {
        "objective": objective,
        "losses": np.abs(rng.normal(size=(steps, 3))) * 1000,
        "epochs": np.arange(steps, dtype=np.int32) // per_epoch + 1,
        "batch_size": 10,
        "latent_means": {"training": rng.normal(size=(10, 3))},
        "samples": rng.random((16, 784)),
    }


def draw_losses(r, folder, runs):
    call = 'article_loss_figure(folder, list(%s), "title", kind = "cairo")'
    names = [f"run{i}" for i in range(len(runs))]
    r.evaluate(f"losses <- function(folder, {', '.join(names)}) {call % ', '.join(names)}; NULL")
    return r.call("losses", folder=str(folder), **dict(zip(names, runs, strict=True)))


def picture(path):
    """(height, width, 3), 0 to 255."""
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)


def has_colour(image, colour):
    return bool((image == np.array(colour)).all(axis=-1).any())


@pytest.mark.parametrize("per_epoch", [4, 3, 8])
def test_the_curve_is_pyvaes_own_table(r, rng, conv, per_epoch):
    given = run(rng, steps=8, per_epoch=per_epoch)
    settings = conv.settings(batch_size=10)
    trace = Trace("e", "conv", settings, {}, {}, given["losses"], given["epochs"].astype(np.int64))
    by_epoch = per_epoch < 8
    curve = r.call("loss_curve", run=given, per_epoch=by_epoch)
    table = trace.epoch_table() if by_epoch else trace.history()
    assert np.array_equal(curve["at"], table["epoch" if by_epoch else "step"])
    np.testing.assert_allclose(curve["total"], table["total"], rtol=1e-14)
    np.testing.assert_allclose(
        curve["total"] / curve["images"], table["nats_per_image"], rtol=1e-14
    )


def test_both_losses_have_their_colours_and_one_alone_its_own(r, rng, tmp_path):
    both = [run(rng, "vae"), run(rng, "emae")]
    assert list(draw_losses(r, tmp_path, both)) == [f"{tmp_path}/loss_hist.png"]
    image = picture(tmp_path / "loss_hist.png")
    assert has_colour(image, FIREBRICK)
    assert has_colour(image, STEELBLUE)
    draw_losses(r, tmp_path, both[1:])
    image = picture(tmp_path / "loss_hist.png")
    assert not has_colour(image, FIREBRICK)
    assert has_colour(image, STEELBLUE)


@pytest.mark.parametrize(("steps", "per_epoch"), [(1, 4), (3, 4), (6, 4), (400, 2)])
def test_short_unfinished_and_long_runs_can_be_drawn(r, rng, tmp_path, steps, per_epoch):
    draw_losses(r, tmp_path, [run(rng, steps=steps, per_epoch=per_epoch)])
    assert has_colour(picture(tmp_path / "loss_hist.png"), FIREBRICK)


def test_digits_stand_upright_side_by_side_from_the_upper_left(r, rng, tmp_path):
    given = run(rng, "emae")
    paths = r.call("article_run_figures", folder=str(tmp_path), run=given, kind="cairo")
    assert list(paths) == [f"{tmp_path}/emae_gen.png", f"{tmp_path}/mu_EMAE.png"]
    whole = picture(tmp_path / "emae_gen.png")[..., 0]
    width = whole.shape[1]
    assert whole[:-width].min() < 50  # above the digits: their title, in black
    image = whole[-width:]
    height, width = image.shape
    sheet = given["samples"].reshape(4, 4, 28, 28).transpose(0, 2, 1, 3).reshape(112, 112)
    middles = (np.arange(112) + 0.5) / 112
    drawn = image[np.ix_((middles * height).astype(int), (middles * width).astype(int))]
    # ?grey.colors: from 0.3 to 0.9, with gamma 2.2; here in 255 of them
    grey = (0.3**2.2 + sheet * (0.9**2.2 - 0.3**2.2)) ** (1 / 2.2) * 255
    assert np.abs(drawn - grey).max() < 3


def test_latent_means_of_one_image_or_dimension_can_be_drawn(r, rng, tmp_path):
    for shape in ((1, 3), (10, 1)):
        given = run(rng) | {"latent_means": {"training": rng.normal(size=shape)}}
        r.call("article_run_figures", folder=str(tmp_path), run=given, kind="cairo")
        image = picture(tmp_path / "mu_VAE.png")
        assert (image.max(axis=-1) - image.min(axis=-1)).max() > 50  # colours, not greys alone


def test_a_folder_with_a_percent_sign_and_letters_beyond_ascii(r, rng, tmp_path):
    folder = tmp_path / "100%d ü"
    folder.mkdir()
    r.call("article_run_figures", folder=str(folder), run=run(rng), kind="cairo")
    assert sorted(path.name for path in folder.iterdir()) == ["mu_VAE.png", "vae_gen.png"]


def test_a_picture_that_cannot_be_written_is_told_and_leaves_nothing(r, rng, tmp_path):
    (tmp_path / "loss_hist.png" / "in the way").mkdir(parents=True)
    with pytest.raises(RError, match=r"picture '.*loss_hist.png' cannot be written"):
        draw_losses(r, tmp_path, [run(rng)])
    assert [path.name for path in tmp_path.iterdir()] == ["loss_hist.png"]


def test_an_r_without_png_writes_pdf(r, rng, tmp_path):
    assert r.call("picture_kind")[0] in ("cairo", "png")
    r.evaluate("capabilities <- function(...) FALSE; NULL")
    try:
        kind = r.call("picture_kind")[0]
    finally:
        r.evaluate("rm(capabilities); NULL")
    assert kind == "pdf"
    r.call("article_run_figures", folder=str(tmp_path), run=run(rng), kind=kind)
    for name in ("mu_VAE", "vae_gen"):
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
