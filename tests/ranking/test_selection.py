"""Top-k: a total order also at the cut, contributions that add up, and reasons that are true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.ranking.features import FEATURES, SOURCES
from freshflow.ranking.selection import Chosen, choose, ranks_of

from .worlds import Ranked, World, trained

ITEMS = 8  # of a world whose rows stand against the order of ids: x7 has row 0


def world_of_xs() -> Ranked:
    world = World(*(f"x{n}" for n in range(ITEMS - 1, -1, -1)))
    return world.rank(world.query())


def chosen(ranked: Ranked, scores: np.ndarray | None = None, k: int = 5, weights: np.ndarray | None = None):
    """The lists of `ranked`, by these scores or by what the weights (F,) say."""
    weights = np.zeros(len(FEATURES)) if weights is None else weights
    weights = np.tile(weights, (len(ranked.queries), 1))
    if scores is None:
        scores = np.where(ranked.candidates.real, np.einsum("fqc,qf->qc", ranked.features, weights), -np.inf)
    ids = ranked.knowledge.rows.ids
    sizes = [k] * len(ranked.queries)
    return choose(ranked.queries, ranked.candidates, ranked.features, scores, weights, ids, sizes)


def only(**weights: float) -> np.ndarray:
    """Weights (F,) that are zero but for these features."""
    return np.array([weights.get(name, 0.0) for name in FEATURES])


def ids(items: list[Chosen]) -> list[str]:
    return [item.item_id for item in items]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, -np.inf]), min_size=ITEMS, max_size=ITEMS), st.integers(1, 10))
def test_a_list_is_the_best_by_score_then_id_also_at_the_cut(scores, k):
    ranked = world_of_xs()
    by_item = dict(zip(ranked.items(), scores, strict=True))
    expected = sorted((-score, item) for item, score in by_item.items() if np.isfinite(score))[:k]
    (items,) = chosen(ranked, np.array([scores]), k)
    assert [(-item.score, item.item_id) for item in items] == expected


def test_among_equals_the_first_ids_make_the_cut_whatever_their_rows():
    (items,) = chosen(world_of_xs(), k=3)
    assert ids(items) == ["x0", "x1", "x2"]


@pytest.mark.parametrize("k", [1, 3, 7, 8, 9, 200])
def test_a_list_has_k_items_or_all_there_are(k):
    scores = np.arange(ITEMS, dtype=np.float64)[None]
    assert len(chosen(world_of_xs(), scores, k)[0]) == min(k, ITEMS)


def test_each_list_of_a_batch_has_its_own_length():
    world = World("a b c")
    ranked = world.rank(world.query(), world.query(), world.query())
    scores = np.tile([1.0, 3.0, 2.0], (3, 1))
    weights = np.zeros((3, len(FEATURES)))
    lists = choose(
        ranked.queries, ranked.candidates, ranked.features, scores, weights, world.knowledge.rows.ids, [1, 3, 2]
    )
    assert [ids(items) for items in lists] == [["b"], ["b", "c", "a"], ["b", "c"]]


def test_without_candidates_lists_are_empty():
    world = World()
    assert chosen(world.rank(world.query("a"), world.query())) == [[], []]
    world.learn("a")
    assert [ids(items) for items in chosen(world.rank(world.query(only=("x",)), world.query()))] == [[], ["a"]]


def test_exclude_seen_leaves_out_the_history_and_fills_up_from_below():
    world = World("a b c d")
    queries = [world.query("a", history=("c",), exclude_seen=seen) for seen in (True, False)]
    lists = chosen(world.rank(*queries), np.array([[4.0, 3.0, 2.0, 1.0]] * 2), k=2)
    assert set(ids(lists[0])) == {"b", "d"}
    assert len(lists[1]) == 2
    assert {"a", "c"} & set(ids(lists[1]))


def test_exclude_seen_may_leave_nothing():
    world = World("a b")
    assert chosen(world.rank(world.query("b", "a", exclude_seen=True))) == [[]]


@pytest.mark.parametrize("model", ["sgd", "adam"])
def test_contributions_add_up_exactly_to_the_score(model):
    ranker, world = trained(model), World("a b c", "b c d", "d a")
    ranked = world.rank(world.query("a"), world.query(), world.query("c", "b", history=("d",)))
    scores = ranker.scores(ranked.queries, ranked.features, ranked.candidates.real)
    weights = ranker.weights_for(ranked.queries)
    lists = choose(
        ranked.queries, ranked.candidates, ranked.features, scores, weights, world.knowledge.rows.ids, [9] * 3
    )
    for n, items in enumerate(lists):
        assert len(items) == 4
        for item in items:
            place = ranked.items(n).index(item.item_id)
            assert item.score == pytest.approx(item.contributions.sum(), abs=1e-9)
            expected = weights[n] * ranked.features[:, n, place].astype(np.float64)
            np.testing.assert_allclose(item.contributions, expected, atol=1e-12)


def test_together_names_the_item_of_the_context_whose_company_weighs_most():
    world = World("a b", "a b", "c b")
    (items,) = chosen(world.rank(world.query("c", "a")), weights=only(together_sum=1.0))
    assert ("b", "together", ("a",)) in [(item.item_id, item.reason, item.because) for item in items]


def test_again_is_for_what_the_user_had_before():
    world = World("a", "b")
    (items,) = chosen(world.rank(world.query("x", history=("a",))), weights=only(own=1.0, hour=0.1))
    assert [(item.item_id, item.reason, item.because) for item in items] == [
        ("a", "again", ("a",)),
        ("b", "popular", ()),
    ]


def test_popular_is_for_what_neither_company_nor_the_past_speaks_for():
    world = World("a b")
    (items,) = chosen(world.rank(world.query("a")), weights=only(last_200=1.0))
    assert {(item.reason, item.because) for item in items} == {("popular", ())}


sessions = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=6)
contexts = st.lists(st.sampled_from("abcdefgz"), max_size=4, unique=True)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, contexts, st.integers(0, 9))
def test_every_reason_is_true(sessions, context, history, seed):
    world, ranker = World(*sessions), trained(seed=seed)
    ranked = world.rank(world.query(*context, history=history))
    weights = ranker.weights_for(ranked.queries)[0]
    for item in chosen(ranked, weights=weights, k=50)[0]:
        if item.reason == "together":
            (other,) = item.because
            assert other in context
            assert (
                world.knowledge.rows.get(item.item_id)
                in world.knowledge.covisits.neighbours[world.knowledge.rows.get(other)]
            )
        elif item.reason == "again":
            assert item.because == (item.item_id,)
            assert item.item_id in ranked.queries[0].user.items
        else:
            assert (item.reason, item.because) == ("popular", ())


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, st.integers(0, 9))
def test_the_reason_is_the_source_that_contributes_most_where_that_is_true(sessions, context, seed):
    ranked = World(*sessions).rank(World(*sessions).query(*context))
    weights = trained(seed=seed).weights_for(ranked.queries)[0]
    for item in chosen(ranked, weights=weights, k=50)[0]:
        by_source = {
            source: sum(c for c, name in zip(item.contributions, FEATURES, strict=True) if SOURCES[name] == source)
            for source in ("together", "again", "popular")
        }
        if max(by_source, key=by_source.get) == "popular":
            assert item.reason == "popular"


def test_a_rank_counts_higher_scores_and_equal_ones_that_stand_before():
    rows, scores = np.array([[7, 3, 9, 4, -1]] * 5), np.array([[2.0, 3.0, 2.0, 2.0, -np.inf]] * 5)
    ranks, places = ranks_of(np.array([3, 7, 9, 4, 8]), rows, scores)
    assert ranks.tolist() == [1, 2, 3, 4, 0]
    assert places.tolist() == [1, 0, 2, 3, -1]


def test_an_item_without_a_row_has_no_rank_in_the_padding():
    ranks, places = ranks_of(np.array([-1]), np.array([[5, -1]]), np.array([[1.0, -np.inf]]))
    assert (ranks.tolist(), places.tolist()) == ([0], [-1])


def test_without_candidates_there_is_no_rank():
    ranks, places = ranks_of(np.array([1, 2]), np.empty((2, 0), np.int64), np.empty((2, 0)))
    assert (ranks.tolist(), places.tolist()) == ([0, 0], [-1, -1])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_a_rank_is_the_place_in_the_sorted_order(scores, data):
    at = data.draw(st.integers(0, len(scores) - 1))
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    ranks, places = ranks_of(np.array([at]), np.arange(len(scores))[None], np.array([scores], np.float64))
    assert (ranks.tolist(), places.tolist()) == ([order.index(at) + 1], [at])
