"""The user stage: a bucket of users behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

from freshflow.config import Config
from freshflow.dataflow.keys import partition_key
from freshflow.dataflow.messages import EventBatch, SignalBatch, StepBatch
from freshflow.users.bucket import UserBucket
from freshflow.users.interactions import Interaction

__all__ = ["Routed", "UserStage", "user_stage"]

Routed = tuple[str, StepBatch | SignalBatch]


class UserStage(StatefulBatchLogic[EventBatch, Routed, bytes]):  # type: ignore[misc]
    """Events in, steps out: whole ones to the own partition, signals without a user to every other one."""

    def __init__(self, config: Config, bucket: UserBucket, keep_snapshots: bool) -> None:
        self.config = config
        self.bucket = bucket
        self.keep_snapshots = keep_snapshots

    def on_batch(self, values: list[EventBatch]) -> tuple[Iterable[Routed], bool]:
        """Take each batch by itself, so that what Bytewax happened to queue together changes nothing."""
        routed = [step_batch for batch in values for step_batch in self._routed(batch)]
        return routed, StatefulBatchLogic.RETAIN

    def _routed(self, batch: EventBatch) -> Iterable[Routed]:
        own, steps = batch.bucket, self.bucket.take(batch.events)
        counts = dict(self.bucket.counts)
        yield partition_key(own), StepBatch(own, batch.origin, batch.read_ms, steps, batch.upto, counts)
        signals = [step.signal for step in steps if isinstance(step, Interaction)]
        if signals:
            for other in range(self.config.job.partitions):
                if other != own:
                    yield partition_key(other), SignalBatch(other, batch.origin, signals)

    def snapshot(self) -> bytes:
        """The bucket, if there is a recovery to store it; Bytewax asks in any case."""
        return self.bucket.snapshot() if self.keep_snapshots else b""


def user_stage(config: Config, keep_snapshots: bool) -> Callable[[bytes | None], UserStage]:
    """The builder Bytewax calls for a new key, or with the snapshot of one that is resumed."""

    def build(snapshot: bytes | None) -> UserStage:
        bucket = UserBucket.of_partition(config)
        if snapshot:
            bucket.restore(snapshot)
        return UserStage(config, bucket, keep_snapshots)

    return build
