"""The partition stage: item knowledge, ranker and published lists behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bytewax.operators import StatefulBatchLogic

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import dump, freeze, load, state_settings
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
    RemoteEventBatch,
    StepBatch,
)

__all__ = ["PartitionStage", "partition_stage"]

_CLEANUP_POLL_S = 1.0


class PartitionStage(StatefulBatchLogic[StepBatch | RemoteEventBatch, PartitionOutput, bytes]):  # type: ignore[misc]
    """Steps in, encoded lists and figures out. The partition is made at its first batch, which says its number.

    In a `live` job its lists are looked at by the clock, too, while no event makes it look at them. Related
    items are part of the state where they are wanted.
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
        self.initial_counts: dict[str, int] = {}  # the counts that are resumed from
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
        number = values[0].partition
        if self.has_related != (self.partition is not None and self.partition.publishes_related):
            self._log_and_process(RelatedItemsSwitch(number, self.has_related))
        return self._log_and_process(
            BatchGroup(values), sum(len(batch.steps) for batch in values if isinstance(batch, StepBatch))
        )

    def notify_at(self) -> datetime | None:
        """When to look at the lists if no event makes the partition look before; soon, if files are to be deleted."""
        refresh_time = (
            None if self.event_clock is None else datetime.fromtimestamp(self.event_clock.next_check_ms / 1000, UTC)
        )
        cleanup_time = (
            datetime.now(UTC) + timedelta(seconds=_CLEANUP_POLL_S) if self.keyed_state.has_files_to_delete else None
        )
        return min(
            (wakeup_time for wakeup_time in (refresh_time, cleanup_time) if wakeup_time is not None), default=None
        )

    def on_notify(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Look at the lists, unless an event has just made the partition do so."""
        clock_ms, event_clock = self.clock(), self.event_clock
        if event_clock is None or self.partition is None or clock_ms < event_clock.next_check_ms:
            return [], StatefulBatchLogic.RETAIN
        event_clock.record_check(clock_ms)
        return self._log_and_process(RefreshTick(event_clock.now_ms(clock_ms)))

    def on_eof(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Take in what is held, and report once more."""
        return self._log_and_process(EndOfInput())

    def _log_and_process(self, message: PartitionMessage, n_events: int = 0) -> tuple[Iterable[PartitionOutput], bool]:
        self.keyed_state.append_to_changelog(message, n_events)
        return self._process(message), StatefulBatchLogic.RETAIN

    def _process(self, message: PartitionMessage) -> list[PartitionOutput]:
        """What follows from the state and what is taken, and nothing else."""
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
        """Take each batch by itself; hold signals first, so that an own batch finds all that arrived with it."""
        for batch in batches:
            if isinstance(batch, RemoteEventBatch):
                self._partition_of_batch(batch).buffer_remote_events(batch.origin, batch.remote_events)
        outputs = [self._process_steps(batch) for batch in batches if isinstance(batch, StepBatch)]
        partition = self._partition_of_batch(batches[-1])
        flushed = partition.flush_if_full(batches[-1].origin)
        return [*outputs, self._build_output(partition, flushed, self.clock())] if flushed else outputs

    def _partition_of_batch(self, batch: StepBatch | RemoteEventBatch) -> Partition:
        self._origin = batch.origin
        return self._get_or_create_partition(batch.partition)

    def _switch_related_items(self, switch: RelatedItemsSwitch) -> None:
        """Publish related items from here on, or stop; it is a resume under another configuration."""
        if self.partition is None:
            self.partition = Partition(switch.partition, self.config, self.clock, publishes_related=switch.is_enabled)
        else:
            self.partition = load(dump(self.partition), self.config, self.clock, publishes_related=switch.is_enabled)

    def _get_or_create_partition(self, number: int) -> Partition:
        if self.partition is None:
            self.partition = Partition(number, self.config, self.clock)
        return self.partition

    def _process_steps(self, batch: StepBatch) -> PartitionOutput:
        partition = self._partition_of_batch(batch)
        partition.update_user_counts(batch.counts)
        outputs = partition.process(batch.origin, batch.steps, batch.end_position)
        if self.config.users.guests and any(type(step) is Forget for step in batch.steps):
            self.keyed_state.compact_now()  # what was taken so far may name a guest of who is to be forgotten
        if self.event_clock is not None:
            self.event_clock.advance(partition.event_ts, batch.read_ms, partition.n_checks, self.clock())
        return self._build_output(partition, outputs, batch.read_ms)

    def _build_output(self, partition: Partition, outputs: list[Output], read_ms: int) -> PartitionOutput:
        related_lists = _encode_related_lists(outputs)
        list_outputs = [output for output in outputs if not isinstance(output, RelatedItems)]
        lists: OutBatch = list(encode_all(list_outputs))
        report = partition.report_if_due()
        receipts = partition.drain_receipts()
        if receipts:
            self.keyed_state.compact_now()  # what was taken so far names who is to be forgotten
        metrics: OutBatch = [encode_receipt(receipt, self.clock()) for receipt in receipts]
        metrics += [encode_report(report, self.clock())] if report else []
        list_ages_ms = _list_ages_ms(list_outputs) if self._reports_list_ages else []
        return PartitionOutput(
            read_ms,
            lists,
            partition.report(),
            metrics,
            related_lists,
            self.initial_counts,
            list_ages_ms,
        )

    def snapshot(self) -> bytes:
        """What recovery needs of the partition, if there is one; Bytewax asks in any case."""
        return b"" if self.partition is None else self.keyed_state.checkpoint(partial(freeze, self.partition))


def _encode_related_lists(outputs: list[Output]) -> OutBatch:
    return [encode_related(output) for output in outputs if isinstance(output, RelatedItems)]


def _list_ages_ms(outputs: list[ListOutput]) -> list[int]:
    """From event to list, of the lists that an event caused: those of a refresh are caused by the world."""
    lists = (output for output in outputs if isinstance(output, RecommendationList) and output.cause != "refresh")
    return [output.computed_at - output.event_ts for output in lists]


def partition_stage(
    config: Config,
    clock: Callable[[], int],
    state_backend: StateBackend,
    *,
    live: bool,
    has_related: bool = False,
    split_settings: dict[str, Any] | None = None,
) -> Callable[[bytes | None], PartitionStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed.

    `split_settings` are settings of how the job's users are split (`Variants.split_settings`), if they are several variants'.
    """
    settings = state_settings(config) | (split_settings or Variants([config]).split_settings())
    return lambda stored: PartitionStage(
        config, clock, state_backend.open_state(stored, PartitionMessage, settings), live=live, has_related=has_related
    )
