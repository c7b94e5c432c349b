"""Reports over time: intervals, points of a line, marks of drift, rates."""

import json
from typing import Any

import pytest

from freshflow.metrics.report import Receipt, Report, encode_receipt, encode_report
from freshflow.serving.dashboard.history import (
    MAX_QUALITY_POINTS,
    MIN_POINT_EVENTS,
    DriftMarker,
    Interval,
    ReportHistory,
    merge_intervals,
)


def report(events: int, hits: int, at_ms: int, partition: int = 0, **counts: int) -> bytes:
    """As a job writes it, after so many events of which so many were hits; of popularity, half as many."""
    quality = {"hr20": hits / events, "published_hr20": hits / events, "popularity_hr20": hits / events / 2}
    _, record = encode_report(Report(partition, at_ms - 5, {"events": events, **counts}, quality), at_ms)
    return record


def history_of(*records: bytes, hours: float = 6.0) -> ReportHistory:
    history = ReportHistory(hours)
    for record in records:
        assert history.add_report(record)
    return history


def test_a_point_is_the_share_of_hits_since_the_report_before() -> None:
    history = history_of(report(1000, 100, 1_000), report(2000, 700, 2_000))
    (point,) = history.quality_points()
    assert (point.event_ts, point.events) == (1_995, 1000)
    assert (point.hr20, point.published_hr20, point.popularity_hr20) == (0.6, 0.6, 0.3)


def test_a_job_that_begins_anew_gives_no_interval_with_its_past() -> None:
    history = history_of(report(2000, 700, 1_000), report(1000, 200, 2_000))
    assert history.quality_points() == []
    assert history.add_report(report(2000, 1100, 3_000))
    assert [point.hr20 for point in history.quality_points()] == [0.9]


def test_reports_of_two_partitions_are_told_apart_and_put_together_in_order_of_time() -> None:
    history = history_of(
        *(report(1000, 0, 1_000, partition) for partition in (0, 1)),
        report(2000, 800, 3_000, 0),
        report(2000, 200, 2_000, 1),
    )
    assert [(point.event_ts, point.hr20) for point in history.quality_points()] == [(1_995, 0.2), (2_995, 0.8)]
    assert [row.number for row in history.partition_rows()] == [0, 1]


def test_points_are_of_enough_events_and_few_enough() -> None:
    short = [Interval(n, n, 10, (5.0, 5.0, 1.0)) for n in range(100)]
    assert [point.events for point in merge_intervals(short)] == [MIN_POINT_EVENTS] * 2
    assert [point.events for point in merge_intervals(short[:3])] == [30]
    long = [Interval(n, n, 1000, (500.0, 400.0, 100.0)) for n in range(10_000)]
    points = merge_intervals(long)
    assert MAX_QUALITY_POINTS - 2 <= len(points) <= MAX_QUALITY_POINTS
    assert {(point.hr20, point.published_hr20, point.popularity_hr20) for point in points} == {(0.5, 0.4, 0.1)}
    assert merge_intervals([]) == []


def test_what_was_reported_more_than_the_held_hours_ago_is_gone() -> None:
    hour_ms = 3_600_000
    reports = [report(1000 * n, 500 * n, n * hour_ms, drifts=n) for n in range(1, 12)]
    history = history_of(*reports, hours=4)
    assert [point.event_ts for point in history.quality_points()] == [n * hour_ms - 5 for n in range(7, 12)]
    assert [mark.event_ts for mark in history.visible_drift_markers()] == [n * hour_ms - 5 for n in range(7, 12)]


def test_a_drift_is_marked_and_turns_steep_when_its_partition_says_so() -> None:
    history = history_of(
        report(1000, 1, 1_000),
        report(1000, 1, 1_000, 1),
        report(2000, 2, 2_000, drifts=1),
        report(2000, 2, 3_000, 1, drifts=1),
        report(3000, 3, 4_000, drifts=1, drift_adaptations=1),
        report(4000, 4, 5_000, drifts=1, drift_adaptations=1),
    )
    assert history.visible_drift_markers() == [DriftMarker(1_995, 0, steep=True), DriftMarker(2_995, 1, steep=False)]


def test_events_a_second_are_those_between_reports_of_the_last_minute() -> None:
    history = history_of(report(1000, 1, 0), report(2000, 1, 100_000))
    assert history.events_per_second(100_000) == 10.0
    assert history_of(report(1000, 1, 0)).events_per_second(1) is None
    several = history_of(
        *(report(1000 + n, 1, 1_000 * n, late=n, answers=n) for n in range(200)),
        *(report(1000 + n, 1, 1_000 * n, 1) for n in range(200)),
    )
    assert several.events_per_second(199_000) == pytest.approx(3 + 1)
    assert several.events_per_second(199_000 + 61_000) is None


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"\xff", b"[]", b'{"kind":"partition"}', b'{"kind":"comparison"}', b'{"kind":1}'],
)
def test_what_is_no_report_changes_nothing(record: bytes) -> None:
    history = history_of(report(1000, 1, 1_000))
    assert not history.add_report(record)
    assert history.version == 1
    _, receipt = encode_receipt(Receipt(0, 1, {"file": "e", "line": 1}, True, 1), 2)
    assert not history.add_report(receipt)


def test_a_report_of_another_version_without_some_counts_is_shown_with_zeros() -> None:
    fields: dict[str, Any] = {"kind": "partition", "computed_at": 1, "partition": 3, "event_ts": 1}
    history = history_of(json.dumps(fields | {"counts": {}, "quality": {}, "more": 1}).encode())
    (row,) = history.partition_rows()
    assert (row.number, row.events, row.hr20) == (3, 0, 0.0)


def test_partitions_beyond_the_bound_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshflow.serving.dashboard.history.MAX_TRACKED_PARTITIONS", 2)
    history = history_of(report(10, 1, 1, 0), report(10, 1, 1, 1))
    assert not history.add_report(report(10, 1, 1, 2))
    assert history.add_report(report(20, 1, 2, 1))
