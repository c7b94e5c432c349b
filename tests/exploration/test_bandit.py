"""Which young items are tried: that propensities are true, that all is bounded, and that a state is a state."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.config.schema import ExploreConfig
from freshflow.exploration.bandit import MAX_PENDING_USERS, Choice, Exploration, open_positions

ARMS = ["a", "b", "c", "d"]


def exploration(**settings) -> Exploration:
    made = Exploration(ExploreConfig(**{"share": 0.1} | settings))
    for arm in ARMS:
        made.add_arm(arm)
    return made


def told(made: Exploration, **takes: int) -> Exploration:
    for arm, times in takes.items():
        for n in range(20):
            made.policy.update(arm, n < times)
    return made


def test_what_is_shown_comes_as_often_as_its_propensity_says():
    made = told(exploration(), a=6, b=0)
    seen: Counter[tuple] = Counter()
    expected: Counter[tuple] = Counter()
    chances: dict[tuple, float] = {}
    for n in range(20_000):
        one, other = made.choose_items(10, (), np.random.default_rng(n))
        key = (one.item_id, other.item_id)
        seen[key] += 1
        chances[key] = one.propensity * other.propensity
    for key, chance in chances.items():
        expected[key] = 20_000 * chance
    assert sum(chances.values()) == pytest.approx(1)  # all that can happen, each as likely as is said
    assert len(chances) == 1 + 2 * 4 + 4 * 3
    chi_square = sum((seen[key] - expected[key]) ** 2 / expected[key] for key in seen)
    degrees = len(chances) - 1
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees)


@given(st.integers(0, 200), st.floats(0.001, 0.25))
def test_of_a_list_the_share_is_explored_on_average_and_never_its_first_place(length: int, share: float):
    several, p = open_positions(length, share)
    assert 0 <= several < max(1, length)
    assert p <= 0.5
    assert several * p <= share * length + 1e-9
    if length > 1:
        assert several * p == pytest.approx(min(share * length, several / 2))


def test_the_better_and_the_less_known_are_likelier():
    policy = told(exploration(), a=6, b=0).policy
    taken, not_taken, unknown = policy.probabilities(["a", "b", "c"])
    assert taken > unknown > not_taken > 0


def test_items_that_are_out_are_not_drawn_and_without_arms_nothing_is_open():
    made = exploration()
    drawn = [one.item_id for n in range(200) for one in made.choose_items(10, {"a", "b"}, np.random.default_rng(n))]
    assert set(drawn) == {"c", "d", None}
    assert made.choose_items(10, ARMS, np.random.default_rng(0)) == []
    assert made.choose_items(1, (), np.random.default_rng(0)) == []


def test_an_arm_is_on_a_list_once():
    made = exploration(share=0.25)
    for n in range(200):
        drawn = [one.item_id for one in made.choose_items(20, (), np.random.default_rng(n)) if one.item_id]
        assert len(set(drawn)) == len(drawn) <= len(ARMS)


def test_the_next_event_in_time_is_the_verdict_and_only_that():
    made = exploration(attribution_window_s=10.0)
    shown = [Choice(8, "a", 0.1), Choice(9, "b", 0.1), Choice(7, None, 0.5)]
    made.record_list("u", shown, 1_000)
    made.record_outcome("other", "a", 2_000)
    made.record_outcome("u", "a", 11_000)
    made.record_outcome("u", "b", 11_500)
    assert made.policy.state() == {"a": (2, 20), "b": (1, 21)}
    made.record_list("u", shown, 20_000)
    made.record_outcome("u", "a", 30_001)  # too late
    made.record_list("u", shown, 40_000)
    made.forget("u")
    made.record_outcome("u", "a", 40_001)
    assert (made.n_shown, made.n_taken) == (6, 1)
    assert made.policy.state() == {"a": (2, 20), "b": (1, 21)}


def test_an_item_is_young_until_it_has_had_its_visits():
    made = exploration(visits=2)
    told(made, a=1)
    made.count_visit("a")
    assert "a" in made.arms
    made.count_visit("a")
    made.count_visit("unknown")
    assert list(made.arms) == ["b", "c", "d"]
    assert made.policy.state() == {}
    made.record_list("u", [Choice(9, "a", 0.1)], 0)
    made.record_outcome("u", "a", 1)  # it is known by now
    assert made.policy.state() == {}


def test_arms_and_waiting_users_are_bounded_and_the_oldest_go():
    made = exploration(arms=4)
    made.add_arm("e")
    made.add_arm("b")
    assert list(made.arms) == ["b", "c", "d", "e"]
    for n in range(MAX_PENDING_USERS + 1):
        made.record_list(f"u{n}", [Choice(9, "b", 0.1)], n)
    assert len(made.pending_users) == MAX_PENDING_USERS
    assert "u0" not in made.pending_users


def test_from_its_state_it_goes_on_as_it_would_have():
    made = told(exploration(), a=6)
    made.count_visit("b")
    made.record_list("u", [Choice(9, "a", 0.1)], 0)
    other = Exploration(made.config)
    other.restore(made.state())
    for one in (made, other):
        one.record_outcome("u", "a", 5)
    assert other.state() == made.state()
    assert [other.choose_items(10, (), np.random.default_rng(n)) for n in range(20)] == [
        made.choose_items(10, (), np.random.default_rng(n)) for n in range(20)
    ]
    fewer = Exploration(ExploreConfig(share=0.1, arms=2))
    fewer.restore(made.state())
    assert list(fewer.arms) == ["c", "d"]
