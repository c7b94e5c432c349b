"""The operator of a store stage: anonymous users or users behind Bytewax's stateful step.

Events may wait for others (`freshflow.users.clock_skew`). They do so while anything is read: after `IDLE_TIMEOUT_S`
seconds without, the stream has ended for now.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from bytewax.operators import StatefulBatchLogic

from freshflow.engine.messages import EventBatch, ForwardedBatch, RemoteEventBatch, StepBatch
from freshflow.engine.stages import StoreStage
from freshflow.events.model import Forget, Interaction, Rejected
from freshflow.state.backend import KeyedState
from freshflow.streaming.messages import EndOfInput
from freshflow.streaming.partitioning import partition_key

_CLEANUP_POLL_S = 1.0
IDLE_TIMEOUT_S = 3.0  # longer than a broker takes to deliver what it has

StageT = TypeVar("StageT", bound=StoreStage)
KeyedMessage = tuple[str, ForwardedBatch | StepBatch | RemoteEventBatch | list[Rejected]]


class StoreOperator(StatefulBatchLogic[EventBatch | ForwardedBatch, KeyedMessage, bytes], Generic[StageT]):  # type: ignore[misc]
    """Batches in, the messages that follow out, each with the key of the partition that it is for."""

    stage: StageT

    def __init__(self, stage: StageT, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        self.stage = stage
        self.clock = clock
        self.keyed_state = keyed_state
        if keyed_state.snapshot is not None:
            stage.store.load_snapshot(keyed_state.snapshot)
            keyed_state.snapshot = None
        for message in keyed_state.replay_changelog():
            if isinstance(message, EndOfInput):
                stage.store.finish()
            else:
                stage.process(message)
        self._idle_deadline = self._next_idle_deadline()  # a resumed store may hold events that wait

    def on_batch(self, values: list[EventBatch | ForwardedBatch]) -> tuple[Iterable[KeyedMessage], bool]:
        """Take each batch by itself, so that the grouping by Bytewax changes nothing."""
        outputs = [
            (partition_key(partition), message)
            for batch in values
            for partition, message in self._log_and_process(batch)
        ]
        self._idle_deadline = self._next_idle_deadline()
        return outputs, StatefulBatchLogic.RETAIN

    def _log_and_process(
        self, batch: EventBatch | ForwardedBatch
    ) -> Iterable[tuple[int, ForwardedBatch | StepBatch | RemoteEventBatch | list[Rejected]]]:
        self.keyed_state.append_to_changelog(batch, len(batch.events))
        if any(type(event) is Forget for event in batch.events):
            self.keyed_state.compact_now()  # the changelog names the user to be forgotten
        return self.stage.process(batch)

    def notify_at(self) -> datetime | None:
        """Return when the stream counts as idle, if an event waits; soon, if files are to be deleted."""
        cleanup_time = (
            datetime.now(UTC) + timedelta(seconds=_CLEANUP_POLL_S) if self.keyed_state.has_files_to_delete else None
        )
        return min(
            (wakeup_time for wakeup_time in (self._idle_deadline, cleanup_time) if wakeup_time is not None),
            default=None,
        )

    def on_notify(self) -> tuple[Iterable[KeyedMessage], bool]:
        """Take the events that still wait once the stream is idle; in any case, this key takes part in the epoch."""
        if self._idle_deadline is not None and datetime.now(UTC) >= self._idle_deadline:
            return self.on_eof()
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[KeyedMessage], bool]:
        """Take the events that still wait."""
        pending_event, outputs = self.stage.store.skew_detector.pending_event, list[KeyedMessage]()
        if isinstance(pending_event, Interaction):
            self.keyed_state.append_to_changelog(EndOfInput(), 0)
            own_partition = self.stage.topology.owner_of(pending_event.user_id)
            outputs += [
                (partition_key(partition), message)
                for partition, message in self.stage.finish(own_partition, self.clock())
            ]
        self._idle_deadline = self._next_idle_deadline()
        return outputs, StatefulBatchLogic.RETAIN

    def _next_idle_deadline(self) -> datetime | None:
        has_pending = self.stage.store.skew_detector.pending_event is not None
        return datetime.now(UTC) + timedelta(seconds=IDLE_TIMEOUT_S) if has_pending else None  # by Bytewax's own clock

    def snapshot(self) -> bytes:
        """Return what recovery needs of the store."""
        return self.keyed_state.checkpoint(self.stage.store.prepare_snapshot)
