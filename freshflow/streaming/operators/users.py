"""The user stage: a bucket of users behind Bytewax's stateful step."""

from collections import Counter
from collections.abc import Callable, Iterable

from freshflow.config.schema import Config
from freshflow.events.model import Origin, Rejected
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput, EventBatch, ForwardedBatch, RemoteEventBatch, StepBatch
from freshflow.streaming.operators.base import StoreStage
from freshflow.streaming.partitioning import partition_key
from freshflow.users.store import UserStore
from freshflow.users.updates import RemoteEvent, Step, UserInteraction

__all__ = ["UserStageOutput", "UserStage", "user_stage"]

UserStageOutput = tuple[str, StepBatch | RemoteEventBatch | list[Rejected]]


class UserStage(StoreStage[EventBatch | ForwardedBatch, StepBatch | RemoteEventBatch | list[Rejected]]):
    """Events in, steps out: whole ones to the own partition, signals without a user to every other one.

    What is refused comes out as a list, for the dead letters. Where guests are known, what comes has passed their
    stage, and no event waits for others here; all parts do for each other (`freshflow.users.resequencer`).
    """

    store: UserStore

    def __init__(self, variants: Variants, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        self._anonymous_counts: dict[str, int] = {}  # what the own partition's bucket of guests has counted
        store = UserStore.for_partition(variants.configs[0], len(variants.configs))
        super().__init__(variants, store, clock, keyed_state)

    def _process(self, batch: EventBatch | ForwardedBatch) -> Iterable[UserStageOutput]:
        if isinstance(batch, ForwardedBatch):
            ready_steps = self._resequence(batch)
            return (
                self._route_output(batch.partition, batch.origin, batch.read_ms, ready_steps[1], ready_steps[0], [])
                if ready_steps
                else []
            )
        steps, rejects = self.store.process_batch(batch.origin, batch.events, batch.read_ms)
        end_position = self.store.skew_detector.processed_position(batch.origin, batch.end_position)
        return self._route_output(batch.partition, batch.origin, batch.read_ms, end_position, steps, rejects)

    def _resequence(self, batch: ForwardedBatch) -> tuple[list[Step], int] | None:
        """The steps of what is next of an origin, and up to where, if that is known by now."""
        if batch.sender == batch.partition:
            self._anonymous_counts = batch.counts
        n_senders = self.variants.n_partitions
        ready_events = self.store.resequencer.process(
            batch.sender, n_senders, batch.origin, batch.events, batch.end_position
        )
        return None if ready_events is None else (self.store.process(ready_events[0]), ready_events[1])

    def _finish(self, partition: int) -> Iterable[UserStageOutput]:
        for origin, steps, rejects in self.store.finish():
            end_position = max(item.position for item in (*steps, *rejects))
            yield from self._route_output(partition, origin, self.clock(), end_position, steps, rejects)

    def _route_output(
        self,
        partition: int,
        origin: Origin,
        read_ms: int,
        end_position: int,
        steps: list[Step],
        rejects: list[Rejected],
    ) -> Iterable[UserStageOutput]:
        yield partition_key(partition), StepBatch(partition, origin, read_ms, steps, end_position, self._user_counts())
        if rejects:
            yield partition_key(partition), rejects
        interactions = [step for step in steps if isinstance(step, UserInteraction)]
        if interactions and self.variants.n_partitions > 1:
            yield from self._route_remote_events(partition, origin, interactions)

    def _user_counts(self) -> dict[str, int]:
        """What is counted of the own partition's users, and guests."""
        users = {"users": len(self.store.users)}
        if not self.variants.configs[0].users.guests:
            return {**self.store.counts, **users}
        if not self._anonymous_counts:
            return users  # a bucket that is resumed, before its guests have been heard of
        counts = Counter(self.store.counts)
        counts.update(self._anonymous_counts)
        return {**counts, **users}

    def _route_remote_events(
        self, partition: int, origin: Origin, interactions: list[UserInteraction]
    ) -> Iterable[UserStageOutput]:
        """What other partitions learn: those of the own variant what its ranker learns from, too."""
        variants = self.variants
        remote_events: list[RemoteEvent] = [step.remote_event for step in interactions]
        visits: list[RemoteEvent] = (
            [step.visit for step in interactions] if len(variants.configs) > 1 else remote_events
        )
        for target_partition in range(variants.n_partitions):
            if target_partition != partition:
                is_same_variant = variants.variant_of_partition(target_partition) == variants.variant_of_partition(
                    partition
                )
                yield (
                    partition_key(target_partition),
                    RemoteEventBatch(target_partition, origin, remote_events if is_same_variant else visits),
                )


def user_stage(
    config: Config | Variants, clock: Callable[[], int], state_backend: StateBackend
) -> Callable[[bytes | None], UserStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    variants = config if isinstance(config, Variants) else Variants([config])
    settings = variants.split_settings()
    return lambda stored: UserStage(
        variants, clock, state_backend.open_state(stored, EventBatch | ForwardedBatch | EndOfInput, settings)
    )
