"""The graph of the job: source -> parse -> user stage -> partition stage -> sinks.

Step ids are a public contract: a renamed step resumes with empty state. The two stateful steps are `users` and
`partitions`; both are keyed by partition, so a user's events and lists stay on one worker and only signals travel.
"""

from collections.abc import Callable, Iterable
from logging import getLogger

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from freshflow.config import Config
from freshflow.connectors.dead_letters import encode_rejected
from freshflow.connectors.records import OutBatch
from freshflow.dataflow.failures import Failures
from freshflow.dataflow.keeping import Keeping
from freshflow.dataflow.keys import partition_key, partition_of
from freshflow.dataflow.messages import EventBatch, PartitionOutput
from freshflow.dataflow.partition_stage import partition_stage
from freshflow.dataflow.progress import Progress
from freshflow.dataflow.user_stage import user_stage
from freshflow.events.parse import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.events.types import Event, ItemUpdate, RawBatch, Rejected

__all__ = ["Endpoints", "build_flow"]

log = getLogger("freshflow")

Keyed = tuple[str, EventBatch]


class Endpoints(msgspec.Struct, frozen=True):
    """Where the graph meets the world. Without a sink of its own, a rejected record is logged."""

    source: Source[RawBatch]
    recommendations: Sink[tuple[str, OutBatch]]
    dead_letters: Sink[tuple[str, OutBatch]] | None = None
    metrics: Sink[tuple[str, OutBatch]] | None = None
    related: Sink[tuple[str, OutBatch]] | None = None
    dead_letter_raw: int | None = None  # bytes of a rejected record that the sink takes; None means all


def build_flow(
    config: Config,
    endpoints: Endpoints,
    clock: Callable[[], int],
    progress: Progress,
    *,
    failures: Failures,
    keeping: Keeping,
    live: bool = False,
) -> Dataflow:
    """The job as a Bytewax dataflow. `clock` gives epoch milliseconds; `keeping` says where states are kept.

    `live` is for events that are read as they happen: lists are refreshed by the clock, too, while none comes.
    """
    watched, builder, endpoint = failures.watched, failures.watched_builder, failures.watched_endpoint
    flow = Dataflow("freshflow")
    raw = op.input("source", flow, endpoint("source", endpoints.source))
    parsed = op.flat_map("parse", raw, watched("parse", _parse(config, progress)))
    split = op.branch("rejected", parsed, lambda item: isinstance(item, list))
    routed = op.stateful_batch("users", split.falses, builder("users", user_stage(config, clock, keeping)))
    steps = op.map("route", routed, lambda keyed: keyed[1])
    taken = op.branch("refused", steps, lambda keyed: isinstance(keyed[1], list))
    refused = op.map("refusal", taken.trues, lambda keyed: keyed[1])
    rejected = op.merge("all-rejected", split.trues, refused)
    noted = op.map("note-rejected", rejected, watched("note-rejected", _note_rejected(endpoints, progress)))
    if endpoints.dead_letters is not None:
        letters = op.map("dead-letter", noted, watched("dead-letter", _dead_letters(endpoints, clock)))
        op.output("dead-letters", letters, endpoint("dead-letters", endpoints.dead_letters))

    relates = endpoints.related is not None
    partitions = builder("partitions", partition_stage(config, clock, keeping, live=live, related=relates))
    outputs = op.stateful_batch("partitions", taken.falses, partitions)
    lists = op.flat_map("lists", outputs, watched("lists", _lists(progress, clock)))
    op.output("recommendations", lists, endpoint("recommendations", endpoints.recommendations))
    if endpoints.metrics is not None:
        reports = op.flat_map("reports", outputs, lambda keyed: _routed(keyed[0], keyed[1].metrics))
        op.output("metrics", reports, endpoint("metrics", endpoints.metrics))
    if endpoints.related is not None:
        relations = op.flat_map("relations", outputs, lambda keyed: _routed(keyed[0], keyed[1].related))
        op.output("related", relations, endpoint("related", endpoints.related))
    return flow


def _parse(config: Config, progress: Progress) -> Callable[[RawBatch], Iterable[Keyed | list[Rejected]]]:
    """Records to events by bucket, and what is no event.

    Catalogue events go to every bucket, in their place; so does the word of how far has been read.
    """
    parser = EventParser(config.events, Pseudonyms.of_config(config.privacy))
    progress.passed_over = parser.passed_over
    partitions = config.job.partitions

    def parse(batch: RawBatch) -> Iterable[Keyed | list[Rejected]]:
        events, rejected = parser.parse(batch)
        progress.note_read(batch)
        buckets: list[list[Event]] = [[] for _ in range(partitions)]
        for event in events:
            if isinstance(event, ItemUpdate):
                for bucket in buckets:
                    bucket.append(event)
            else:
                buckets[partition_of(event.user_id, partitions)].append(event)
        upto = batch.records[-1][0]
        keyed: list[Keyed | list[Rejected]] = [
            (partition_key(n), EventBatch(n, batch.origin, batch.read_ms, bucket, upto))
            for n, bucket in enumerate(buckets)
        ]
        return [*keyed, rejected] if rejected else keyed

    return parse


def _note_rejected(endpoints: Endpoints, progress: Progress) -> Callable[[list[Rejected]], list[Rejected]]:
    """Count what is rejected, and log it where nothing else takes it."""

    def noted(rejected: list[Rejected]) -> list[Rejected]:
        progress.note_rejected(rejected)
        if endpoints.dead_letters is None:
            for one in rejected:
                log.warning("Refused %s: %s", one.origin.place(one.position), one.reason)
        return rejected

    return noted


def _dead_letters(endpoints: Endpoints, clock: Callable[[], int]) -> Callable[[list[Rejected]], tuple[str, OutBatch]]:
    def encoded(rejected: list[Rejected]) -> tuple[str, OutBatch]:
        at_ms = clock()
        return "", [encode_rejected(one, at_ms, endpoints.dead_letter_raw) for one in rejected]

    return encoded


def _lists(
    progress: Progress, clock: Callable[[], int]
) -> Callable[[tuple[str, PartitionOutput]], Iterable[tuple[str, OutBatch]]]:
    def lists(keyed: tuple[str, PartitionOutput]) -> Iterable[tuple[str, OutBatch]]:
        key, output = keyed
        progress.note_output(output, clock())
        return _routed(key, output.lists)

    return lists


def _routed(key: str, records: OutBatch) -> Iterable[tuple[str, OutBatch]]:
    return [(key, records)] if records else []
