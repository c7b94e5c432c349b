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
from freshflow.engine.messages import EventBatch, RemoteEventBatch, StepBatch
from freshflow.engine.stages import route_read_events
from freshflow.events.model import RawBatch, Rejected
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.record import OutBatch
from freshflow.outputs.dead_letters import encode_dead_letter
from freshflow.state.backend import StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.failure_recorder import FailureRecorder
from freshflow.streaming.messages import PartitionOutput
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.operators.ab_report import comparison_operator
from freshflow.streaming.operators.anonymous import anonymous_operator
from freshflow.streaming.operators.partitions import partition_operator
from freshflow.streaming.operators.users import user_operator
from freshflow.streaming.partitioning import partition_key

__all__ = ["Endpoints", "build_flow"]

_logger = getLogger("freshflow")

KeyedEventBatch = tuple[str, EventBatch]


class Endpoints(msgspec.Struct, frozen=True):
    """Where the graph meets the world. Without a sink of its own, a rejected record is logged."""

    source: Source[RawBatch]
    recommendations: Sink[tuple[str, OutBatch]]
    dead_letters: Sink[tuple[str, OutBatch]] | None = None
    metrics: Sink[tuple[str, OutBatch]] | None = None
    related: Sink[tuple[str, OutBatch]] | None = None
    max_dead_letter_bytes: int | None = None  # bytes of a rejected record that the sink takes; None means all


def build_flow(
    config: Config,
    endpoints: Endpoints,
    clock: Callable[[], int],
    job_stats: JobStats,
    *,
    failures: FailureRecorder,
    state_backend: StateBackend,
    live: bool = False,
    variants: Variants | None = None,
) -> Dataflow:
    """The job as a Bytewax dataflow. `clock` gives epoch milliseconds; `state_backend` says where states are kept.

    With `variants`, `config` is the first one's, and says what they share.
    `live` is for events that are read as they happen: lists are refreshed by the clock, too, while none comes.
    """
    variants = variants or Variants([config])
    wrap, epoch_times = failures.wrap_function, job_stats.epoch_times
    state_backend = state_backend._replace(on_snapshot_written=job_stats.record_snapshot_time)

    def wrap_builder(step: str, build: Callable[..., Any]) -> Callable[..., Any]:
        return failures.wrap_builder(step, epoch_times.wrap_builder(step, build))

    def wrap_endpoint(step: str, endpoint: Any) -> Any:
        return failures.wrap_endpoint(step, epoch_times.wrap_endpoint(step, endpoint))

    flow = Dataflow("freshflow")
    raw_batches = op.input("source", flow, wrap_endpoint("source", endpoints.source))
    parsed_batches = op.flat_map("parse", raw_batches, wrap("parse", _build_parser(variants, job_stats)))
    parse_branch = op.branch("rejected", parsed_batches, lambda item: isinstance(item, list))
    event_batches, anonymous_rejects = parse_branch.falses, []
    if config.users.guests:
        anonymous_outputs = op.stateful_batch(
            "guests", event_batches, wrap_builder("guests", anonymous_operator(variants, clock, state_backend))
        )
        anonymous_branch = op.branch(
            "guests-refused", op.map("hand-over", anonymous_outputs, _drop_key), _is_reject_list
        )
        event_batches, anonymous_rejects = (
            anonymous_branch.falses,
            [op.map("guests-refusal", anonymous_branch.trues, _drop_key)],
        )
    user_outputs = op.stateful_batch(
        "users", event_batches, wrap_builder("users", user_operator(variants, clock, state_backend))
    )
    user_payloads = op.map("route", user_outputs, _drop_key)
    user_branch = op.branch("refused", user_payloads, _is_reject_list)
    user_rejects = op.map("refusal", user_branch.trues, _drop_key)
    all_rejects = op.merge("all-rejected", parse_branch.trues, *anonymous_rejects, user_rejects)
    recorded_rejects = op.map(
        "note-rejected", all_rejects, wrap("note-rejected", _build_reject_recorder(config, endpoints, job_stats))
    )
    if endpoints.dead_letters is not None:
        dead_letters = op.map(
            "dead-letter", recorded_rejects, wrap("dead-letter", _build_dead_letter_encoder(endpoints, clock))
        )
        op.output("dead-letters", dead_letters, wrap_endpoint("dead-letters", endpoints.dead_letters))

    has_related = endpoints.related is not None
    outputs = _add_partition_steps(
        user_branch.falses, variants, clock, wrap_builder, state_backend, live=live, has_related=has_related
    )
    lists = op.flat_map("lists", outputs, wrap("lists", _build_list_extractor(job_stats, clock)))
    op.output("recommendations", lists, wrap_endpoint("recommendations", endpoints.recommendations))
    if endpoints.metrics is not None:
        reports = op.flat_map("reports", outputs, lambda keyed: _keyed_records(keyed[0], keyed[1].metrics))
        if len(variants.configs) > 1:
            reports = op.merge("all-reports", reports, _add_comparison(outputs, variants, clock, failures))
        op.output("metrics", reports, wrap_endpoint("metrics", endpoints.metrics))
    if endpoints.related is not None:
        related_lists = op.flat_map(
            "relations", outputs, lambda keyed: _keyed_records(keyed[0], keyed[1].related_lists)
        )
        op.output("related", related_lists, wrap_endpoint("related", endpoints.related))
    return flow


def _add_partition_steps(
    steps: KeyedStream[StepBatch | RemoteEventBatch],
    variants: Variants,
    clock: Callable[[], int],
    wrap_builder: Callable[[str, Callable[..., Any]], Callable[..., Any]],
    state_backend: StateBackend,
    *,
    live: bool,
    has_related: bool,
) -> KeyedStream[PartitionOutput]:
    """The partition stage: of several variants, a step each, with its configuration."""
    outputs = []
    for variant, config in enumerate(variants.configs):
        step = variants.step_id(variant)
        build = partition_operator(
            config, clock, state_backend, live=live, has_related=has_related, split_settings=variants.split_settings()
        )
        variant_steps = (
            op.filter(f"for-{step}", steps, _belongs_to_variant(variants, variant))
            if len(variants.configs) > 1
            else steps
        )
        outputs.append(op.stateful_batch(step, variant_steps, wrap_builder(step, build)))
    return op.merge("all-partitions", *outputs) if len(outputs) > 1 else outputs[0]


def _belongs_to_variant(variants: Variants, variant: int) -> Callable[[tuple[str, StepBatch | RemoteEventBatch]], bool]:
    return lambda keyed: variants.variant_of_partition(keyed[1].partition) == variant


def _add_comparison(
    outputs: KeyedStream[PartitionOutput], variants: Variants, clock: Callable[[], int], failures: FailureRecorder
) -> KeyedStream[OutBatch]:
    """A comparison of the variants whenever a partition reports, for the metrics."""
    reports = op.flat_map("to-compare", outputs, lambda keyed: [("", keyed[1].report)] if keyed[1].metrics else [])
    build = failures.wrap_builder("comparison", comparison_operator(variants, clock))
    return op.stateful_batch("comparison", reports, build)


def _build_parser(
    variants: Variants, job_stats: JobStats
) -> Callable[[RawBatch], Iterable[KeyedEventBatch | list[Rejected]]]:
    """Records to events by bucket, and what is no event.

    Every bucket is told how far has been read.
    """
    config, topology = variants.configs[0], variants.topology()
    has_anonymous_users = config.users.guests
    parser = EventParser(
        config.events,
        Pseudonyms.from_config(config.privacy, has_anonymous_users=has_anonymous_users),
        has_anonymous_users=has_anonymous_users,
    )
    job_stats.n_unknown_type = parser.n_unknown_type

    def parse(batch: RawBatch) -> Iterable[KeyedEventBatch | list[Rejected]]:
        events, rejects = parser.parse(batch)
        job_stats.record_read(batch)
        end_position = batch.records[-1][0]
        keyed_batches: list[KeyedEventBatch | list[Rejected]] = [
            (partition_key(event_batch.partition), event_batch)
            for event_batch in route_read_events(
                batch.origin,
                events,
                batch.read_ms,
                end_position,
                topology,
                has_anonymous_users=has_anonymous_users,
            )
        ]
        return [*keyed_batches, rejects] if rejects else keyed_batches

    return parse


def _drop_key(keyed_item: tuple[str, Any]) -> Any:
    """What a stateful step has to say, without the step's own key."""
    return keyed_item[1]


def _is_reject_list(keyed_item: tuple[str, Any]) -> bool:
    return isinstance(keyed_item[1], list)


def _build_reject_recorder(
    config: Config, endpoints: Endpoints, job_stats: JobStats
) -> Callable[[list[Rejected]], list[Rejected]]:
    """Count what is rejected, and log it where nothing else takes it."""
    quotes = config.log.quotes

    def record_rejects(rejects: list[Rejected]) -> list[Rejected]:
        job_stats.record_rejects(rejects)
        if endpoints.dead_letters is None:
            for reject in rejects:
                reason = reject.reason if quotes else reject.redacted_reason or reject.reason
                _logger.warning("Refused %s: %s", reject.origin.source_ref(reject.position), reason)
        return rejects

    return record_rejects


def _build_dead_letter_encoder(
    endpoints: Endpoints, clock: Callable[[], int]
) -> Callable[[list[Rejected]], tuple[str, OutBatch]]:
    def encode_dead_letters(rejects: list[Rejected]) -> tuple[str, OutBatch]:
        now_ms = clock()
        return "", [encode_dead_letter(reject, now_ms, endpoints.max_dead_letter_bytes) for reject in rejects]

    return encode_dead_letters


def _build_list_extractor(
    job_stats: JobStats, clock: Callable[[], int]
) -> Callable[[tuple[str, PartitionOutput]], Iterable[tuple[str, OutBatch]]]:
    def extract_lists(keyed_output: tuple[str, PartitionOutput]) -> Iterable[tuple[str, OutBatch]]:
        key, output = keyed_output
        job_stats.record_output(output, clock())
        return _keyed_records(key, output.lists)

    return extract_lists


def _keyed_records(key: str, records: OutBatch) -> Iterable[tuple[str, OutBatch]]:
    return [(key, records)] if records else []
