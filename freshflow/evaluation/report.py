"""The result of an evaluation for machines: one JSON object."""

from collections.abc import Mapping

import msgspec

from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.recommender import Searches
from freshflow.evaluation.replay import Evaluated
from freshflow.metrics.ranking_metrics import Figures

__all__ = ["EvaluationReport", "Quality", "encode_evaluation", "report_on"]

TENTHS = 10
NOT_LEARNED = ("duplicate", "late", "noise_rate", "noise_repeats", "noise_sequence")


class Quality(msgspec.Struct, frozen=True):
    """The figures of one recommender; `published` is the job's only.

    `coverage` is the share of known items that stood among the first 20 of some list. `tenths` are the figures of
    `all`, `new` and `published` over the ten parts of the stream.
    """

    all: Figures
    new: Figures
    published: Figures | None
    cold_users: Figures
    cold_items: Figures
    launches: Figures
    coverage: float
    events_per_second: float
    tenths: dict[str, list[Figures]]


class EvaluationReport(msgspec.Struct, frozen=True):
    """What was evaluated, and how good the job and the baselines were.

    `events` are behaviour events read, those left out included; `scored` those that a list was asked for.
    `refusals` say of each code in `rejected` where its first record stands, and why it was refused.
    `not_learned` counts those that nothing was learned from, by what they were (`freshflow.users.store`). The job's
    events a second count with the questions: an evaluation asks before each event, which a job need not.
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
    job: Quality
    baselines: dict[str, Quality]
    searches: Searches | None = None
    refusals: dict[str, str] = {}


def report_on(
    stream: EvaluationStream, job: Evaluated, baselines: Mapping[str, Evaluated], peak_memory_mb: float
) -> EvaluationReport:
    """The report on an evaluation of `stream`."""
    return EvaluationReport(
        input=stream.path,
        events=stream.events,
        scored=len(job.scores),
        duplicates=stream.counts["duplicate"],
        not_learned={kind: stream.counts[kind] for kind in NOT_LEARNED if stream.counts[kind]},
        rejected=dict(stream.rejected.most_common()),
        passed_over=dict(stream.passed_over.most_common()),
        users=len(job.history.seen),
        items=len(job.history.items),
        partitions=stream.config.job.partitions,
        peak_memory_mb=round(peak_memory_mb, 1),
        job=_quality(job, stream.events, ("all", "new", "published")),
        baselines={name: _quality(one, stream.events, ("all", "new")) for name, one in baselines.items()},
        searches=job.searches,
        refusals=dict(stream.refusals),
    )


def encode_evaluation(report: EvaluationReport) -> bytes:
    """The report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def _quality(one: Evaluated, events: int, kinds: tuple[str, ...]) -> Quality:
    scores, known = one.scores, one.history.items
    return Quality(
        all=scores.figures("all"),
        new=scores.figures("new"),
        published=scores.figures("published") if "published" in kinds else None,
        cold_users=scores.figures("cold_users"),
        cold_items=scores.figures("cold_items"),
        launches=scores.figures("launches"),
        coverage=len(scores.listed & known) / max(1, len(known)),
        events_per_second=events / one.seconds if one.seconds else 0.0,
        tenths={kind: scores.parts(kind, TENTHS) for kind in kinds},
    )
