"""The stage of guests, before that of users: a bucket of guests behind Bytewax's stateful step.

It is keyed as the stage of users is, and hands on what is of a user to the bucket of that user, wherever it is.
"""

from collections.abc import Callable, Iterable

from freshflow.events.model import Origin, Rejected
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput, EventBatch, ForwardedBatch
from freshflow.streaming.operators.base import StoreStage
from freshflow.streaming.partitioning import partition_key
from freshflow.streaming.routing import route_forwarded_events
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.updates import ForwardedEvent

__all__ = ["AnonymousStage", "anonymous_stage"]

AnonymousStageOutput = tuple[str, ForwardedBatch | list[Rejected]]


class AnonymousStage(StoreStage[EventBatch, ForwardedBatch | list[Rejected]]):
    """Events in, a batch to every bucket of users out, also where it holds nothing: so all know what to wait for.

    What is refused, and events that wait for others, are as in the stage of users, which has none to wait for then.
    """

    store: AnonymousStore

    def __init__(self, variants: Variants, clock: Callable[[], int], keyed_state: KeyedState) -> None:
        super().__init__(variants, AnonymousStore.for_partition(variants.configs[0]), clock, keyed_state)

    def _process(self, batch: EventBatch) -> Iterable[AnonymousStageOutput]:
        forwarded_events, rejects, end_position = self.store.process_batch(
            batch.origin, batch.events, batch.read_ms, batch.end_position
        )
        return self._route_output(batch.partition, batch.origin, batch.read_ms, forwarded_events, rejects, end_position)

    def _finish(self, partition: int) -> Iterable[AnonymousStageOutput]:
        for origin, forwarded_events, rejects, end_position in self.store.finish():
            yield from self._route_output(partition, origin, self.clock(), forwarded_events, rejects, end_position)

    def _route_output(
        self,
        partition: int,
        origin: Origin,
        read_ms: int,
        forwarded_events: list[ForwardedEvent],
        rejects: list[Rejected],
        end_position: int,
    ) -> Iterable[AnonymousStageOutput]:
        counts = {**self.store.counts, "guests": len(self.store.store.users)}
        for n, partition_events in enumerate(
            route_forwarded_events(forwarded_events, partition, self.variants.n_partitions, self.partitioner)
        ):
            yield (
                partition_key(n),
                ForwardedBatch(
                    n, partition, origin, read_ms, partition_events, end_position, counts if n == partition else {}
                ),
            )
        if rejects:
            yield partition_key(partition), rejects


def anonymous_stage(
    variants: Variants, clock: Callable[[], int], state_backend: StateBackend
) -> Callable[[bytes | None], AnonymousStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed."""
    return lambda stored: AnonymousStage(
        variants, clock, state_backend.open_state(stored, EventBatch | EndOfInput, variants.split_settings())
    )
