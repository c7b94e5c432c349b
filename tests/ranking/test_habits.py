"""What the newer evidence says: two steps away, where people come in, and whether they go back."""

import msgspec
import numpy as np
import pytest

from freshflow.items.visits import Visit
from freshflow.ranking.features import log_share
from freshflow.users.state import Context

from .worlds import MINUTE_MS, World


def opening(world, item):
    """Learn one visit that opens a session."""
    world.events += 1
    world.knowledge.fold(world.knowledge.admit([Visit(0, item, (), world.now_ms, opens=True)]))


def test_what_comes_with_the_company_of_the_last_item_is_a_candidate_two_steps_away():
    world = World("a b", "b c")
    world.learn_strangers(2100)
    ranked = world.rank(world.query("a"))
    assert {"b", "c"} <= set(ranked.items())
    # a's only neighbour is b, half of whose company is c.
    assert ranked.feature("two_steps", "c") == pytest.approx(float(log_share(np.float32([0.5]))[0]), rel=1e-6)
    assert ranked.feature("together_sum", "c") == 0


def test_the_second_item_of_the_context_reaches_two_steps_and_the_third_does_not():
    world = World("a a2 a3", "b b2 b3", "c c2 c3")
    world.learn_strangers(2100)
    ranked = world.rank(world.query("a", "b", "c"))
    assert ranked.feature("two_steps", "b3") > 0
    assert ranked.feature("two_steps", "c3") == 0


def test_an_opening_item_is_a_candidate_for_everyone_and_knows_its_share_of_openings():
    world = World()
    for item in ("door", "door", "window", "door"):
        opening(world, item)
    world.learn_strangers(2100)
    ranked = world.rank(world.query())
    assert ranked.feature("opening_last_200", "door") == pytest.approx(
        float(log_share(np.float32([0.75]))[0]), rel=1e-6
    )
    assert ranked.feature("opening_last_200", "p001") == 0
    assert ranked.feature("last_200", "door") == 0


def test_openings_of_the_chunk_count_from_their_own_position_on():
    world = World("x y")
    visits = [
        Visit(n, item, (), world.now_ms, opens=item == "door") for n, item in enumerate(["x", "door", "y", "door"])
    ]
    queries = [world.query(position=position) for position in range(1, 5)]
    ranked = world.rank(*queries, visits=visits)
    assert world.knowledge.rows.get("door") not in ranked.candidates.rows[0].tolist()
    shares = [ranked.feature("opening_last_200", "door", n) for n in (1, 2, 3)]
    assert shares == pytest.approx([1, 1, 1])
    assert ranked.feature("opening_hour", "y", 3) == 0


def test_going_back_is_judged_by_the_item_the_session_and_the_pause_and_only_for_the_context():
    world = World("a b a", "a c")
    query = world.query("a", "b")
    query = msgspec.structs.replace(
        query,
        user=msgspec.structs.replace(query.user, session_length=4),
        context=Context(("a", "b"), 4, 2 * MINUTE_MS),
    )
    ranked = world.rank(query)
    assert ranked.feature("return_rate", "a") == pytest.approx(1.5 / 5, rel=1e-6)
    assert ranked.feature("habit", "b") == pytest.approx(0.5)
    assert ranked.feature("pause_last", "a") == pytest.approx(np.log1p(120) / 8, rel=1e-6)
    assert ranked.feature("pause_last", "b") == 0
    assert [ranked.feature(name, "c") for name in ("return_rate", "habit", "pause", "context_by_length")] == [0] * 4
