"""Evaluation report as one JSON object."""

from collections.abc import Mapping

import msgspec

from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.recommender import SearchScores
from freshflow.evaluation.replay import EvaluationResult
from freshflow.metrics.ranking_metrics import MetricValues

N_TENTHS = 10
UNLEARNED_COUNTERS = ("duplicate", "late", "noise_rate", "noise_repeats", "noise_sequence")


class RecommenderQuality(msgspec.Struct, frozen=True):
    """Metrics of one recommender; `published` is null for baselines.

    `coverage` is the share of known items that were among the first 20 of any list. `tenths` are the metrics of `all`,
    `new` and `published` over ten equal parts of the stream.
    """

    all: MetricValues
    new: MetricValues
    published: MetricValues | None
    cold_users: MetricValues
    cold_items: MetricValues
    launches: MetricValues
    coverage: float
    events_per_second: float
    tenths: dict[str, list[MetricValues]]


class EvaluationReport(msgspec.Struct, frozen=True):
    """Counts of the evaluated events, and the metrics of the job and the baselines.

    `events` counts all behaviour events read, including those not learned; `scored` counts the events with a list
    request. `refusals` gives the line and the reason of the first record of each code in `rejected`. `not_learned`
    counts the events that were not learned, by reason (`freshflow.users.store`). The job's events per second include
    the request before each event, which a running job does not have.
    """

    input: str
    events: int
    scored: int
    duplicates: int
    not_learned: dict[str, int]
    rejected: dict[str, int]
    passed_over: dict[str, int]
    users: int
    items: int
    partitions: int
    peak_memory_mb: float
    job: RecommenderQuality
    baselines: dict[str, RecommenderQuality]
    searches: SearchScores | None = None
    refusals: dict[str, str] = {}


def build_evaluation_report(
    stream: EvaluationStream,
    job_result: EvaluationResult,
    baseline_results: Mapping[str, EvaluationResult],
    peak_memory_mb: float,
) -> EvaluationReport:
    """Build the report on an evaluation of `stream`.

    Args:
        stream: The evaluated events.
        job_result: The result of the job.
        baseline_results: The results of the baselines by name.
        peak_memory_mb: The peak memory of the process after the job, in MB.
    """
    return EvaluationReport(
        input=stream.path,
        events=stream.n_events,
        scored=len(job_result.scores),
        duplicates=stream.counts["duplicate"],
        not_learned={kind: stream.counts[kind] for kind in UNLEARNED_COUNTERS if stream.counts[kind]},
        rejected=dict(stream.n_rejected.most_common()),
        passed_over=dict(stream.n_unknown_type.most_common()),
        users=len(job_result.history.seen_by_user),
        items=len(job_result.history.known_items),
        partitions=stream.config.job.partitions,
        peak_memory_mb=round(peak_memory_mb, 1),
        job=_recommender_quality(job_result, stream.n_events, ("all", "new", "published")),
        baselines={
            name: _recommender_quality(result, stream.n_events, ("all", "new"))
            for name, result in baseline_results.items()
        },
        searches=job_result.search_scores,
        refusals=dict(stream.first_rejections),
    )


def encode_evaluation(report: EvaluationReport) -> bytes:
    """Encode the report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def _recommender_quality(result: EvaluationResult, events: int, kinds: tuple[str, ...]) -> RecommenderQuality:
    scores, known_items = result.scores, result.history.known_items
    return RecommenderQuality(
        all=scores.metric_values("all"),
        new=scores.metric_values("new"),
        published=scores.metric_values("published") if "published" in kinds else None,
        cold_users=scores.metric_values("cold_users"),
        cold_items=scores.metric_values("cold_items"),
        launches=scores.metric_values("launches"),
        coverage=len(scores.listed_items & known_items) / max(1, len(known_items)),
        events_per_second=events / result.duration_s if result.duration_s else 0.0,
        tenths={kind: scores.metric_values_by_part(kind, N_TENTHS) for kind in kinds},
    )
