"""Latencies of the last minute and over hours, and counts a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.serving.dashboard.latency import (
    LATENCY_POINT_MS,
    MAX_LATENCY_MS,
    MAX_LATENCY_POINTS,
    LatencyHistory,
    PerSecondCounter,
    quantile,
)


def test_the_minute_tells_when_lists_were_made_and_when_they_were_here() -> None:
    latencies = LatencyHistory(1)
    for n in range(1, 101):
        assert latencies.add(now_ms=100_000 + n, event_ts=100_000, computed_at=100_000 + n // 2)
    assert latencies.last_minute_quantiles() == {"made_p50": 25, "made_p99": 49, "shown_p50": 50, "shown_p99": 99}
    latencies.advance_to(200_000)
    assert latencies.last_minute_quantiles() is None


@pytest.mark.parametrize(
    ("now_ms", "event_ts", "computed_at"),
    [(MAX_LATENCY_MS + 1, 0, 5), (100, 50, 40), (100, 10, 101)],
    ids=["an archive", "an event of the future", "a list of the future"],
)
def test_what_is_no_event_as_it_happens_has_no_latency(now_ms: int, event_ts: int, computed_at: int) -> None:
    latencies = LatencyHistory(1)
    assert not latencies.add(now_ms, event_ts, computed_at)
    assert latencies.last_minute_quantiles() is None


def test_every_ten_seconds_with_lists_are_a_point() -> None:
    latencies = LatencyHistory(1)
    for at_ms, shown_ms in ((0, 10), (1, 20), (LATENCY_POINT_MS, 30), (3 * LATENCY_POINT_MS, 40)):
        latencies.add(at_ms + 100_000, at_ms + 100_000 - shown_ms, at_ms + 100_000 - shown_ms)
    assert [(p.p50, p.p99) for p in latencies.points()] == [(10, 20), (30, 30)]
    assert latencies.version == 2
    latencies.advance_to(100_000 + 4 * LATENCY_POINT_MS)
    assert latencies.version == 3


def test_hours_are_drawn_with_so_many_points_and_keep_the_highest() -> None:
    latencies = LatencyHistory(6)
    for n in range(3_000):
        latencies.add(
            n * LATENCY_POINT_MS + 500, n * LATENCY_POINT_MS + 400 - 200 * (n == 2_500), n * LATENCY_POINT_MS + 500
        )
    points = latencies.points()
    assert MAX_LATENCY_POINTS / 2 < len(points) <= MAX_LATENCY_POINTS
    assert max(point.p99 for point in points) == 300
    assert points[-1].timestamp_ms - points[0].timestamp_ms <= 6 * 3_600_000


def test_a_rate_is_of_the_last_ten_whole_seconds() -> None:
    rates = PerSecondCounter()
    for at_ms in (500, 30_000, 30_999, 31_000, 25_000, 40_500):
        rates.add(at_ms)
    assert rates.rate(40_999) == 0.3
    assert rates.last_minute_counts(40_999)[-10:-7] == [2, 1, 0]
    assert sum(rates.last_minute_counts(40_999)) == 5
    assert rates.rate(500_000) == 0


@given(st.lists(st.integers(0, 500)))
def test_whatever_the_order_the_last_minute_is_counted_and_memory_bounded(seconds: list[int]) -> None:
    rates = PerSecondCounter()
    for second in seconds:
        rates.add(1000 * second)
    assert len(rates._counts) <= 120
    if seconds:
        last = max(seconds)
        assert sum(rates.last_minute_counts(1000 * (last + 1))) <= sum(last - 60 < second for second in seconds)
    ordered = PerSecondCounter()
    for second in sorted(seconds):
        ordered.add(1000 * second)
    if seconds:
        assert sum(ordered.last_minute_counts(1000 * (last + 1))) == sum(last - 60 < second for second in seconds)


@given(st.lists(st.integers(), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_exceeded_by_no_more_than_the_rest(values: list[int], share: float) -> None:
    least = quantile(sorted(values), share)
    assert sum(value <= least for value in values) >= share * len(values) - 1e-9
    assert least in values
