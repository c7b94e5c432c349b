"""What goes to the metrics sink: how a partition stands, that it has forgotten a user, and how two variants differ.

A record has its kind and when it was made (epoch milliseconds), then the fields of the `KINDS` it is of that are known.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from freshflow.events.model import Place
from freshflow.metrics.ab_test import FIGURES, Difference, Sums, difference, total

__all__ = [
    "KINDS",
    "Comparison",
    "Differences",
    "Kind",
    "Receipt",
    "Report",
    "Standing",
    "encode_comparison",
    "encode_receipt",
    "encode_report",
    "sums_by_variant",
]

Kind = Literal["partition", "forget", "comparison"]


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
        Sums | None, Meta(description="What it takes to compare this variant with another, if it has a name.")
    ] = None


class Receipt(msgspec.Struct, frozen=True):
    """Evidence that a partition has forgotten the user whom a forget event names, without the name."""

    partition: Annotated[int, Meta(description="The partition that has forgotten.")]
    event_ts: Annotated[int, Meta(description="Time of the forget event, in epoch milliseconds.")]
    source: Annotated[Place, Meta(description="Where the forget event stands.")]
    known: Annotated[bool, Meta(description="Whether there was something to forget.")]
    forgotten: Annotated[int, Meta(description="Forget events that the partition has obeyed so far.")]


class Standing(msgspec.Struct, frozen=True):
    """The figures of a variant over all its partitions, named as in `quality`."""

    events: int
    hr20: float
    mrr20: float
    published_hr20: float
    published_mrr20: float


class Differences(msgspec.Struct, frozen=True):
    """The second variant's figures less the first's, with 95 % intervals, which take 30 groups of users each."""

    of: Annotated[str, Meta(description="The names of both, as `second - first`.")]
    hr20: Annotated[Difference, Meta(description="Of HR@20.")]
    mrr20: Annotated[Difference, Meta(description="Of MRR@20, likewise.")]
    published_hr20: Annotated[Difference, Meta(description="Of HR@20 of what users were last sent, likewise.")]
    published_mrr20: Annotated[Difference, Meta(description="Of its MRR@20, likewise.")]


class Comparison(msgspec.Struct, frozen=True):
    """How two variants stand and differ (`freshflow.metrics.ab_test`)."""

    event_ts: Annotated[int, Meta(description="Time of the latest event in it, in epoch milliseconds.")]
    variants: Annotated[dict[str, Standing], Meta(description="The figures of each, by name.")]
    difference: Annotated[Differences, Meta(description="How far they are apart.")]


KINDS: dict[Kind, type[msgspec.Struct]] = {"partition": Report, "forget": Receipt, "comparison": Comparison}

_encode = msgspec.json.Encoder().encode


def encode_report(report: Report, at_ms: int) -> tuple[None, bytes]:
    """A record for the metrics sink: the report, its kind and when it was made (epoch milliseconds)."""
    return _record("partition", report, at_ms)


def encode_receipt(receipt: Receipt, at_ms: int) -> tuple[None, bytes]:
    """The same of a receipt."""
    return _record("forget", receipt, at_ms)


def sums_by_variant(reports: Iterable[Report]) -> dict[str, Sums]:
    """What is known of each variant from the reports of partitions, in the order of their numbers."""
    by_variant: dict[str, list[Sums]] = {}
    for report in sorted(reports, key=lambda report: report.partition):
        if report.variant is not None and report.sums is not None:
            by_variant.setdefault(report.variant, []).append(report.sums)
    return {variant: total(several) for variant, several in by_variant.items()}


def encode_comparison(reports: Sequence[Report], at_ms: int) -> tuple[None, bytes]:
    """A record for the metrics sink: how two variants stand and differ, by the reports of all their partitions."""
    sums = sums_by_variant(reports)
    (first, of_first), (second, of_second) = sums.items()
    comparison = Comparison(
        event_ts=max(report.event_ts for report in reports),
        variants={
            name: Standing(of.events, **{figure: of.mean(figure) for figure in FIGURES}) for name, of in sums.items()
        },
        difference=Differences(
            f"{second} - {first}", **{figure: difference(of_first, of_second, figure) for figure in FIGURES}
        ),
    )
    return _record("comparison", comparison, at_ms)


def _record(kind: Kind, of: Report | Receipt | Comparison, at_ms: int) -> tuple[None, bytes]:
    fields: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(of).items() if value is not None}
    return None, _encode({"kind": kind, "computed_at": at_ms, **fields})
