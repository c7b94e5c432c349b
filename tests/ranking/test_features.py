"""Features: finite, bounded or logarithmic, each what its name says, and all of them by the definition."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.events.model import ItemUpdate
from freshflow.items.visit import ItemVisit
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURE_SOURCES, FEATURES
from freshflow.ranking.query import Query
from freshflow.users.profile import Context, UserProfile

from .naive import Naive, log_share
from .worlds import MINUTE_MS, START_MS, World, packed_history

HOUR_MS = 60 * MINUTE_MS
YEAR_MS = 365 * 24 * HOUR_MS


def test_every_feature_has_one_name_and_one_source():
    assert len({*FEATURES, *CONTEXT_FEATURES}) == len(FEATURES) + len(CONTEXT_FEATURES)
    assert set(FEATURE_SOURCES) == set(FEATURES)
    assert set(FEATURE_SOURCES.values()) == {"together", "again", "popular"}


items = st.sampled_from("abcdefgh")
orders = st.lists(items, max_size=6, unique=True).map(tuple)
times_ms = st.integers(START_MS, START_MS + 20 * 24 * HOUR_MS)
visits = st.builds(
    ItemVisit,
    st.just(0),
    items,
    orders,
    times_ms,
    is_session_start=st.booleans(),
    sample_weight=st.sampled_from([1.0, 0.5, 2.0]),
)
known_or_not = st.lists(st.sampled_from("abcdefghz"), max_size=12, unique=True).map(tuple)


@st.composite
def moments(draw) -> Query:
    """A user who is somewhere in a session, or at the start of one."""
    history, session = draw(known_or_not), draw(known_or_not)
    length = draw(st.integers(len(session), len(session) + 4)) if session else 0
    seen_ms = tuple(draw(times_ms) for _ in history)
    counts = tuple(draw(st.integers(1, 9)) for _ in history)
    place = draw(st.integers(-1, len(session)))
    stays, packed = draw(st.integers(0, 5)), packed_history(seen_ms, counts)
    user = UserProfile(session, None, length, place, stays, items=history, **packed)
    context = Context(session[::-1] or history[::-1], length, draw(st.integers(0, 10**12)))
    return Query(user, context, draw(times_ms))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(visits, max_size=50), st.lists(moments(), min_size=1, max_size=3))
def test_features_are_those_of_the_definitions(visits, queries):
    world = World()
    world.take(visits)
    ranked, naive = world.rank(*queries), Naive(visits)
    for q, query in enumerate(queries):
        expected = naive.features(query)
        assert set(ranked.items(q)) == set(expected)
        for item, features in zip(ranked.items(q), ranked.features(q), strict=True):
            named = dict(zip(FEATURES, features.tolist(), strict=True))
            assert named == pytest.approx(dict(zip(FEATURES, expected[item], strict=True)), rel=1e-4, abs=1e-5), item
        moment = dict(zip(CONTEXT_FEATURES, ranked.answers.context_features[q].tolist(), strict=True))
        assert moment == pytest.approx(
            dict(zip(CONTEXT_FEATURES, naive.moment(query), strict=True)), rel=1e-4, abs=1e-5
        )


def test_shares_of_the_last_and_the_second_item_stand_apart():
    world = World("a b", "c d")
    ranked = world.rank(world.query("a", "c"))
    for side in ("forward", "together"):
        assert ranked.feature(f"{side}_last", "b") == ranked.feature(f"{side}_second", "d") > 0
        assert ranked.feature(f"{side}_last", "d") == ranked.feature(f"{side}_second", "b") == 0


def test_an_only_follower_has_the_whole_share_and_a_predecessor_none_forward():
    world = World("a b")
    ranked = world.rank(world.query("a"), world.query("b"))
    assert [ranked.feature(name, "b", 0) for name in ("forward_last", "follow_last")] == pytest.approx([1, 1])
    assert [ranked.feature(name, "a", 1) for name in ("forward_last", "follow_last")] == [0, 0]
    assert ranked.feature("together_last", "a", 1) == pytest.approx(1)
    assert (ranked.feature("backward_last", "a", 1), ranked.feature("backward_last", "b", 0)) == pytest.approx((1, 0))


def test_a_rare_neighbour_has_the_greater_cosine_and_the_same_share():
    world = World("a rare", "a often", "x often", "y often", "z often")
    ranked = world.rank(world.query("a"))
    assert ranked.feature("together_last", "rare") == ranked.feature("together_last", "often")
    assert ranked.feature("cosine", "rare") > ranked.feature("cosine", "often") > 0


def test_company_of_the_last_item_weighs_more_than_that_of_the_one_before():
    world = World("a b", "c d")
    ranked = world.rank(world.query("a", "c"))
    for name in ("forward_sum", "together_sum", "cosine", "two_steps"):
        assert ranked.feature(name, "b") >= ranked.feature(name, "d")
    for name in ("forward_max", "together_max"):
        assert ranked.feature(name, "b") == ranked.feature(name, "d") > 0


def test_two_steps_are_shares_of_shares():
    world = World("a b", "b c")
    ranked = world.rank(world.query("a"))
    # a's only neighbour is b, half of whose company is c.
    assert ranked.feature("two_steps", "c") == pytest.approx(log_share(0.5), rel=1e-6)
    assert ranked.feature("together_sum", "c") == 0


def test_popularity_is_the_share_of_the_window_as_of_the_question():
    world = World("a", "b")
    ranked = world.rank(*[world.query()] * 3, visits=world.visits("a a"), at=range(3))
    shares = [1 / 2, 2 / 3, 3 / 4]
    for name in ("last_50", "last_200", "last_2000"):
        values = [ranked.feature(name, "a", n) for n in range(3)]
        assert values == pytest.approx([log_share(share) for share in shares], rel=1e-5)


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
    assert ranked.feature("age", "a") == pytest.approx(np.log(1 + 601 * 60 + 3600) / 18, rel=1e-5)
    assert ranked.feature("idle", "a") == pytest.approx(np.log(1 + 3600) / 18, rel=1e-5)


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
    own = [name for name in FEATURES if FEATURE_SOURCES[name] == "again"]
    assert [ranked.feature(name, "b") for name in own] == [0] * len(own)


def test_the_moment_says_where_the_user_is_in_the_session():
    world = World("a b c")
    ranked = world.rank(world.query(), world.query("a"), world.query("b", "a"), world.query("x"))
    assert [ranked.moment("no_context", q) for q in range(4)] == [1, 0, 0, 1]
    assert [ranked.moment("opens", q) for q in range(4)] == [1, 0, 0, 0]
    assert [ranked.moment("length_1", q) for q in range(4)] == [0, 1, 0, 1]
    assert [ranked.moment("length_2", q) for q in range(4)] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("place", "name"), [(-1, "came_new"), (0, "came_again"), (1, "came_second"), (2, "came_older"), (9, "came_older")]
)
def test_the_moment_says_whence_the_latest_item_came(place, name):
    world = World("a b c")
    query = world.query("a", "b")
    query = msgspec.structs.replace(query, profile=msgspec.structs.replace(query.profile, session_position=place))
    ranked = world.rank(query)
    came = ("came_new", "came_again", "came_second", "came_older")
    assert {other: ranked.moment(other) for other in came if ranked.moment(other)} == {name: 1}


def check(world: World, questions, session: str) -> None:
    queries = [world.query(*context, history=history, now_ms=now_ms) for context, history, now_ms in questions]
    ranked = world.rank(*queries, visits=world.visits(session), at=range(len(queries)) if session else ())
    for q in range(len(queries)):
        assert np.isfinite(ranked.features(q)).all()
        assert ((ranked.features(q) >= 0) & (ranked.features(q) <= 1.5)).all()
        assert np.isfinite(ranked.answers.context_features[q]).all()


sessions = st.lists(st.lists(items, min_size=1, max_size=5).map(" ".join), max_size=8)
contexts = st.lists(st.sampled_from("abcdefghz"), max_size=12, unique=True)
in_years = st.integers(START_MS - YEAR_MS, START_MS + 5 * YEAR_MS)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, st.lists(st.tuples(contexts, contexts, in_years), min_size=1, max_size=4))
def test_features_are_finite_and_bounded_years_before_and_after(sessions, questions):
    check(World(*sessions), questions, "")


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, st.lists(st.tuples(contexts, contexts, in_years), min_size=1, max_size=4))
def test_features_are_finite_and_bounded_among_visits(sessions, questions):
    check(World(*sessions), questions, "a h i j a")


def test_an_item_known_from_the_catalogue_alone_has_bounded_features():
    world = World("a")
    world.knowledge.update_catalogue(ItemUpdate(1, "new", START_MS, title="New"))
    ranked = world.rank(world.query("a", history=("new",)))
    assert np.isfinite(ranked.features()).all()
    assert (ranked.features() <= 1.5).all()
