"""What a partition reports to the metrics sink: how it stands, and that it has forgotten a user."""

import msgspec

__all__ = ["Receipt", "Report", "encode_receipt", "encode_report"]


class Report(msgspec.Struct, frozen=True):
    """How partition `partition` stands after its event at `event_ts` (epoch milliseconds).

    `counts`: events (learned from), lists, answers, unchanged (lists not published, as they did not change), updates
    (of the ranker), items, users forgotten or gone, what was evicted, and what the user stage has counted: duplicate,
    ignored (of no weight), late, noise_rate, noise_repeats, noise_sequence, all of which teach nothing, and reordered.
    `quality`: HR@20 and MRR@20 of progressive validation over all events and over the last 5,000 (`recent_`), ours and
    those of popularity.
    """

    partition: int
    event_ts: int
    counts: dict[str, int]
    quality: dict[str, float]


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


def _record(kind: str, of: Report | Receipt, at_ms: int) -> tuple[None, bytes]:
    return None, _encode({"kind": kind, "computed_at": at_ms, **msgspec.structs.asdict(of)})
