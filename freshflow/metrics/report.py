"""Records of the metrics sink: reports of partitions, receipts of forgotten users, and comparisons of variants.

A record has its kind, the time at which it was made (epoch milliseconds), and the fields of its `RECORD_TYPES` entry
that have a value.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from freshflow.events.model import SourceRef
from freshflow.metrics.ab_test import METRIC_NAMES, Difference, VariantSums, combine_sums, metric_difference

RecordKind = Literal["partition", "forget", "comparison"]


class Report(msgspec.Struct, frozen=True):
    """Counts and quality of a partition after its latest event; `freshflow.metrics.catalogue` defines the figures."""

    partition: Annotated[int, Meta(description="Number of the partition.")]
    event_ts: Annotated[int, Meta(description="Time of its latest event, in epoch milliseconds.")]
    counts: Annotated[dict[str, int], Meta(description="Counts, and sizes of tables.")]
    quality: Annotated[
        dict[str, float], Meta(description="Quality of predictions; each event is predicted, then learned.")
    ]
    variant: Annotated[str | None, Meta(description="Name of the configuration, if it has one.")] = None
    sums: Annotated[
        VariantSums | None, Meta(description="Sums to compare this variant with another, if it has a name.")
    ] = None


class Receipt(msgspec.Struct, frozen=True):
    """Evidence that a partition has forgotten the user of a forget event, without the id."""

    partition: Annotated[int, Meta(description="Number of the partition.")]
    event_ts: Annotated[int, Meta(description="Time of the forget event, in epoch milliseconds.")]
    source: Annotated[SourceRef, Meta(description="Place of the forget event in the input.")]
    known: Annotated[bool, Meta(description="Whether the user was known.")]
    forgotten: Annotated[int, Meta(description="Forget events carried out by the partition so far.")]


class VariantMetrics(msgspec.Struct, frozen=True):
    """Metrics of a variant over all its partitions, named as in `quality`."""

    events: int
    hr20: float
    mrr20: float
    published_hr20: float
    published_mrr20: float


class VariantDifferences(msgspec.Struct, frozen=True):
    """Metrics of the second variant less those of the first, with 95 % intervals from 30 groups of users on."""

    of: Annotated[str, Meta(description="Names of both, as `second - first`.")]
    hr20: Annotated[Difference, Meta(description="Difference of HR@20.")]
    mrr20: Annotated[Difference, Meta(description="Difference of MRR@20.")]
    published_hr20: Annotated[Difference, Meta(description="Difference of HR@20 of the lists published last.")]
    published_mrr20: Annotated[Difference, Meta(description="Difference of MRR@20 of the lists published last.")]


class Comparison(msgspec.Struct, frozen=True):
    """Metrics of two variants, and their differences (`freshflow.metrics.ab_test`)."""

    event_ts: Annotated[int, Meta(description="Time of the latest event, in epoch milliseconds.")]
    variants: Annotated[dict[str, VariantMetrics], Meta(description="Metrics by variant.")]
    difference: Annotated[VariantDifferences, Meta(description="Differences of the metrics.")]


RECORD_TYPES: dict[RecordKind, type[msgspec.Struct]] = {
    "partition": Report,
    "forget": Receipt,
    "comparison": Comparison,
}

_encode = msgspec.json.Encoder().encode


def encode_report(report: Report, computed_at_ms: int) -> tuple[None, bytes]:
    """Encode a report for the metrics sink, with the time at which it was made (epoch milliseconds)."""
    return _encode_record("partition", report, computed_at_ms)


def encode_receipt(receipt: Receipt, computed_at_ms: int) -> tuple[None, bytes]:
    """Encode a receipt for the metrics sink, with the time at which it was made (epoch milliseconds)."""
    return _encode_record("forget", receipt, computed_at_ms)


def sums_by_variant(reports: Iterable[Report]) -> dict[str, VariantSums]:
    """Return the sums of each variant from the reports of partitions, in the order of their numbers."""
    parts_by_variant: dict[str, list[VariantSums]] = {}
    for report in sorted(reports, key=lambda report: report.partition):
        if report.variant is not None and report.sums is not None:
            parts_by_variant.setdefault(report.variant, []).append(report.sums)
    return {variant: combine_sums(parts) for variant, parts in parts_by_variant.items()}


def encode_comparison(reports: Sequence[Report], computed_at_ms: int) -> tuple[None, bytes]:
    """Encode the comparison of two variants for the metrics sink, from the reports of all their partitions."""
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
