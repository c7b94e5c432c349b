"""The users of one bucket: a bounded table from user id to state, and what each event makes of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from freshflow.config import Config, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.types import Behaviour, Event, Forget, ItemUpdate
from freshflow.frames import framed, frames
from freshflow.users.interactions import Ask, Dismissal, Interaction, Step
from freshflow.users.state import NEW_USER, UserState, add_event, context_at, dismiss, is_duplicate, with_shared_ids

__all__ = ["UserBucket"]

SNAPSHOT_VERSION = b"freshflow-users-4\n"
AT_ONCE = 1000  # users encoded in one call, which lets no other thread run


class UserBucket:
    """At most `bound` users, the least recently active go first. Users are kept in the order of their last event.

    The first `for_all` interactions are those that teach the rankers of all partitions.
    """

    def __init__(self, config: UsersConfig, bound: int, for_all: int = 0) -> None:
        self.config = config
        self.bound = bound
        self.for_all = for_all
        self.interactions = 0
        self.users: dict[str, UserState] = {}
        self._record: int | None = None  # position of the record whose events are being taken
        self._before_record = NEW_USER
        self.counts: Counter[str] = Counter()

    @classmethod
    def of_partition(cls, config: Config) -> "UserBucket":
        """The bucket of one of the job's partitions."""
        partitions = config.job.partitions
        for_all = config.ranker.shared // partitions if partitions > 1 else 0
        return cls(config.users, max(1, config.users.max // partitions), for_all)

    def take(self, events: Iterable[Event]) -> list[Step]:
        """Each event in order, with all that is known of its user; duplicates are dropped and counted.

        Events of one record stand together; they are duplicates of what came before the record, not of each other.
        """
        self._record = None
        return [step for event in events if (step := self._step(event)) is not None]

    def _step(self, event: Event) -> Step | None:
        if isinstance(event, Behaviour):
            return self._behaviour(event)
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Forget):
            self.users.pop(event.user_id, None)
            return event
        return Ask(event, self.users.get(event.user_id, NEW_USER))

    def _behaviour(self, event: Behaviour) -> Step | None:
        before = self.users.get(event.user_id, NEW_USER)
        if event.position != self._record:
            self._record, self._before_record = event.position, before
        if is_duplicate(self._before_record, event):
            self.counts["duplicate"] += 1
            return None
        if event.weight == 0:
            self.counts["ignored"] += 1
            return None
        gap_ms = int(self.config.session_gap_s * 1000)
        context = context_at(before, event.ts_ms, gap_ms=gap_ms, limit=self.config.context, session_id=event.session_id)
        if event.weight < 0:
            after = dismiss(before, event, history=self.config.history)
            self._keep(event.user_id, after)
            return Dismissal(event, before, context, after)
        after = add_event(before, event, gap_ms=gap_ms, context=self.config.context, history=self.config.history)
        self._keep(event.user_id, after)
        self.interactions += 1
        return Interaction(event, before, context, after, self.interactions <= self.for_all)

    def _keep(self, user_id: str, state: UserState) -> None:
        self.users.pop(user_id, None)  # to the end of the order
        self.users[user_id] = state
        if len(self.users) > self.bound:
            del self.users[next(iter(self.users))]
            self.counts["evicted"] += 1

    def snapshot(self) -> bytes:
        """The bucket as versioned bytes."""
        return b"".join(self.frozen()())

    def frozen(self) -> Callable[[], Iterator[bytes]]:
        """What makes the pieces of a `snapshot` of the bucket as it is now, later and in another thread."""
        users, interactions = self.users.copy(), self.interactions
        return lambda: _pieces(interactions, users)

    def restore(self, snapshot: bytes | bytearray) -> None:
        """Go on from a `snapshot`. Raises `SnapshotError` for another version's."""
        if not snapshot.startswith(SNAPSHOT_VERSION):
            raise SnapshotError(
                "The recovery folder holds user states of another version of FreshFlow; resume with that version, "
                "or start anew with an empty --recovery folder."
            )
        at = len(SNAPSHOT_VERSION)
        head, *parts = frames(memoryview(snapshot)[at:])
        self.interactions = msgspec.msgpack.decode(head, type=int)
        self.users = {
            user_id: with_shared_ids(state)
            for part in parts
            for user_id, state in msgspec.msgpack.decode(part, type=dict[str, UserState]).items()
        }


def _pieces(interactions: int, users: dict[str, UserState]) -> Iterator[bytes]:
    yield SNAPSHOT_VERSION
    yield framed(msgspec.msgpack.encode(interactions))
    remaining = iter(users.items())
    while part := dict(islice(remaining, AT_ONCE)):
        yield framed(msgspec.msgpack.encode(part))
