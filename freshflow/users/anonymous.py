"""The guests of one bucket, and who they turned out to be.

A guest is known as a user is (`freshflow.users.store`), until an `Identify` says who they are. Then what is known of
them goes to the bucket of that user, as a `Join`, and the guest is gone. What still comes under the guest's name is the
user's while the session lasts: until nothing has come for `users.session_gap_s`. After that it is a new guest's, as
someone else may have the device by then.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import structs

from freshflow._framing import framed, frames
from freshflow.config.schema import Config
from freshflow.errors import SnapshotError
from freshflow.events.identity import is_guest
from freshflow.events.model import Behaviour, Event, Forget, Identify, Origin, Rejected, Request, Search
from freshflow.users.clock_skew import Clocks, Stream
from freshflow.users.store import UserBucket, what_is_kept
from freshflow.users.updates import Departure, Handed, Join

__all__ = ["SNAPSHOT_VERSION", "GuestBucket", "Link"]

SNAPSHOT_VERSION = b"freshflow-guests-1\n"
LOOKED_AT = 4  # links that may have ended, for each that is made


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who a guest was, and the time of the latest event that said so or came under the guest's name."""

    user_id: str
    last_ms: int


# Of a snapshot: streams, how far each was read, links.
Head = tuple[list[Stream], dict[str, int], dict[str, Link]]


class GuestBucket:
    """Guests, at most as many as `known` has room for, and as many links, the least recently used of which go first.

    `known` holds what is known of guests, and counts what it does of users.
    """

    def __init__(self, known: UserBucket) -> None:
        self.known = known
        self.clocks = Clocks(known.events, guests=True)
        self.links: dict[str, Link] = {}
        self._upto: dict[str, int] = {}  # position by origin up to which it was read

    @classmethod
    def of_partition(cls, config: Config) -> "GuestBucket":
        """The guests of one of the job's partitions."""
        users = structs.replace(config.users, idle_s=config.users.guest_idle_s)
        bound = max(1, users.max // config.job.partitions)
        return cls(UserBucket(users, bound, 0, config.noise, config.events, **what_is_kept(config)))

    @property
    def counts(self) -> Counter[str]:
        """What `UserBucket.counts` says, of guests."""
        return self.known.counts

    def read(
        self, origin: Origin, events: list[Event], read_ms: int, upto: int
    ) -> tuple[list[Handed], list[Rejected], int]:
        """What is handed on of an origin that was read up to a position at `read_ms`, what is refused, and up to where
        this is all there is of it.
        """
        self._upto[origin.key] = upto
        believed, refused = self.clocks.take(origin, events, read_ms)
        return self.take(believed), refused, self.clocks.reached(origin, upto)

    def finish(self) -> list[tuple[Origin, list[Handed], list[Rejected], int]]:
        """The same for events that still wait at the end of all streams."""
        return [
            (origin, self.take(believed), refused, self._upto[origin.key])
            for origin, believed, refused in self.clocks.finish()
        ]

    def take(self, events: Iterable[Event]) -> list[Handed]:
        """Each event in order: of guests the steps that follow from it, and all else as it is."""
        self.known.take(())
        handed: list[Handed] = []
        for event in events:
            if isinstance(event, Identify):
                handed += self._identify(event)
            elif isinstance(event, Forget):
                handed.append(self._forget(event))
            elif isinstance(event, Behaviour | Request | Search) and is_guest(event.user_id):
                user_id = self._known_as(event)
                handed += self.known.go_on([event]) if user_id is None else [structs.replace(event, user_id=user_id)]
            else:
                handed.append(event)
        return handed

    def _identify(self, event: Identify) -> list[Handed]:
        self._link(event.guest, event.user_id, event.ts_ms)
        guest = self.known.users.pop(event.guest, None)
        if guest is None:
            return []
        return [Departure(event.position, event.guest, idle=True), Join(event, guest)]

    def _known_as(self, event: Behaviour | Request | Search) -> str | None:
        """Who the guest of an event is, if that is known and the session lasts."""
        link = self.links.get(event.user_id)
        if link is None or self._has_ended(link, event.ts_ms):
            return None
        if isinstance(event, Behaviour):
            self._link(event.user_id, link.user_id, max(link.last_ms, event.ts_ms))
        return link.user_id

    def _link(self, guest: str, user_id: str, ts_ms: int) -> None:
        self.links.pop(guest, None)
        self.links[guest] = Link(user_id, ts_ms)
        long_ago_ms = ts_ms - self.known.lateness_ms
        for _ in range(LOOKED_AT):
            first = next(iter(self.links))
            # Events that come late may still be of a session that has ended for those in time.
            if len(self.links) <= self.known.bound and not self._has_ended(self.links[first], long_ago_ms):
                break
            del self.links[first]

    def _has_ended(self, link: Link, now_ms: int) -> bool:
        return now_ms - link.last_ms > self.known.gap_ms

    def _forget(self, event: Forget) -> Forget:
        """A guest is forgotten here, and of a user that they were a guest."""
        for guest in [guest for guest, link in self.links.items() if event.user_id in (guest, link.user_id)]:
            del self.links[guest]
        known = self.known.users.pop(event.user_id, None) is not None
        return structs.replace(event, known=True) if known else event

    def frozen(self) -> Callable[[], Iterator[bytes]]:
        """What makes the pieces of a snapshot of the bucket as it is now, later and in another thread."""
        head = msgspec.msgpack.encode((list(self.clocks.streams.values()), self._upto, self.links))
        known = self.known.frozen()
        return lambda: iter((SNAPSHOT_VERSION, framed(head), framed(b"".join(known()))))

    def restore(self, snapshot: bytes | bytearray) -> None:
        """Go on from a snapshot. Raises `SnapshotError` for another version's, and for a damaged one."""
        if not snapshot.startswith(SNAPSHOT_VERSION):
            raise SnapshotError(
                "The recovery folder holds states of guests of another version of FreshFlow; resume with that version, "
                "or start anew with an empty --recovery folder."
            )
        try:
            head, known = frames(memoryview(snapshot)[len(SNAPSHOT_VERSION) :])
            streams, self._upto, self.links = msgspec.msgpack.decode(head, type=Head)
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise SnapshotError(
                f"The recovery folder holds damaged states of guests ({error}); restore it, or give an empty one."
            ) from None
        self.clocks = Clocks(self.known.events, streams, guests=True)
        self.known.restore(bytearray(known))
