"""Candidates: where they come from, what is kept out, and the layout of the result."""

from copy import deepcopy

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config import RankingConfig
from freshflow.events.types import ItemUpdate
from freshflow.items.rows import NO_ROW

from .worlds import START_MS, World

NOTHING_POPULAR = RankingConfig(popular=0, popular_recent=0)


def old_world(*sessions: str) -> World:
    """A world whose sessions are long over: a crowd of other items came since, nothing of `sessions` is popular."""
    world = World(*sessions)
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


def test_own_items_are_candidates_without_any_company():
    world = old_world("a", "b", "c")
    assert "a" in world.rank(world.query("p000", history=("a",))).items()
    assert "a" not in world.rank(world.query("p000")).items()


def test_what_leads_a_window_is_a_candidate_for_everyone():
    world = World("a a a", *["b"] * 250, *(f"x{n}" for n in range(70)))
    one_each = RankingConfig(popular=2, popular_recent=1)
    items = world.rank(world.query(), config=one_each).items()
    assert {"a", "b"} <= set(items)  # a leads the 2,000 after b; it has left the 200


def test_what_was_touched_within_64_events_is_a_candidate_and_nothing_older():
    world = World(*(f"x{n:02d}" for n in range(65)))
    assert set(world.rank(world.query(), config=NOTHING_POPULAR).items()) == {f"x{n:02d}" for n in range(1, 65)}


def test_visits_of_the_chunk_before_the_position_are_candidates():
    world = World()
    visits = world.visits("a b c")
    ranked = world.rank(*(world.query(position=position) for position in range(4)), visits=visits)
    assert [set(ranked.items(n)) for n in range(4)] == [set(), {"a"}, {"a", "b"}, {"a", "b", "c"}]


def test_an_empty_world_has_no_candidates():
    world = World()
    ranked = world.rank(world.query("a"), world.query())
    assert ranked.candidates.rows.shape == (2, 0)
    assert ranked.features.shape[1:] == (2, 0)


def test_an_unavailable_item_is_nobody_s_candidate_until_it_is_back():
    world = World("a b a b")
    queries = (world.query("a"), world.query("x", history=("b",)), world.query(only=("a", "b")))
    world.knowledge.update_catalogue(ItemUpdate(1, "b", START_MS, available=False))
    without = world.rank(*queries)
    assert [without.items(n) for n in range(3)] == [["a"]] * 3
    world.knowledge.update_catalogue(ItemUpdate(2, "b", START_MS, available=True))
    again = world.rank(*queries)
    assert [set(again.items(n)) for n in range(3)] == [{"a", "b"}] * 3


def test_an_item_unavailable_in_the_context_still_brings_its_company():
    world = old_world("a b")
    world.knowledge.update_catalogue(ItemUpdate(1, "a", START_MS, available=False))
    items = world.rank(world.query("a")).items()
    assert "b" in items
    assert "a" not in items


def test_a_search_ranks_all_it_asked_for_and_only_that():
    world = old_world("a b c", "lonely")
    ranked = world.rank(world.query("a", only=("lonely", "c", "unknown", "c")), world.query("a"))
    assert sorted(ranked.items(0)) == ["c", "lonely"]
    assert "b" in ranked.items(1)


def test_a_search_for_nothing_known_has_no_candidates():
    world = World("a b")
    assert world.rank(world.query("a", only=("x",)), world.query("a", only=())).items(0) == []
    assert world.rank(world.query("a", only=("x",)), world.query("a", only=())).items(1) == []


def test_a_search_gets_more_than_the_configured_candidates_if_it_asks_for_more():
    world = World(*(f"x{n:02d}" for n in range(50)))
    asked = tuple(f"x{n:02d}" for n in range(30))
    assert sorted(world.rank(world.query(only=asked), config=RankingConfig(candidates=10)).items()) == list(asked)


def test_a_long_search_gives_its_neighbours_in_the_batch_no_more_candidates():
    world = World(*(f"x{n:02d}" for n in range(50)))
    search = world.query(only=tuple(f"x{n:02d}" for n in range(30)))
    config = RankingConfig(candidates=10)
    alone, beside = world.rank(world.query(), config=config), world.rank(world.query(), search, config=config)
    assert len(alone.items()) == 10
    assert beside.items() == alone.items()


def test_when_room_is_short_the_user_s_own_items_come_first_and_popular_ones_next():
    world = old_world(*(f"a n{n}" for n in range(30)))
    config = RankingConfig(candidates=10, popular=3, popular_recent=3)
    own = tuple(f"n{n}" for n in range(4))
    items = world.rank(world.query("a", history=own), config=config).items()
    assert set(items[:5]) == {"a", *own}
    assert all(item.startswith("p") for item in items[5:])


def test_of_a_long_history_the_latest_thirty_leave_room_for_neighbours():
    own, near = tuple(f"h{n:02d}" for n in range(50)), {f"n{n}" for n in range(10)}
    world = old_world(*(f"a {item}" for item in near), *own)
    config = RankingConfig(candidates=110, popular=1, popular_recent=1)
    items = world.rank(world.query("a", history=own), config=config).items()
    assert set(items[:30]) == {*own[-29:], "a"}
    assert near <= set(items)


def test_candidates_with_equal_evidence_stand_in_the_order_of_their_rows():
    world = World(*(f"x{n}" for n in range(9, 0, -1)))
    rows = world.rank(world.query()).candidates.rows[0].tolist()
    assert rows == sorted(rows)


def test_marks_point_at_history_context_and_the_company_that_weighs_most():
    world = old_world("a b", "a b", "c b", "d")
    ranked = world.rank(world.query("c", "a", history=("d",)))
    at = {item: place for place, item in enumerate(ranked.items())}
    candidates = ranked.candidates
    assert candidates.own[0, [at["d"], at["a"], at["c"], at["b"]]].tolist() == [0, 1, 2, -1]
    assert candidates.place[0, [at["d"], at["a"], at["c"], at["b"]]].tolist() == [-1, 1, 0, -1]
    assert candidates.because[0, [at["b"], at["d"]]].tolist() == [1, -1]


def test_a_batch_of_queries_gives_each_what_it_gets_alone():
    world = old_world("a b c", "b d", "e f")
    queries = [world.query("a"), world.query(), world.query("b", "a", history=("e",)), world.query(only=("f", "a"))]
    together = world.rank(*queries)
    for n, query in enumerate(queries):
        alone = world.rank(query)
        assert alone.items() == together.items(n)
        width = len(alone.items())
        assert np.array_equal(alone.features[:, 0, :width], together.features[:, n, :width])


sessions = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join), max_size=8)
contexts = st.lists(st.sampled_from("abcdefghz"), max_size=4, unique=True)
questions = st.lists(
    st.tuples(contexts, contexts, st.none() | contexts.map(tuple), st.integers(0, 5)), min_size=1, max_size=5
)


def asked(world: World, questions) -> list:
    return [
        world.query(*context, history=history, only=only, position=position)
        for context, history, only, position in questions
    ]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, questions, st.sets(st.sampled_from("abcdefgh"), max_size=3))
def test_every_row_holds_known_available_items_once_and_then_padding(sessions, questions, gone):
    world = World(*sessions)
    for item in gone:
        world.knowledge.update_catalogue(ItemUpdate(1, item, START_MS, available=False))
    ranked = world.rank(*asked(world, questions), visits=world.visits("a h i j a"))
    rows, candidates = ranked.candidates.rows, ranked.candidates
    for n, (_, _, only, _) in enumerate(questions):
        items = ranked.items(n)
        assert len(set(items)) == len(items)
        assert (rows[n, : len(items)] != NO_ROW).all()
        assert not gone & set(items)
        assert only is None or set(items) <= set(only)
    for mark in (candidates.own, candidates.place, candidates.because):
        assert (mark[~candidates.real] == -1).all()
    assert (candidates.real == (rows != NO_ROW)).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, questions)
def test_ranking_changes_nothing_and_gives_the_same_again(sessions, questions):
    world = World(*sessions)
    queries, visits = asked(world, questions), world.visits("a b a b c")
    world.knowledge.admit(visits)  # admission gives rows; ranking itself must change nothing
    tables = (world.knowledge.covisits, world.knowledge.popularity, world.knowledge.catalogue, world.knowledge.rows)
    before = deepcopy([vars(table) for table in tables])
    first, again = world.rank(*queries, visits=visits), world.rank(*queries, visits=visits)
    for table, old in zip(tables, before, strict=True):
        for name, value in old.items():
            assert np.array_equal(getattr(table, name), value), name
    assert np.array_equal(first.candidates.rows, again.candidates.rows)
    assert np.array_equal(first.features, again.features)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(sessions, contexts, st.lists(st.sampled_from("abcdxyz"), max_size=6), st.data())
def test_a_query_knows_nothing_of_visits_at_or_after_its_position(sessions, context, chunk, data):
    position = data.draw(st.integers(0, len(chunk)))
    known = {*" ".join(sessions).split(), *chunk[:position]}
    context, results = [item for item in context if item in known], []
    for end in (position, len(chunk)):
        world = World(*sessions)
        visits = world.visits(" ".join(chunk))[:end]
        ranked = world.rank(world.query(*context, position=position), visits=visits)
        results.append((ranked.items(), ranked.features[:, 0]))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])
