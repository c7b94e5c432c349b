"""Statistics of a running job, for the progress line, the summary and Prometheus; no decision depends on them."""

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from freshflow.events.model import RawBatch, Rejected
from freshflow.metrics.report import Report
from freshflow.streaming.messages import PartitionOutput

# Bins of latencies have equal ratios, 2 % wide, from 1 ms to about 17 min: exact enough for p50 and p99.
LATENCY_BIN_RATIO = 1.02
N_LATENCY_BINS = 700
# Upper bounds of the bins of list ages: the time from an event to its list.
LIST_AGE_BOUNDS_S = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    21_600.0,
    86_400.0,
)


class JobStatsSnapshot(msgspec.Struct, frozen=True, tag=True):
    """Statistics of one process, as sent to the supervisor; latencies as (bin, lists)."""

    n_read: int
    n_rejected: dict[str, int]
    n_unknown_type: dict[str, int]
    n_lists: int
    latency_bins: list[tuple[int, int]]
    reports: list[Report]
    first_read_ms: int | None
    last_output_ms: int
    latency_sum_ms: int = 0
    initial_counts: dict[int, dict[str, int]] = {}
    age_bins: list[int] = []
    age_sum_ms: int = 0
    lags: dict[str, int] = {}
    epoch_times: dict[str, tuple[int, float]] = {}
    snapshot_times: tuple[int, float] = (0, 0.0)


class JobStats:
    """Counters of records, rejects and lists, with latencies, of this process or summed over several.

    Attributes:
        n_read: Records read.
        n_rejected: Rejected records by code.
        n_unknown_type: Events of unknown types by type.
        n_lists: Lists published.
        latency_bins: Lists by latency from reading an event to passing its list to the sink, bins of
            `LATENCY_BIN_RATIO`, shape (N_LATENCY_BINS,), int64.
        reports: The latest report of each partition.
        initial_counts: Counts with which the job began, by partition.
        age_bins: Lists by age of their event, bins of `LIST_AGE_BOUNDS_S` and one beyond, int64.
        lags: Records left to read by partition of the input.
        epoch_times: Number and total seconds of snapshots by step.
        snapshot_times: Number and total seconds of whole states written.
    """

    def __init__(self) -> None:
        self.n_read = 0
        self.n_rejected: Counter[str] = Counter()
        self.n_unknown_type: Counter[str] = Counter()
        self.n_lists = 0
        self.latency_bins = np.zeros(N_LATENCY_BINS, np.int64)
        self.reports: dict[int, Report] = {}
        self.first_read_ms: int | None = None
        self.last_output_ms = 0
        self.latency_sum_ms = self.age_sum_ms = 0
        self.initial_counts: dict[int, dict[str, int]] = {}
        self.age_bins = np.zeros(len(LIST_AGE_BOUNDS_S) + 1, np.int64)
        self.lags: dict[str, int] = {}
        self.epoch_times: dict[str, tuple[int, float]] = {}
        self.snapshot_times: tuple[int, float] = (0, 0.0)

    def record_read(self, batch: RawBatch) -> None:
        """Count a batch of records."""
        if self.first_read_ms is None:
            self.first_read_ms = batch.read_ms
        self.n_read += len(batch.records)

    def record_rejects(self, rejects: Iterable[Rejected]) -> None:
        """Count rejected records."""
        self.n_rejected.update(reject.code for reject in rejects)

    def record_output(self, output: PartitionOutput, now_ms: int) -> None:
        """Count the lists of a partition, passed to the sink at `now_ms` (epoch milliseconds)."""
        partition = output.report.partition
        self.reports[partition] = output.report
        self.initial_counts[partition] = output.initial_counts
        self.n_lists += len(output.lists)
        latency_ms = max(1, now_ms - output.read_ms)
        self.latency_bins[min(N_LATENCY_BINS - 1, int(np.log(latency_ms) / np.log(LATENCY_BIN_RATIO)))] += len(
            output.lists
        )
        self.latency_sum_ms += latency_ms * len(output.lists)
        self.last_output_ms = now_ms
        if output.list_ages_ms:
            ages_s = np.array(output.list_ages_ms) / 1000
            np.add.at(self.age_bins, np.searchsorted(LIST_AGE_BOUNDS_S, ages_s), 1)
            self.age_sum_ms += sum(output.list_ages_ms)

    def record_lag(self, partition: int, n_records: int) -> None:
        """Set the number of records left to read in a partition of the input."""
        self.lags[str(partition)] = n_records

    def record_epoch_end(self, step: str, duration_s: float) -> None:
        """Count a snapshot of a step that took `duration_s` seconds; a sink's includes its flush."""
        count, total_s = self.epoch_times.get(step, (0, 0.0))
        self.epoch_times[step] = (count + 1, total_s + duration_s)

    def record_snapshot_time(self, duration_s: float) -> None:
        """Count a whole state that was written in `duration_s` seconds."""
        self.snapshot_times = (self.snapshot_times[0] + 1, self.snapshot_times[1] + duration_s)

    def latency_quantile_ms(self, quantile: float) -> float:
        """Return the quantile of the latency from reading to the sink, in milliseconds; 0 without lists."""
        if not self.n_lists:
            return 0.0
        bin_index = np.searchsorted(self.latency_bins.cumsum(), quantile * self.n_lists)
        return float(LATENCY_BIN_RATIO ** (bin_index + 1))

    def total_count(self, name: str) -> int:
        """Return the sum of a count over all partitions."""
        return sum(report.counts.get(name, 0) for report in self.reports.values())

    def mean_quality(self, name: str) -> float:
        """Return the mean of a quality metric over all partitions, weighted by their events."""
        n_events = sum(report.counts.get("events", 0) for report in self.reports.values())
        weighted_values = (r.quality[name] * r.counts.get("events", 0) for r in self.reports.values())
        return sum(weighted_values) / n_events if n_events else 0.0

    def duration_s(self) -> float:
        """Return the seconds from the first record read to the last list passed on; 0 if none was read."""
        return 0.0 if self.first_read_ms is None else max(0, self.last_output_ms - self.first_read_ms) / 1000

    def snapshot(self) -> JobStatsSnapshot:
        """Return the statistics as a value; safe while another thread counts."""
        bin_indices = np.flatnonzero(self.latency_bins)
        return JobStatsSnapshot(
            n_read=self.n_read,
            n_rejected=dict(self.n_rejected),
            n_unknown_type=dict(self.n_unknown_type),
            n_lists=self.n_lists,
            latency_bins=list(zip(bin_indices.tolist(), self.latency_bins[bin_indices].tolist(), strict=True)),
            reports=list(self.reports.values()),
            first_read_ms=self.first_read_ms,
            last_output_ms=self.last_output_ms,
            latency_sum_ms=self.latency_sum_ms,
            initial_counts=dict(self.initial_counts),
            age_bins=self.age_bins.tolist(),
            age_sum_ms=self.age_sum_ms,
            lags=dict(self.lags),
            epoch_times=dict(self.epoch_times),
            snapshot_times=self.snapshot_times,
        )

    def replace_with_sum(self, snapshots: Iterable[JobStatsSnapshot]) -> None:
        """Replace all statistics by the sum over processes; each record and partition belongs to one of them."""
        snapshots = list(snapshots)
        self.n_read = sum(snapshot.n_read for snapshot in snapshots)
        self.n_rejected = sum((Counter(snapshot.n_rejected) for snapshot in snapshots), Counter())
        self.n_unknown_type = sum((Counter(snapshot.n_unknown_type) for snapshot in snapshots), Counter())
        self.n_lists = sum(snapshot.n_lists for snapshot in snapshots)
        latency_bins = np.zeros(N_LATENCY_BINS, np.int64)
        for bin_index, n_lists in (pair for snapshot in snapshots for pair in snapshot.latency_bins):
            latency_bins[bin_index] += n_lists
        self.latency_bins = latency_bins
        self.reports = {report.partition: report for snapshot in snapshots for report in snapshot.reports}
        self.first_read_ms = min((p.first_read_ms for p in snapshots if p.first_read_ms is not None), default=None)
        self.last_output_ms = max((snapshot.last_output_ms for snapshot in snapshots), default=0)
        self.latency_sum_ms = sum(snapshot.latency_sum_ms for snapshot in snapshots)
        self.initial_counts = {
            partition: counts for snapshot in snapshots for partition, counts in snapshot.initial_counts.items()
        }
        self.age_bins = sum(
            (np.array(snapshot.age_bins) for snapshot in snapshots if snapshot.age_bins),
            np.zeros(len(LIST_AGE_BOUNDS_S) + 1, np.int64),
        )
        self.age_sum_ms = sum(snapshot.age_sum_ms for snapshot in snapshots)
        self.lags = {partition: lag for snapshot in snapshots for partition, lag in snapshot.lags.items()}
        epoch_times = {
            step: [snapshot.epoch_times.get(step, (0, 0.0)) for snapshot in snapshots]
            for snapshot in snapshots
            for step in snapshot.epoch_times
        }
        self.epoch_times = {step: _sum_timings(timings) for step, timings in epoch_times.items()}
        self.snapshot_times = _sum_timings([snapshot.snapshot_times for snapshot in snapshots])


def _sum_timings(timings: list[tuple[int, float]]) -> tuple[int, float]:
    return sum(count for count, _ in timings), sum(seconds for _, seconds in timings)
