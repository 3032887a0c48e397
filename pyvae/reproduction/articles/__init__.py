"""The write-ups that can be reproduced."""

from __future__ import annotations

from pyvae.errors import choose
from pyvae.reproduction.article import Article
from pyvae.reproduction.articles.beta import BETA_ARTICLE
from pyvae.reproduction.articles.clustering import CLUSTERING_ARTICLE
from pyvae.reproduction.articles.conv import CONV_ARTICLE
from pyvae.reproduction.articles.mlp import MLP_ARTICLE
from pyvae.reproduction.articles.strided_conv import STRIDED_CONV_ARTICLE

__all__ = ["ARTICLES", "choose_articles"]

ARTICLES = {
    article.name: article
    for article in (
        CONV_ARTICLE,
        MLP_ARTICLE,
        STRIDED_CONV_ARTICLE,
        BETA_ARTICLE,
        CLUSTERING_ARTICLE,
    )
}


def choose_articles(name: str) -> list[Article]:
    """The article of that name, or all of them for `all`.

    Raises:
        UserError: If there is none.
    """
    choose("article", name, (*ARTICLES, "all"))
    return list(ARTICLES.values()) if name == "all" else [ARTICLES[name]]
