"""Doing write-ups again: figures, index, published.csv, and nothing trained twice."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from rich.console import Console

from pyvae.cli.main import main
from pyvae.data.images import load_toy
from pyvae.errors import UserError
from pyvae.metrics import digit_classifier
from pyvae.reproduction.reproduce import (
    ARTICLES,
    _markdown,
    _merged,
    choose_articles,
    reproduce,
)
from pyvae.trace.trace import Trace


def run(out, name="beta", **options):
    console = Console(file=io.StringIO(), width=200)
    options = {"data": "digits", "quick": True, "epochs": 1, "device": "cpu"} | options
    data = options.pop("data")
    table = reproduce(choose_articles(name), data, out, console, **options)
    return table, console.file.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("reproduced")
    return out, *run(out, seeds=2)


@pytest.fixture
def few(digits, tmp_path, monkeypatch):
    """Options for 400 digits to train on and 100 to test with, and a classifier that has hardly
    seen them."""
    monkeypatch.setattr(digit_classifier, "LEAST_STEPS", 20)
    pixels, labels = digits.pixels[:500].numpy(), digits.labels[:500].numpy()
    np.savez(tmp_path / "few.npz", images=pixels.reshape(-1, 28, 28), labels=labels)
    return {"data": str(tmp_path / "few.npz")}


def test_the_index_shows_every_figure_and_nothing_else(done):
    out, _, _ = done
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (out / "beta" / "README.md").read_text())
    assert sorted(shown) == sorted(path.name for path in (out / "beta").glob("*.png"))
    assert "latent_scatter.png" in shown
    assert "manifold.png" in shown


def test_published_csv_is_what_is_returned(done):
    out, table, _ = done
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


def test_the_measured_loss_is_the_traces(done):
    out, table, _ = done
    traces = [Trace.load(out / "runs" / f"beta-z2-seed{seed}") for seed in (1, 2)]
    losses = [trace.epoch_table()["total"].iloc[-1] for trace in traces]
    row = table.set_index("claim").loc["total of the last epoch"]
    assert row["least"] == min(losses)
    assert row["median"] == pytest.approx(np.mean(losses))


def test_what_was_cut_is_said(done):
    out, table, _ = done
    assert "Quick look: 1 of 100 epochs" in (out / "beta" / "README.md").read_text()
    assert set(table["epochs"]) == {"1"}


def test_nothing_is_trained_twice(done):
    out, table, _ = done
    traces = {path: path.read_bytes() for path in (out / "runs").glob("*/history.csv")}
    again, said = run(out, seeds=2)
    assert said.count("all 11 steps were done before") == 2
    assert {path: path.read_bytes() for path in traces} == traces
    pd.testing.assert_frame_equal(
        again.drop(columns=["median", "least", "greatest"]).astype(str),
        table.drop(columns=["median", "least", "greatest"]).astype(str),
    )


@pytest.mark.slow
def test_a_second_article_joins_the_table(done):
    out, table, _ = done
    both, _ = run(out, "mlp", epochs=1, seeds=1)
    assert set(both["article"]) == {"beta", "mlp"}
    assert (both["article"] == "beta").sum() == len(table)
    contents = (out / "README.md").read_text()
    assert "(beta/README.md)" in contents
    assert "(mlp/README.md)" in contents


def test_a_figure_that_cannot_be_drawn_is_left_out_and_said(tmp_path):
    _, said = run(tmp_path, latent_dim=3)
    assert "latent_scatter.png is left out" in said
    assert "manifold.png is left out" in said
    assert "2 latent dimensions and has 3" in said
    index = (tmp_path / "beta" / "README.md").read_text()
    assert "manifold.png is left out" in index
    assert "](manifold.png)" not in index
    assert not (tmp_path / "beta" / "manifold.png").exists()
    assert (tmp_path / "beta" / "loss.png").is_file()


def test_text_of_others_is_no_markdown():
    shown = _markdown("x.png <script>&</script> | [a](http://b) `c` \x1b[31m\nsecond *line* p_q")
    assert shown == (
        r"x.png &lt;script&gt;&amp;&lt;/script&gt; \| \[a\](http://b) \`c\` \\x1b\[31m second "
        r"\*line\* p_q"
    )


@pytest.mark.parametrize("text", ["", "a,b\n1\n", 'article\n"open', "article\n\xff"])
def test_a_damaged_table_of_an_earlier_call_is_the_users_error(tmp_path, text):
    path = tmp_path / "published.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"published.csv' cannot be read .*delete it"):
        _merged(path, pd.DataFrame({"article": ["beta"]}))


def test_figures_are_pictures(done):
    out, _, _ = done
    for path in (out / "beta").glob("*.png"):
        picture = imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv", "strided-conv"])
def test_each_article_has_its_figures(name, few, tmp_path):
    table, said = run(tmp_path, name, **few)
    expected = {
        "conv": ["loss_hist.png", "vae_gen.png", "emae_gen.png", "mu_VAE.png", "mu_EMAE.png"],
        "strided-conv": [
            f"{kind}_{key}.png" for kind in ("loss", "latents", "generated") for key in ("z2", "z4")
        ],
    }[name]
    assert {path.name for path in (tmp_path / name).glob("*.png")} >= set(expected)
    assert "left out" not in said
    assert np.isfinite(table["median"].astype(float)).all()
    if name == "conv":
        measures = pd.read_csv(tmp_path / name / "measures.csv")
        assert measures["objective"].tolist() == ["vae", "emae", "em"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "toy"}, "expected images of 28x28 pixels"),
        ({"seeds": 0}, "--seeds 0; expected 1 or more"),
        ({"epochs": 0}, "--epochs 0"),
        ({"latent_dim": 0}, "--latent-dim 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options, words, tmp_path):
    with pytest.raises(UserError, match=re.escape(words)):
        run(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "has no labels"),
        ({"y_test": np.arange(300) % 10, "x_test": np.zeros((300, 784), "u1")}, "has no labels"),
        ({"y_train": np.arange(300) % 10 + 1}, "are 1 to 10: expected 0 to 9"),
    ],
)
def test_images_without_labels_of_digits_are_refused(labels, said, tmp_path):
    np.savez(tmp_path / "mine.npz", x_train=np.zeros((300, 28, 28), np.uint8), **labels)
    with pytest.raises(UserError, match=said):
        run(tmp_path / "out", data=str(tmp_path / "mine.npz"))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["beta", "--quick", "--epochs", "1", "--data", "digits", "--device", "cpu"]
    assert main(["reproduce", *arguments]) == 0
    assert (tmp_path / "reproduced-quick" / "published.csv").is_file()
    assert "written: reproduced-quick" in capsys.readouterr().out


def test_an_unknown_article_is_one_line(capsys):
    assert main(["reproduce", "gan"]) == 2
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert all(name in words for name in (*ARTICLES, "all"))


@pytest.mark.slow
def test_points_are_trained_in_full_and_only_what_was_cut_says_so(few, tmp_path, monkeypatch):
    """Of the clustering article the images are cut here, the points (fewer than there are) are
    not. It has its figures, too."""
    monkeypatch.setattr("pyvae.data.images.load_toy", lambda: load_toy(600))
    table, said = run(tmp_path, "clustering", quick=False, seeds=1, **few)
    assert {path.name for path in (tmp_path / "clustering").glob("*.png")} == {
        "reconstructions.png", "toy_clusters.png", "toy_generated.png", "gumbel_softmax.png",
        *(
            f"{kind}_{key}.png"
            for kind in ("losses", "clusters", "latents", "prior")
            for key in ("unsupervised", "labelled")
        ),
    }  # fmt: skip
    assert "left out" not in said
    assert np.isfinite(table["median"].astype(float)).all()
    rows = table.set_index("claim")
    points = rows.loc[[claim for claim in rows.index if claim.startswith("points")]]
    assert set(points["epochs"]) == {"100"}
    assert not points["verdict"].str.contains("cut").any()
    others = rows.drop(points.index)
    assert others["verdict"].str.endswith("(cut)").all()
