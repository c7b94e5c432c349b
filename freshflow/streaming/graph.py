"""The graph of the job: source -> parse -> user stage -> partition stage -> sinks.

Step ids are a public contract: a renamed step resumes with empty state. The stateful steps are `users` and
`partitions`, with anonymous users also `guests` before them. All are keyed by partition, so a user's events and lists
stay on one worker and only remote events travel.
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
from freshflow.streaming.messages import PartitionOutput
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.observed import FailureRecorder, StepObserver
from freshflow.streaming.operators.ab_report import comparison_operator
from freshflow.streaming.operators.anonymous import anonymous_operator
from freshflow.streaming.operators.partitions import partition_operator
from freshflow.streaming.operators.users import user_operator
from freshflow.streaming.partitioning import partition_key

_logger = getLogger("freshflow")

KeyedEventBatch = tuple[str, EventBatch]
Observe = Callable[[str], StepObserver]  # the observer of a step, by its id


class Endpoints(msgspec.Struct, frozen=True):
    """Source and sinks of the graph. Without a sink for dead letters, rejected records are logged."""

    source: Source[RawBatch]
    recommendations: Sink[tuple[str, OutBatch]]
    dead_letters: Sink[tuple[str, OutBatch]] | None = None
    metrics: Sink[tuple[str, OutBatch]] | None = None
    related: Sink[tuple[str, OutBatch]] | None = None
    max_dead_letter_bytes: int | None = None  # part of a rejected record in a dead letter; None means all of it


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
    """Build the job as a Bytewax dataflow.

    Args:
        config: The configuration; with variants, the first one's, whose shared sections count.
        endpoints: Source and sinks.
        clock: Processing time in epoch milliseconds.
        job_stats: Statistics to update.
        failures: Recorder of the process's first failure.
        state_backend: Store of the keyed states.
        live: Events are read as they happen: lists are also refreshed by the clock while no event arrives.
        variants: Configurations between which users are split.

    Returns:
        The dataflow.
    """
    variants = variants or Variants([config])
    state_backend = state_backend._replace(on_snapshot_written=job_stats.record_snapshot_time)

    def observer(step: str) -> StepObserver:
        return StepObserver(step, failures, job_stats.record_epoch_end)

    flow = Dataflow("freshflow")
    raw_batches = op.input("source", flow, observer("source").observe_source(endpoints.source))
    parse = observer("parse").observe_function(_build_parser(variants, job_stats))
    parse_branch = op.branch("rejected", op.flat_map("parse", raw_batches, parse), lambda item: isinstance(item, list))
    event_batches, rejects = parse_branch.falses, [parse_branch.trues]
    if config.users.guests:
        build_anonymous = observer("guests").observe_logic(anonymous_operator(variants, clock, state_backend))
        anonymous_outputs = op.stateful_batch("guests", event_batches, build_anonymous)
        anonymous_payloads = op.map("hand-over", anonymous_outputs, _drop_key)
        anonymous_branch = op.branch("guests-refused", anonymous_payloads, _is_reject_list)
        event_batches = anonymous_branch.falses
        rejects.append(op.map("guests-refusal", anonymous_branch.trues, _drop_key))
    build_users = observer("users").observe_logic(user_operator(variants, clock, state_backend))
    user_payloads = op.map("route", op.stateful_batch("users", event_batches, build_users), _drop_key)
    user_branch = op.branch("refused", user_payloads, _is_reject_list)
    rejects.append(op.map("refusal", user_branch.trues, _drop_key))
    all_rejects = op.merge("all-rejected", *rejects)
    record_rejects = observer("note-rejected").observe_function(_build_reject_recorder(config, endpoints, job_stats))
    recorded_rejects = op.map("note-rejected", all_rejects, record_rejects)
    if endpoints.dead_letters is not None:
        encode = observer("dead-letter").observe_function(_build_dead_letter_encoder(endpoints, clock))
        dead_letters = op.map("dead-letter", recorded_rejects, encode)
        op.output("dead-letters", dead_letters, observer("dead-letters").observe_sink(endpoints.dead_letters))
    has_related = endpoints.related is not None
    outputs = _add_partition_steps(
        user_branch.falses, variants, clock, observer, state_backend, live=live, has_related=has_related
    )
    _add_sinks(outputs, endpoints, variants, clock, job_stats, observer)
    return flow


def _add_sinks(
    outputs: KeyedStream[PartitionOutput],
    endpoints: Endpoints,
    variants: Variants,
    clock: Callable[[], int],
    job_stats: JobStats,
    observer: Observe,
) -> None:
    """Add the sinks of lists, metrics and related items."""
    extract_lists = observer("lists").observe_function(_build_list_extractor(job_stats, clock))
    lists = op.flat_map("lists", outputs, extract_lists)
    op.output("recommendations", lists, observer("recommendations").observe_sink(endpoints.recommendations))
    if endpoints.metrics is not None:
        reports = op.flat_map("reports", outputs, lambda keyed: _keyed_records(keyed[0], keyed[1].metrics))
        if len(variants.configs) > 1:
            reports = op.merge("all-reports", reports, _add_comparison(outputs, variants, clock, observer))
        op.output("metrics", reports, observer("metrics").observe_sink(endpoints.metrics))
    if endpoints.related is not None:
        related_lists = op.flat_map(
            "relations", outputs, lambda keyed: _keyed_records(keyed[0], keyed[1].related_lists)
        )
        op.output("related", related_lists, observer("related").observe_sink(endpoints.related))


def _add_partition_steps(
    steps: KeyedStream[StepBatch | RemoteEventBatch],
    variants: Variants,
    clock: Callable[[], int],
    observer: Observe,
    state_backend: StateBackend,
    *,
    live: bool,
    has_related: bool,
) -> KeyedStream[PartitionOutput]:
    """Add the partition stage: one step for each variant, with its configuration."""
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
        outputs.append(op.stateful_batch(step, variant_steps, observer(step).observe_logic(build)))
    return op.merge("all-partitions", *outputs) if len(outputs) > 1 else outputs[0]


def _belongs_to_variant(variants: Variants, variant: int) -> Callable[[tuple[str, StepBatch | RemoteEventBatch]], bool]:
    return lambda keyed: variants.variant_of_partition(keyed[1].partition) == variant


def _add_comparison(
    outputs: KeyedStream[PartitionOutput],
    variants: Variants,
    clock: Callable[[], int],
    observer: Observe,
) -> KeyedStream[OutBatch]:
    """Add the comparison of variants to the metrics: one record after each report of a partition."""
    reports = op.flat_map("to-compare", outputs, lambda keyed: [("", keyed[1].report)] if keyed[1].metrics else [])
    build = observer("comparison").observe_logic(comparison_operator(variants, clock))
    return op.stateful_batch("comparison", reports, build)


def _build_parser(
    variants: Variants, job_stats: JobStats
) -> Callable[[RawBatch], Iterable[KeyedEventBatch | list[Rejected]]]:
    """Build the function that parses records and routes events to buckets of users; rejects follow as a list.

    Every bucket gets a batch, also an empty one, as it carries the position read so far.
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
    """Return the output of a stateful step without the step's own key."""
    return keyed_item[1]


def _is_reject_list(keyed_item: tuple[str, Any]) -> bool:
    return isinstance(keyed_item[1], list)


def _build_reject_recorder(
    config: Config, endpoints: Endpoints, job_stats: JobStats
) -> Callable[[list[Rejected]], list[Rejected]]:
    """Build the function that counts rejected records, and logs them if no sink takes them."""
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
