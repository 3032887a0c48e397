"""`published.csv`: rows of claims, and joining those of several calls."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from pyvae.errors import UserError
from pyvae.recipes import get_recipe
from pyvae.reproduction.article import Claim
from pyvae.reproduction.articles import ARTICLES
from pyvae.reproduction.published import merge_published, published_row


def trace(recipe, epochs):
    """As much of a trace as a row needs: of 1,000 images, trained for so many epochs."""
    settings = get_recipe(recipe).settings(batch_size=100)
    return SimpleNamespace(
        recipe=recipe, settings=settings, steps=10 * epochs,
        data={"name": "mine", "images": 1000},
    )  # fmt: skip


def row(epochs, keys=()):
    runs = {key: [trace("mlp", number)] for key, number in epochs.items()}
    claim = Claim("it is positive", "yes", [1.0], holds=lambda value: value > 0, keys=keys)
    return published_row(claim, ARTICLES["mlp"], runs)


def test_a_row_says_article_data_and_epochs():
    found = row({"mlp": 20, "wide": 20})
    assert (found["article"], found["data"], found["epochs"]) == ("mlp", "mine", "20")
    assert found["verdict"] == "reproduced"


def test_a_verdict_on_runs_that_were_cut_short_says_so():
    found = row({"mlp": 20, "wide": 3})
    assert (found["verdict"], found["epochs"]) == ("reproduced (cut)", "mlp:20 wide:3")
    of_one = row({"mlp": 20, "wide": 3}, keys=("mlp",))
    assert (of_one["verdict"], of_one["epochs"]) == ("reproduced", "20")


def test_articles_of_earlier_calls_stay_and_those_of_now_are_replaced(tmp_path):
    path = tmp_path / "published.csv"
    new = pd.DataFrame({"article": ["beta", "beta"], "claim": ["c", "d"]})
    assert merge_published(path, new) is new
    path.write_text("article,claim\nbeta,a\nmlp,b\n")
    assert merge_published(path, new).values.tolist() == [
        ["mlp", "b"], ["beta", "c"], ["beta", "d"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "a,b\n1\n", 'article\n"open', "article\n\xff"])
def test_a_damaged_table_of_an_earlier_call_is_the_users_error(tmp_path, text):
    path = tmp_path / "published.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"published.csv' cannot be read .*\. Delete it and run"):
        merge_published(path, pd.DataFrame({"article": ["beta"]}))
