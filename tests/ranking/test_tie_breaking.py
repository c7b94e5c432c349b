"""Top-k: a total order also at the cut, contributions that add up, and reasons that are true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import RankingConfig
from freshflow.ranking.features import FEATURE_SOURCES, FEATURES, LAST_200
from freshflow.ranking.kernel import (
    N_CANDIDATES,
    TARGET_INDEX,
    TARGET_POPULARITY_RANK,
    TARGET_RANK,
    RankingResults,
    build_list,
)
from freshflow.ranking.tie_breaking import score_contributions
from tests.ranking.worlds import N_UNIT_INPUTS, NOTHING_LEARNED, UNITS, Chosen, Ranked, World, chosen, trained, weights

ITEMS = 8
NAMES = [f"x{n}" for n in range(ITEMS - 1, -1, -1)]  # rows stand against the order of ids: x7 has row 0


def listed(scores: list[float], k: int = 5) -> list[Chosen]:
    """The list of a query for `k` items whose candidates, x7 to x0, have these scores."""
    answers = RankingResults.empty(1, ITEMS, k, UNITS, keep_features=True)
    answers.results[0, [N_CANDIDATES, TARGET_INDEX]] = len(scores), -1
    for row in range(len(scores)):
        answers.candidates[0, row] = row, -1, -1, -1
    answers.scores[0, : len(scores)] = scores
    build_list(NOTHING_LEARNED.linear[0], NOTHING_LEARNED.units, k, False, 0, answers)
    return chosen(0, answers, NAMES)


def ids(items: list[Chosen]) -> list[str]:
    return [item.item_id for item in items]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=ITEMS), st.integers(1, 10))
def test_a_list_is_the_best_by_score_then_id_also_at_the_cut(scores, k):
    expected = sorted((-score, item) for score, item in zip(scores, NAMES, strict=False))[:k]
    assert [(-item.score, item.item_id) for item in listed(scores, k)] == expected


def test_among_equals_the_first_ids_make_the_cut_whatever_their_rows():
    world = World(*NAMES)
    assert ids(world.rank(world.query(k=3)).chosen()) == ["x0", "x1", "x2"]
    assert ids(world.rank(world.query("a", k=3, restrict_to=("x9", "x5", "x3", "x7", "x4"))).chosen()) == [
        "x3",
        "x4",
        "x5",
    ]


@pytest.mark.parametrize("k", [1, 3, 7, 8, 9, 200])
def test_a_list_has_k_items_or_all_there_are(k):
    assert len(listed([float(n) for n in range(ITEMS)], k)) == min(k, ITEMS)


def test_each_list_of_a_batch_has_its_own_length():
    world = World("a b c")
    ranked = world.rank(world.query(k=1), world.query(k=3), world.query(k=2), weights=weights(visits=1.0))
    assert [ids(ranked.chosen(q)) for q in range(3)] == [["a"], ["a", "b", "c"], ["a", "b"]]


def test_without_candidates_lists_are_empty():
    world = World()
    ranked = world.rank(world.query("a", k=5), world.query(k=5))
    assert [ranked.chosen(q) for q in range(2)] == [[], []]
    world.learn("a")
    ranked = world.rank(world.query(k=5, restrict_to=("x",)), world.query(k=5))
    assert [ids(ranked.chosen(q)) for q in range(2)] == [[], ["a"]]


def test_exclude_seen_leaves_out_the_history_and_fills_up_from_below():
    world = World("a b c d")
    queries = [world.query("a", history=("c",), exclude_seen=seen, k=2) for seen in (True, False)]
    ranked = world.rank(*queries, weights=weights(own=1.0))
    assert set(ids(ranked.chosen(0))) == {"b", "d"}
    assert set(ids(ranked.chosen(1))) == {"a", "c"}


def test_exclude_seen_leaves_out_a_long_history_to_its_beginning_also_where_ids_break_ties():
    own = tuple(f"h{n:02d}" for n in range(50))
    world = World(*own, "new", ranking=RankingConfig(popular=60))
    ranked = world.rank(world.query(history=own, exclude_seen=True, k=60), world.query(history=own, k=60))
    assert ids(ranked.chosen(0)) == ["new"]
    assert len(ranked.chosen(1)) == 51


def test_exclude_seen_may_leave_nothing():
    world = World("a b")
    assert world.rank(world.query("b", "a", exclude_seen=True, k=5)).chosen() == []


@pytest.mark.parametrize("units", [0, 16])
@pytest.mark.parametrize("model", ["sgd", "adam"])
@pytest.mark.parametrize("seed", range(3))
def test_contributions_add_up_to_the_score(model, units, seed):
    ranker, world = trained(model, seed=seed, units=units), World("a b c", "b c d", "d a")
    queries = (world.query("a", k=9), world.query(k=9), world.query("c", "b", history=("d",), k=9))
    ranked = world.rank(*queries, weights=ranker.weights)
    for q, query in enumerate(queries):
        items = ranked.chosen(q)
        assert len(items) == 4
        for item in items:
            shares = score_contributions(q, item.candidate, ranked.answers, ranker.weights, query.model_index)
            assert shares.shape == (N_UNIT_INPUTS,)
            assert item.score == pytest.approx(shares.sum(), abs=1e-9)


def test_without_hidden_units_a_contribution_is_a_weight_times_a_feature():
    ranker, world = trained(units=0), World("a b c", "b c d", "d a")
    ranked = world.rank(world.query("a", k=9), world.query(k=9), weights=ranker.weights)
    for q in (0, 1):
        for item in ranked.chosen(q):
            shares = score_contributions(
                q, item.candidate, ranked.answers, ranker.weights, ranked.queries[q].model_index
            )
            expected = ranker.weights.linear[q] * ranked.features(q)[item.candidate].astype(np.float64)
            np.testing.assert_allclose(shares[: len(FEATURES)], expected, atol=1e-12)
            assert not shares[len(FEATURES) :].any()


def test_an_input_that_is_zero_contributes_nothing():
    ranker, world = trained(), World("a b c", "b c d", "d a")
    ranked = world.rank(world.query("a", k=9), weights=ranker.weights)
    for item in ranked.chosen():
        shares = score_contributions(0, item.candidate, ranked.answers, ranker.weights, 0)
        assert not shares[: len(FEATURES)][ranked.features()[item.candidate] == 0].any()
        assert not shares[len(FEATURES) : -1][ranked.answers.context_features[0] == 0].any()


def test_a_candidate_number_says_where_the_item_stands():
    world = World("a b c", "b c d", "d a")
    ranked = world.rank(world.query("a", k=9), weights=trained().weights)
    assert [ranked.items()[item.candidate] for item in ranked.chosen()] == ids(ranked.chosen())


def test_together_names_the_item_of_the_context_whose_company_weighs_most():
    world = World("a b", "a b", "c b")
    items = world.rank(world.query("c", "a", k=5), weights=weights(together_sum=1.0)).chosen()
    assert ("b", "together", ("a",)) in [(item.item_id, item.reason, item.because) for item in items]


def test_again_is_for_what_the_user_had_before():
    world = World("a", "b")
    items = world.rank(world.query("x", history=("a",), k=5), weights=weights(own=1.0, hour=0.1)).chosen()
    assert [(item.item_id, item.reason, item.because) for item in items] == [
        ("a", "again", ("a",)),
        ("b", "popular", ()),
    ]


def test_popular_is_for_what_neither_company_nor_the_past_speaks_for():
    world = World("a b")
    items = world.rank(world.query("a", k=5), weights=weights(last_200=1.0)).chosen()
    assert {(item.reason, item.because) for item in items} == {("popular", ())}


sessions = st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=6)
contexts = st.lists(st.sampled_from("abcdefgz"), max_size=4, unique=True)


def company_of(ranked: Ranked, item: str) -> set[str]:
    rows, covisits = ranked.knowledge.index, ranked.knowledge.tables.covisits
    return {rows.ids[row] for row in covisits.neighbours[rows.get(item)].tolist() if row >= 0}


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, contexts, st.integers(0, 9))
def test_every_reason_is_true(sessions, context, history, seed):
    world = World(*sessions)
    ranked = world.rank(world.query(*context, history=history, k=50), weights=trained(seed=seed).weights)
    for item in ranked.chosen():
        if item.reason == "together":
            (other,) = item.because
            assert other in context
            assert item.item_id in company_of(ranked, other)
        elif item.reason == "again":
            assert item.because == (item.item_id,)
            assert item.item_id in ranked.queries[0].profile.items
        else:
            assert (item.reason, item.because) == ("popular", ())


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, st.integers(0, 9), st.sampled_from([0, 16]))
def test_the_reason_is_the_source_that_contributes_most_where_that_is_true(sessions, context, seed, units):
    world, learned = World(*sessions), trained(seed=seed, units=units).weights
    ranked = world.rank(world.query(*context, k=50), weights=learned)
    for item in ranked.chosen():
        shares = score_contributions(0, item.candidate, ranked.answers, learned, ranked.queries[0].model_index)
        by_source = {
            source: sum(share for share, name in zip(shares, FEATURES, strict=False) if FEATURE_SOURCES[name] == source)
            for source in ("together", "again", "popular")
        }
        if max(by_source, key=by_source.get) == "popular":
            assert item.reason == "popular"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, st.sampled_from("abcdefgz"), st.integers(0, 9))
def test_what_came_has_its_rank_among_the_candidates(sessions, context, came, seed):
    world = World(*sessions)
    ranked = world.rank(world.query(*context, target_item=came), weights=trained(seed=seed).weights)
    facts, items = ranked.answers.results[0], ranked.items()
    if came not in items:
        assert [facts[n] for n in (TARGET_INDEX, TARGET_RANK, TARGET_POPULARITY_RANK)] == [-1, 0, 0]
        return
    at = items.index(came)
    popular = ranked.features()[:, LAST_200]
    build_list = sorted(range(len(items)), key=lambda n: (-ranked.answers.scores[0, n], n))
    by_popularity = sorted(range(len(items)), key=lambda n: (-popular[n], n))
    expected = [at, build_list.index(at) + 1, by_popularity.index(at) + 1]
    assert [facts[n] for n in (TARGET_INDEX, TARGET_RANK, TARGET_POPULARITY_RANK)] == expected
