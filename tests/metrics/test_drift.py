"""Drift: a sudden fall is noticed soon, and nothing else is."""

import pickle
from collections.abc import Sequence
from math import pi, sin
from random import Random

import msgspec
import pytest

from freshflow.metrics.drift import MAX_WINDOW_EVENTS, MIN_USERS, SEVERITY_WINDOW_EVENTS, DriftDetector

USERS = 100


def hits(seed: int, *shares: float) -> list[bool]:
    """An outcome for each event, 1 with the chance given for it."""
    draw = Random(seed).random
    return [draw() < share for share in shares]


def alarms(outcomes: list[bool]) -> list[int]:
    """The numbers of the events, from 0, at which drift was detected."""
    watch = DriftDetector()
    detected = [(watch.update(outcome, number % USERS), watch.detections) for number, outcome in enumerate(outcomes)]
    counted = [0, *(detections for _, detections in detected)]
    assert all(fall for n, (fall, detections) in enumerate(detected) if detections > counted[n])
    return [n for n, (_, detections) in enumerate(detected) if detections > counted[n]]


def steep(outcomes: list[bool], users: Sequence[int]) -> list[bool]:
    """Whether each fall was a steep one, where `users` act."""
    watch, falls = DriftDetector(), []
    for outcome, user in zip(outcomes, users, strict=True):
        before, fall = watch.detections, watch.update(outcome, user)
        if watch.detections > before:
            assert fall == "fall"
            falls.append(False)
        elif fall is not None:
            assert fall == "steep fall" and not falls[-1]
            assert watch.events == watch.last_detection + SEVERITY_WINDOW_EVENTS
            falls[-1] = True
    return falls


def in_turn(outcomes: list[bool], users: int) -> list[bool]:
    """The same where so many users act in turn."""
    return steep(outcomes, [number % users for number in range(len(outcomes))])


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_noise_alone_is_no_drift(share):
    assert alarms(hits(1, *[share] * 100_000)) == []


@pytest.mark.parametrize("seed", range(20))
def test_fall_to_half_is_seen_once_and_within_300_events(seed):
    (seen,) = alarms(hits(seed, *[0.5] * 6_000, *[0.25] * 6_000))
    assert 6_000 < seen <= 6_300


@pytest.mark.parametrize(
    "before",
    [
        1_000,
        MAX_WINDOW_EVENTS // 2 - 1,
        MAX_WINDOW_EVENTS // 2,
        MAX_WINDOW_EVENTS // 2 + 50,
        MAX_WINDOW_EVENTS - 1,
        MAX_WINDOW_EVENTS,
        MAX_WINDOW_EVENTS + 1,
        MAX_WINDOW_EVENTS + 50,
        3 * MAX_WINDOW_EVENTS,
    ],
)
def test_fall_is_seen_wherever_the_windows_stand(before):
    (seen,) = alarms(hits(3, *[0.5] * before, *[0.25] * MAX_WINDOW_EVENTS))
    assert before < seen <= before + 300


@pytest.mark.parametrize("seed", range(20))
def test_rise_is_no_drift_and_a_fall_after_it_is(seed):
    assert alarms(hits(seed, *[0.25] * 6_000, *[0.5] * 6_000)) == []
    (seen,) = alarms(hits(seed, *[0.25] * 6_000, *[0.5] * 6_000, *[0.25] * 6_000))
    assert 12_000 < seen <= 12_300


def test_cold_start_is_no_drift():
    assert alarms(hits(1, *(0.6 * n / (n + 1_000) for n in range(30_000)))) == []


def test_second_fall_is_seen_like_the_first():
    first, second = alarms(hits(4, *[0.8] * 5_000, *[0.5] * 1_500, *[0.2] * 5_000))
    assert 5_000 < first < 5_300
    assert 6_500 < second < 6_800


@pytest.mark.parametrize("seed", range(5))
def test_fall_to_half_of_what_it_was_for_everyone_is_steep(seed):
    assert in_turn(hits(seed, *[0.7] * 6_000, *[0.35] * 1_000), USERS) == [True]


@pytest.mark.parametrize("seed", range(5))
def test_fall_to_nine_tenths_is_not_steep(seed):
    assert not any(in_turn(hits(seed, *[0.8] * 6_000, *[0.7] * 6_000), USERS))


def test_one_user_who_acts_a_lot_is_one_of_many():
    """In turns with 20 others, for whom nothing has changed, one finds nothing any more."""
    users = [n % 20 + 1 if n % 3 == 0 else 0 for n in range(8_000)]
    outcomes = [n % 4 < 3 if n < 6_000 or user else False for n, user in enumerate(users)]
    assert steep(outcomes, users) == [False]


def test_a_fall_that_a_few_made_known_is_steep_once_many_have_met_it():
    """One user notices, who finds less than half; then all the others come, and find as little."""
    outcomes = hits(1, *[0.7] * 6_000, *[0.25] * 1_000)
    users = [n % USERS if n < 6_000 else 0 for n in range(7_000)]
    (noticed,) = (n for n, fall in enumerate(map(DriftDetector().update, outcomes, users)) if fall)
    assert steep(outcomes, users) == [False]
    assert steep(outcomes, [*users[: noticed + 1], *(n % USERS for n in range(noticed + 1, 7_000))]) == [True]


@pytest.mark.parametrize(
    ("users", "is_steep"), [(1, False), (MIN_USERS - 1, False), (MIN_USERS, True), (SEVERITY_WINDOW_EVENTS, True)]
)
def test_fall_of_a_few_users_is_not_steep(users, is_steep):
    assert in_turn(hits(1, *[0.7] * 6_000, *[0.35] * 1_000), users) == [is_steep]


def test_slow_decline_and_the_rhythm_of_the_day_are_no_drift():
    assert alarms(hits(2, *(0.6 - 0.2 * n / 50_000 for n in range(50_000)))) == []
    assert alarms(hits(2, *(0.5 + 0.05 * sin(n * 2 * pi / 20_000) for n in range(100_000)))) == []


def test_counts_say_how_many_falls_there_were_and_where_the_last_was():
    watch = DriftDetector()
    assert (watch.events, watch.detections, watch.last_detection) == (0, 0, 0)
    seen = [watch.update(outcome, 0) for outcome in hits(5, *[0.5] * 3_000, *[0.1] * 3_000)]
    assert watch.events == 6_000
    assert seen.count(None) == 5_999
    assert watch.detections == 1
    assert watch.last_detection == seen.index("fall") + 1


@pytest.mark.parametrize(
    "cut", [0, 1, 700, MAX_WINDOW_EVENTS // 2 + 3, MAX_WINDOW_EVENTS, MAX_WINDOW_EVENTS + 1, 9_050, 9_500]
)
def test_restored_detector_continues_as_if_uninterrupted(cut):
    outcomes = hits(6, *[0.5] * 9_000, *[0.3] * 5_000, *[0.6] * 5_000, *[0.2] * 2_000)
    whole, first = DriftDetector(), DriftDetector()
    expected = [whole.update(outcome, n % USERS) for n, outcome in enumerate(outcomes)]
    seen = [first.update(outcome, n % USERS) for n, outcome in enumerate(outcomes[:cut])]
    second = DriftDetector()
    second.restore(first.state())
    assert seen + [second.update(outcome, n % USERS) for n, outcome in enumerate(outcomes[cut:], cut)] == expected
    assert (second.detections, second.last_detection) == (whole.detections, whole.last_detection)
    assert whole.detections == 2
    assert second.state() == whole.state()
    assert pickle.dumps((second._older, second._younger)) == pickle.dumps((whole._older, whole._younger))


def test_memory_is_bounded():
    watch = DriftDetector()
    largest = 0
    for number, outcome in enumerate(hits(7, *[0.5] * 50_000)):
        watch.update(outcome, number)
        if number % 97 == 0:
            largest = max(largest, len(msgspec.msgpack.encode(watch.state())))
    assert largest < 6_000


def test_outcomes_of_a_user_who_is_forgotten_are_told_apart_from_others_no_more():
    watch = DriftDetector()
    for number in range(10):
        watch.update(True, number % 3)
    watch.forget(2)
    assert {user for _, user in watch._latest_outcomes} == {0, 1}
    for number in range(2 * SEVERITY_WINDOW_EVENTS):
        watch.update(True, number % 3)
    assert len(watch._latest_outcomes) == SEVERITY_WINDOW_EVENTS
