"""The user stage: a bucket of users behind Bytewax's stateful step."""

from collections import Counter
from collections.abc import Callable, Iterable

from freshflow.config.schema import Config
from freshflow.events.model import Origin, Rejected
from freshflow.state.backend import Keeping, Kept
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import End, EventBatch, HandedBatch, SignalBatch, StepBatch
from freshflow.streaming.operators.base import BucketStage
from freshflow.streaming.partitioning import partition_key
from freshflow.users.store import UserBucket
from freshflow.users.updates import Interaction, Signal, Step

__all__ = ["Routed", "UserStage", "user_stage"]

Routed = tuple[str, StepBatch | SignalBatch | list[Rejected]]


class UserStage(BucketStage[EventBatch | HandedBatch, StepBatch | SignalBatch | list[Rejected]]):
    """Events in, steps out: whole ones to the own partition, signals without a user to every other one.

    What is refused comes out as a list, for the dead letters. Where guests are known, what comes has passed their
    stage, and no event waits for others here; all parts do for each other (`freshflow.users.resequencer`).
    """

    bucket: UserBucket

    def __init__(self, variants: Variants, clock: Callable[[], int], kept: Kept) -> None:
        self._of_guests: dict[str, int] = {}  # what the own partition's bucket of guests has counted
        bucket = UserBucket.of_partition(variants.configs[0], len(variants.configs))
        super().__init__(variants, bucket, clock, kept)

    def _take(self, batch: EventBatch | HandedBatch) -> Iterable[Routed]:
        if isinstance(batch, HandedBatch):
            found = self._put_together(batch)
            return self._sent(batch.bucket, batch.origin, batch.read_ms, found[1], found[0], []) if found else []
        steps, refused = self.bucket.read(batch.origin, batch.events, batch.read_ms)
        upto = self.bucket.clocks.reached(batch.origin, batch.upto)
        return self._sent(batch.bucket, batch.origin, batch.read_ms, upto, steps, refused)

    def _put_together(self, batch: HandedBatch) -> tuple[list[Step], int] | None:
        """The steps of what is next of an origin, and up to where, if that is known by now."""
        if batch.sender == batch.bucket:
            self._of_guests = batch.counts
        senders = self.variants.partitions
        found = self.bucket.handover.take(batch.sender, senders, batch.origin, batch.events, batch.upto)
        return None if found is None else (self.bucket.take(found[0]), found[1])

    def _finish(self, own: int) -> Iterable[Routed]:
        for origin, steps, refused in self.bucket.finish():
            upto = max(one.position for one in (*steps, *refused))
            yield from self._sent(own, origin, self.clock(), upto, steps, refused)

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


def user_stage(
    config: Config | Variants, clock: Callable[[], int], keeping: Keeping
) -> Callable[[bytes | None], UserStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    variants = config if isinstance(config, Variants) else Variants([config])
    settings = variants.settings()
    return lambda stored: UserStage(variants, clock, keeping.of(stored, EventBatch | HandedBatch | End, settings))
