"""Store of anonymous users (guests) and of the links to the users they turn out to be.

An anonymous user has a profile like any user (`freshflow.users.store`) until an `Identify` event names the user. The
profile then moves to that user's bucket as a `MergeRequested`, and the anonymous user is deleted. Later events under
the anonymous id count as the user's until the session ends, that is, until a gap of `users.session_gap_s`. After that
they belong to a new anonymous user, as the device may have another owner by then.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import structs

from freshflow._state_tables import PieceFactory, SnapshotFormat, StateTable
from freshflow.config.schema import Config
from freshflow.events.identity import is_anonymous_id
from freshflow.events.model import Event, Forget, Identify, Interaction, Origin, Rejected, Request, Search
from freshflow.users.clock_skew import SkewDetector, StreamClock
from freshflow.users.store import UserStore, UserStoreState, store_options
from freshflow.users.updates import ForwardedEvent, MergeRequested, UserEvicted

ANONYMOUS_SNAPSHOT = SnapshotFormat(b"freshflow-guests-3\n", "states of guests", "damaged states of guests")
MAX_LINK_CHECKS = 4  # links checked for expiry per new link: bounds the work per event


class IdentityLink(msgspec.Struct, frozen=True, gc=False):
    """The user behind an anonymous id, and the time of the latest event that identified them or used the id."""

    user_id: str
    last_ms: int


class AnonymousState(StateTable, frozen=True):
    """State of an anonymous store: streams, the position each was read to, and links by anonymous id."""

    streams: list[StreamClock]
    read_positions: dict[str, int]
    links: dict[str, IdentityLink]


class AnonymousStore:
    """A bounded store of anonymous users, and of as many links; the least recently used of each are evicted first.

    `store` holds the profiles of the anonymous users and their counts.
    """

    def __init__(self, store: UserStore) -> None:
        self.store = store
        self.skew_detector = SkewDetector(store.events_config, has_anonymous=True)
        self.links: dict[str, IdentityLink] = {}
        self._read_positions: dict[str, int] = {}  # by origin: the position up to which it has been read

    @classmethod
    def for_partition(cls, config: Config) -> "AnonymousStore":
        """Create the store of one partition of the job."""
        users_config = structs.replace(config.users, idle_s=config.users.guest_idle_s)
        max_users = max(1, users_config.max // config.job.partitions)
        return cls(UserStore(users_config, max_users, 0, config.noise, config.events, **store_options(config)))

    @property
    def counts(self) -> Counter[str]:
        """Counts of `UserStore.counts`, for anonymous users."""
        return self.store.counts

    def process_batch(
        self, origin: Origin, events: list[Event], read_ms: int, end_position: int
    ) -> tuple[list[ForwardedEvent], list[Rejected], int]:
        """Process the next events of an origin.

        Args:
            origin: The log of the events.
            events: The events, in order of position.
            read_ms: Processing time of their read; 0 if unknown.
            end_position: The position up to which the origin has been read.

        Returns:
            The events and steps to forward, the records rejected for clock skew, and the position up to which the
            forwarded events are complete.
        """
        self._read_positions[origin.key] = end_position
        accepted_events, rejected = self.skew_detector.process(origin, events, read_ms)
        return self.process(accepted_events), rejected, self.skew_detector.processed_position(origin, end_position)

    def finish(self) -> list[tuple[Origin, list[ForwardedEvent], list[Rejected], int]]:
        """Resolve the events that are pending at the end of all streams, by origin, as in `process_batch`."""
        return [
            (origin, self.process(accepted_events), rejected, self._read_positions[origin.key])
            for origin, accepted_events, rejected in self.skew_detector.finish()
        ]

    def process(self, events: Iterable[Event]) -> list[ForwardedEvent]:
        """Process events in order: return steps for events of anonymous users, and all other events unchanged."""
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
        """Return the user behind the anonymous id of an event, while their session lasts."""
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
            # A late event can belong to a session that has ended for events in order.
            if len(self.links) <= self.store.max_users and not self._has_ended(self.links[oldest_id], oldest_ms):
                break
            del self.links[oldest_id]

    def _has_ended(self, link: IdentityLink, now_ms: int) -> bool:
        return now_ms - link.last_ms > self.store.gap_ms

    def _forget(self, event: Forget) -> Forget:
        """Delete an anonymous user, and all links of the user or anonymous user."""
        for anonymous_id in [
            anonymous_id for anonymous_id, link in self.links.items() if event.user_id in (anonymous_id, link.user_id)
        ]:
            del self.links[anonymous_id]
        is_known = self.store.users.pop(event.user_id, None) is not None
        return structs.replace(event, is_known=True) if is_known else event

    def state(self) -> AnonymousState:
        """Return the state, without that of `store`."""
        return AnonymousState(list(self.skew_detector.streams.values()), self._read_positions, self.links)

    def restore(self, state: AnonymousState) -> None:
        """Continue from a state; `store` is restored by itself."""
        self.skew_detector = SkewDetector(self.store.events_config, state.streams, has_anonymous=True)
        self._read_positions, self.links = state.read_positions, state.links

    def prepare_snapshot(self) -> PieceFactory:
        """Copy the state; the result encodes the pieces of a snapshot later, in another thread."""
        return ANONYMOUS_SNAPSHOT.freeze({"links": self.state(), "profiles": self.store.state()})

    def load_snapshot(self, snapshot: bytes | bytearray) -> None:
        """Continue from a snapshot. Raises `SnapshotError` if it is damaged or of another version."""
        with ANONYMOUS_SNAPSHOT.open(snapshot) as tables:
            self.restore(tables.read("links", AnonymousState))
            self.store.restore(tables.read("profiles", UserStoreState))
