"""The user stage: a bucket of users behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

from freshflow.config import Config
from freshflow.dataflow.keeping import Keeping, Kept
from freshflow.dataflow.keys import partition_key
from freshflow.dataflow.messages import EventBatch, SignalBatch, StepBatch
from freshflow.users.bucket import UserBucket
from freshflow.users.interactions import Interaction

__all__ = ["Routed", "UserStage", "user_stage"]

Routed = tuple[str, StepBatch | SignalBatch]


class UserStage(StatefulBatchLogic[EventBatch, Routed, bytes]):  # type: ignore[misc]
    """Events in, steps out: whole ones to the own partition, signals without a user to every other one."""

    def __init__(self, config: Config, kept: Kept) -> None:
        self.config = config
        self.kept = kept
        self.bucket = UserBucket.of_partition(config)
        if kept.base is not None:
            self.bucket.restore(kept.base)
            kept.base = None
        for batch in kept.taken_since():
            self.bucket.take(batch.events)

    def on_batch(self, values: list[EventBatch]) -> tuple[Iterable[Routed], bool]:
        """Take each batch by itself, so that what Bytewax happened to queue together changes nothing."""
        routed = [step_batch for batch in values for step_batch in self._routed(batch)]
        return routed, StatefulBatchLogic.RETAIN

    def _routed(self, batch: EventBatch) -> Iterable[Routed]:
        self.kept.note(batch, len(batch.events))
        own, steps = batch.bucket, self.bucket.take(batch.events)
        yield partition_key(own), StepBatch(own, batch.origin, batch.read_ms, steps, batch.upto)
        signals = [step.signal for step in steps if isinstance(step, Interaction)]
        if signals:
            for other in range(self.config.job.partitions):
                if other != own:
                    yield partition_key(other), SignalBatch(other, batch.origin, signals)

    def snapshot(self) -> bytes:
        """What recovery needs of the bucket, if there is one; Bytewax asks in any case."""
        return self.kept.mark(self.bucket.frozen)


def user_stage(config: Config, keeping: Keeping) -> Callable[[bytes | None], UserStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    settings = {"job.partitions": config.job.partitions}
    return lambda stored: UserStage(config, keeping.of(stored, EventBatch, settings))
