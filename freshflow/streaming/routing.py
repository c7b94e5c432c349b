"""Routing of events to the buckets of users, from the parser and from the buckets of anonymous users."""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import structs

from freshflow.events.model import Event, Forget, Identify, Interaction, ItemUpdate, Request, Search
from freshflow.streaming.partitioning import partition_of
from freshflow.users.updates import ForwardedEvent, MergeRequested

Partitioner = Callable[[str], int]  # the partition of a user, by id


def route_events(
    events: Iterable[Event],
    n_partitions: int,
    partitioner: Partitioner | None = None,
    *,
    has_anonymous_users: bool = False,
) -> list[list[Event]]:
    """Route events to the bucket of their user, catalogue events to all buckets.

    Args:
        events: Parsed events in order.
        n_partitions: Number of partitions, each with a bucket.
        partitioner: Returns a user's partition; by default a hash of the id.
        has_anonymous_users: Route `forget` to all buckets, as any of them may know an anonymous user of the user.

    Returns:
        The events of each bucket, in order.
    """
    partitioner = partitioner or partial(partition_of, n_partitions=n_partitions)
    events_by_partition: list[list[Event]] = [[] for _ in range(n_partitions)]
    for event in events:
        if isinstance(event, ItemUpdate):
            for partition_events in events_by_partition:
                partition_events.append(event)
        elif has_anonymous_users and isinstance(event, Forget | Identify):
            _route_identity_event(event, events_by_partition, partitioner)
        else:
            events_by_partition[partitioner(event.user_id)].append(event)
    return events_by_partition


def route_forwarded_events(
    forwarded_events: Iterable[ForwardedEvent], sender: int, n_partitions: int, partitioner: Partitioner | None = None
) -> list[list[ForwardedEvent]]:
    """Route the output of a bucket of anonymous users to the buckets of users.

    Args:
        forwarded_events: The bucket's output in order.
        sender: The bucket's partition, which also gets the events that belong to no user.
        n_partitions: Number of partitions.
        partitioner: Returns a user's partition; by default a hash of the id.

    Returns:
        The events of each bucket, in order.
    """
    partitioner = partitioner or partial(partition_of, n_partitions=n_partitions)
    events_by_partition: list[list[ForwardedEvent]] = [[] for _ in range(n_partitions)]
    for event in forwarded_events:
        partition = (
            partitioner(event.user_id) if isinstance(event, Interaction | Request | Search | MergeRequested) else sender
        )
        events_by_partition[partition].append(event)
    return events_by_partition


def _route_identity_event(
    event: Forget | Identify, events_by_partition: list[list[Event]], partitioner: Partitioner
) -> None:
    if isinstance(event, Identify):
        events_by_partition[partitioner(event.anonymous_id)].append(event)
        return
    owner = partitioner(event.user_id)
    for n, partition_events in enumerate(events_by_partition):
        partition_events.append(event if n == owner else structs.replace(event, is_in_other_bucket=True))
