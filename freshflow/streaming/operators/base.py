"""What the stages of guests and of users have in common: a bucket of them behind Bytewax's stateful step.

Events may wait for others (`freshflow.users.clock_skew`). They do so while anything is read: after `IDLE_S` seconds without,
the stream has ended for now.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bytewax.operators import StatefulBatchLogic

from freshflow.events.model import Behaviour, Forget
from freshflow.state.backend import Kept
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import End, EventBatch, HandedBatch
from freshflow.users.anonymous import GuestBucket
from freshflow.users.store import UserBucket

__all__ = ["IDLE_S", "BucketStage"]

SETTLE_S = 1.0
IDLE_S = 3.0  # longer than a broker takes to hand on what it has

Taken = TypeVar("Taken", bound=EventBatch | HandedBatch)
Bucket = TypeVar("Bucket", UserBucket, GuestBucket)
Routed = TypeVar("Routed")


class BucketStage(StatefulBatchLogic[Taken, tuple[str, Routed], bytes]):  # type: ignore[misc]
    """Batches in, what follows from them out, each with the key of the partition that it is for.

    What a stage does follows from its bucket and from what it takes: `_take` and `_finish`, which each has of its own.
    """

    bucket: Any  # of the type that the stage is for

    def __init__(self, variants: Variants, bucket: Bucket, clock: Callable[[], int], kept: Kept) -> None:
        self.variants = variants
        self.place = variants.placement()
        self.bucket = bucket
        self.clock = clock
        self.kept = kept
        if kept.base is not None:
            bucket.restore(kept.base)
            kept.base = None
        for taken in kept.taken_since():
            if isinstance(taken, End):
                bucket.finish()
            else:
                self._take(taken)
        self._idle_at = self._idle_from_now()  # a bucket that is resumed may hold events that wait

    @abstractmethod
    def _take(self, batch: Taken) -> Iterable[tuple[str, Routed]]:
        """What follows from a batch; the bucket has taken it by then, whether that is looked at or not."""

    @abstractmethod
    def _finish(self, own: int) -> Iterable[tuple[str, Routed]]:
        """What follows from the events that still wait, of the bucket of partition `own`."""

    def on_batch(self, values: list[Taken]) -> tuple[Iterable[tuple[str, Routed]], bool]:
        """Take each batch by itself, so that what Bytewax happened to queue together changes nothing."""
        routed = [one for batch in values for one in self._noted(batch)]
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _noted(self, batch: Taken) -> Iterable[tuple[str, Routed]]:
        self.kept.note(batch, len(batch.events))
        if any(type(event) is Forget for event in batch.events):
            self.kept.renew()  # what was taken so far names who is to be forgotten
        return self._take(batch)

    def notify_at(self) -> datetime | None:
        """When the stream has been idle for long enough, if any event waits; soon, if files are to be deleted."""
        soon = datetime.now(UTC) + timedelta(seconds=SETTLE_S) if self.kept.settles else None
        return min((at for at in (self._idle_at, soon) if at is not None), default=None)

    def on_notify(self) -> tuple[Iterable[tuple[str, Routed]], bool]:
        """Take the events that still wait, if nothing more is read; in any case, this epoch is one of this bucket's."""
        if self._idle_at is not None and datetime.now(UTC) >= self._idle_at:
            return self.on_eof()
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[tuple[str, Routed]], bool]:
        """Take the events that still wait."""
        waiting, routed = self.bucket.clocks.waiting, list[tuple[str, Routed]]()
        if isinstance(waiting, Behaviour):
            self.kept.note(End(), 0)
            routed += self._finish(self.place(waiting.user_id))
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _idle_from_now(self) -> datetime | None:
        waits = self.bucket.clocks.waiting is not None
        return datetime.now(UTC) + timedelta(seconds=IDLE_S) if waits else None  # by Bytewax's own clock

    def snapshot(self) -> bytes:
        """What recovery needs of the bucket; Bytewax asks in any case."""
        return self.kept.mark(self.bucket.frozen)
