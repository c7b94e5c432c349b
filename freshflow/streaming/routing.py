"""Which bucket takes which events: on the way in, and from the buckets of guests to those of users."""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import structs

from freshflow.events.model import Event, Forget, Identify, Interaction, ItemUpdate, Request, Search
from freshflow.streaming.partitioning import partition_of
from freshflow.users.updates import ForwardedEvent, MergeRequested

__all__ = ["route_events", "route_forwarded_events"]

Partitioner = Callable[[str], int]  # the partition of a user, by id


def route_events(
    events: Iterable[Event],
    n_partitions: int,
    partitioner: Partitioner | None = None,
    *,
    has_anonymous_users: bool = False,
) -> list[list[Event]]:
    """Events where their user belongs, or their guest, and catalogue events everywhere, each bucket's in order.

    With `has_anonymous_users`, who is to be forgotten is told everywhere, too, as any bucket may have known a guest of theirs.
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
    """What bucket of guests `sender` hands on, by bucket of users: what a user does, or did as a guest, to the user's."""
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
