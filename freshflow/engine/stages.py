"""The stages of a pipeline: anonymous users (if they are tracked), users, and partitions.

    EventBatch -> AnonymousStage -> ForwardedBatch -> UserStage -> StepBatch        -> own partition
                                                                   RemoteEventBatch -> other partitions

Each stage takes the messages of one partition and returns messages with the partition that they are for. `Pipeline`
calls the stages in one process; in a dataflow, a stateful step holds each. The path of an event is the same in both.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from freshflow.config.schema import Config
from freshflow.engine.messages import EventBatch, ForwardedBatch, RemoteEventBatch, StepBatch
from freshflow.engine.partition import Partition
from freshflow.engine.routing import Topology, route_events, route_forwarded_events, route_remote_events
from freshflow.events.model import Event, Origin, Rejected
from freshflow.outputs.records import Output
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.store import UserStore
from freshflow.users.updates import ForwardedEvent, Step

MessageT = TypeVar("MessageT")
Routed = tuple[int, MessageT]  # a message and the partition that it is for
UserStageInput = EventBatch | ForwardedBatch
UserStageOutput = Routed[StepBatch | RemoteEventBatch | list[Rejected]]
AnonymousStageOutput = Routed[ForwardedBatch | list[Rejected]]


class StoreStage:
    """A stage with a store of users.

    With `checks_clock_skew`, events wait in the store until the clock of their sender has been checked;
    without, the caller has checked it for the whole stream.
    """

    store: Any

    def __init__(self, topology: Topology, *, checks_clock_skew: bool) -> None:
        self.topology = topology
        self._checks_clock_skew = checks_clock_skew

    @abstractmethod
    def process(self, batch: Any) -> Iterable[Routed[Any]]:
        """Take a batch and return the messages that follow. The store has taken it even if no message is read."""

    @abstractmethod
    def finish(self, partition: int, read_ms: int) -> Iterable[Routed[Any]]:
        """Take the events that still wait at the end of the input, and return the messages that follow."""


class AnonymousStage(StoreStage):
    """The anonymous users of a partition; it forwards events to the partition of the user they turn out to be."""

    store: AnonymousStore

    def __init__(self, config: Config, topology: Topology, *, checks_clock_skew: bool = True) -> None:
        super().__init__(topology, checks_clock_skew=checks_clock_skew)
        self.store = AnonymousStore.for_partition(config)

    def process(self, batch: EventBatch) -> Iterable[AnonymousStageOutput]:
        """Take a batch and return one to every partition, so that each knows how far the origin has come."""
        rejected: list[Rejected] = []
        end_position = batch.end_position
        if self._checks_clock_skew:
            forwarded_events, rejected, end_position = self.store.process_batch(
                batch.origin, batch.events, batch.read_ms, batch.end_position
            )
        else:
            forwarded_events = self.store.process(batch.events)
        return self._route(batch.partition, batch.origin, batch.read_ms, forwarded_events, rejected, end_position)

    def finish(self, partition: int, read_ms: int) -> Iterable[AnonymousStageOutput]:
        """Take the events that still wait at the end of the input, and return the messages that follow."""
        for origin, forwarded_events, rejected, end_position in self.store.finish():
            yield from self._route(partition, origin, read_ms, forwarded_events, rejected, end_position)

    def _route(
        self,
        sender: int,
        origin: Origin,
        read_ms: int,
        forwarded_events: list[ForwardedEvent],
        rejected: list[Rejected],
        end_position: int,
    ) -> Iterator[AnonymousStageOutput]:
        counts = {**self.store.counts, "guests": len(self.store.store.users)}
        for receiver, events in enumerate(route_forwarded_events(forwarded_events, sender, self.topology)):
            own_counts = counts if receiver == sender else {}
            yield receiver, ForwardedBatch(receiver, sender, origin, read_ms, events, end_position, own_counts)
        if rejected:
            yield sender, rejected


class UserStage(StoreStage):
    """The users of a partition: steps to the own partition, remote events to the others.

    Where anonymous users are tracked, events come from their stages. They are put back in order there is no skew to
    check any more (`freshflow.users.resequencer`).
    """

    store: UserStore

    def __init__(self, config: Config, topology: Topology, *, checks_clock_skew: bool = True) -> None:
        super().__init__(topology, checks_clock_skew=checks_clock_skew)
        self.store = UserStore.for_partition(config, topology.n_variants)
        self._has_anonymous_users = config.users.guests
        self._anonymous_counts: dict[str, int] = {}  # the counters of the own partition's anonymous stage

    def process(self, batch: UserStageInput) -> Iterable[UserStageOutput]:
        """Take a batch; return the steps for the own partition, then rejected events, then remote events."""
        if type(batch) is ForwardedBatch:
            return self._process_forwarded(batch)
        assert type(batch) is EventBatch
        rejected: list[Rejected] = []
        end_position = batch.end_position
        if self._checks_clock_skew:
            steps, rejected = self.store.process_batch(batch.origin, batch.events, batch.read_ms)
            end_position = self.store.skew_detector.processed_position(batch.origin, end_position)
        else:
            steps = self.store.process(batch.events)
        return self._route(batch.partition, batch.origin, batch.read_ms, end_position, steps, rejected)

    def _process_forwarded(self, batch: ForwardedBatch) -> Iterable[UserStageOutput]:
        """Take a batch of an anonymous stage; return the steps that are complete from all of these stages."""
        if batch.sender == batch.partition:
            self._anonymous_counts = batch.counts
        ready_events = self.store.resequencer.process(
            batch.sender, self.topology.n_partitions, batch.origin, batch.events, batch.end_position
        )
        if ready_events is None:
            return ()
        steps = self.store.process(ready_events[0])
        return self._route(batch.partition, batch.origin, batch.read_ms, ready_events[1], steps, [])

    def finish(self, partition: int, read_ms: int) -> Iterable[UserStageOutput]:
        """Take the events that still wait at the end of the input, and return the messages that follow."""
        for origin, steps, rejected in self.store.finish():
            end_position = max(item.position for item in (*steps, *rejected))
            yield from self._route(partition, origin, read_ms, end_position, steps, rejected)

    def _route(
        self,
        partition: int,
        origin: Origin,
        read_ms: int,
        end_position: int,
        steps: list[Step],
        rejected: list[Rejected],
    ) -> Iterator[UserStageOutput]:
        yield partition, StepBatch(partition, origin, read_ms, steps, end_position, self._counts())
        if rejected:
            yield partition, rejected
        for receiver, remote_events in route_remote_events(steps, partition, self.topology):
            yield receiver, RemoteEventBatch(receiver, origin, remote_events)

    def _counts(self) -> dict[str, int]:
        """Return the counters of the own partition's users, anonymous ones included."""
        users = {"users": len(self.store.users)}
        if not self._has_anonymous_users:
            return {**self.store.counts, **users}
        if not self._anonymous_counts:
            return users  # a resumed stage, before its anonymous stage has sent a batch
        counts = Counter(self.store.counts)
        counts.update(self._anonymous_counts)
        return {**counts, **users}


def route_read_events(
    origin: Origin,
    events: Iterable[Event],
    read_ms: int,
    end_position: int,
    topology: Topology,
    *,
    has_anonymous_users: bool,
) -> Iterator[EventBatch]:
    """Return the batch of each partition, also where it is empty: it tells how far the origin has been read.

    Args:
        origin: The file or topic of the events.
        events: The events, in order.
        read_ms: The processing time at which they were read, in epoch milliseconds.
        end_position: The position up to which the origin has been read.
        topology: The split of users.
        has_anonymous_users: True if the first stage is that of anonymous users.
    """
    events_by_partition = route_events(events, topology, has_anonymous_users=has_anonymous_users)
    for partition, partition_events in enumerate(events_by_partition):
        yield EventBatch(partition, origin, read_ms, partition_events, end_position)


def process_partition_batches(
    partition: Partition, batches: Sequence[StepBatch | RemoteEventBatch]
) -> Iterator[tuple[StepBatch | None, list[Output]]]:
    """Take what has arrived for a partition: first all remote events, so that each step batch finds them; then steps.

    Args:
        partition: The partition.
        batches: The batches, at least one.

    Yields:
        Each step batch with its outputs, then None with the outputs of a flush of remote events, if there are any.
    """
    for batch in batches:
        if type(batch) is RemoteEventBatch:
            partition.buffer_remote_events(batch.origin, batch.remote_events)
    for batch in batches:
        if type(batch) is StepBatch:
            partition.update_user_counts(batch.counts)
            yield batch, partition.process(batch.origin, batch.steps, batch.end_position)
    flushed = partition.flush_if_full(batches[-1].origin)
    if flushed:
        yield None, flushed
