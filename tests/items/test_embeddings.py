"""What items are: vectors within a byte's precision, categories counted, and a pool of the newest that few visited."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import ContentConfig, ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.embeddings import N_CATEGORISED, WARM_VISITS, EmbeddingStore
from freshflow.items.statistics import ItemStatistics

START_MS = 1_700_000_000_000
ROWS = 16


def contents(**config: int) -> EmbeddingStore:
    made = EmbeddingStore(ContentConfig(**{"nearest": 5, "newest": 5, **config}))
    made.grow(ROWS)
    return made


def said(made: EmbeddingStore, row: int, after_ms: int = 0, visits: np.ndarray | None = None, **fields) -> None:
    update = ItemUpdate(1, f"i{row}", START_MS + after_ms, **fields)
    made.update(row, update, np.zeros(ROWS) if visits is None else visits)


def test_likeness_by_bytes_is_the_cosine_within_a_percent():
    made, given_vectors = contents(), np.random.default_rng(1).normal(0, 3, (8, 64))
    for row, vector in enumerate(given_vectors):
        said(made, row, embedding=tuple(vector))
    vectors = made.arrays.vectors[:8] * made.arrays.inverse_norms[:8, None]
    exact = given_vectors / np.linalg.norm(given_vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors @ vectors.T, exact @ exact.T, atol=0.01)
    np.testing.assert_allclose(made.arrays.centroid, exact.mean(axis=0), atol=0.005)


def test_an_embedding_of_another_width_is_left_out_and_counted():
    made = contents()
    said(made, 0, embedding=(1.0, 0.0, 0.0))
    before = made.arrays.vectors.copy()
    said(made, 1, embedding=(1.0, 0.0))
    said(made, 0, embedding=(1.0, 0.0, 0.0, 0.0))
    assert made.n_dimension_mismatches == 2
    assert (made.arrays.vectors == before).all()


def test_the_configured_width_is_kept_whatever_comes_first():
    made = contents(dimensions=2)
    said(made, 0, embedding=(1.0, 0.0, 0.0))
    said(made, 1, embedding=(0.0, 1.0))
    assert made.n_dimension_mismatches == 1
    assert made.arrays.inverse_norms[:2].astype(bool).tolist() == [False, True]


def test_an_embedding_of_zeros_says_nothing():
    made = contents(newest=0)
    said(made, 0, embedding=(0.0, 0.0))
    assert (made.n_dimension_mismatches, made.n_embedded, made.arrays.pooled_rows.tolist()) == (0, 0, [])


def test_a_category_that_is_named_twice_counts_once():
    made = contents()
    said(made, 0, categories=("a", "a", "b"))
    said(made, 1, categories=("a",))
    assert made.arrays.category_sizes[:3].tolist() == [2, 1, 0]
    made.drop(np.array([0]))
    assert made.arrays.category_sizes[:3].tolist() == [1, 0, 0]


def test_a_full_pool_gives_up_the_visited_first_and_then_the_oldest():
    made, visits = contents(pool=3), np.zeros(ROWS)
    for row, after_ms in enumerate((0, 1000, 2000)):
        said(made, row, after_ms, categories=("a",))
    visits[1] = WARM_VISITS
    said(made, 3, 500, visits, categories=("a",))
    assert made.arrays.pooled_rows.tolist() == [0, 3, 2]
    said(made, 4, 3000, visits, categories=("a",))
    assert made.arrays.pooled_rows.tolist() == [3, 2, 4]
    said(made, 5, 100, visits, categories=("a",))  # older than all that are there
    assert made.arrays.pooled_rows.tolist() == [3, 2, 4]


def test_where_the_newest_are_wanted_an_item_needs_no_content_to_be_launched_but_an_old_one_is_not_new():
    visits = np.zeros(ROWS)
    visits[1:3] = 1
    for newest, pooled in ((1, [2, 0]), (0, [])):
        made = contents(newest=newest)
        said(made, 0, 1000, visits, title="nobody has come for it")
        said(made, 1, 1000, visits, available=True)
        said(made, 2, 1000, visits, published_ms=START_MS)
        assert made.arrays.pooled_rows.tolist() == pooled


def test_nothing_is_kept_where_content_is_off():
    made = EmbeddingStore(ContentConfig())
    made.grow(ROWS)
    said(made, 0, embedding=(1.0, 0.0), categories=("a",))
    made.drop(np.array([0]))
    assert sum(part.nbytes for part in made.arrays) == made.arrays.counts.nbytes
    assert not made.category_codes


UPDATES = st.tuples(
    st.integers(0, ROWS - 1),
    st.integers(0, 50),
    st.none() | st.lists(st.sampled_from("abcd"), max_size=10).map(tuple),
    st.none() | st.tuples(*[st.integers(-3, 3).map(float)] * 2),
    st.booleans(),
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(UPDATES, max_size=40))
def test_counts_and_pool_are_those_of_the_items_that_are_there(updates):
    made = contents(pool=6)
    for row, after_ms, categories, embedding, dropped in updates:
        if dropped:
            made.drop(np.array([row]))
        else:
            said(made, row, after_ms, categories=categories, embedding=embedding)
    arrays = made.arrays
    codes = arrays.categories[arrays.categories >= 0]
    assert arrays.category_sizes[:4].tolist() == np.bincount(codes, minlength=4).tolist()
    assert arrays.counts[N_CATEGORISED] == np.count_nonzero(arrays.categories[:, 0] >= 0)
    assert made.n_embedded == np.count_nonzero(arrays.inverse_norms)
    expected = (arrays.vectors * arrays.inverse_norms[:, None]).sum(axis=0) / max(made.n_embedded, 1)
    np.testing.assert_allclose(arrays.centroid, expected, atol=1e-6)
    pooled = arrays.pooled_rows
    assert len(set(pooled.tolist())) == len(pooled) <= 6
    assert (np.diff(arrays.launch_ms[pooled]) >= 0).all()
    assert arrays.launch_ms[pooled].all()


@pytest.mark.parametrize("size", [2, 10])
def test_a_state_comes_back_and_a_smaller_pool_keeps_the_newest(size):
    made = contents()
    for row in range(4):
        said(made, row, 1000 * row, categories=("a", f"{row}"), embedding=(1.0, row))
    again = EmbeddingStore(ContentConfig(nearest=3, newest=1, pool=size))
    again.restore(made.state(ROWS), [""] * ROWS)
    assert again.arrays.pooled_rows.tolist() == [0, 1, 2, 3][-size:]
    said(again, 5, 9000, categories=("3",))
    assert again.arrays.categories[5, 0] == again.arrays.categories[3, 1]
    np.testing.assert_array_equal(again.arrays.centroid, made.arrays.centroid)


def test_what_nobody_touched_yet_is_dropped_last_where_the_table_is_full():
    made = ItemStatistics(ItemsConfig(max=20), RankingConfig(), ContentConfig(nearest=5))
    made.update_catalogue(ItemUpdate(1, "new", START_MS, categories=("a",)))
    for n in range(60):
        made.update_catalogue(ItemUpdate(2 + n, f"plain{n}", START_MS + n))
    assert "new" in made.index.ids
    assert made.embedding_store.arrays.pooled_rows.tolist() == [made.index.get("new")]
