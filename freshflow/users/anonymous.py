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

from freshflow._framing import decode_frames, encode_frame
from freshflow.config.schema import Config
from freshflow.errors import SnapshotError
from freshflow.events.identity import is_anonymous_id
from freshflow.events.model import Event, Forget, Identify, Interaction, Origin, Rejected, Request, Search
from freshflow.users.clock_skew import SkewDetector, StreamClock
from freshflow.users.store import UserStore, store_options
from freshflow.users.updates import ForwardedEvent, MergeRequested, UserEvicted

__all__ = ["ANONYMOUS_SNAPSHOT_VERSION", "AnonymousStore", "IdentityLink"]

ANONYMOUS_SNAPSHOT_VERSION = b"freshflow-guests-2\n"
MAX_LINK_CHECKS = 4  # links that may have ended, for each that is made


class IdentityLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who a guest was, and the time of the latest event that said so or came under the guest's name."""

    user_id: str
    last_ms: int


# Of a snapshot: streams, how far each was read, links.
AnonymousSnapshotHeader = tuple[list[StreamClock], dict[str, int], dict[str, IdentityLink]]


class AnonymousStore:
    """Guests, at most as many as `store` has room for, and as many links, the least recently used of which go first.

    `store` holds what is known of guests, and counts what it does of users.
    """

    def __init__(self, store: UserStore) -> None:
        self.store = store
        self.skew_detector = SkewDetector(store.events_config, has_anonymous=True)
        self.links: dict[str, IdentityLink] = {}
        self._read_positions: dict[str, int] = {}  # position by origin up to which it was read

    @classmethod
    def for_partition(cls, config: Config) -> "AnonymousStore":
        """The guests of one of the job's partitions."""
        users_config = structs.replace(config.users, idle_s=config.users.guest_idle_s)
        max_users = max(1, users_config.max // config.job.partitions)
        return cls(UserStore(users_config, max_users, 0, config.noise, config.events, **store_options(config)))

    @property
    def counts(self) -> Counter[str]:
        """What `UserStore.counts` says, of guests."""
        return self.store.counts

    def process_batch(
        self, origin: Origin, events: list[Event], read_ms: int, end_position: int
    ) -> tuple[list[ForwardedEvent], list[Rejected], int]:
        """What is handed on of an origin that was read up to a position at `read_ms`, what is refused, and up to where
        this is all there is of it.
        """
        self._read_positions[origin.key] = end_position
        accepted_events, rejected = self.skew_detector.process(origin, events, read_ms)
        return self.process(accepted_events), rejected, self.skew_detector.processed_position(origin, end_position)

    def finish(self) -> list[tuple[Origin, list[ForwardedEvent], list[Rejected], int]]:
        """The same for events that still wait at the end of all streams."""
        return [
            (origin, self.process(accepted_events), rejected, self._read_positions[origin.key])
            for origin, accepted_events, rejected in self.skew_detector.finish()
        ]

    def process(self, events: Iterable[Event]) -> list[ForwardedEvent]:
        """Each event in order: of guests the steps that follow from it, and all else as it is."""
        self.store.process(())
        forwarded: list[ForwardedEvent] = []
        for event in events:
            if isinstance(event, Identify):
                forwarded += self._identify(event)
            elif isinstance(event, Forget):
                forwarded.append(self._forget(event))
            elif isinstance(event, Interaction | Request | Search) and is_anonymous_id(event.user_id):
                user_id = self._linked_user_id(event)
                forwarded += (
                    self.store.process_more([event]) if user_id is None else [structs.replace(event, user_id=user_id)]
                )
            else:
                forwarded.append(event)
        return forwarded

    def _identify(self, event: Identify) -> list[ForwardedEvent]:
        self._link(event.anonymous_id, event.user_id, event.ts_ms)
        anonymous_profile = self.store.users.pop(event.anonymous_id, None)
        if anonymous_profile is None:
            return []
        return [UserEvicted(event.position, event.anonymous_id, is_idle=True), MergeRequested(event, anonymous_profile)]

    def _linked_user_id(self, event: Interaction | Request | Search) -> str | None:
        """Who the guest of an event is, if that is known and the session lasts."""
        link = self.links.get(event.user_id)
        if link is None or self._has_ended(link, event.ts_ms):
            return None
        if isinstance(event, Interaction):
            self._link(event.user_id, link.user_id, max(link.last_ms, event.ts_ms))
        return link.user_id

    def _link(self, anonymous_id: str, user_id: str, ts_ms: int) -> None:
        self.links.pop(anonymous_id, None)
        self.links[anonymous_id] = IdentityLink(user_id, ts_ms)
        oldest_ms = ts_ms - self.store.allowed_lateness_ms
        for _ in range(MAX_LINK_CHECKS):
            oldest_id = next(iter(self.links))
            # Events that come late may still be of a session that has ended for those in time.
            if len(self.links) <= self.store.max_users and not self._has_ended(self.links[oldest_id], oldest_ms):
                break
            del self.links[oldest_id]

    def _has_ended(self, link: IdentityLink, now_ms: int) -> bool:
        return now_ms - link.last_ms > self.store.gap_ms

    def _forget(self, event: Forget) -> Forget:
        """A guest is forgotten here, and of a user that they were a guest."""
        for anonymous_id in [
            anonymous_id for anonymous_id, link in self.links.items() if event.user_id in (anonymous_id, link.user_id)
        ]:
            del self.links[anonymous_id]
        is_known = self.store.users.pop(event.user_id, None) is not None
        return structs.replace(event, is_known=True) if is_known else event

    def prepare_snapshot(self) -> Callable[[], Iterator[bytes]]:
        """What makes the pieces of a snapshot of the bucket as it is now, later and in another thread."""
        header = msgspec.msgpack.encode((list(self.skew_detector.streams.values()), self._read_positions, self.links))
        encode_store = self.store.prepare_snapshot()
        return lambda: iter((ANONYMOUS_SNAPSHOT_VERSION, encode_frame(header), encode_frame(b"".join(encode_store()))))

    def restore(self, snapshot: bytes | bytearray) -> None:
        """Go on from a snapshot. Raises `SnapshotError` for another version's, and for a damaged one."""
        if not snapshot.startswith(ANONYMOUS_SNAPSHOT_VERSION):
            raise SnapshotError(
                "The recovery folder holds states of guests of another version of FreshFlow; resume with that version, "
                "or start anew with an empty --recovery folder."
            )
        try:
            header, store_snapshot = decode_frames(memoryview(snapshot)[len(ANONYMOUS_SNAPSHOT_VERSION) :])
            streams, self._read_positions, self.links = msgspec.msgpack.decode(header, type=AnonymousSnapshotHeader)
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise SnapshotError(
                f"The recovery folder holds damaged states of guests ({error}); restore it, or give an empty one."
            ) from None
        self.skew_detector = SkewDetector(self.store.events_config, streams, has_anonymous=True)
        self.store.restore(bytearray(store_snapshot))
