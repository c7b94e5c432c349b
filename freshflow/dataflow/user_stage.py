"""The user stage: a bucket of users behind Bytewax's stateful step."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from bytewax.operators import StatefulBatchLogic

from freshflow.config import Config
from freshflow.dataflow.keeping import Keeping, Kept
from freshflow.dataflow.keys import partition_key
from freshflow.dataflow.messages import End, EventBatch, HandedBatch, SignalBatch, StepBatch
from freshflow.dataflow.variants import Variants
from freshflow.events.types import Behaviour, Forget, Origin, Rejected
from freshflow.users.bucket import UserBucket
from freshflow.users.interactions import Interaction, Signal, Step

__all__ = ["Routed", "UserStage", "user_stage"]

SETTLE_S = 1.0
IDLE_S = 3.0  # longer than a broker takes to hand on what it has

Routed = tuple[str, StepBatch | SignalBatch | list[Rejected]]


class UserStage(StatefulBatchLogic[EventBatch | HandedBatch, Routed, bytes]):  # type: ignore[misc]
    """Events in, steps out: whole ones to the own partition, signals without a user to every other one.

    What is refused comes out as a list, for the dead letters. Events that wait for others (`freshflow.users.jumps`) do
    so while anything is read: after `IDLE_S` seconds without, the stream has ended for now. Where guests are known,
    what comes has passed their stage, and waits for all parts of it instead (`freshflow.users.handover`).
    """

    def __init__(self, variants: Variants, clock: Callable[[], int], kept: Kept) -> None:
        self.variants = variants
        self.place = variants.placement()
        self.clock = clock
        self.kept = kept
        self.bucket = UserBucket.of_partition(variants.configs[0], len(variants.configs))
        self._of_guests: dict[str, int] = {}  # what the own partition's bucket of guests has counted
        if kept.base is not None:
            self.bucket.restore(kept.base)
            kept.base = None
        for taken in kept.taken_since():
            if isinstance(taken, End):
                self.bucket.finish()
            elif isinstance(taken, HandedBatch):
                self._taken(taken)
            else:
                self.bucket.read(taken.origin, taken.events, taken.read_ms)
        self._idle_at = self._idle_from_now()  # a bucket that is resumed may hold events that wait

    def on_batch(self, values: list[EventBatch | HandedBatch]) -> tuple[Iterable[Routed], bool]:
        """Take each batch by itself, so that what Bytewax happened to queue together changes nothing."""
        routed = [step_batch for batch in values for step_batch in self._routed(batch)]
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _routed(self, batch: EventBatch | HandedBatch) -> Iterable[Routed]:
        self.kept.note(batch, len(batch.events))
        if any(type(event) is Forget for event in batch.events):
            self.kept.renew()  # what was taken so far names who is to be forgotten
        if isinstance(batch, HandedBatch):
            found = self._taken(batch)
            return self._sent(batch.bucket, batch.origin, batch.read_ms, found[1], found[0], []) if found else []
        steps, refused = self.bucket.read(batch.origin, batch.events, batch.read_ms)
        upto = self.bucket.clocks.reached(batch.origin, batch.upto)
        return self._sent(batch.bucket, batch.origin, batch.read_ms, upto, steps, refused)

    def _taken(self, batch: HandedBatch) -> tuple[list[Step], int] | None:
        """The steps of what is next of an origin, and up to where, if that is known by now."""
        if batch.sender == batch.bucket:
            self._of_guests = batch.counts
        senders = self.variants.partitions
        found = self.bucket.handover.take(batch.sender, senders, batch.origin, batch.events, batch.upto)
        return None if found is None else (self.bucket.take(found[0]), found[1])

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
            for origin, steps, refused in self.bucket.finish():
                upto = max(one.position for one in (*steps, *refused))
                routed += self._sent(own, origin, self.clock(), upto, steps, refused)
        self._idle_at = self._idle_from_now()
        return routed, StatefulBatchLogic.RETAIN

    def _idle_from_now(self) -> datetime | None:
        waits = self.bucket.clocks.waiting is not None
        return datetime.now(UTC) + timedelta(seconds=IDLE_S) if waits else None  # by Bytewax's own clock

    def _sent(
        self, own: int, origin: Origin, read_ms: int, upto: int, steps: list[Step], refused: list[Rejected]
    ) -> Iterable[Routed]:
        yield partition_key(own), StepBatch(own, origin, read_ms, steps, upto, self._counts())
        if refused:
            yield partition_key(own), refused
        interactions = [step for step in steps if isinstance(step, Interaction)]
        if interactions and self.variants.partitions > 1:
            yield from self._signals(own, origin, interactions)

    def _counts(self) -> dict[str, int]:
        """What is counted of the own partition's users, and guests."""
        users = {"users": len(self.bucket.users)}
        if not self.variants.configs[0].users.guests:
            return {**self.bucket.counts, **users}
        if not self._of_guests:
            return users  # a bucket that is resumed, before its guests have been heard of
        counts = Counter(self.bucket.counts)
        counts.update(self._of_guests)
        return {**counts, **users}

    def _signals(self, own: int, origin: Origin, interactions: list[Interaction]) -> Iterable[Routed]:
        """What other partitions learn: those of the own variant what its ranker learns from, too."""
        variants = self.variants
        signals: list[Signal] = [step.signal for step in interactions]
        visits: list[Signal] = [step.visit for step in interactions] if len(variants.configs) > 1 else signals
        for other in range(variants.partitions):
            if other != own:
                is_own = variants.variant_of(other) == variants.variant_of(own)
                yield partition_key(other), SignalBatch(other, origin, signals if is_own else visits)

    def snapshot(self) -> bytes:
        """What recovery needs of the bucket, if there is one; Bytewax asks in any case."""
        return self.kept.mark(self.bucket.frozen)


def user_stage(
    config: Config | Variants, clock: Callable[[], int], keeping: Keeping
) -> Callable[[bytes | None], UserStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    variants = config if isinstance(config, Variants) else Variants([config])
    settings = variants.settings()
    return lambda stored: UserStage(variants, clock, keeping.of(stored, EventBatch | HandedBatch | End, settings))
