"""The users of one bucket: a bounded table from user id to state, and what each event makes of it."""

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import structs

from freshflow.config import Config, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.types import Behaviour, Event, Forget, ItemUpdate
from freshflow.users.interactions import Ask, Departure, Dismissal, Interaction, Step
from freshflow.users.retention import LOOK_EVERY, away_too_long
from freshflow.users.state import NEW_USER, UserState, add_event, context_at, dismiss, is_duplicate, with_shared_ids

__all__ = ["UserBucket"]

SNAPSHOT_VERSION = b"freshflow-users-3\n"


class UserBucket:
    """At most `bound` users, the least recently active go first. Users are kept in the order of their last event.

    Who has been away for longer than `config.idle_s` is not kept either; they are looked for after every
    `LOOK_EVERY`th interaction. The first `for_all` interactions are those that teach the rankers of all partitions.
    """

    def __init__(self, config: UsersConfig, bound: int, for_all: int = 0) -> None:
        self.config = config
        self.bound = bound
        self.for_all = for_all
        self.interactions = 0
        self.users: dict[str, UserState] = {}
        self.counts: Counter[str] = Counter()
        self._idle_ms = int(config.idle_s * 1000)
        self._left: list[Departure] = []

    @classmethod
    def of_partition(cls, config: Config) -> "UserBucket":
        """The bucket of one of the job's partitions."""
        partitions = config.job.partitions
        for_all = config.ranker.shared // partitions if partitions > 1 else 0
        return cls(config.users, max(1, config.users.max // partitions), for_all)

    def take(self, events: Iterable[Event]) -> list[Step]:
        """Each event in order, with all that is known of its user; duplicates are dropped and counted.

        Behind an event follow the users whom it made leave.
        """
        steps: list[Step] = []
        for event in events:
            step = self._step(event)
            if step is not None:
                steps.append(step)
            if self._left:
                steps += self._left
                self._left = []
        return steps

    def _step(self, event: Event) -> Step | None:
        if isinstance(event, Behaviour):
            return self._behaviour(event)
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Forget):
            known = self.users.pop(event.user_id, None) is not None
            return structs.replace(event, known=known)
        return Ask(event, self.users.get(event.user_id, NEW_USER))

    def _behaviour(self, event: Behaviour) -> Step | None:
        before = self.users.get(event.user_id, NEW_USER)
        if is_duplicate(before, event):
            self.counts["duplicate"] += 1
            return None
        if event.weight == 0:
            self.counts["ignored"] += 1
            return None
        gap_ms = int(self.config.session_gap_s * 1000)
        context = context_at(before, event.ts_ms, gap_ms=gap_ms, limit=self.config.context, session_id=event.session_id)
        if event.weight < 0:
            after = dismiss(before, event, history=self.config.history)
            self._keep(event, after)
            return Dismissal(event, before, context, after)
        after = add_event(before, event, gap_ms=gap_ms, context=self.config.context, history=self.config.history)
        self._keep(event, after)
        self.interactions += 1
        if self._idle_ms and self.interactions % LOOK_EVERY == 0:
            for user_id in away_too_long(self.users, self._idle_ms):
                self._leave(event, user_id, idle=True)
        return Interaction(event, before, context, after, self.interactions <= self.for_all)

    def _keep(self, event: Behaviour, state: UserState) -> None:
        self.users.pop(event.user_id, None)  # to the end of the order
        self.users[event.user_id] = state
        if len(self.users) > self.bound:
            self._leave(event, next(iter(self.users)), idle=False)

    def _leave(self, after: Behaviour, user_id: str, *, idle: bool) -> None:
        del self.users[user_id]
        self.counts["idle" if idle else "evicted"] += 1
        self._left.append(Departure(after.position, user_id, idle))

    def snapshot(self) -> bytes:
        """The bucket as versioned bytes."""
        return SNAPSHOT_VERSION + msgspec.msgpack.encode((self.interactions, self.users))

    def restore(self, snapshot: bytes) -> None:
        """Go on from a `snapshot`. Raises `SnapshotError` for another version's."""
        if not snapshot.startswith(SNAPSHOT_VERSION):
            raise SnapshotError(
                "The recovery folder holds user states of another version of FreshFlow; resume with that version, "
                "or start anew with an empty --recovery folder."
            )
        kept = msgspec.msgpack.decode(snapshot[len(SNAPSHOT_VERSION) :], type=tuple[int, dict[str, UserState]])
        self.interactions = kept[0]
        self.users = {user_id: with_shared_ids(state) for user_id, state in kept[1].items()}
