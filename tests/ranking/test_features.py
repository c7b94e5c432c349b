"""Features: finite and bounded, zero where there is no candidate, and each what its name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.events.types import ItemUpdate
from freshflow.ranking.features import FEATURES, SOURCES

from .worlds import MINUTE_MS, START_MS, World

HOUR_MS = 60 * MINUTE_MS
YEAR_MS = 365 * 24 * HOUR_MS


def test_every_feature_has_one_name_and_one_source():
    assert len(set(FEATURES)) == len(FEATURES)
    assert set(SOURCES) == set(FEATURES)
    assert set(SOURCES.values()) == {"together", "again", "popular"}


def test_shares_of_the_last_and_the_second_item_stand_apart():
    world = World("a b", "c d")
    ranked = world.rank(world.query("a", "c"))
    for side in ("forward", "together"):
        assert ranked.feature(f"{side}_last", "b") == ranked.feature(f"{side}_second", "d") > 0
        assert ranked.feature(f"{side}_last", "d") == ranked.feature(f"{side}_second", "b") == 0


def test_an_only_follower_has_the_whole_share_and_a_predecessor_none_forward():
    world = World("a b")
    ranked = world.rank(world.query("a"), world.query("b"))
    assert ranked.feature("forward_last", "b", 0) == pytest.approx(1)
    assert ranked.feature("forward_last", "a", 1) == 0
    assert ranked.feature("together_last", "a", 1) == pytest.approx(1)


def test_a_rare_neighbour_has_the_greater_cosine_and_the_same_share():
    world = World("a rare", "a often", "x often", "y often", "z often")
    ranked = world.rank(world.query("a"))
    assert ranked.feature("together_last", "rare") == ranked.feature("together_last", "often")
    assert ranked.feature("cosine", "rare") > ranked.feature("cosine", "often") > 0


def test_company_of_the_last_item_weighs_more_than_that_of_the_one_before():
    world = World("a b", "c d")
    ranked = world.rank(world.query("a", "c"))
    for name in ("forward_sum", "together_sum", "cosine"):
        assert ranked.feature(name, "b") > ranked.feature(name, "d") > 0
    for name in ("forward_max", "together_max"):
        assert ranked.feature(name, "b") == ranked.feature(name, "d") > 0


def test_popularity_is_the_share_of_the_window_as_of_the_position():
    world = World("a", "b")
    visits = world.visits("a a")
    ranked = world.rank(*(world.query(position=position) for position in range(3)), visits=visits)
    shares = [1 / 2, 2 / 3, 3 / 4]
    for name in ("last_200", "last_2000"):
        values = [ranked.feature(name, "a", n) for n in range(3)]
        assert values == pytest.approx([np.log(1 + 100 * share) / np.log(101) for share in shares], rel=1e-5)


def test_of_two_equally_frequent_items_the_latest_is_the_more_popular_of_the_hour():
    world = World("a")
    world.events += 600
    world.learn("b")
    ranked = world.rank(world.query())
    assert ranked.feature("last_200", "a") == ranked.feature("last_200", "b")
    assert ranked.feature("hour", "b") > ranked.feature("hour", "a")


def test_age_runs_from_the_first_visit_and_idle_time_from_the_last():
    world = World("a")
    world.events += 600
    world.learn("a")
    ranked = world.rank(world.query(now_ms=world.now_ms + HOUR_MS))
    assert ranked.feature("age", "a") == pytest.approx(np.log(1 + 1 + 601 / 60) / 10, rel=1e-4)
    assert ranked.feature("idle", "a") == pytest.approx(np.log(2) / 10, rel=1e-4)


def test_ranks_are_reciprocal_with_ties_by_place_and_zero_for_nothing():
    world = World("a", "b b", "c c")
    items = ["b", "c", "a"]
    ranked = world.rank(world.query(only=("a", "b", "c")))
    assert [ranked.feature("rank_last_200", item) for item in items] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [ranked.feature("rank_cosine", item) for item in items] == [0, 0, 0]


def test_own_features_say_how_recently_the_user_had_the_item():
    world = World("a b c")
    ranked = world.rank(world.query("c", history=("a", "b")))
    assert [ranked.feature("own", item) for item in "abc"] == [1, 1, 1]
    assert [ranked.feature("own_rank", item) for item in "abc"] == pytest.approx([1 / 3, 1 / 2, 1])
    assert ranked.feature("own_recency", "a") < ranked.feature("own_recency", "b") < 1
    assert [ranked.feature("in_context", item) for item in "abc"] == [0, 0, 1]
    assert ranked.feature("context_place", "c") == 1


def test_an_item_the_user_never_had_has_no_own_features():
    world = World("a b c")
    ranked = world.rank(world.query("a"))
    own = [name for name in FEATURES if name.startswith(("own", "in_context", "context"))]
    assert [ranked.feature(name, "b") for name in own] == [0] * len(own)


@pytest.mark.parametrize(
    ("context", "alive"), [("", None), ("a", "1"), ("a b", "2"), ("a b c", "3+"), ("a b c d", "3+")]
)
def test_copies_by_length_live_at_their_length_only(context, alive):
    world = World("a b c d e")
    ranked = world.rank(world.query(*context.split()))
    values = {label: ranked.feature(f"rank_last_200_at_{label}", "e") for label in ("1", "2", "3+")}
    assert {label for label, value in values.items() if value} == ({alive} if alive else set())
    assert values.get(alive, 0) in (0, ranked.feature("rank_last_200", "e"))


sessions = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join), max_size=8)
contexts = st.lists(st.sampled_from("abcdefghz"), max_size=12, unique=True)
in_years = st.integers(START_MS - YEAR_MS, START_MS + 5 * YEAR_MS)
in_a_chunk = st.integers(START_MS - 23 * HOUR_MS, START_MS + 23 * HOUR_MS)  # a chunk spans at most a day


def check(world: World, questions, session: str) -> None:
    queries = [world.query(*context, history=history, now_ms=now_ms) for context, history, now_ms in questions]
    ranked = world.rank(*queries, visits=world.visits(session))
    assert ranked.features.shape == (len(FEATURES), *ranked.candidates.rows.shape)
    assert np.isfinite(ranked.features).all()
    assert ((ranked.features >= 0) & (ranked.features <= 1.5)).all()
    assert not ranked.features[:, ~ranked.candidates.real].any()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, st.lists(st.tuples(contexts, contexts, in_years), min_size=1, max_size=4))
def test_features_are_finite_bounded_and_zero_where_there_is_no_candidate(sessions, questions):
    check(World(*sessions), questions, "")


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, st.lists(st.tuples(contexts, contexts, in_a_chunk), min_size=1, max_size=4))
def test_within_a_chunk_too_features_are_finite_and_bounded(sessions, questions):
    check(World(*sessions), questions, "a h i j a")


def test_an_item_known_from_the_catalogue_alone_has_bounded_features():
    world = World("a")
    world.knowledge.update_catalogue(ItemUpdate(1, "new", START_MS, title="New"))
    features = world.rank(world.query("a", only=("new", "a"))).features
    assert np.isfinite(features).all()
    assert (features <= 1.5).all()
