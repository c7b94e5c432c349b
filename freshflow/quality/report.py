"""What a partition reports to the metrics sink: how it stands, and that it has forgotten a user."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from freshflow.quality.comparison import FIGURES, Sums, difference, total

__all__ = ["Receipt", "Report", "encode_comparison", "encode_receipt", "encode_report", "sums_by_variant"]


class Report(msgspec.Struct, frozen=True):
    """How partition `partition` stands after its event at `event_ts` (epoch milliseconds).

    `counts`: events (learned from), lists, answers, unchanged (lists not published, as they did not change), updates
    (of the ranker), items, users known and active, forgotten or gone, what was evicted, refreshes allowed
    now, and what the user stage has counted: duplicate, ignored (of no weight), late, noise_rate, noise_repeats,
    noise_sequence, all of which teach nothing, and reordered.
    `quality`: HR@20 and MRR@20 of progressive validation over all events and over the last 5,000 (`recent_`), ours and
    those of popularity. Of a configuration with a name, `variant`, there is by `sums` what it takes to compare it with
    another (`freshflow.quality.comparison`).
    """

    partition: int
    event_ts: int
    counts: dict[str, int]
    quality: dict[str, float]
    variant: str | None = None
    sums: Sums | None = None


class Receipt(msgspec.Struct, frozen=True):
    """Evidence that a partition has forgotten the user whom the forget event at `source` names, without the name.

    `event_ts` is the event's time in epoch milliseconds; `known` says whether there was something to forget,
    `forgotten` how many forget events the partition has obeyed so far.
    """

    partition: int
    event_ts: int
    source: dict[str, str | int]
    known: bool
    forgotten: int


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
    """A record for the metrics sink: how two variants stand and differ, by the reports of all their partitions.

    `difference` is of the second from the first, with 95 % intervals (`freshflow.quality.comparison`).
    """
    sums = sums_by_variant(reports)
    (first, of_first), (second, of_second) = sums.items()
    variants = {
        name: {"events": of.events, **{figure: of.mean(figure) for figure in FIGURES}} for name, of in sums.items()
    }
    return None, _encode(
        {
            "kind": "comparison",
            "computed_at": at_ms,
            "event_ts": max(report.event_ts for report in reports),
            "variants": variants,
            "difference": {
                "of": f"{second} - {first}",
                **{figure: difference(of_first, of_second, figure) for figure in FIGURES},
            },
        }
    )


def _record(kind: str, of: Report | Receipt, at_ms: int) -> tuple[None, bytes]:
    fields: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(of).items() if value is not None}
    return None, _encode({"kind": kind, "computed_at": at_ms, **fields})
