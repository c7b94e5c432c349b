"""The operator of a partition: items, ranker and published lists behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bytewax.operators import StatefulBatchLogic

from freshflow.config.schema import Config
from freshflow.engine.messages import RemoteEventBatch, StepBatch
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import dump, freeze, load, state_settings
from freshflow.engine.stages import process_partition_batches
from freshflow.events.model import Forget, Origin
from freshflow.io.record import OutBatch
from freshflow.metrics.report import encode_receipt, encode_report
from freshflow.outputs.records import (
    ListOutput,
    Output,
    RecommendationList,
    RelatedItems,
    encode_all,
    encode_related,
)
from freshflow.refresh.event_clock import EventClock
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import (
    BatchGroup,
    EndOfInput,
    PartitionMessage,
    PartitionOutput,
    RefreshTick,
    RelatedItemsSwitch,
)

_CLEANUP_POLL_S = 1.0


class PartitionOperator(StatefulBatchLogic[StepBatch | RemoteEventBatch, PartitionOutput, bytes]):  # type: ignore[misc]
    """Batches in, encoded records and reports out. The first batch, which has the partition's number, creates it.

    In a `live` job, features are also asked for what is due by the clock while no event comes. The setting
    `has_related` is part of the state, so that a replayed changelog takes the same path.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        keyed_state: KeyedState,
        *,
        live: bool,
        has_related: bool = False,
    ) -> None:
        self.config = config
        self.clock = clock
        self.keyed_state = keyed_state
        self.partition: Partition | None = None
        self.has_related = has_related
        self._reports_list_ages = live and bool(config.metrics.address)
        self.event_clock = EventClock(0, clock()) if live and (config.refresh.interval_s > 0 or has_related) else None
        self._origin: Origin | None = None
        self.initial_counts: dict[str, int] = {}  # the counters of the resumed state
        if keyed_state.snapshot is not None:
            self.partition = load(keyed_state.snapshot, config, clock)
            keyed_state.snapshot = None
        for message in keyed_state.replay_changelog():
            self._process(message)
        if self.partition is not None:
            self.initial_counts = self.partition.report().counts
        if self.event_clock is not None and self.partition is not None:
            self.event_clock = EventClock(self.partition.event_ts, clock())

    def on_batch(self, values: list[StepBatch | RemoteEventBatch]) -> tuple[Iterable[PartitionOutput], bool]:
        """Take what has arrived."""
        if self.has_related != (self.partition is not None and self.partition.publishes_related):
            self._log_and_process(RelatedItemsSwitch(values[0].partition, self.has_related))
        return self._log_and_process(
            BatchGroup(values), sum(len(batch.steps) for batch in values if isinstance(batch, StepBatch))
        )

    def notify_at(self) -> datetime | None:
        """Return when the next check by the clock is, if no event comes before; soon, if files are to be deleted."""
        check_time = (
            None if self.event_clock is None else datetime.fromtimestamp(self.event_clock.next_check_ms / 1000, UTC)
        )
        cleanup_time = (
            datetime.now(UTC) + timedelta(seconds=_CLEANUP_POLL_S) if self.keyed_state.has_files_to_delete else None
        )
        return min((wakeup_time for wakeup_time in (check_time, cleanup_time) if wakeup_time is not None), default=None)

    def on_notify(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Check by the clock what is due, unless events have just done so."""
        clock_ms, event_clock = self.clock(), self.event_clock
        if event_clock is None or self.partition is None or clock_ms < event_clock.next_check_ms:
            return [], StatefulBatchLogic.RETAIN
        event_clock.record_check(clock_ms)
        return self._log_and_process(RefreshTick(event_clock.now_ms(clock_ms)))

    def on_eof(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Take the remote events that are still buffered, and report once more."""
        return self._log_and_process(EndOfInput())

    def _log_and_process(self, message: PartitionMessage, n_events: int = 0) -> tuple[Iterable[PartitionOutput], bool]:
        self.keyed_state.append_to_changelog(message, n_events)
        return self._process(message), StatefulBatchLogic.RETAIN

    def _process(self, message: PartitionMessage) -> list[PartitionOutput]:
        """Return what follows from the state and a message, and from nothing else."""
        if isinstance(message, BatchGroup):
            return self._process_batches(message.batches)
        if isinstance(message, RelatedItemsSwitch):
            self._switch_related_items(message)
            return []
        partition = self.partition
        if partition is None:
            return []
        if isinstance(message, RefreshTick):
            outputs = partition.check_by_clock(message.now_ms)
            return [self._build_output(partition, outputs, self.clock())] if outputs else []
        if self._origin is None:
            return []
        related_lists = _encode_related_lists(partition.finish(self._origin))
        report = partition.report()
        metrics: OutBatch = [encode_report(report, self.clock())]
        return [PartitionOutput(self.clock(), [], report, metrics, related_lists, self.initial_counts)]

    def _process_batches(self, batches: list[StepBatch | RemoteEventBatch]) -> list[PartitionOutput]:
        self._origin = batches[-1].origin
        if self.partition is None:
            self.partition = Partition(batches[0].partition, self.config, self.clock)
        partition, partition_outputs = self.partition, list[PartitionOutput]()
        for batch, outputs in process_partition_batches(partition, batches):
            if batch is None:
                partition_outputs.append(self._build_output(partition, outputs, self.clock()))
                continue
            if self.config.users.guests and any(type(step) is Forget for step in batch.steps):
                self.keyed_state.compact_now()  # the changelog may name an anonymous user of the forgotten one
            if self.event_clock is not None:
                self.event_clock.advance(partition.event_ts, batch.read_ms, partition.n_checks, self.clock())
            partition_outputs.append(self._build_output(partition, outputs, batch.read_ms))
        return partition_outputs

    def _switch_related_items(self, switch: RelatedItemsSwitch) -> None:
        """Publish related items from here on, or stop: resume the partition under the other setting."""
        if self.partition is None:
            self.partition = Partition(switch.partition, self.config, self.clock, publishes_related=switch.is_enabled)
        else:
            self.partition = load(dump(self.partition), self.config, self.clock, publishes_related=switch.is_enabled)

    def _build_output(self, partition: Partition, outputs: list[Output], read_ms: int) -> PartitionOutput:
        related_lists = _encode_related_lists(outputs)
        list_outputs = [output for output in outputs if not isinstance(output, RelatedItems)]
        lists: OutBatch = list(encode_all(list_outputs))
        report = partition.report_if_due()
        receipts = partition.drain_receipts()
        if receipts:
            self.keyed_state.compact_now()  # the changelog names the user to be forgotten
        metrics: OutBatch = [encode_receipt(receipt, self.clock()) for receipt in receipts]
        metrics += [encode_report(report, self.clock())] if report else []
        list_ages_ms = _list_ages_ms(list_outputs) if self._reports_list_ages else []
        return PartitionOutput(
            read_ms, lists, partition.report(), metrics, related_lists, self.initial_counts, list_ages_ms
        )

    def snapshot(self) -> bytes:
        """Return what recovery needs of the partition, if there is one."""
        return b"" if self.partition is None else self.keyed_state.checkpoint(partial(freeze, self.partition))


def _encode_related_lists(outputs: list[Output]) -> OutBatch:
    return [encode_related(output) for output in outputs if isinstance(output, RelatedItems)]


def _list_ages_ms(outputs: list[ListOutput]) -> list[int]:
    """Return the time from event to list, of lists that an event of their user caused."""
    lists = (output for output in outputs if isinstance(output, RecommendationList) and output.cause != "refresh")
    return [output.computed_at - output.event_ts for output in lists]


def partition_operator(
    config: Config,
    clock: Callable[[], int],
    state_backend: StateBackend,
    *,
    live: bool,
    has_related: bool = False,
    split_settings: dict[str, Any] | None = None,
) -> Callable[[bytes | None], PartitionOperator]:
    """Return the builder that Bytewax calls for a new key, or with the stored state of a resumed one.

    Args:
        config: The configuration of the partition's variant.
        clock: The processing time in epoch milliseconds.
        state_backend: The storage of states.
        live: True if events are read as they happen.
        has_related: True if related items have a sink.
        split_settings: The settings that split users (`Variants.split_settings`), if there are several variants.
    """
    settings = state_settings(config) | (split_settings or Variants([config]).split_settings())
    return lambda stored: PartitionOperator(
        config, clock, state_backend.open_state(stored, PartitionMessage, settings), live=live, has_related=has_related
    )
