"""Routing between the stages of a pipeline: the partitions that take an event, a forwarded event, or a remote event.

A user's partition is crc32(user id) modulo the partitions: the same in all versions and processes, as Python's own hash
is not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from zlib import crc32

import msgspec
from msgspec import structs

from freshflow.events.model import Event, Forget, Identify, Interaction, ItemUpdate, Request, Search
from freshflow.users.updates import ForwardedEvent, MergeRequested, RemoteEvent, Step, UserInteraction


def partition_of(user_id: str, n_partitions: int) -> int:
    """Return the partition that owns a user."""
    return crc32(user_id.encode("utf-8", "surrogatepass")) % n_partitions


class Topology(msgspec.Struct, frozen=True):
    """The split of a job's users over its partitions, which belong to one variant or to several in equal parts.

    Attributes:
        n_partitions: The number of partitions of the job.
        n_variants: The number of variants.
        owner_of: The function from a user id to the partition that owns the user.
    """

    n_partitions: int
    owner_of: Callable[[str], int]
    n_variants: int = 1

    @classmethod
    def of_partitions(cls, n_partitions: int) -> "Topology":
        """Return the topology of a job without variants."""
        return cls(n_partitions, partial(partition_of, n_partitions=n_partitions))

    def variant_of(self, partition: int) -> int:
        """Return the number of the variant that a partition belongs to."""
        return partition * self.n_variants // self.n_partitions


def route_events(
    events: Iterable[Event], topology: Topology, *, has_anonymous_users: bool = False
) -> list[list[Event]]:
    """Split events by partition, each partition's in order; catalogue events go to all.

    Args:
        events: The events.
        topology: The split of users.
        has_anonymous_users: True if the first stage is that of anonymous users. Requests to forget a user then go to
            all partitions, as each may have known the user as an anonymous one.
    """
    owner_of = topology.owner_of
    events_by_partition: list[list[Event]] = [[] for _ in range(topology.n_partitions)]
    for event in events:
        if isinstance(event, ItemUpdate):
            for partition_events in events_by_partition:
                partition_events.append(event)
        elif has_anonymous_users and isinstance(event, Forget | Identify):
            _route_identity_event(event, events_by_partition, owner_of)
        else:
            events_by_partition[owner_of(event.user_id)].append(event)
    return events_by_partition


def route_forwarded_events(
    forwarded_events: Iterable[ForwardedEvent], sender: int, topology: Topology
) -> list[list[ForwardedEvent]]:
    """Split events that a stage of anonymous users forwards by partition.

    Args:
        forwarded_events: The events, in order.
        sender: The partition of the stage, which keeps the steps of its anonymous users.
        topology: The split of users; their events go to their owners.
    """
    events_by_partition: list[list[ForwardedEvent]] = [[] for _ in range(topology.n_partitions)]
    for event in forwarded_events:
        receiver = sender
        if isinstance(event, Interaction | Request | Search | MergeRequested):
            receiver = topology.owner_of(event.user_id)
        events_by_partition[receiver].append(event)
    return events_by_partition


def route_remote_events(
    steps: Sequence[Step], sender: int, topology: Topology
) -> Iterator[tuple[int, list[RemoteEvent]]]:
    """Return the remote events for other partitions from steps; partitions of other variants learn no ranker examples.

    Args:
        steps: The steps of a partition's own users.
        sender: The partition.
        topology: The split of partitions over variants.

    Yields:
        Each other partition and its remote events; nothing without interactions.
    """
    if topology.n_partitions == 1:
        return
    interactions = [step for step in steps if isinstance(step, UserInteraction)]
    if not interactions:
        return
    remote_events: list[RemoteEvent] = [step.remote_event for step in interactions]
    visits: list[RemoteEvent] = [step.visit for step in interactions] if topology.n_variants > 1 else remote_events
    own_variant = topology.variant_of(sender)
    for receiver in range(topology.n_partitions):
        if receiver != sender:
            yield receiver, remote_events if topology.variant_of(receiver) == own_variant else visits


def _route_identity_event(
    event: Forget | Identify, events_by_partition: list[list[Event]], owner_of: Callable[[str], int]
) -> None:
    if isinstance(event, Identify):
        events_by_partition[owner_of(event.anonymous_id)].append(event)
        return
    owner = owner_of(event.user_id)
    for partition, partition_events in enumerate(events_by_partition):
        partition_events.append(event if partition == owner else structs.replace(event, is_in_other_bucket=True))
