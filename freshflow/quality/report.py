"""A partition's report of itself: counts, table sizes and the quality of its lists, as it goes to the metrics sink."""

import msgspec

__all__ = ["Report", "encode_report"]


class Report(msgspec.Struct, frozen=True):
    """How partition `partition` stands after its event at `event_ts` (epoch milliseconds).

    `counts`: events (learned from), lists, answers, unchanged (lists not published, as they did not change), updates
    (of the ranker), items, what was evicted, and what the user stage has counted: duplicate, ignored (of no weight),
    late, noise_rate, noise_repeats, noise_sequence, all of which teach nothing, and reordered. `quality`: HR@20 and
    MRR@20 of progressive validation over all events and over the last 5,000 (`recent_`), ours and those of popularity.
    """

    partition: int
    event_ts: int
    counts: dict[str, int]
    quality: dict[str, float]


_encode = msgspec.json.Encoder().encode


def encode_report(report: Report, at_ms: int) -> tuple[None, bytes]:
    """A record for the metrics sink: the report, its kind and when it was made (epoch milliseconds)."""
    fields = msgspec.structs.asdict(report)
    return None, _encode({"kind": "partition", "computed_at": at_ms, **fields})
