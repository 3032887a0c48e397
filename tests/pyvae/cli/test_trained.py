"""`pyvae encode`, `reconstruct`, `interpolate` and `sample`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pyvae.runs.trained import encode, interpolate, reconstruct

pytestmark = pytest.mark.slow


def test_samples_go_into_the_file_asked_for(run, tmp_path):
    for name, seed in (("new/a.png", 1), ("b.png", 1), ("c.png", 2)):
        code, out, err = run("sample", "run/vae", "-n", "5", "--seed", seed, "--out", name)
        assert (code, out, err) == (0, f"written: {name}\n", "")
    pictures = [
        np.asarray(Image.open(tmp_path / name)).tobytes()
        for name in ("new/a.png", "b.png", "c.png")
    ]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_latents_are_written_as_a_table_as_arrays_and_as_a_picture(run, trained, digits, tmp_path):
    for name in ("new/latents.csv", "latents.npz", "latents.png"):
        said = run("encode", "run/vae", "--images", "9,1-8", "--out", name)
        assert said == (0, f"written: {name}\n", "")
    rows = [8, *range(8)]
    expected = encode(trained["vae"], digits, rows)
    table = pd.read_csv(tmp_path / "new" / "latents.csv")
    assert list(table.columns[:3]) == ["image", "label", "mu_1"]
    assert table["image"].tolist() == [row + 1 for row in rows]
    assert table["label"].tolist() == digits.labels[rows].tolist()
    np.testing.assert_allclose(table.filter(regex="^mu_"), expected.mu, rtol=1e-14)
    np.testing.assert_allclose(table.filter(regex="^log_var_"), expected.log_var, rtol=1e-14)
    with np.load(tmp_path / "latents.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"image", "label", "mu", "log_var"}
        assert np.array_equal(arrays["mu"], expected.mu)
    with Image.open(tmp_path / "latents.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 0


def test_reconstructions_and_ways_are_written_as_arrays_and_as_pictures(
    run, trained, digits, tmp_path
):
    np.savez(tmp_path / "mine.npz", images=digits.pixels[5:9].numpy())
    mine = ("--data", "mine.npz")
    for command, images in (("reconstruct", "all"), ("interpolate", "4,1")):
        for name in (f"{command}.npz", f"{command}.png"):
            said = run(command, "run/emae", *mine, "--images", images, "--out", name)
            assert said == (0, f"written: {name}\n", "")
    with np.load(tmp_path / "reconstruct.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"image", "original", "of_mean", "of_draw"}  # it has no labels
        assert np.array_equal(arrays["original"] * 255, digits.pixels[5:9])
        for name, seed in (("of_mean", None), ("of_draw", 1)):
            expected = reconstruct(trained["emae"], digits, range(5, 9), seed=seed)
            np.testing.assert_allclose(arrays[name], expected, atol=1e-14)
    with np.load(tmp_path / "interpolate.npz", allow_pickle=False) as arrays:
        way = interpolate(trained["emae"], digits, 8, 5, n=12)
        np.testing.assert_allclose(arrays["z"], way.z, atol=1e-14)
        np.testing.assert_allclose(arrays["pixels"], way.pixels, atol=1e-14)


def test_a_file_of_the_users_is_replaced_only_if_that_is_asked_for(run, tmp_path, assert_refused):
    (tmp_path / "mine.png").write_text("mine")
    few = ("--images", "1,2", "--out", "mine.png")
    for command in (("encode", "run/vae", *few), ("sample", "run/vae", "--out", "mine.png")):
        assert_refused(run(*command), "'mine.png' exists already. Choose another name, or replace")
        assert (tmp_path / "mine.png").read_text() == "mine"
    assert run("reconstruct", "run/vae", *few, "--overwrite")[0] == 0
    with Image.open(tmp_path / "mine.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("encode", "run/vae", "--out", "x.txt"), "Use a name that ends in .csv, .npz, .png"),
        (("reconstruct", "run/vae", "--out", "x.csv"), "'x.csv' is not the name of a file that"),
        (("encode", "run", "--out", "x.csv"), "'run' holds 2 runs. Name one of them"),
        (("encode", "absent", "--out", "x.csv"), "'absent' holds no finished run"),
        (("encode", "run/vae", "--out", "x.csv", "--data", "toy"), "recipe conv takes images"),
        (("encode", "run/vae", "--out", "x.csv", "--images", "0"), "--images '0': expected images"),
        (("encode", "run/vae", "--out", "x.csv", "--images", "none"), "--images 'none': expected"),
        (
            ("encode", "run/vae", "--out", "x.csv", "--images", "9-999999999"),
            "--images names image 999999999: expected images from 1 to 1797",
        ),
        (
            ("reconstruct", "run/vae", "--out", "x.png", "--images", "1-121"),
            "121 images in a picture: expected 1 to 120. Give fewer (--images)",
        ),
        (("interpolate", "run/vae", "--out", "x.png", "--images", "3"), "--images 3: expected two"),
        (("reconstruct", "run/vae", "--out", "x.png", "--seed", "-1"), "--seed -1: expected 0 to"),
        (("interpolate", "run/vae", "--out", "x.png", "-n", "1"), "-n 1: expected 2 to 10000"),
        (
            ("encode", "run/vae", "--out", "file/x.csv", "--images", "1"),
            "'file' is a file. Choose a folder",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    run, tmp_path, arguments, said, assert_refused, everything_below
):
    (tmp_path / "file").write_text("mine")
    before = everything_below(tmp_path)
    assert_refused(run(*arguments), said)
    assert everything_below(tmp_path) == before
