"""What goes to the metrics sink: how a partition stands, that it has forgotten a user, and how two variants differ.

A record has its kind and when it was made (epoch milliseconds), then the fields of the `KINDS` it is of that are known.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from freshflow.events.model import SourceRef
from freshflow.metrics.ab_test import METRIC_NAMES, Difference, VariantSums, combine_sums, metric_difference

__all__ = [
    "RECORD_TYPES",
    "Comparison",
    "VariantDifferences",
    "RecordKind",
    "Receipt",
    "Report",
    "VariantMetrics",
    "encode_comparison",
    "encode_receipt",
    "encode_report",
    "sums_by_variant",
]

RecordKind = Literal["partition", "forget", "comparison"]


class Report(msgspec.Struct, frozen=True):
    """How a partition stands after its latest event. `freshflow.metrics.catalogue` says what its numbers are."""

    partition: Annotated[int, Meta(description="The partition that reports.")]
    event_ts: Annotated[int, Meta(description="Time of its latest event, in epoch milliseconds.")]
    counts: Annotated[dict[str, int], Meta(description="What it has counted, and how large its tables are.")]
    quality: Annotated[
        dict[str, float], Meta(description="How well it predicts; each event is predicted, then learned.")
    ]
    variant: Annotated[str | None, Meta(description="The name of its configuration, if that has one.")] = None
    sums: Annotated[
        VariantSums | None, Meta(description="What it takes to compare this variant with another, if it has a name.")
    ] = None


class Receipt(msgspec.Struct, frozen=True):
    """Evidence that a partition has forgotten the user whom a forget event names, without the name."""

    partition: Annotated[int, Meta(description="The partition that has forgotten.")]
    event_ts: Annotated[int, Meta(description="Time of the forget event, in epoch milliseconds.")]
    source: Annotated[SourceRef, Meta(description="Where the forget event stands.")]
    known: Annotated[bool, Meta(description="Whether there was something to forget.")]
    forgotten: Annotated[int, Meta(description="Forget events that the partition has obeyed so far.")]


class VariantMetrics(msgspec.Struct, frozen=True):
    """The figures of a variant over all its partitions, named as in `quality`."""

    events: int
    hr20: float
    mrr20: float
    published_hr20: float
    published_mrr20: float


class VariantDifferences(msgspec.Struct, frozen=True):
    """The second variant's figures less the first's, with 95 % intervals, which take 30 groups of users each."""

    of: Annotated[str, Meta(description="The names of both, as `second - first`.")]
    hr20: Annotated[Difference, Meta(description="Of HR@20.")]
    mrr20: Annotated[Difference, Meta(description="Of MRR@20, likewise.")]
    published_hr20: Annotated[Difference, Meta(description="Of HR@20 of what users were last sent, likewise.")]
    published_mrr20: Annotated[Difference, Meta(description="Of its MRR@20, likewise.")]


class Comparison(msgspec.Struct, frozen=True):
    """How two variants stand and differ (`freshflow.metrics.ab_test`)."""

    event_ts: Annotated[int, Meta(description="Time of the latest event in it, in epoch milliseconds.")]
    variants: Annotated[dict[str, VariantMetrics], Meta(description="The figures of each, by name.")]
    difference: Annotated[VariantDifferences, Meta(description="How far they are apart.")]


RECORD_TYPES: dict[RecordKind, type[msgspec.Struct]] = {
    "partition": Report,
    "forget": Receipt,
    "comparison": Comparison,
}

_encode = msgspec.json.Encoder().encode


def encode_report(report: Report, computed_at_ms: int) -> tuple[None, bytes]:
    """A record for the metrics sink: the report, its kind and when it was made (epoch milliseconds)."""
    return _encode_record("partition", report, computed_at_ms)


def encode_receipt(receipt: Receipt, computed_at_ms: int) -> tuple[None, bytes]:
    """The same of a receipt."""
    return _encode_record("forget", receipt, computed_at_ms)


def sums_by_variant(reports: Iterable[Report]) -> dict[str, VariantSums]:
    """What is known of each variant from the reports of partitions, in the order of their numbers."""
    parts_by_variant: dict[str, list[VariantSums]] = {}
    for report in sorted(reports, key=lambda report: report.partition):
        if report.variant is not None and report.sums is not None:
            parts_by_variant.setdefault(report.variant, []).append(report.sums)
    return {variant: combine_sums(parts) for variant, parts in parts_by_variant.items()}


def encode_comparison(reports: Sequence[Report], computed_at_ms: int) -> tuple[None, bytes]:
    """A record for the metrics sink: how two variants stand and differ, by the reports of all their partitions."""
    sums = sums_by_variant(reports)
    (first, first_sums), (second, second_sums) = sums.items()
    comparison = Comparison(
        event_ts=max(report.event_ts for report in reports),
        variants={
            name: VariantMetrics(variant_sums.events, **{metric: variant_sums.mean(metric) for metric in METRIC_NAMES})
            for name, variant_sums in sums.items()
        },
        difference=VariantDifferences(
            f"{second} - {first}",
            **{metric: metric_difference(first_sums, second_sums, metric) for metric in METRIC_NAMES},
        ),
    )
    return _encode_record("comparison", comparison, computed_at_ms)


def _encode_record(kind: RecordKind, record: Report | Receipt | Comparison, computed_at_ms: int) -> tuple[None, bytes]:
    fields: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(record).items() if value is not None
    }
    return None, _encode({"kind": kind, "computed_at": computed_at_ms, **fields})
