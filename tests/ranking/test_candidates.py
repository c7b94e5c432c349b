"""Candidates: where they come from, what is kept out, and what is kept where room is short."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.query_choices import TopClickedItems
from freshflow.ranking.candidate_buffer import N_RECENT_EVENTS, SEARCH_COVISIT
from freshflow.ranking.kernel import COVISIT_ROW, HISTORY_INDEX
from freshflow.users.profile import UserProfile

from .worlds import START_MS, World, packed_history, trained

NOTHING_POPULAR = RankingConfig(popular=0, popular_recent=0, opening=0, opening_recent=0)


def old_world(*sessions: str, ranking: RankingConfig | None = None) -> World:
    """A world whose sessions are long over: a crowd of other items came since, nothing of `sessions` is popular."""
    world = World(*sessions, ranking=ranking or RankingConfig())
    world.learn_strangers(2_500)
    return world


def test_neighbours_of_the_context_are_candidates():
    world = old_world("a b c")
    assert {"a", "b", "c"} <= set(world.rank(world.query("a")).items())
    assert not {"b", "c"} & set(world.rank(world.query("p000")).items())


def test_neighbours_of_the_tenth_item_count_and_those_of_the_eleventh_do_not():
    world = old_world("a b")
    others = tuple(f"x{n}" for n in range(10))
    assert "b" in world.rank(world.query(*others[:9], "a")).items()
    assert "b" not in world.rank(world.query(*others, "a")).items()


def test_what_comes_with_the_company_of_the_last_three_items_is_a_candidate_two_steps_away():
    world = old_world("a a2", "a2 a3", "b b2", "b2 b3")
    assert {"a2", "a3"} <= set(world.rank(world.query("a")).items())
    assert {"a2", "a3", "b2", "b3"} <= set(world.rank(world.query("a", "x", "b")).items())
    assert "b3" not in world.rank(world.query("a", "x", "y", "b")).items()


def test_two_steps_lead_over_the_six_strongest_neighbours():
    heavy = [f"n{n}" for n in range(6)]
    world = old_world("a light", *(f"a {item}" for item in heavy for _ in range(2)), "light far", "n5 near")
    items = world.rank(world.query("a")).items()
    assert {"light", *heavy, "near"} <= set(items)
    assert "far" not in items


def test_what_people_choose_after_a_search_is_a_candidate_and_the_search_takes_its_place_among_the_last_items():
    world = old_world("a b", "c d", "s")
    after = TopClickedItems(("s", "never visited"), ((0.5, 3.0), (0.5, 3.0)), n_visits_since_query=0)
    now, before = (
        world.rank(world.query("c", "a", query_clicks=after._replace(n_visits_since_query=age))) for age in (0, 1)
    )
    assert "s" not in world.rank(world.query("c", "a")).items()
    assert "never visited" not in now.items()
    for one in (now, before):
        assert one.mark(COVISIT_ROW, "s") == SEARCH_COVISIT
    assert now.feature("forward_last", "s") > now.feature("forward_second", "s") == 0
    assert before.feature("forward_second", "s") > before.feature("forward_last", "s") == 0
    assert now.feature("forward_second", "d") > now.feature("forward_last", "d") == 0
    assert before.feature("forward_last", "d") > before.feature("forward_second", "d") == 0
    assert now.feature("forward_sum", "s") > before.feature("forward_sum", "s")
    assert before.feature("cosine", "b") < world.rank(world.query("c", "a")).feature("cosine", "b")


def test_company_that_weighs_more_than_the_search_is_what_is_behind_an_item():
    world = old_world("a s", "a s")
    rank = {
        share: world.rank(
            world.query("a", query_clicks=TopClickedItems(("s",), ((share, 1.0),), n_visits_since_query=0))
        )
        for share in (0.1, 1.0)
    }
    row = world.knowledge.index.get("a")
    assert rank[0.1].mark(COVISIT_ROW, "s") == row
    assert rank[1.0].mark(COVISIT_ROW, "s") == SEARCH_COVISIT


def test_own_items_are_candidates_without_any_company():
    world = old_world("a", "b", "c")
    assert "a" in world.rank(world.query("p000", history=("a",))).items()
    assert "a" not in world.rank(world.query("p000")).items()


def test_what_leads_a_window_is_a_candidate_for_everyone():
    ranking = RankingConfig(popular=2, popular_recent=1, opening=0, opening_recent=0)
    world = World("a a a", *["b"] * 253, *(f"x{n}" for n in range(N_RECENT_EVENTS)), ranking=ranking)
    items = world.rank(world.query()).items()
    assert {"a", "b"} <= set(items)  # a leads the 2,000 after b; it has left the 200
    assert len(items) == N_RECENT_EVENTS + 2


def test_what_opened_sessions_is_a_candidate_for_everyone_long_after():
    world = World()
    world.open("door")
    world.learn_strangers(2_500)
    assert "door" in world.rank(world.query()).items()


def test_no_more_openings_are_candidates_than_wanted():
    ranking = RankingConfig(popular=0, popular_recent=0, opening_recent=1, opening=0)
    world = World(ranking=ranking)
    world.open("door", "window", "door")
    world.learn_strangers(2_500)
    items = world.rank(world.query()).items()
    assert "door" in items
    assert "window" not in items


def test_what_was_touched_within_so_many_events_is_a_candidate_and_nothing_older():
    world = World(*(f"x{n}" for n in range(N_RECENT_EVENTS + 1)), ranking=NOTHING_POPULAR)
    assert set(world.rank(world.query()).items()) == {f"x{n}" for n in range(1, N_RECENT_EVENTS + 1)}


def test_visits_before_a_question_are_candidates():
    world = World()
    visits = world.visits("a b c")
    ranked = world.rank(*[world.query()] * 4, visits=visits, at=range(4))
    assert [set(ranked.items(n)) for n in range(4)] == [set(), {"a"}, {"a", "b"}, {"a", "b", "c"}]


def test_an_empty_world_has_no_candidates():
    world = World()
    ranked = world.rank(world.query("a"), world.query(), world.query(restrict_to=("a",)))
    assert [ranked.items(n) for n in range(3)] == [[], [], []]


def test_an_unavailable_item_is_nobody_s_candidate_until_it_is_back():
    world = World("a b a b")
    world.open("b")
    queries = (
        world.query("a"),
        world.query("b"),
        world.query("x", history=("b",)),
        world.query(restrict_to=("a", "b")),
    )
    world.knowledge.update_catalogue(ItemUpdate(1, "b", START_MS, available=False))
    without = world.rank(*queries)
    assert [without.items(n) for n in range(4)] == [["a"]] * 4
    world.knowledge.update_catalogue(ItemUpdate(2, "b", START_MS, available=True))
    again = world.rank(*queries)
    assert [set(again.items(n)) for n in range(4)] == [{"a", "b"}] * 4


def test_an_item_unavailable_in_the_context_still_brings_its_company():
    world = old_world("a b")
    world.knowledge.update_catalogue(ItemUpdate(1, "a", START_MS, available=False))
    items = world.rank(world.query("a")).items()
    assert "b" in items
    assert "a" not in items


def test_a_dismissed_item_is_no_candidate_of_its_user_from_any_source_and_still_one_of_others():
    world = World("a b a b")
    world.open("b")
    user = UserProfile(session=("b", "a"), session_length=2, items=("b", "a"), **packed_history([1, 1]))
    turned_down = UserProfile(dismissed_items=("unknown", "b"), items=("a",), **packed_history([1]))
    query = world.query("a", "b")
    queries = [world.query(restrict_to=("b", "a")), query]
    queries = [type(query)(turned_down, one.context, one.now_ms, restrict_to=one.restrict_to) for one in queries]
    ranked = world.rank(*queries, type(query)(user, query.context, query.now_ms))
    assert [set(ranked.items(n)) for n in range(3)] == [{"a"}, {"a"}, {"a", "b"}]


def test_a_search_ranks_all_it_asked_for_and_only_that():
    world = old_world("a b c", "lonely")
    ranked = world.rank(world.query("a", restrict_to=("lonely", "c", "unknown", "c")), world.query("a"))
    assert sorted(ranked.items(0)) == ["c", "lonely"]
    assert "b" in ranked.items(1)


def test_a_search_knows_the_evidence_for_what_it_asked_for():
    world = old_world("a b c", "b d")
    ranked = world.rank(world.query("a", restrict_to=("d", "c"), history=("d",)), world.query("a", history=("d",)))
    for item in "cd":
        assert [ranked.feature(name, item, 0) for name in ("together_sum", "two_steps", "own")] == [
            ranked.feature(name, item, 1) for name in ("together_sum", "two_steps", "own")
        ]


def test_a_search_does_not_rank_an_item_that_only_the_catalogue_knows():
    world = World("a")
    world.knowledge.update_catalogue(ItemUpdate(1, "new", START_MS, title="New"))
    assert world.rank(world.query(restrict_to=("new", "a"))).items() == ["a"]


def test_a_search_for_nothing_known_has_no_candidates():
    world = World("a b")
    ranked = world.rank(world.query("a", restrict_to=("x",)), world.query("a", restrict_to=()))
    assert [ranked.items(n) for n in range(2)] == [[], []]


def test_a_search_gets_more_than_the_configured_candidates_if_it_asks_for_more():
    world = World(*(f"x{n:02d}" for n in range(50)), ranking=RankingConfig(candidates=10))
    asked = tuple(f"x{n:02d}" for n in range(30))
    assert sorted(world.rank(world.query(restrict_to=asked)).items()) == list(asked)


def test_a_long_search_gives_its_neighbours_in_the_batch_no_more_candidates():
    world = World(*(f"x{n:02d}" for n in range(50)), ranking=RankingConfig(candidates=10))
    search = world.query(restrict_to=tuple(f"x{n:02d}" for n in range(30)))
    alone, beside = world.rank(world.query()), world.rank(world.query(), search)
    assert len(alone.items()) == 10
    assert beside.items() == alone.items()


def test_when_room_is_short_the_user_s_own_items_come_first_and_popular_ones_next():
    ranking = RankingConfig(candidates=10, popular=3, popular_recent=3)
    world = old_world(*(f"a n{n}" for n in range(30)), ranking=ranking)
    own = tuple(f"n{n}" for n in range(4))
    items = world.rank(world.query("a", history=own)).items()
    assert len(items) == 10
    assert {"a", *own} <= set(items)
    assert sum(item.startswith("p") for item in items) == 5


def test_when_room_is_short_among_neighbours_those_with_the_most_company_stay():
    ranking = RankingConfig(candidates=10, popular=0, popular_recent=0, opening=0, opening_recent=0)
    heavy = [f"n{n:02d}" for n in range(5, 15)]
    world = World(*(f"n{n:02d} a" for n in range(20)), *(f"a {item}" for item in heavy), ranking=ranking)
    world.learn(*["b"] * 64)
    world.knowledge.update_catalogue(ItemUpdate(1, "b", START_MS, available=False))
    world.knowledge.update_catalogue(ItemUpdate(1, "a", START_MS, available=False))
    assert sorted(world.rank(world.query("a")).items()) == heavy


def test_of_a_long_history_the_latest_thirty_leave_room_for_neighbours():
    own, near = tuple(f"h{n:02d}" for n in range(50)), {f"n{n}" for n in range(10)}
    ranking = RankingConfig(candidates=110, popular=1, popular_recent=1)
    world = old_world(*(f"a {item}" for item in near), *own, ranking=ranking)
    items = world.rank(world.query("a", history=own)).items()
    assert {item for item in items if item.startswith("h")} == set(own[-29:])
    assert near | {"a"} <= set(items)


@pytest.mark.parametrize("neighbours", [64, 1024])
def test_however_many_neighbours_there_are_own_and_popular_items_are_candidates(neighbours):
    crowds = [f"c{c} c{c}x{n:03d}" for c in range(10) for n in range(500)]
    world = World(*crowds, "own", neighbours=neighbours)
    world.learn_strangers(200)
    context = tuple(f"c{n}" for n in range(10))
    items = world.rank(world.query(*context, history=("own",))).items()
    assert "own" in items
    assert "p099" in items


def test_marks_point_at_history_and_the_company_that_weighs_most():
    world = old_world("a b", "a b", "c b", "d")
    ranked = world.rank(world.query("c", "a", history=("d",)))
    assert [ranked.mark(HISTORY_INDEX, item) for item in "dacb"] == [0, 1, 2, -1]
    assert [ranked.mark(COVISIT_ROW, item) for item in "bd"] == [world.knowledge.index.get("a"), -1]


def test_what_lies_further_back_than_the_latest_thirty_is_known_as_own_where_it_is_a_candidate():
    own = tuple(f"h{n:02d}" for n in range(50))
    world = old_world("a h00", *own)
    ranked = world.rank(world.query("a", history=own))
    assert ranked.mark(HISTORY_INDEX, "h00") == 0


def test_queries_asked_together_get_what_each_gets_alone():
    world = old_world("a b c", "b d", "e f")
    queries = [
        world.query("a"),
        world.query(),
        world.query("b", "a", history=("e",)),
        world.query(restrict_to=("f", "a")),
    ]
    together = world.rank(*queries)
    for n, query in enumerate(queries):
        alone = world.rank(query)
        assert alone.items() == together.items(n)
        assert (alone.features() == together.features(n)).all()


sessions = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join), max_size=8)
contexts = st.lists(st.sampled_from("abcdefghz"), max_size=4, unique=True)
questions = st.lists(st.tuples(contexts, contexts, st.none() | contexts.map(tuple)), min_size=1, max_size=5)


def asked(world: World, questions) -> list:
    return [world.query(*context, history=history, restrict_to=only) for context, history, only in questions]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, questions, st.sets(st.sampled_from("abcdefgh"), max_size=3))
def test_in_a_small_world_candidates_are_all_that_is_known_available_and_asked_for(sessions, questions, gone):
    world = World(*sessions)
    for item in gone:
        world.knowledge.update_catalogue(ItemUpdate(1, item, START_MS, available=False))
    ranked = world.rank(*asked(world, questions))
    known = set(" ".join(sessions).split()) - gone
    for n, (_, _, only) in enumerate(questions):
        items = ranked.items(n)
        assert len(set(items)) == len(items)
        assert set(items) == (known if only is None else known & set(only))


def tables_of(world: World) -> list[np.ndarray]:
    return [array for table in world.knowledge.tables for array in (table if isinstance(table, tuple) else (table,))]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, questions, st.integers(0, 9))
def test_ranking_changes_nothing_and_gives_the_same_again(sessions, questions, seed):
    world, learned = World(*sessions), trained(seed=seed)
    queries, before = asked(world, questions), deepcopy(tables_of(world))
    first = world.rank(*queries, weights=learned.weights)
    again = world.rank(*queries, weights=learned.weights)
    for table, old in zip(tables_of(world), before, strict=True):
        assert np.array_equal(table, old)
    assert (world.scratch.index_by_row == -1).all()
    for one, other in zip(first.answers, again.answers, strict=True):
        assert np.array_equal(one, other)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, st.lists(st.sampled_from("abcdxyz"), max_size=6), st.data())
def test_a_question_knows_all_visits_before_it_and_none_after(sessions, context, later, data):
    at = data.draw(st.integers(0, len(later)))
    known = {*" ".join(sessions).split(), *later[:at]}
    context, results = [item for item in context if item in known], []
    for end in (at, len(later)):
        world = World(*sessions)
        visits = world.visits(" ".join(later))
        query, visits = world.query(*context, k=20), visits[:end]
        ranked = world.rank(query, visits=visits, at=[at], weights=trained().weights)
        results.append(ranked)
    folded = World(*sessions)
    folded.take(folded.visits(" ".join(later))[:at])
    results.append(folded.rank(folded.query(*context, k=20), weights=trained().weights))
    assert results[0].items() == results[1].items() == results[2].items()
    for other in results[1:]:
        assert np.array_equal(results[0].features(), other.features())
        assert results[0].chosen() == other.chosen()
