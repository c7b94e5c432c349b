"""What the stages of guests and of users have in common: a bucket of them behind Bytewax's stateful step.

Events may wait for others (`freshflow.users.clock_skew`). They do so while anything is read: after `IDLE_S` seconds without,
the stream has ended for now.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bytewax.operators import StatefulBatchLogic

from freshflow.events.model import Forget, Interaction
from freshflow.state.backend import KeyedState
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput, EventBatch, ForwardedBatch
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.store import UserStore

__all__ = ["IDLE_TIMEOUT_S", "StoreStage"]

_CLEANUP_POLL_S = 1.0
IDLE_TIMEOUT_S = 3.0  # longer than a broker takes to hand on what it has

InputBatch = TypeVar("InputBatch", bound=EventBatch | ForwardedBatch)
StoreT = TypeVar("StoreT", UserStore, AnonymousStore)
OutputT = TypeVar("OutputT")


class StoreStage(StatefulBatchLogic[InputBatch, tuple[str, OutputT], bytes]):  # type: ignore[misc]
    """Batches in, what follows from them out, each with the key of the partition that it is for.

    What a stage does follows from its bucket and from what it takes: `_process` and `_finish`, which each has of its own.
    """

    store: Any  # of the type that the stage is for

    def __init__(self, variants: Variants, store: StoreT, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        self.variants = variants
        self.partitioner = variants.partitioner()
        self.store = store
        self.clock = clock
        self.keyed_state = keyed_state
        if keyed_state.snapshot is not None:
            store.restore(keyed_state.snapshot)
            keyed_state.snapshot = None
        for message in keyed_state.replay_changelog():
            if isinstance(message, EndOfInput):
                store.finish()
            else:
                self._process(message)
        self._idle_deadline = self._next_idle_deadline()  # a bucket that is resumed may hold events that wait

    @abstractmethod
    def _process(self, batch: InputBatch) -> Iterable[tuple[str, OutputT]]:
        """What follows from a batch; the bucket has taken it by then, whether that is looked at or not."""

    @abstractmethod
    def _finish(self, partition: int) -> Iterable[tuple[str, OutputT]]:
        """What follows from the events that still wait, of the bucket of partition `partition`."""

    def on_batch(self, values: list[InputBatch]) -> tuple[Iterable[tuple[str, OutputT]], bool]:
        """Take each batch by itself, so that what Bytewax happened to queue together changes nothing."""
        outputs = [output for batch in values for output in self._log_and_process(batch)]
        self._idle_deadline = self._next_idle_deadline()
        return outputs, StatefulBatchLogic.RETAIN

    def _log_and_process(self, batch: InputBatch) -> Iterable[tuple[str, OutputT]]:
        self.keyed_state.append_to_changelog(batch, len(batch.events))
        if any(type(event) is Forget for event in batch.events):
            self.keyed_state.compact_now()  # what was taken so far names who is to be forgotten
        return self._process(batch)

    def notify_at(self) -> datetime | None:
        """When the stream has been idle for long enough, if any event waits; soon, if files are to be deleted."""
        cleanup_time = (
            datetime.now(UTC) + timedelta(seconds=_CLEANUP_POLL_S) if self.keyed_state.has_files_to_delete else None
        )
        return min(
            (wakeup_time for wakeup_time in (self._idle_deadline, cleanup_time) if wakeup_time is not None),
            default=None,
        )

    def on_notify(self) -> tuple[Iterable[tuple[str, OutputT]], bool]:
        """Take the events that still wait, if nothing more is read; in any case, this epoch is one of this bucket's."""
        if self._idle_deadline is not None and datetime.now(UTC) >= self._idle_deadline:
            return self.on_eof()
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[tuple[str, OutputT]], bool]:
        """Take the events that still wait."""
        pending_event, outputs = self.store.skew_detector.pending_event, list[tuple[str, OutputT]]()
        if isinstance(pending_event, Interaction):
            self.keyed_state.append_to_changelog(EndOfInput(), 0)
            outputs += self._finish(self.partitioner(pending_event.user_id))
        self._idle_deadline = self._next_idle_deadline()
        return outputs, StatefulBatchLogic.RETAIN

    def _next_idle_deadline(self) -> datetime | None:
        has_pending = self.store.skew_detector.pending_event is not None
        return datetime.now(UTC) + timedelta(seconds=IDLE_TIMEOUT_S) if has_pending else None  # by Bytewax's own clock

    def snapshot(self) -> bytes:
        """What recovery needs of the bucket; Bytewax asks in any case."""
        return self.keyed_state.checkpoint(self.store.prepare_snapshot)
