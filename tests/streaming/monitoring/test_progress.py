"""What several processes have counted adds up to what the job has done."""

import msgspec
import pytest

from freshflow.events.model import Origin, RawBatch, Rejected
from freshflow.metrics.report import Report
from freshflow.streaming.messages import PartitionOutput
from freshflow.streaming.monitoring.progress import JobStats, JobStatsSnapshot

ORIGIN = Origin("file", "events.jsonl")


def report(partition: int, events: int, hr20: float) -> Report:
    return Report(partition, 0, {"events": events}, {"hr20": hr20})


def read(progress: JobStats, records: int, read_ms: int, rejected: int = 0) -> None:
    batch = RawBatch(ORIGIN, tuple((n, b"{}") for n in range(records)), read_ms)
    progress.record_read(batch)
    progress.record_rejects([Rejected(ORIGIN, 1, b"", "empty", "The record is blank.")] * rejected)


def published(progress: JobStats, lists: int, read_ms: int, now_ms: int, of: Report) -> None:
    progress.record_output(PartitionOutput(read_ms, [(b"u", b"{}")] * lists, of, []), now_ms)


def test_the_sum_of_processes_is_what_one_would_have_counted() -> None:
    one, parts = JobStats(), (JobStats(), JobStats())
    for n, part in enumerate(parts):
        for progress in (one, part):
            read(progress, 10 + n, 1_000 + n, rejected=n)
            published(progress, 5 + n, 1_000, 1_010 + 500 * n, report(n, 100 * (n + 1), 0.5 + 0.1 * n))
    total = JobStats()
    total.replace_with_sum(
        msgspec.json.decode(msgspec.json.encode(part.snapshot()), type=JobStatsSnapshot) for part in parts
    )
    assert total.snapshot() == one.snapshot()
    assert (total.n_read, total.n_lists, dict(total.n_rejected)) == (21, 11, {"empty": 1})
    assert total.duration_s() == one.duration_s() == pytest.approx(0.510)
    assert total.mean_quality("hr20") == one.mean_quality("hr20") == pytest.approx((0.5 * 100 + 0.6 * 200) / 300)
    for share in (0.1, 0.5, 0.99):
        assert total.latency_quantile_ms(share) == one.latency_quantile_ms(share)


def test_the_sum_of_nothing_is_nothing() -> None:
    total = JobStats()
    total.replace_with_sum([])
    assert total.snapshot() == JobStats().snapshot()


def test_a_job_that_was_given_nothing_to_read_took_no_time_for_it() -> None:
    progress = JobStats()
    published(progress, 0, 1_000, 1_010, report(0, 100, 0.5))  # it is resumed, and its partition reports at the end
    assert progress.duration_s() == 0
