"""What openings and habits say: where people come in, and whether they go back."""

import msgspec
import numpy as np
import pytest

from freshflow.items.visit import ItemVisit
from freshflow.users.profile import Context
from tests.ranking.naive import log_share
from tests.ranking.worlds import MINUTE_MS, World


def test_an_opening_item_is_a_candidate_for_everyone_and_knows_its_share_of_openings():
    world = World()
    world.open("door", "door", "window", "door")
    world.learn_strangers(2_100)
    ranked = world.rank(world.query())
    assert ranked.feature("opening_last_200", "door") == pytest.approx(log_share(0.75), rel=1e-6)
    assert ranked.feature("opening_last_200", "p099") == 0
    assert ranked.feature("last_200", "door") == 0


def test_openings_count_from_the_next_question_on():
    world = World("x y")
    visits = [
        ItemVisit(n, item, (), world.now_ms, is_session_start=item == "door")
        for n, item in enumerate(["x", "door", "y", "door"])
    ]
    ranked = world.rank(*[world.query()] * 4, visits=visits, at=range(1, 5))
    assert "door" not in ranked.items(0)
    shares = [ranked.feature("opening_last_200", "door", n) for n in (1, 2, 3)]
    assert shares == pytest.approx([1, 1, 1])
    assert ranked.feature("opening_hour", "y", 3) == 0


def test_going_back_is_judged_by_the_item_the_session_and_the_pause_and_only_for_the_context():
    world = World("a b a", "a c")
    query = world.query("a", "b")
    query = msgspec.structs.replace(
        query,
        profile=msgspec.structs.replace(query.profile, session_length=4),
        context=Context(("a", "b"), 4, 2 * MINUTE_MS),
    )
    ranked = world.rank(query)
    assert ranked.feature("return_rate", "a") == pytest.approx(1.5 / 5, rel=1e-6)
    assert ranked.feature("habit", "b") == pytest.approx(0.5)
    assert ranked.moment("repeated") == pytest.approx(0.5)
    assert ranked.feature("pause_last", "a") == pytest.approx(np.log1p(120) / 8, rel=1e-6)
    assert ranked.feature("pause_last", "b") == 0
    assert [ranked.feature(name, "c") for name in ("return_rate", "habit", "pause", "context_by_length")] == [0] * 4


def test_staying_is_judged_by_what_came_right_after_the_item():
    world = World()
    world.take(
        [ItemVisit(0, "a", (), world.now_ms), ItemVisit(1, "a", ("a",), world.now_ms), ItemVisit(2, "b", ("a",), 0)]
    )
    ranked = world.rank(world.query("a"), world.query("b", "a"))
    assert ranked.feature("stay_rate_last", "a", 0) == pytest.approx(1.5 / 4)
    assert ranked.feature("stay_rate_last", "a", 1) == 0
    assert ranked.feature("stay_rate", "a", 1) == pytest.approx(1.5 / 4)
