"""What the reports of the job's partitions say over time: quality, marks of drift, and how fast events come."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

__all__ = ["History", "Mark", "Partition", "Point", "Standing", "points_of"]

HELD = 20_000  # intervals; then the oldest go
MARKS = 200  # likewise
PARTITIONS = 1_024  # those beyond are not shown
RATE_MS = 60_000  # looked back on for a rate, and at least from one report to the next
POINTS, LEAST = 120, 400  # points of a line at most, and events of a point at least: hit rates of fewer are noise
# What is counted of an event that its user did or asked for, one name each.
EVENTS = ("events", "answers", "duplicate", "ignored", "late", "noise_rate", "noise_repeats", "noise_sequence")
RIVALS = ("hr20", "published_hr20", "popularity_hr20")


class Standing(msgspec.Struct, frozen=True):
    """How a partition stands, as it reported itself (`freshflow.metrics.report`)."""

    computed_at: int
    partition: int
    event_ts: int
    counts: dict[str, int]
    quality: dict[str, float]
    variant: str | None = None

    def count(self, *names: str) -> int:
        """A sum of counts; one that is not there is 0."""
        return sum(self.counts.get(name, 0) for name in names)

    def hits(self) -> tuple[float, ...]:
        """How many events found their item on a list: ours, the one last published, that of popularity."""
        return tuple(self.quality.get(name, 0.0) * self.count("events") for name in RIVALS)


class _Kind(msgspec.Struct):
    kind: str


class Interval(NamedTuple):
    """What a partition did from one report to the next, which tells of its events up to `event_ts`."""

    event_ts: int
    made_ms: int
    events: int
    hits: tuple[float, ...]


class Mark(msgspec.Struct, frozen=True):
    """A partition's hit rate fell at `event_ts`; `steep` if so far that it forgot what it knew faster."""

    event_ts: int
    partition: int
    steep: bool


class Point(msgspec.Struct, frozen=True, array_like=True):
    """HR@20 of some events in a row, of which the latest was at `event_ts`."""

    event_ts: int
    events: int
    ours: float
    published: float
    popularity: float


class Partition(msgspec.Struct, frozen=True):
    """A row of the table of partitions; `hr20` are those of the last 5,000 events."""

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


class History:
    """Reports of the last `hours` (by when they were made), as intervals, marks and where each partition stands."""

    def __init__(self, hours: float) -> None:
        self.version = 0  # rises with each report
        self.marks: deque[Mark] = deque(maxlen=MARKS)
        self._held_ms = int(hours * 3_600_000)
        self._intervals: deque[Interval] = deque(maxlen=HELD)
        self._standing: dict[int, Standing] = {}
        self._counted: dict[int, deque[tuple[int, int]]] = {}  # by partition: when, and how many events by then

    def add(self, record: bytes) -> bool:
        """Take a record of the metrics; whether it is a partition's report."""
        try:
            if msgspec.json.decode(record, type=_Kind).kind != "partition":
                return False
            new = msgspec.json.decode(record, type=Standing)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        before = self._standing.get(new.partition)
        if before is None and len(self._standing) >= PARTITIONS:
            return False
        if before is not None and before.count("events") > new.count("events"):  # the job began anew
            before = None
            self._counted.pop(new.partition, None)
        self._standing[new.partition] = new
        self._count(new)
        if before is not None:
            self._compare(before, new)
        while self._intervals and self._intervals[0].made_ms < new.computed_at - self._held_ms:
            self._intervals.popleft()
        self.version += 1
        return True

    def _count(self, new: Standing) -> None:
        counted = self._counted.setdefault(new.partition, deque())
        counted.append((new.computed_at, new.count(*EVENTS)))
        while len(counted) > 2 and counted[1][0] <= new.computed_at - RATE_MS:
            counted.popleft()

    def _compare(self, before: Standing, new: Standing) -> None:
        events = new.count("events") - before.count("events")
        if events:
            hits = tuple(max(0.0, now - then) for now, then in zip(new.hits(), before.hits(), strict=True))
            self._intervals.append(Interval(new.event_ts, new.computed_at, events, hits))
        if new.count("drifts") > before.count("drifts"):
            self.marks.append(Mark(new.event_ts, new.partition, steep=False))
        if new.count("adapted") > before.count("adapted"):
            self._steepen(new)

    def _steepen(self, new: Standing) -> None:
        """A fall turns out to be steep some events after it was noticed."""
        for n in range(len(self.marks) - 1, -1, -1):
            if self.marks[n].partition == new.partition:
                self.marks[n] = msgspec.structs.replace(self.marks[n], steep=True)
                return
        self.marks.append(Mark(new.event_ts, new.partition, steep=True))

    def points(self) -> list[Point]:
        """HR@20 over the events of the time that is held."""
        return points_of(sorted(self._intervals))

    def marks_shown(self) -> list[Mark]:
        """The marks among the events that the points are of."""
        since = min((interval.event_ts for interval in self._intervals), default=0)
        return [mark for mark in self.marks if mark.event_ts >= since]

    def partitions(self) -> list[Partition]:
        """Where each partition stands, by number."""
        return [_row(standing) for _, standing in sorted(self._standing.items())]

    def events_a_second(self, now_ms: int) -> float | None:
        """Over the last minute, or from one report to the next; None where reports have ceased, or are too few."""
        several = [rate for counted in self._counted.values() if (rate := _rate(counted, now_ms)) is not None]
        return sum(several) if several else None


def _rate(counted: Sequence[tuple[int, int]], now_ms: int) -> float | None:
    (first_ms, first), (last_ms, last) = counted[0], counted[-1]
    longest_ms = max((b[0] - a[0] for a, b in zip(counted, list(counted)[1:], strict=False)), default=0)
    if last_ms <= first_ms or now_ms - last_ms > max(RATE_MS, 3 * longest_ms):
        return None
    return 1000 * (last - first) / (last_ms - first_ms)


def points_of(intervals: Sequence[Interval]) -> list[Point]:
    """Intervals in a row, put together so that there are at most `POINTS`, each of at least `LEAST` events.

    The last may be of fewer where it is the only one.
    """
    wanted = max(LEAST, sum(interval.events for interval in intervals) / POINTS)
    points: list[Point] = []
    events, hits = 0, (0.0, 0.0, 0.0)
    for n, interval in enumerate(intervals):
        events += interval.events
        hits = (hits[0] + interval.hits[0], hits[1] + interval.hits[1], hits[2] + interval.hits[2])
        if events >= wanted or (n == len(intervals) - 1 and not points):
            points.append(Point(interval.event_ts, events, *(round(min(1.0, hit / events), 4) for hit in hits)))
            events, hits = 0, (0.0, 0.0, 0.0)
    return points


def _row(standing: Standing) -> Partition:
    return Partition(
        number=standing.partition,
        variant=standing.variant,
        reported_ms=standing.computed_at,
        events=standing.count("events"),
        lists=standing.count("lists", "answers", "refreshed", "withdrawn"),
        refreshed=standing.count("refreshed"),
        items=standing.count("items"),
        users=standing.count("users_active"),
        hr20=standing.quality.get("recent_hr20", 0.0),
        popularity_hr20=standing.quality.get("popularity_recent_hr20", 0.0),
        drifts=standing.count("drifts"),
    )
