"""The stage of guests, before that of users: a bucket of guests behind Bytewax's stateful step.

It is keyed as the stage of users is, and hands on what is of a user to the bucket of that user, wherever it is.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from bytewax.operators import StatefulBatchLogic

from freshflow.dataflow.keeping import Keeping, Kept
from freshflow.dataflow.keys import partition_key
from freshflow.dataflow.messages import End, EventBatch, HandedBatch
from freshflow.dataflow.routing import by_user
from freshflow.dataflow.user_stage import IDLE_S, SETTLE_S
from freshflow.dataflow.variants import Variants
from freshflow.events.types import Behaviour, Forget, Origin, Rejected
from freshflow.users.guests import GuestBucket
from freshflow.users.interactions import Handed

__all__ = ["GuestStage", "guest_stage"]

Routed = tuple[str, HandedBatch | list[Rejected]]


class GuestStage(StatefulBatchLogic[EventBatch, Routed, bytes]):  # type: ignore[misc]
    """Events in, a batch to every bucket of users out, also where it holds nothing: so all know what to wait for.

    Events that wait for others, and what is refused, are as in the stage of users, which has none to wait for then.
    """

    def __init__(self, variants: Variants, clock: Callable[[], int], kept: Kept) -> None:
        self.partitions = variants.partitions
        self.place = variants.placement()
        self.clock = clock
        self.kept = kept
        self.bucket = GuestBucket.of_partition(variants.configs[0])
        if kept.base is not None:
            self.bucket.restore(kept.base)
            kept.base = None
        for taken in kept.taken_since():
            if isinstance(taken, End):
                self.bucket.finish()
            else:
                self.bucket.read(taken.origin, taken.events, taken.read_ms, taken.upto)
        self._idle_at = self._idle_from_now()

    def on_batch(self, values: list[EventBatch]) -> tuple[Iterable[Routed], bool]:
        """Take each batch by itself."""
        routed = [handed for batch in values for handed in self._routed(batch)]
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _routed(self, batch: EventBatch) -> Iterable[Routed]:
        self.kept.note(batch, len(batch.events))
        if any(type(event) is Forget for event in batch.events):
            self.kept.renew()  # what was taken so far may name guests of who is to be forgotten
        handed, refused, upto = self.bucket.read(batch.origin, batch.events, batch.read_ms, batch.upto)
        return self._sent(batch.bucket, batch.origin, batch.read_ms, handed, refused, upto)

    def notify_at(self) -> datetime | None:
        """When the stream has been idle for long enough, if any event waits; soon, if files are to be deleted."""
        soon = datetime.now(UTC) + timedelta(seconds=SETTLE_S) if self.kept.settles else None
        return min((at for at in (self._idle_at, soon) if at is not None), default=None)

    def on_notify(self) -> tuple[Iterable[Routed], bool]:
        """Take the events that still wait, if nothing more is read; in any case, this epoch is one of this bucket's."""
        if self._idle_at is not None and datetime.now(UTC) >= self._idle_at:
            return self.on_eof()
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Routed], bool]:
        """Take the events that still wait."""
        waiting, routed = self.bucket.clocks.waiting, list[Routed]()
        if isinstance(waiting, Behaviour):
            self.kept.note(End(), 0)
            own = self.place(waiting.user_id)
            for origin, handed, refused, upto in self.bucket.finish():
                routed += self._sent(own, origin, self.clock(), handed, refused, upto)
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _idle_from_now(self) -> datetime | None:
        waits = self.bucket.clocks.waiting is not None
        return datetime.now(UTC) + timedelta(seconds=IDLE_S) if waits else None  # by Bytewax's own clock

    def _sent(
        self, own: int, origin: Origin, read_ms: int, handed: list[Handed], refused: list[Rejected], upto: int
    ) -> Iterable[Routed]:
        counts = {**self.bucket.counts, "guests": len(self.bucket.known.users)}
        for n, part in enumerate(by_user(handed, own, self.partitions, self.place)):
            yield partition_key(n), HandedBatch(n, own, origin, read_ms, part, upto, counts if n == own else {})
        if refused:
            yield partition_key(own), refused

    def snapshot(self) -> bytes:
        """What recovery needs of the bucket, if there is one; Bytewax asks in any case."""
        return self.kept.mark(self.bucket.frozen)


def guest_stage(variants: Variants, clock: Callable[[], int], keeping: Keeping) -> Callable[[bytes | None], GuestStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    return lambda stored: GuestStage(variants, clock, keeping.of(stored, EventBatch | End, variants.settings()))
