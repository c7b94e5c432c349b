"""What a job has done so far, for the progress line and the table at the end; nothing reads it to decide."""

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from freshflow.events.model import RawBatch, Rejected
from freshflow.metrics.report import Report
from freshflow.streaming.messages import PartitionOutput
from freshflow.streaming.monitoring.checkpoint_timer import EpochTimes

__all__ = ["AGES_S", "BIN_RATIO", "Counts", "Progress"]

# Latencies are counted in bins of equal ratio, 1 ms to about 17 min, 2 % wide: exact enough for p50 and p99.
BIN_RATIO = 1.02
BINS = 700
# How old events were when their lists were made is counted up to each of these.
AGES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)


class Counts(msgspec.Struct, frozen=True, tag=True):
    """What one process of several has counted, as it is sent to the one that shows it; latencies as (bin, lists)."""

    read: int
    rejected: dict[str, int]
    passed_over: dict[str, int]
    lists: int
    latency: list[tuple[int, int]]
    reports: list[Report]
    first_read_ms: int | None
    last_output_ms: int
    latency_sum_ms: int = 0
    before: dict[int, dict[str, int]] = {}
    ages: list[int] = []
    ages_sum_ms: int = 0
    lags: dict[str, int] = {}
    epochs: dict[str, tuple[int, float]] = {}
    bases: tuple[int, float] = (0, 0.0)


class Progress:
    """Records read, rejected by code, lists by how long after their event's reading; of this process or of several.

    Of the metrics (`freshflow.streaming.monitoring.prometheus`) also: `before`, by partition the counts with which the job began;
    `ages` (bins of `AGES_S`, and beyond) of the events of lists; `lags` by partition of the input, in records; what
    ends of `epochs` took, and how many `bases` were written in how many seconds.
    """

    def __init__(self) -> None:
        self.read = 0
        self.rejected: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()  # events of types that are not known, by name
        self.lists = 0
        self.latency = np.zeros(BINS, np.int64)
        self.reports: dict[int, Report] = {}
        self.first_read_ms: int | None = None
        self.last_output_ms = 0
        self.latency_sum_ms = self.ages_sum_ms = 0
        self.before: dict[int, dict[str, int]] = {}
        self.ages = np.zeros(len(AGES_S) + 1, np.int64)
        self.lags: dict[str, int] = {}
        self.epochs = EpochTimes()
        self.bases: tuple[int, float] = (0, 0.0)
        self._epochs_elsewhere: dict[str, tuple[int, float]] = {}

    def note_read(self, batch: RawBatch) -> None:
        """Count a batch of records."""
        if self.first_read_ms is None:
            self.first_read_ms = batch.read_ms
        self.read += len(batch.records)

    def note_rejected(self, rejected: Iterable[Rejected]) -> None:
        """Count records that were rejected."""
        self.rejected.update(one.code for one in rejected)

    def note_output(self, output: PartitionOutput, now_ms: int) -> None:
        """Count a partition's lists, handed to the sink at `now_ms` (epoch milliseconds)."""
        partition = output.report.partition
        self.reports[partition] = output.report
        self.before[partition] = output.before
        self.lists += len(output.lists)
        late_ms = max(1, now_ms - output.read_ms)
        self.latency[min(BINS - 1, int(np.log(late_ms) / np.log(BIN_RATIO)))] += len(output.lists)
        self.latency_sum_ms += late_ms * len(output.lists)
        self.last_output_ms = now_ms
        if output.ages_ms:
            ages_s = np.array(output.ages_ms) / 1000
            np.add.at(self.ages, np.searchsorted(AGES_S, ages_s), 1)
            self.ages_sum_ms += sum(output.ages_ms)

    def note_lag(self, partition: int, records: int) -> None:
        """A partition of the input has so many records that were not read yet."""
        self.lags[str(partition)] = records

    def note_base(self, seconds: float) -> None:
        """A base was written in so many seconds."""
        self.bases = (self.bases[0] + 1, self.bases[1] + seconds)

    def latency_ms(self, share: float) -> float:
        """The latency, read to handed to the sink, that this share of the lists did not exceed; 0 without lists."""
        if not self.lists:
            return 0.0
        reached = np.searchsorted(self.latency.cumsum(), share * self.lists)
        return float(BIN_RATIO ** (reached + 1))

    def total(self, name: str) -> int:
        """A count over all partitions of this process."""
        return sum(report.counts.get(name, 0) for report in self.reports.values())

    def quality(self, name: str) -> float:
        """A figure over all partitions, weighted by their events."""
        events = sum(report.counts.get("events", 0) for report in self.reports.values())
        parts = (r.quality[name] * r.counts.get("events", 0) for r in self.reports.values())
        return sum(parts) / events if events else 0.0

    def seconds(self) -> float:
        """From the first record read to the last list handed on; 0 where none was read."""
        return 0.0 if self.first_read_ms is None else max(0, self.last_output_ms - self.first_read_ms) / 1000

    def counts(self) -> Counts:
        """All of it as a value; safe while another thread counts on."""
        bins = np.flatnonzero(self.latency)
        return Counts(
            read=self.read,
            rejected=dict(self.rejected),
            passed_over=dict(self.passed_over),
            lists=self.lists,
            latency=list(zip(bins.tolist(), self.latency[bins].tolist(), strict=True)),
            reports=list(self.reports.values()),
            first_read_ms=self.first_read_ms,
            last_output_ms=self.last_output_ms,
            latency_sum_ms=self.latency_sum_ms,
            before=dict(self.before),
            ages=self.ages.tolist(),
            ages_sum_ms=self.ages_sum_ms,
            lags=dict(self.lags),
            epochs=self._epochs_elsewhere
            or {step: (count, self.epochs.seconds[step]) for step, count in list(self.epochs.count.items())},
            bases=self.bases,
        )

    def show_sum(self, parts: Iterable[Counts]) -> None:
        """Become the sum of what several processes counted. A record is read, and a partition lives, in one of them."""
        parts = list(parts)
        self.read = sum(part.read for part in parts)
        self.rejected = sum((Counter(part.rejected) for part in parts), Counter())
        self.passed_over = sum((Counter(part.passed_over) for part in parts), Counter())
        self.lists = sum(part.lists for part in parts)
        latency = np.zeros(BINS, np.int64)
        for at, lists in (pair for part in parts for pair in part.latency):
            latency[at] += lists
        self.latency = latency
        self.reports = {report.partition: report for part in parts for report in part.reports}
        self.first_read_ms = min((p.first_read_ms for p in parts if p.first_read_ms is not None), default=None)
        self.last_output_ms = max((part.last_output_ms for part in parts), default=0)
        self.latency_sum_ms = sum(part.latency_sum_ms for part in parts)
        self.before = {partition: counts for part in parts for partition, counts in part.before.items()}
        self.ages = sum((np.array(part.ages) for part in parts if part.ages), np.zeros(len(AGES_S) + 1, np.int64))
        self.ages_sum_ms = sum(part.ages_sum_ms for part in parts)
        self.lags = {partition: lag for part in parts for partition, lag in part.lags.items()}
        epochs = {step: [part.epochs.get(step, (0, 0.0)) for part in parts] for part in parts for step in part.epochs}
        self._epochs_elsewhere = {step: _added(several) for step, several in epochs.items()}
        self.bases = _added([part.bases for part in parts])


def _added(several: list[tuple[int, float]]) -> tuple[int, float]:
    return sum(count for count, _ in several), sum(seconds for _, seconds in several)
