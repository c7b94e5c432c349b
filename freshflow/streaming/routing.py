"""Which bucket takes which events: on the way in, and from the buckets of guests to those of users."""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import structs

from freshflow.events.model import Behaviour, Event, Forget, Identify, ItemUpdate, Request, Search
from freshflow.streaming.partitioning import partition_of
from freshflow.users.updates import Handed, Join

__all__ = ["by_bucket", "by_user"]

Place = Callable[[str], int]  # the partition of a user, by id


def by_bucket(
    events: Iterable[Event], partitions: int, place: Place | None = None, *, guests: bool = False
) -> list[list[Event]]:
    """Events where their user belongs, or their guest, and catalogue events everywhere, each bucket's in order.

    With `guests`, who is to be forgotten is told everywhere, too, as any bucket may have known a guest of theirs.
    """
    place = place or partial(partition_of, partitions=partitions)
    buckets: list[list[Event]] = [[] for _ in range(partitions)]
    for event in events:
        if isinstance(event, ItemUpdate):
            for bucket in buckets:
                bucket.append(event)
        elif guests and isinstance(event, Forget | Identify):
            _route(event, buckets, place)
        else:
            buckets[place(event.user_id)].append(event)
    return buckets


def by_user(handed: Iterable[Handed], own: int, partitions: int, place: Place | None = None) -> list[list[Handed]]:
    """What bucket of guests `own` hands on, by bucket of users: what a user does, or did as a guest, to the user's."""
    place = place or partial(partition_of, partitions=partitions)
    parts: list[list[Handed]] = [[] for _ in range(partitions)]
    for one in handed:
        to = place(one.user_id) if isinstance(one, Behaviour | Request | Search | Join) else own
        parts[to].append(one)
    return parts


def _route(event: Forget | Identify, buckets: list[list[Event]], place: Place) -> None:
    if isinstance(event, Identify):
        buckets[place(event.guest)].append(event)
        return
    own = place(event.user_id)
    for n, bucket in enumerate(buckets):
        bucket.append(event if n == own else structs.replace(event, elsewhere=True))
