"""The users of one bucket: a bounded table from user id to state, and what each event makes of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import structs

from freshflow._framing import framed, frames
from freshflow.config.schema import Config, EventsConfig, NoiseConfig, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.model import Behaviour, Event, Forget, Identify, ItemUpdate, Origin, Rejected, Request, Search
from freshflow.events.query_keys import query_keys
from freshflow.users.bot_filter import NO_LIMITS, NoiseLimits, noise_kind
from freshflow.users.clock_skew import Clocks, Stream
from freshflow.users.idle_expiry import LOOK_EVERY, away_too_long
from freshflow.users.profile import (
    NEW_USER,
    Context,
    UserState,
    add_earlier,
    add_event,
    add_search,
    as_of,
    context_at,
    dismiss,
    is_duplicate,
    with_shared_ids,
)
from freshflow.users.profile_merge import merged
from freshflow.users.purchases import PURCHASE, with_bought
from freshflow.users.resequencer import Handover, HeldEvents
from freshflow.users.updates import Ask, Departure, Dismissal, Handed, Interaction, Join, Joined, Noise, Step

__all__ = ["SNAPSHOT_VERSION", "UserBucket", "what_is_kept"]

# Of a snapshot: interactions, counts, streams, what buckets of guests have handed on.
Head = tuple[int, dict[str, int], list[Stream], HeldEvents]
SNAPSHOT_VERSION = b"freshflow-users-10\n"
AT_ONCE = 1000  # users encoded in one call, which lets no other thread run


def what_is_kept(config: Config) -> dict[str, Any]:
    """What is kept of users, beside their histories, for those who ask for it: purchases and searches."""
    return {"bought_s": config.rules.hide_bought_s, "learns_searches": config.search.queries > 0}


class UserBucket:
    """At most `bound` users, the least recently active go first. Users are kept in the order of their last event.

    Who has been away for longer than `config.idle_s` is not kept either; they are looked for after every
    `LOOK_EVERY`th interaction. Purchases are remembered for `bought_s` seconds. The first `for_all` interactions are
    those that teach the rankers of all partitions.
    `counts` says how many events were a `duplicate`, `ignored` (of no weight), `late`, `reordered` (out of order, and
    put where they belong) or noise (`noise_rate`, `noise_repeats`, `noise_sequence`), how many users were dropped
    (`users_evicted`, `users_idle`), and how many guests became users of it (`guests_joined`).
    """

    def __init__(
        self,
        config: UsersConfig,
        bound: int,
        for_all: int = 0,
        noise: NoiseConfig | None = None,
        events: EventsConfig | None = None,
        *,
        bought_s: float = 0.0,
        learns_searches: bool = True,
    ) -> None:
        self.config = config
        self.events = events or EventsConfig()
        self.clocks = Clocks(self.events)
        self.handover = Handover()
        self.gap_ms = int(config.session_gap_s * 1000)
        self.lateness_ms = int(config.lateness_s * 1000)
        self.limits = NoiseLimits.of(noise) if noise is not None else NO_LIMITS
        self.bound = bound
        self.for_all = for_all
        self.learns_searches = learns_searches
        self.interactions = 0
        self.users: dict[str, UserState] = {}
        self._record: int | None = None  # position of the record whose events are being taken
        self._before_record = NEW_USER
        self.counts: Counter[str] = Counter()
        self._idle_ms = int(config.idle_s * 1000)
        self._bought_ms = int(bought_s * 1000)
        self._left: list[Departure] = []

    @classmethod
    def of_partition(cls, config: Config, variants: int = 1) -> "UserBucket":
        """The bucket of one of the job's partitions, each of which belongs to one of so many variants."""
        partitions = config.job.partitions
        taught = partitions // variants  # no variant teaches the rankers of another
        for_all = config.ranker.shared // taught if taught > 1 else 0
        bound = max(1, config.users.max // partitions)
        return cls(config.users, bound, for_all, config.noise, config.events, **what_is_kept(config))

    def read(self, origin: Origin, events: list[Event], read_ms: int) -> tuple[list[Step], list[Rejected]]:
        """The steps of the next events of an origin, read at `read_ms`, and what is refused as ahead of its stream."""
        believed, refused = self.clocks.take(origin, events, read_ms)
        return self.take(believed), refused

    def finish(self) -> list[tuple[Origin, list[Step], list[Rejected]]]:
        """The same for events that still wait at the end of all streams."""
        return [(origin, self.take(believed), refused) for origin, believed, refused in self.clocks.finish()]

    def take(self, events: Iterable[Event | Handed]) -> list[Step]:
        """Each event in order, with all that is known of its user; duplicates are dropped and counted.

        Behind an event follow the users whom it made leave. Events of one record stand together; they are duplicates of
        what came before the record, not of each other.
        """
        self._record = None
        return self.go_on(events)

    def go_on(self, events: Iterable[Event | Handed]) -> list[Step]:
        """The same of events that follow those before, perhaps in the same record."""
        steps: list[Step] = []
        for event in events:
            step = self._step(event)
            if step is not None:
                steps.append(step)
            if self._left:
                steps += self._left
                self._left = []
        return steps

    def _step(self, event: Event | Handed) -> Step | None:
        if isinstance(event, Behaviour):
            return self._behaviour(event)
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Forget):
            known = self.users.pop(event.user_id, None) is not None
            return structs.replace(event, known=known or event.known)
        if isinstance(event, Request | Search):
            user = self.users.get(event.user_id, NEW_USER)
            return Ask(event, self._searched(event, user) if isinstance(event, Search) else user)
        return None if isinstance(event, Identify) else self._handed(event)

    def _handed(self, handed: Handed) -> Step:
        """What a bucket of guests has handed on: a step of one of its guests, or what it knew of one."""
        if isinstance(handed, Join):
            return self._joined(handed)
        if isinstance(handed, Interaction):
            self.interactions += 1
            self._look(handed.event)
            return structs.replace(handed, for_all=self.interactions <= self.for_all)
        assert not isinstance(handed, Behaviour | Request | Search)
        return handed

    def _joined(self, join: Join) -> Joined:
        event, config = join.event, self.config
        before = self.users.get(event.user_id, NEW_USER)
        after = merged(before, join.guest, gap_ms=self.gap_ms, context=config.context, history=config.history)
        self._keep(event, after)
        self.counts["guests_joined"] += 1
        return Joined(event, after)

    def _searched(self, event: Search, before: UserState) -> UserState:
        """The user once they have searched."""
        if not self.learns_searches:
            return before
        after = add_search(before, query_keys(event.query), event.ts_ms, gap_ms=self.gap_ms)
        if after is not before:
            self._keep(event, after)
        return after

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
        behind_ms = before.last_ms - event.ts_ms
        if behind_ms > 0:
            return self._out_of_order(event, before, behind_ms)
        gap_ms, config = self.gap_ms, self.config
        context = context_at(before, event.ts_ms, gap_ms=gap_ms, limit=config.context, session_id=event.session_id)
        if event.weight < 0:
            after = dismiss(before, event, history=config.history, limits=self.limits)
        else:
            after = add_event(
                before, event, gap_ms=gap_ms, context=config.context, history=config.history, limits=self.limits
            )
        return self._taken(event, before, context, after)

    def _out_of_order(self, event: Behaviour, now: UserState, behind_ms: int) -> Step | None:
        """An event `behind_ms` older than its user's latest one, with the user as of then; a late one is none."""
        if behind_ms > self.lateness_ms:
            self.counts["late"] += 1
            return None
        self.counts["reordered"] += 1
        gap_ms, config = self.gap_ms, self.config
        before = as_of(now, event.ts_ms, gap_ms=gap_ms)
        context = context_at(before, event.ts_ms, gap_ms=gap_ms, limit=config.context)
        if event.weight < 0:
            after = dismiss(now, event, history=config.history, limits=self.limits)
        else:
            after = add_earlier(now, event, gap_ms=gap_ms, context=config.context, history=config.history)
        return self._taken(event, before, context, after)

    def _taken(self, event: Behaviour, before: UserState, context: Context, after: UserState) -> Step:
        if self._bought_ms and event.type == PURCHASE:
            after = with_bought(after, event, keep_ms=self._bought_ms, limit=self.config.history)
        self._keep(event, after)
        noise = noise_kind(after.haste_ms, after.stays, after.session_length, after.unseen_in_a_row, self.limits)
        if noise is not None and (event.weight > 0 or noise == "rate"):  # to turn down what was a loop is plausible
            self.counts[f"noise_{noise}"] += 1
            return Noise(event, after)
        if event.weight < 0:
            return Dismissal(event, before, context, after)
        self.interactions += 1
        self._look(event)
        return Interaction(event, before, context, after, self.interactions <= self.for_all)

    def _look(self, event: Behaviour) -> None:
        """Look for users who have been away for too long, if it is time to."""
        if self._idle_ms and self.interactions % LOOK_EVERY == 0:
            for user_id in away_too_long(self.users, self._idle_ms):
                self._leave(event, user_id, idle=True)

    def _keep(self, event: Behaviour | Identify | Search, state: UserState) -> None:
        self.users.pop(event.user_id, None)  # to the end of the order
        self.users[event.user_id] = state
        if len(self.users) > self.bound:
            self._leave(event, next(iter(self.users)), idle=False)

    def _leave(self, after: Behaviour | Identify | Search, user_id: str, *, idle: bool) -> None:
        del self.users[user_id]
        self.counts["users_idle" if idle else "users_evicted"] += 1
        self._left.append(Departure(after.position, user_id, idle, after.nth))

    def snapshot(self) -> bytes:
        """The bucket as versioned bytes."""
        return b"".join(self.frozen()())

    def frozen(self) -> Callable[[], Iterator[bytes]]:
        """What makes the pieces of a `snapshot` of the bucket as it is now, later and in another thread."""
        users = self.users.copy()
        streams = list(self.clocks.streams.values())
        head = msgspec.msgpack.encode((self.interactions, self.counts, streams, self.handover.state()))
        return lambda: _pieces(head, users)

    def restore(self, snapshot: bytes | bytearray) -> None:
        """Go on from a `snapshot`. Raises `SnapshotError` for another version's, and for a damaged one."""
        if not snapshot.startswith(SNAPSHOT_VERSION):
            raise SnapshotError(
                "The recovery folder holds user states of another version of FreshFlow; resume with that version, "
                "or start anew with an empty --recovery folder."
            )
        at = len(SNAPSHOT_VERSION)
        try:
            head, *parts = frames(memoryview(snapshot)[at:])
            self.interactions, counts, streams, held = msgspec.msgpack.decode(head, type=Head)
            self.counts, self.clocks, self.handover = Counter(counts), Clocks(self.events, streams), Handover(held)
            self.users = {
                user_id: with_shared_ids(state)
                for part in parts
                for user_id, state in msgspec.msgpack.decode(part, type=dict[str, UserState]).items()
            }
            for user_id in list(islice(self.users, max(0, len(self.users) - self.bound))):
                del self.users[user_id]  # there is room for fewer than there was
                self.counts["users_evicted"] += 1
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise SnapshotError(
                f"The recovery folder holds damaged user states ({error}); restore it, or give an empty one."
            ) from None


def _pieces(head: bytes, users: dict[str, UserState]) -> Iterator[bytes]:
    yield SNAPSHOT_VERSION
    yield framed(head)
    remaining = iter(users.items())
    while part := dict(islice(remaining, AT_ONCE)):
        yield framed(msgspec.msgpack.encode(part))
