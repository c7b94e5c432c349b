"""The graph of the job: source -> parse -> user stage -> partition stage -> sinks.

Step ids are a public contract: a renamed step resumes with empty state. The two stateful steps are `users` and
`partitions`; both are keyed by partition, so a user's events and lists stay on one worker and only signals travel.
Where guests are known, a third one, `guests`, stands before them.
"""

from collections.abc import Callable, Iterable
from logging import getLogger
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink

from freshflow.config.schema import Config
from freshflow.events.model import RawBatch, Rejected
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.record import OutBatch
from freshflow.outputs.dead_letters import encode_rejected
from freshflow.state.backend import Keeping
from freshflow.streaming.experiment import Variants
from freshflow.streaming.failure_recorder import Failures
from freshflow.streaming.messages import EventBatch, PartitionOutput, SignalBatch, StepBatch
from freshflow.streaming.monitoring.progress import Progress
from freshflow.streaming.operators.ab_report import comparison_stage
from freshflow.streaming.operators.anonymous import guest_stage
from freshflow.streaming.operators.partitions import partition_stage
from freshflow.streaming.operators.users import user_stage
from freshflow.streaming.partitioning import partition_key
from freshflow.streaming.routing import by_bucket

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
    variants: Variants | None = None,
) -> Dataflow:
    """The job as a Bytewax dataflow. `clock` gives epoch milliseconds; `keeping` says where states are kept.

    With `variants`, `config` is the first one's, and says what they share.
    `live` is for events that are read as they happen: lists are refreshed by the clock, too, while none comes.
    """
    variants = variants or Variants([config])
    watched, times = failures.watched, progress.epochs
    keeping = keeping._replace(noted=progress.note_base)

    def builder(step: str, build: Callable[..., Any]) -> Callable[..., Any]:
        return failures.watched_builder(step, times.timed_builder(step, build))

    def endpoint(step: str, place: Any) -> Any:
        return failures.watched_endpoint(step, times.timed_endpoint(step, place))

    flow = Dataflow("freshflow")
    raw = op.input("source", flow, endpoint("source", endpoints.source))
    parsed = op.flat_map("parse", raw, watched("parse", _parse(variants, progress)))
    split = op.branch("rejected", parsed, lambda item: isinstance(item, list))
    by_bucket, early = split.falses, []
    if config.users.guests:
        handed = op.stateful_batch("guests", by_bucket, builder("guests", guest_stage(variants, clock, keeping)))
        by_user = op.branch("guests-refused", op.map("hand-over", handed, _payload), _is_refused)
        by_bucket, early = by_user.falses, [op.map("guests-refusal", by_user.trues, _payload)]
    routed = op.stateful_batch("users", by_bucket, builder("users", user_stage(variants, clock, keeping)))
    steps = op.map("route", routed, _payload)
    taken = op.branch("refused", steps, _is_refused)
    refused = op.map("refusal", taken.trues, _payload)
    rejected = op.merge("all-rejected", split.trues, *early, refused)
    noted = op.map("note-rejected", rejected, watched("note-rejected", _note_rejected(config, endpoints, progress)))
    if endpoints.dead_letters is not None:
        letters = op.map("dead-letter", noted, watched("dead-letter", _dead_letters(endpoints, clock)))
        op.output("dead-letters", letters, endpoint("dead-letters", endpoints.dead_letters))

    relates = endpoints.related is not None
    outputs = _partitions(taken.falses, variants, clock, builder, keeping, live=live, related=relates)
    lists = op.flat_map("lists", outputs, watched("lists", _lists(progress, clock)))
    op.output("recommendations", lists, endpoint("recommendations", endpoints.recommendations))
    if endpoints.metrics is not None:
        reports = op.flat_map("reports", outputs, lambda keyed: _routed(keyed[0], keyed[1].metrics))
        if len(variants.configs) > 1:
            reports = op.merge("all-reports", reports, _compared(outputs, variants, clock, failures))
        op.output("metrics", reports, endpoint("metrics", endpoints.metrics))
    if endpoints.related is not None:
        relations = op.flat_map("relations", outputs, lambda keyed: _routed(keyed[0], keyed[1].related))
        op.output("related", relations, endpoint("related", endpoints.related))
    return flow


def _partitions(
    steps: KeyedStream[StepBatch | SignalBatch],
    variants: Variants,
    clock: Callable[[], int],
    builder: Callable[[str, Callable[..., Any]], Callable[..., Any]],
    keeping: Keeping,
    *,
    live: bool,
    related: bool,
) -> KeyedStream[PartitionOutput]:
    """The partition stage: of several variants, a step each, with its configuration."""
    outputs = []
    for number, config in enumerate(variants.configs):
        step = variants.step(number)
        build = partition_stage(config, clock, keeping, live=live, related=related, split=variants.settings())
        own = op.filter(f"for-{step}", steps, _is_of(variants, number)) if len(variants.configs) > 1 else steps
        outputs.append(op.stateful_batch(step, own, builder(step, build)))
    return op.merge("all-partitions", *outputs) if len(outputs) > 1 else outputs[0]


def _is_of(variants: Variants, number: int) -> Callable[[tuple[str, StepBatch | SignalBatch]], bool]:
    return lambda keyed: variants.variant_of(keyed[1].partition) == number


def _compared(
    outputs: KeyedStream[PartitionOutput], variants: Variants, clock: Callable[[], int], failures: Failures
) -> KeyedStream[OutBatch]:
    """A comparison of the variants whenever a partition reports, for the metrics."""
    reports = op.flat_map("to-compare", outputs, lambda keyed: [("", keyed[1].report)] if keyed[1].metrics else [])
    build = failures.watched_builder("comparison", comparison_stage(variants, clock))
    return op.stateful_batch("comparison", reports, build)


def _parse(variants: Variants, progress: Progress) -> Callable[[RawBatch], Iterable[Keyed | list[Rejected]]]:
    """Records to events by bucket, and what is no event.

    Every bucket is told how far has been read.
    """
    config, partitions, place = variants.configs[0], variants.partitions, variants.placement()
    guests = config.users.guests
    parser = EventParser(config.events, Pseudonyms.of_config(config.privacy, guests=guests), guests=guests)
    progress.passed_over = parser.passed_over

    def parse(batch: RawBatch) -> Iterable[Keyed | list[Rejected]]:
        events, rejected = parser.parse(batch)
        progress.note_read(batch)
        upto = batch.records[-1][0]
        keyed: list[Keyed | list[Rejected]] = [
            (partition_key(n), EventBatch(n, batch.origin, batch.read_ms, bucket, upto))
            for n, bucket in enumerate(by_bucket(events, partitions, place, guests=guests))
        ]
        return [*keyed, rejected] if rejected else keyed

    return parse


def _payload(keyed: tuple[str, Any]) -> Any:
    """What a stateful step has to say, without the step's own key."""
    return keyed[1]


def _is_refused(keyed: tuple[str, Any]) -> bool:
    return isinstance(keyed[1], list)


def _note_rejected(
    config: Config, endpoints: Endpoints, progress: Progress
) -> Callable[[list[Rejected]], list[Rejected]]:
    """Count what is rejected, and log it where nothing else takes it."""
    quotes = config.log.quotes

    def noted(rejected: list[Rejected]) -> list[Rejected]:
        progress.note_rejected(rejected)
        if endpoints.dead_letters is None:
            for one in rejected:
                reason = one.reason if quotes else one.unquoted or one.reason
                log.warning("Refused %s: %s", one.origin.place(one.position), reason)
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
