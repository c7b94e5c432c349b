"""History of partition reports: quality over time, drift markers and event rates."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

MAX_INTERVALS = 20_000  # intervals kept; beyond it the oldest are dropped
MAX_DRIFT_MARKERS = 200  # markers kept; beyond it the oldest are dropped
MAX_TRACKED_PARTITIONS = 1_024  # further partitions are ignored
EVENT_RATE_WINDOW_MS = 60_000  # window of the event rate; spans two reports at least
MAX_QUALITY_POINTS = 120  # points of a line
MIN_POINT_EVENTS = 400  # events of a point; hit rates over fewer are noise
# Counters of user events and requests; each event is in exactly one of them.
EVENT_COUNTERS = ("events", "answers", "duplicate", "ignored", "late", "noise_rate", "noise_repeats", "noise_sequence")
HIT_RATE_METRICS = ("hr20", "published_hr20", "popularity_hr20")


class PartitionReportRecord(msgspec.Struct, frozen=True):
    """The report of a partition on itself (`freshflow.metrics.report`)."""

    computed_at: int
    partition: int
    event_ts: int
    counts: dict[str, int]
    quality: dict[str, float]
    variant: str | None = None

    def count(self, *names: str) -> int:
        """Return the sum of the named counts; a missing count is 0."""
        return sum(self.counts.get(name, 0) for name in names)

    def hit_counts(self) -> tuple[float, ...]:
        """Return the number of hits on the ranked list, the list last published and the popularity list."""
        return tuple(self.quality.get(name, 0.0) * self.count("events") for name in HIT_RATE_METRICS)


class _RecordKind(msgspec.Struct):
    kind: str


class Interval(NamedTuple):
    """Events and hits of a partition between two reports; the second covers events up to `event_ts`."""

    event_ts: int
    reported_ms: int
    events: int
    hit_counts: tuple[float, ...]


class DriftMarker(msgspec.Struct, frozen=True):
    """A fall of a partition's hit rate at `event_ts`; `steep` if the partition adapted by forgetting faster."""

    event_ts: int
    partition: int
    steep: bool


class QualityPoint(msgspec.Struct, frozen=True, array_like=True):
    """HR@20 over consecutive events up to `event_ts`."""

    event_ts: int
    events: int
    hr20: float
    published_hr20: float
    popularity_hr20: float


class PartitionRow(msgspec.Struct, frozen=True):
    """A row of the table of partitions; `hr20` and `popularity_hr20` cover the last 5,000 events."""

    number: int
    variant: str | None
    reported_ms: int
    events: int
    lists: int
    refreshed: int
    items: int
    users: int
    hr20: float
    popularity_hr20: float
    drifts: int


class ReportHistory:
    """Reports of the last `hours` by `computed_at`, as intervals, drift markers and the latest report per partition."""

    def __init__(self, hours: float) -> None:
        self.version = 0  # rises with each report
        self.drift_markers: deque[DriftMarker] = deque(maxlen=MAX_DRIFT_MARKERS)
        self._retention_ms = int(hours * 3_600_000)
        self._intervals: deque[Interval] = deque(maxlen=MAX_INTERVALS)
        self._latest_reports: dict[int, PartitionReportRecord] = {}
        self._event_counts: dict[int, deque[tuple[int, int]]] = {}  # by partition: (report time, cumulative events)

    def add_report(self, record: bytes) -> bool:
        """Add a record of the metrics; return False if it is not a partition's report."""
        try:
            if msgspec.json.decode(record, type=_RecordKind).kind != "partition":
                return False
            report = msgspec.json.decode(record, type=PartitionReportRecord)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        previous = self._latest_reports.get(report.partition)
        if previous is None and len(self._latest_reports) >= MAX_TRACKED_PARTITIONS:
            return False
        if previous is not None and previous.count("events") > report.count(
            "events"
        ):  # the job was restarted without its state
            previous = None
            self._event_counts.pop(report.partition, None)
        self._latest_reports[report.partition] = report
        self._record_event_count(report)
        if previous is not None:
            self._record_interval(previous, report)
        while self._intervals and self._intervals[0].reported_ms < report.computed_at - self._retention_ms:
            self._intervals.popleft()
        self.version += 1
        return True

    def _record_event_count(self, report: PartitionReportRecord) -> None:
        event_counts = self._event_counts.setdefault(report.partition, deque())
        event_counts.append((report.computed_at, report.count(*EVENT_COUNTERS)))
        while len(event_counts) > 2 and event_counts[1][0] <= report.computed_at - EVENT_RATE_WINDOW_MS:
            event_counts.popleft()

    def _record_interval(self, previous: PartitionReportRecord, report: PartitionReportRecord) -> None:
        n_events = report.count("events") - previous.count("events")
        if n_events:
            hit_counts = tuple(
                max(0.0, current_hits - previous_hits)
                for current_hits, previous_hits in zip(report.hit_counts(), previous.hit_counts(), strict=True)
            )
            self._intervals.append(Interval(report.event_ts, report.computed_at, n_events, hit_counts))
        if report.count("drifts") > previous.count("drifts"):
            self.drift_markers.append(DriftMarker(report.event_ts, report.partition, steep=False))
        if report.count("drift_adaptations") > previous.count("drift_adaptations"):
            self._mark_steep_drift(report)

    def _mark_steep_drift(self, report: PartitionReportRecord) -> None:
        """Mark the partition's latest drift as steep: the adaptation is reported some events after the drift."""
        for n in range(len(self.drift_markers) - 1, -1, -1):
            if self.drift_markers[n].partition == report.partition:
                self.drift_markers[n] = msgspec.structs.replace(self.drift_markers[n], steep=True)
                return
        self.drift_markers.append(DriftMarker(report.event_ts, report.partition, steep=True))

    def quality_points(self) -> list[QualityPoint]:
        """Return HR@20 over time for the kept reports."""
        return merge_intervals(sorted(self._intervals))

    def visible_drift_markers(self) -> list[DriftMarker]:
        """Return the drift markers within the range of the quality points."""
        first_event_ts = min((interval.event_ts for interval in self._intervals), default=0)
        return [marker for marker in self.drift_markers if marker.event_ts >= first_event_ts]

    def partition_rows(self) -> list[PartitionRow]:
        """Return a row per partition, by number."""
        return [_partition_row(report) for _, report in sorted(self._latest_reports.items())]

    def events_per_second(self, now_ms: int) -> float | None:
        """Return the event rate over the last minute, or between the last two reports if these are further apart.

        None if reports have stopped, or are too few.
        """
        rates = [
            rate
            for event_counts in self._event_counts.values()
            if (rate := _event_rate(event_counts, now_ms)) is not None
        ]
        return sum(rates) if rates else None


def _event_rate(event_counts: Sequence[tuple[int, int]], now_ms: int) -> float | None:
    (first_ms, first_count), (last_ms, last_count) = event_counts[0], event_counts[-1]
    longest_gap_ms = max((b[0] - a[0] for a, b in zip(event_counts, list(event_counts)[1:], strict=False)), default=0)
    if last_ms <= first_ms or now_ms - last_ms > max(EVENT_RATE_WINDOW_MS, 3 * longest_gap_ms):
        return None
    return 1000 * (last_count - first_count) / (last_ms - first_ms)


def merge_intervals(intervals: Sequence[Interval]) -> list[QualityPoint]:
    """Merge consecutive intervals into at most `MAX_QUALITY_POINTS` points of at least `MIN_POINT_EVENTS` events.

    A single point may cover fewer events.
    """
    min_events = max(MIN_POINT_EVENTS, sum(interval.events for interval in intervals) / MAX_QUALITY_POINTS)
    points: list[QualityPoint] = []
    n_events, hit_counts = 0, (0.0, 0.0, 0.0)
    for n, interval in enumerate(intervals):
        n_events += interval.events
        hit_counts = (
            hit_counts[0] + interval.hit_counts[0],
            hit_counts[1] + interval.hit_counts[1],
            hit_counts[2] + interval.hit_counts[2],
        )
        if n_events >= min_events or (n == len(intervals) - 1 and not points):
            points.append(
                QualityPoint(
                    interval.event_ts, n_events, *(round(min(1.0, hit_count / n_events), 4) for hit_count in hit_counts)
                )
            )
            n_events, hit_counts = 0, (0.0, 0.0, 0.0)
    return points


def _partition_row(report: PartitionReportRecord) -> PartitionRow:
    return PartitionRow(
        number=report.partition,
        variant=report.variant,
        reported_ms=report.computed_at,
        events=report.count("events"),
        lists=report.count("lists", "answers", "refreshed", "withdrawn"),
        refreshed=report.count("refreshed"),
        items=report.count("items"),
        users=report.count("users_active"),
        hr20=report.quality.get("recent_hr20", 0.0),
        popularity_hr20=report.quality.get("popularity_recent_hr20", 0.0),
        drifts=report.count("drifts"),
    )
