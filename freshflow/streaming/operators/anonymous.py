"""The stage of guests, before that of users: a bucket of guests behind Bytewax's stateful step.

It is keyed as the stage of users is, and hands on what is of a user to the bucket of that user, wherever it is.
"""

from collections.abc import Callable, Iterable

from freshflow.events.model import Origin, Rejected
from freshflow.state.backend import Keeping, Kept
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import End, EventBatch, HandedBatch
from freshflow.streaming.operators.base import BucketStage
from freshflow.streaming.partitioning import partition_key
from freshflow.streaming.routing import by_user
from freshflow.users.anonymous import GuestBucket
from freshflow.users.updates import Handed

__all__ = ["GuestStage", "guest_stage"]

Routed = tuple[str, HandedBatch | list[Rejected]]


class GuestStage(BucketStage[EventBatch, HandedBatch | list[Rejected]]):
    """Events in, a batch to every bucket of users out, also where it holds nothing: so all know what to wait for.

    What is refused, and events that wait for others, are as in the stage of users, which has none to wait for then.
    """

    bucket: GuestBucket

    def __init__(self, variants: Variants, clock: Callable[[], int], kept: Kept) -> None:
        super().__init__(variants, GuestBucket.of_partition(variants.configs[0]), clock, kept)

    def _take(self, batch: EventBatch) -> Iterable[Routed]:
        handed, refused, upto = self.bucket.read(batch.origin, batch.events, batch.read_ms, batch.upto)
        return self._sent(batch.bucket, batch.origin, batch.read_ms, handed, refused, upto)

    def _finish(self, own: int) -> Iterable[Routed]:
        for origin, handed, refused, upto in self.bucket.finish():
            yield from self._sent(own, origin, self.clock(), handed, refused, upto)

    def _sent(
        self, own: int, origin: Origin, read_ms: int, handed: list[Handed], refused: list[Rejected], upto: int
    ) -> Iterable[Routed]:
        counts = {**self.bucket.counts, "guests": len(self.bucket.known.users)}
        for n, part in enumerate(by_user(handed, own, self.variants.partitions, self.place)):
            yield partition_key(n), HandedBatch(n, own, origin, read_ms, part, upto, counts if n == own else {})
        if refused:
            yield partition_key(own), refused


def guest_stage(variants: Variants, clock: Callable[[], int], keeping: Keeping) -> Callable[[bytes | None], GuestStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    return lambda stored: GuestStage(variants, clock, keeping.of(stored, EventBatch | End, variants.settings()))
