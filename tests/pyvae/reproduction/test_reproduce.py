"""Reproducing write-ups: figures, README.md, published.csv, and nothing trained twice."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from sklearn import manifold
from stand_ins.narrow import NARROW

import pyvae
from pyvae.cli.main import main
from pyvae.data import images
from pyvae.errors import UserError
from pyvae.figures import style
from pyvae.metrics import digit_classifier
from pyvae.recipes import RECIPES
from pyvae.reproduction.articles import ARTICLES
from pyvae.reproduction.plan import Plan
from pyvae.reproduction.report import Report
from pyvae.trace.trace import Trace

pytestmark = pytest.mark.slow


class Lines(Report):
    """Collects what is logged."""

    def __init__(self):
        self.lines = []

    def log(self, line):
        self.lines.append(line)


def reproduce(out, name="beta", data="digits", **options):
    """The table of claims, and the lines that are logged."""
    report = Lines()
    plan = Plan(**{"quick": True, "epochs": 1} | options)
    table = pyvae.reproduce(name, out, plan, data=data, device="cpu", report=report)
    return table, report.lines


@pytest.fixture(scope="module")
def beta(tmp_path_factory):
    """The write-up on beta-VAEs, with two seeds of 11 steps."""
    out = tmp_path_factory.mktemp("beta")
    return out, *reproduce(out, seeds=2)


@pytest.fixture(scope="module")
def everything(tmp_path_factory, digits):
    """All write-ups, one call after the other, their networks with few channels, on 260 digits to
    train on (mlp has batches of 1,000) and 65 to test with, and a classifier that has hardly seen
    them; on 300 points. Figures are drawn, and empty files written. The last table, and the lines
    of all calls."""
    out = tmp_path_factory.mktemp("all")
    pixels, labels = digits.pixels[:325].numpy(), digits.labels[:325].numpy()
    np.savez(out / "few.npz", images=pixels.reshape(-1, 28, 28), labels=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_classifier, "EPOCHS", 1)
        patch.setattr(digit_classifier, "LEAST_STEPS", 5)
        patch.setattr(style, "save_figure", lambda figure, path: path.touch())
        patch.setattr(images, "load_toy", partial(images.load_toy, 300))
        patch.setattr(manifold, "TSNE", partial(manifold.TSNE, max_iter=250))  # its least
        for name, recipe in NARROW.items():
            patch.setitem(RECIPES, name, recipe)
        lines = []
        for name in ARTICLES:
            data = "digits" if name == "mlp" else str(out / "few.npz")
            table, more = reproduce(out, name, data)
            lines += more
    return out, table, lines


def test_the_readme_shows_every_figure_and_nothing_else(beta):
    out, _, _ = beta
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (out / "beta" / "README.md").read_text())
    assert sorted(shown) == sorted(path.name for path in (out / "beta").glob("*.png"))
    assert "latent_scatter.png" in shown
    assert "manifold.png" in shown


def test_published_csv_is_what_is_returned(beta):
    out, table, _ = beta
    read = pd.read_csv(out / "published.csv")
    assert list(read.columns) == [
        "article", "claim", "published", "median", "least", "greatest", "unit", "seeds", "verdict",
        "epochs", "data",
    ]  # fmt: skip
    assert read["claim"].tolist() == table["claim"].tolist()
    np.testing.assert_allclose(read["median"], table["median"])
    assert set(read["seeds"]) == {2}
    assert (read["least"] <= read["median"]).all()
    assert (read["median"] <= read["greatest"]).all()


def test_the_measured_loss_is_the_traces(beta):
    out, table, _ = beta
    traces = [Trace.load(out / "runs" / f"beta-z2-seed{seed}") for seed in (1, 2)]
    losses = [trace.epoch_table()["total"].iloc[-1] for trace in traces]
    row = table.set_index("claim").loc["total of the last epoch"]
    assert row["least"] == min(losses)
    assert row["median"] == pytest.approx(np.mean(losses))


def test_the_readme_and_the_table_say_that_runs_were_cut_short(beta):
    out, table, _ = beta
    assert "Quick look: 1 of 100 epochs" in (out / "beta" / "README.md").read_text()
    assert set(table["epochs"]) == {"1"}


def test_nothing_is_trained_twice(beta):
    out, table, _ = beta
    traces = {path: path.read_bytes() for path in (out / "runs").glob("*/history.csv")}
    again, lines = reproduce(out, seeds=2)
    assert sum("all 11 steps were done before" in line for line in lines) == 2
    assert {path: path.read_bytes() for path in traces} == traces
    pd.testing.assert_frame_equal(
        again.drop(columns=["median", "least", "greatest"]).astype(str),
        table.drop(columns=["median", "least", "greatest"]).astype(str),
    )


def test_another_run_in_the_way_is_refused_before_anything_is_trained(beta, tmp_path):
    out, _, _ = beta
    runs = tmp_path / "runs"
    runs.mkdir()
    (out / "runs" / "beta-z2-seed1").rename(runs / "beta-z2-seed2")
    try:
        with pytest.raises(UserError, match=r"'.*beta-z2-seed2' holds another run"):
            reproduce(tmp_path, seeds=2)
    finally:
        (runs / "beta-z2-seed2").rename(out / "runs" / "beta-z2-seed1")
    assert not (runs / "beta-z2-seed1").exists()


def test_figures_are_pictures(beta):
    out, _, _ = beta
    for path in (out / "beta").glob("*.png"):
        picture = imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.01


def test_a_figure_that_cannot_be_drawn_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "save_figure", lambda figure, path: path.touch())
    (tmp_path / "beta").mkdir()
    (tmp_path / "beta" / "manifold.png").touch()  # of an earlier call
    _, lines = reproduce(tmp_path, latent_dim=3)
    readme = (tmp_path / "beta" / "README.md").read_text()
    for name in ("latent_scatter.png", "manifold.png"):
        (line,) = [line for line in lines if line.startswith(f"{name} is left out: ")]
        assert "needs 2 latent dimensions, not 3" in line
        assert f"{name} is left out" in readme
        assert f"]({name})" not in readme
        assert not (tmp_path / "beta" / name).exists()
    assert (tmp_path / "beta" / "loss.png").is_file()


FIGURES = {
    "conv": ["loss_hist.png", "vae_gen.png", "emae_gen.png", "em_gen.png", "mu_VAE.png",
             "mu_EMAE.png", "mu_EM.png", "spread.png", "means_and_variances.png"],
    "mlp": ["loss.png", "rows_mlp.png", "rows_wide.png", "tsne_mlp.png", "tsne_wide.png"],
    "strided-conv": [
        f"{kind}_{key}.png"
        for kind in ("loss", "latents", "generated", "from_prior") for key in ("z2", "z4")
    ],
    "beta": ["latent_scatter.png", "manifold.png", "loss.png"],
    "clustering": [
        "reconstructions.png", "toy_clusters.png", "toy_generated.png", "gumbel_softmax.png",
        *(
            f"{kind}_{key}.png"
            for kind in ("losses", "clusters", "latents", "prior")
            for key in ("unsupervised", "labelled")
        ),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ARTICLES)
def test_each_article_has_its_figures_and_finite_values(name, everything):
    out, table, lines = everything
    assert {path.name for path in (out / name).glob("*.png")} == set(FIGURES[name])
    assert not [line for line in lines if "left out" in line]
    rows = table[table["article"] == name]
    assert len(rows) >= 4
    assert np.isfinite(rows["median"].astype(float)).all()


@pytest.mark.slow
def test_the_folder_lists_all_articles_and_the_measures_of_objectives(everything):
    out, _, _ = everything
    contents = (out / "README.md").read_text()
    assert all(f"]({name}/README.md)" in contents for name in ARTICLES)
    measures = pd.read_csv(out / "conv" / "measures.csv")
    assert measures["objective"].tolist() == ["vae", "emae", "em"]
    masked = measures["training_reconstruction_sampled"]
    assert (masked != measures["reconstruction_sampled"]).all()  # dropout is on there


@pytest.mark.slow
def test_points_are_trained_in_full_and_only_what_was_cut_short_says_so(everything):
    """Of a quick look the points have 40 epochs, whatever --epochs says."""
    _, table, _ = everything
    rows = table[table["article"] == "clustering"].set_index("claim")
    points = rows.loc[[claim for claim in rows.index if claim.startswith("points")]]
    assert set(points["epochs"]) == {"40"}
    assert rows.drop(points.index)["verdict"].str.endswith("(cut)").all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "toy"}, "--data toy holds no images of 28x28 pixels. Use --data mnist"),
        ({"seeds": 0}, "--seeds 0: expected 1 or more"),
        ({"epochs": 0}, "--epochs 0: expected 1 or more"),
        ({"latent_dim": 0}, "--latent-dim 0: expected 1 or more"),
        ({"name": "gan"}, "unknown article 'gan'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, words, tmp_path):
    with pytest.raises(UserError, match=re.escape(words)):
        reproduce(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "has no labels. Use --data mnist"),
        ({"y_test": np.arange(300) % 10, "x_test": np.zeros((300, 784), "u1")}, "has no labels"),
        ({"y_train": np.arange(300) % 10 + 1}, "are 1 to 10: expected 0 to 9"),
    ],
)
def test_images_without_labels_of_digits_are_refused(arrays, words, tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((300, 28, 28), np.uint8), **arrays)
    with pytest.raises(UserError, match=words):
        reproduce(tmp_path / "out", data=str(tmp_path / "mine.npz"))
    assert not (tmp_path / "out").exists()


def test_too_few_images_are_refused_before_anything_is_written(tmp_path):
    labels = np.arange(60) % 10
    np.savez(tmp_path / "few.npz", images=np.zeros((60, 28, 28), np.uint8), labels=labels)
    with pytest.raises(UserError, match="48"):
        reproduce(tmp_path / "out", data=str(tmp_path / "few.npz"))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "save_figure", lambda figure, path: path.touch())
    arguments = ["beta", "--quick", "--epochs", "1", "--data", "digits", "--device", "cpu"]
    assert main(["reproduce", *arguments]) == 0
    assert (tmp_path / "reproduced-quick" / "published.csv").is_file()
    said = capsys.readouterr().out
    assert "beta (beta-VAE), seed 1: 11 steps in" in said
    assert "written: reproduced-quick" in said


def test_an_unknown_article_is_one_line(capsys):
    assert main(["reproduce", "gan"]) == 2
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert all(name in words for name in (*ARTICLES, "all"))
