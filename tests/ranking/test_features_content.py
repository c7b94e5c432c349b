"""Items by what they are: what is nearest and newest against numpy."""

import numpy as np

from freshflow.config.schema import ContentConfig, ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.statistics import ItemStatistics
from freshflow.ranking.features_content import clear_tastes, compute_tastes, select_cold_items

START_MS = 1_700_000_000_000
CONTENT = ContentConfig(nearest=6, newest=3)
WIDTH = 8


def knowledge(items: int = 30) -> ItemStatistics:
    made, random = ItemStatistics(ItemsConfig(max=100), RankingConfig(), CONTENT), np.random.default_rng(3)
    for n in range(items):
        categories = [f"c{code}" for code in random.choice(4, 2, replace=False)]
        vector = tuple(random.normal(0.5, 1, WIDTH).tolist())
        made.update_catalogue(ItemUpdate(n, f"i{n}", START_MS + n, categories=tuple(categories), embedding=vector))
    return made


def by_definition(made: ItemStatistics, rows: list[int], decay: float) -> np.ndarray:
    """What the taste of `rows`, the latest first, likes of each item, vectors and categories alike."""
    contents = made.embedding_store.arrays
    vectors, n = contents.vectors * contents.inverse_norms[:, None].astype(np.float64), len(made.index.ids)
    weights = decay ** np.arange(len(rows))
    taste = weights @ vectors[rows]
    likes = (vectors[:n] - contents.centroid) @ taste / np.linalg.norm(taste)
    of = np.array([[(contents.categories[row] == code).any() for code in range(4)] for row in range(n)], float)
    liked, usual = weights @ of[rows] / weights.sum(), of.mean(axis=0)
    return likes + (of @ (liked - usual)) / of.sum(axis=1)


def test_the_nearest_are_those_of_the_definition_and_the_newest_follow():
    made = knowledge()
    contents, tables = made.embedding_store.arrays, made.tables
    context, history = [4, 9, 2], [7, 2, 9, 4]
    tastes, lengths = np.zeros((2, WIDTH), np.int8), np.zeros((2, 2), np.float32)
    likes, number = np.zeros((2, len(contents.category_sizes)), np.float32), np.full(made.capacity, -1, np.int32)
    number[11] = -2  # must not be shown
    made.catalogue.available[12] = False
    arrays = np.array(context, np.int32), np.array(history, np.int32)
    compute_tastes(contents, *arrays, tastes, lengths, likes)
    found = np.empty(CONTENT.nearest + 2 * CONTENT.newest, np.int32)
    size = select_cold_items(tables, number, tastes, lengths, likes, found)
    liking = by_definition(made, context, 0.8) + by_definition(made, history[::-1], 0.95)
    liking[[11, 12]] = -np.inf
    assert set(found[:6].tolist()) == set(np.argsort(-liking)[:6].tolist())
    assert (np.diff(liking[found[:6]]) <= 0.02).all()  # bytes round
    assert sorted(found[6:size].tolist()) == [27, 28, 29]
    clear_tastes(contents, *arrays, likes)
    assert not likes.any()
