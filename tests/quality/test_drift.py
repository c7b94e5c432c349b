"""Drift: a sudden fall is noticed soon, and nothing else is."""

import pickle
from math import pi, sin
from random import Random

import pytest

from freshflow.quality.drift import REACH, DriftWatch


def hits(seed: int, *shares: float) -> list[float]:
    """An outcome for each event, 1 with the chance given for it."""
    draw = Random(seed).random
    return [float(draw() < share) for share in shares]


def alarms(outcomes: list[float]) -> list[int]:
    """The numbers of the events, from 0, at which drift was detected."""
    watch = DriftWatch()
    return [number for number, outcome in enumerate(outcomes) if watch.update(outcome)]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_noise_alone_is_no_drift(share):
    assert alarms(hits(1, *[share] * 100_000)) == []


@pytest.mark.parametrize("seed", range(20))
def test_fall_to_half_is_seen_once_and_within_300_events(seed):
    (seen,) = alarms(hits(seed, *[0.5] * 6_000, *[0.25] * 6_000))
    assert 6_000 < seen <= 6_300


@pytest.mark.parametrize(
    "before", [1_000, REACH // 2 - 1, REACH // 2, REACH // 2 + 50, REACH - 1, REACH, REACH + 1, REACH + 50, 3 * REACH]
)
def test_fall_is_seen_wherever_the_windows_stand(before):
    (seen,) = alarms(hits(3, *[0.5] * before, *[0.25] * REACH))
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


def test_slow_decline_and_the_rhythm_of_the_day_are_no_drift():
    assert alarms(hits(2, *(0.6 - 0.2 * n / 50_000 for n in range(50_000)))) == []
    assert alarms(hits(2, *(0.5 + 0.05 * sin(n * 2 * pi / 20_000) for n in range(100_000)))) == []


def test_counts_say_how_many_falls_there_were_and_where_the_last_was():
    watch = DriftWatch()
    assert (watch.events, watch.detections, watch.last_detection) == (0, 0, 0)
    seen = [watch.update(outcome) for outcome in hits(5, *[0.5] * 3_000, *[0.1] * 3_000)]
    assert watch.events == 6_000
    assert watch.detections == sum(seen) == 1
    assert watch.last_detection == seen.index(True) + 1


@pytest.mark.parametrize("cut", [0, 1, 700, REACH // 2 + 3, REACH, REACH + 1, 9_050, 9_500])
def test_watch_that_was_pickled_on_its_way_goes_on_as_if_it_was_not(cut):
    outcomes = hits(6, *[0.5] * 9_000, *[0.3] * 5_000, *[0.6] * 5_000, *[0.2] * 2_000)
    whole, first = DriftWatch(), DriftWatch()
    expected = [whole.update(outcome) for outcome in outcomes]
    seen = [first.update(outcome) for outcome in outcomes[:cut]]
    second = pickle.loads(pickle.dumps(first))
    assert seen + [second.update(outcome) for outcome in outcomes[cut:]] == expected
    assert (second.detections, second.last_detection) == (whole.detections, whole.last_detection)
    assert whole.detections == 2
    assert pickle.dumps(second) == pickle.dumps(whole)


def test_memory_is_bounded():
    watch = DriftWatch()
    largest = 0
    for number, outcome in enumerate(hits(7, *[0.5] * 50_000)):
        watch.update(outcome)
        if number % 97 == 0:
            largest = max(largest, len(pickle.dumps(watch)))
    assert largest < 5_000
