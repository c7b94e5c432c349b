"""The state of one user, and what an event makes of it: plain values in, plain values out.

A session is a run of events without a gap of more than `gap_ms`, or, where events name it, one `session_id`. The
*context* of a moment is what the user has in mind then: the running session's items, or, when a new session starts,
the last items of the history.

Events come out of order. One that is older than its user's latest is put where its time says (`add_earlier`), in the
context of what was known of that time (`as_of`), as if it had come then; what a state does not tell, how often and when
exactly before their latest time items were seen, stays as it is.
"""

from array import array
from bisect import bisect_right
from hashlib import blake2b
from struct import pack, unpack_from

import msgspec
from msgspec import structs

from freshflow.events.model import Behaviour
from freshflow.users.bot_filter import HEAVY, NO_LIMITS, NoiseLimits
from freshflow.users.interning import shared

__all__ = [
    "COUNTS",
    "FINGERPRINTS",
    "FINGERPRINT_BYTES",
    "NEW_USER",
    "TIMES",
    "Context",
    "Searched",
    "UserState",
    "add_earlier",
    "add_event",
    "add_search",
    "as_of",
    "context_at",
    "dismiss",
    "is_duplicate",
    "packed",
    "with_shared_ids",
]

# A retry of a producer comes within its user's next seven events; more would cost memory for every user.
FINGERPRINTS, FINGERPRINT_BYTES = 8, 8
SEARCH_VISITS = 10  # after a search that may come of it
# How event times and counts are packed: eight bytes and four, in the machine's order.
TIMES, COUNTS = "q", "I"
TIME_BYTES, COUNT_BYTES = array(TIMES).itemsize, array(COUNTS).itemsize


class Searched(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A user's latest search, while it counts: the keys of its query, its event time, and the visits since."""

    keys: tuple[str, ...]
    ts_ms: int
    visits: int = 0


class UserState(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is known of a user after their latest event.

    `session` and `items` hold distinct item ids, the least recent first; ids are shared, as many users know the same.
    `seen_ms` (event time of the latest event with the item) and `counts` stand beside `items`, packed: as tuples they
    would take five times the memory, and ranking wants arrays. `session_length` counts events, repeats included.
    `place` is where the latest event's item stood in the session before it (0: it came again at once, 1: second to
    last, and so on), or -1 if it was new there; `stays` counts how often it came again at once.
    `dismissed` items are not to be shown. `fingerprints` are hashes of the latest events, of eight bytes each, to
    recognise duplicates. `haste_ms` and `unseen_in_a_row` are what `freshflow.users.bot_filter` goes by. `search` is the
    latest search, for as long as what the user does may come of it. `bought` are items with the time of their latest
    purchase (`freshflow.users.purchases`), kept where a rule asks for them.
    """

    session: tuple[str, ...] = ()
    session_id: str | None = None
    session_length: int = 0
    place: int = -1
    stays: int = 0
    last_ms: int = 0
    items: tuple[str, ...] = ()
    packed_seen_ms: bytes = b""
    packed_counts: bytes = b""
    dismissed: tuple[str, ...] = ()
    fingerprints: bytes = b""
    haste_ms: int = 0
    unseen_in_a_row: int = 0
    search: Searched | None = None
    bought: tuple[tuple[str, int], ...] = ()

    @property
    def seen_ms(self) -> tuple[int, ...]:
        """Event time of the latest event with each item."""
        return tuple(array(TIMES, self.packed_seen_ms))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many events there were with each item."""
        return tuple(array(COUNTS, self.packed_counts))


NEW_USER = UserState()


class Context(msgspec.Struct, frozen=True, gc=False):
    """The moment a list is made for: item ids in mind, the most recent first, and whether a session is running."""

    items: tuple[str, ...]
    session_length: int
    idle_ms: int


def context_at(state: UserState, now_ms: int, *, gap_ms: int, limit: int, session_id: str | None = None) -> Context:
    """The context at `now_ms`: the running session, or at a session's start the last `limit` items of the history.

    A `session_id` that differs from the running one starts a session at once; the same one extends it beyond the gap.
    """
    idle_ms = max(0, now_ms - state.last_ms)
    if _same_session(state, idle_ms, gap_ms, session_id):
        return Context(state.session[: -limit - 1 : -1], state.session_length, idle_ms)
    return Context(state.items[: -limit - 1 : -1], 0, idle_ms)


def add_event(
    state: UserState, event: Behaviour, *, gap_ms: int, context: int, history: int, limits: NoiseLimits = NO_LIMITS
) -> UserState:
    """The state after `event`: session extended or started anew, the item moved to the end of the history.

    `context` bounds the session's items and `history` the items remembered; the least recent go first. The event is not
    older than the latest one: see `add_earlier`.
    """
    item = shared(event.item_id)
    since_ms = event.ts_ms - state.last_ms
    running = _same_session(state, since_ms, gap_ms, event.session_id)
    session = _moved_to_end(state.session, item) if running else (item,)
    place = _place(state.session, item) if running else -1
    items, seen_ms, counts = _remember(state, item, event.ts_ms)
    session, items = session[-context:], items[-history:]
    haste_ms = state.haste_ms + limits.pause_ms - since_ms
    return UserState(
        session=items if session == items else session,  # most users have but one, and need no other tuple for it
        session_id=event.session_id or (state.session_id if running else None),
        session_length=state.session_length + 1 if running else 1,
        place=place,
        stays=state.stays + 1 if place == 0 else 0,
        last_ms=event.ts_ms,
        items=items,
        packed_seen_ms=seen_ms[-history * TIME_BYTES :],
        packed_counts=counts[-history * COUNT_BYTES :],
        dismissed=_without(state.dismissed, item),
        fingerprints=_fingerprints(state, event),
        haste_ms=0 if haste_ms <= 0 else min(haste_ms, 2 * limits.window_ms),
        unseen_in_a_row=_unseen_in_a_row(state, event) if limits.unseen else 0,
        search=None if state.search is None else _search_after(state, state.search, event.ts_ms, gap_ms),
        bought=state.bought,
    )


def add_search(state: UserState, keys: tuple[str, ...], ts_ms: int, *, gap_ms: int) -> UserState:
    """The state after a search for what these keys stand for; one that comes too late to count changes nothing."""
    known = state.search
    if not keys or state.last_ms - ts_ms > gap_ms or (known is not None and known.ts_ms >= ts_ms):
        return state
    return structs.replace(state, search=Searched(keys, ts_ms))


def _search_after(state: UserState, search: Searched, ts_ms: int, gap_ms: int) -> Searched | None:
    """The search, if it still counts at an event at `ts_ms`: there was no pause longer than the gap since."""
    if ts_ms < search.ts_ms:
        return search if search.ts_ms - ts_ms <= gap_ms else None
    if ts_ms - max(search.ts_ms, state.last_ms) > gap_ms or search.visits == SEARCH_VISITS:
        return None
    return structs.replace(search, visits=search.visits + 1)


def as_of(state: UserState, ts_ms: int, *, gap_ms: int) -> UserState:
    """What `state` tells of the user at `ts_ms`, before its latest event: items that were seen later are left out.

    The session is what is left of the running one, or else the items before it without a gap between them.
    """
    times = state.seen_ms
    known = bisect_right(times, ts_ms)
    start = len(state.items) - len(state.session)
    if known > start:
        length = max(known - start, state.session_length - (len(state.items) - known))
    else:
        start = _chain_start(times[:known], ts_ms, gap_ms)
        length = known - start
    return UserState(
        session=state.items[start:known],
        session_length=length,
        last_ms=times[known - 1] if known else 0,
        items=state.items[:known],
        packed_seen_ms=state.packed_seen_ms[: known * TIME_BYTES],
        packed_counts=state.packed_counts[: known * COUNT_BYTES],
        dismissed=state.dismissed,
    )


def add_earlier(state: UserState, event: Behaviour, *, gap_ms: int, context: int, history: int) -> UserState:
    """The state after an `event` that is older than the latest one: the item stands where its time belongs.

    The event belongs to the running session if it came in it, or up to the gap before it; then it may join that session
    to the one before. If it came in the running session and names another, the running one began after it. Neither the
    user's clock nor a dismissal of the item is undone.
    """
    item, fingerprints = shared(event.item_id), _fingerprints(state, event)
    if item in state.dismissed:
        return structs.replace(state, fingerprints=fingerprints)
    times = state.seen_ms
    start, length, joins = _session_with(state, event, times, context, gap_ms)
    known = bisect_right(times, event.ts_ms)
    later = len(times) - known  # items that were seen after the event
    behind = len(times) - start  # items of the session, the event's not counted
    at = state.items.index(item) if item in state.items else -1
    if at >= known:  # it was seen later, too
        items, seen_ms, counts = state.items, state.packed_seen_ms, _counted(state.packed_counts, at)
    else:
        behind += joins - (at >= start)
        items, seen_ms, counts = _remember(state, item, event.ts_ms)
        items, seen_ms, counts = _moved_from_end(items, seen_ms, counts, later)
    items = items[-history:]
    came_before_itself = joins and at == len(times) - 1 and at >= known
    place = state.place if not came_before_itself else later - 1 if state.place < 0 else min(state.place, later - 1)
    session = items[len(items) - min(behind, context, len(items)) :]
    return structs.replace(
        state,
        session=items if session == items else session,
        session_id=state.session_id or (event.session_id if joins else None),
        session_length=length,
        place=place,
        stays=state.stays + 1 if came_before_itself and later == 1 else state.stays,
        items=items,
        packed_seen_ms=seen_ms[-history * TIME_BYTES :],
        packed_counts=counts[-history * COUNT_BYTES :],
        fingerprints=fingerprints,
    )


def dismiss(state: UserState, event: Behaviour, *, history: int, limits: NoiseLimits = NO_LIMITS) -> UserState:
    """The state after the user turned `event.item_id` down: out of mind, out of the history, and not to be shown.

    At most `history` dismissed items are remembered, the least recent go first; an event with the item takes it back,
    also one that came before the dismissal arrives.
    """
    item = shared(event.item_id)
    if item in state.items and state.seen_ms[state.items.index(item)] > event.ts_ms:
        return structs.replace(state, fingerprints=_fingerprints(state, event))
    items, seen_ms, counts = _forgotten(state, item)
    since_ms = event.ts_ms - state.last_ms
    haste_ms = state.haste_ms + limits.pause_ms - since_ms if since_ms >= 0 else state.haste_ms
    return structs.replace(
        state,
        haste_ms=min(max(0, haste_ms), 2 * limits.window_ms),
        session=_without(state.session, item),
        last_ms=max(state.last_ms, event.ts_ms),
        items=items,
        packed_seen_ms=seen_ms,
        packed_counts=counts,
        dismissed=(*_without(state.dismissed, item), item)[-history:],
        fingerprints=_fingerprints(state, event),
    )


def with_shared_ids(state: UserState) -> UserState:
    """The same state, with the ids that other states hold as well."""
    items, session, dismissed = (tuple(map(shared, ids)) for ids in (state.items, state.session, state.dismissed))
    bought = tuple((shared(item), ts_ms) for item, ts_ms in state.bought)
    session = items if session == items else session
    return structs.replace(state, items=items, session=session, dismissed=dismissed, bought=bought)


def is_duplicate(state: UserState, event: Behaviour) -> bool:
    """Whether `event` is among the user's latest: by `event_id`, or else by item, type and time."""
    if not state.fingerprints:
        return False
    fingerprint = _fingerprint(event)
    at = state.fingerprints.find(fingerprint)
    while at > 0 and at % FINGERPRINT_BYTES:  # where two others meet
        at = state.fingerprints.find(fingerprint, at + 1)
    return at >= 0


def _fingerprints(state: UserState, event: Behaviour) -> bytes:
    fingerprint = _fingerprint(event)
    if state.fingerprints.endswith(fingerprint):  # events of one record share an id, and take the place of one
        return state.fingerprints
    return state.fingerprints[(1 - FINGERPRINTS) * FINGERPRINT_BYTES :] + fingerprint


def _fingerprint(event: Behaviour) -> bytes:
    text = event.event_id or f"{event.type}\n{event.ts_ms}\n{event.item_id}"
    return blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).digest()


def _unseen_in_a_row(state: UserState, event: Behaviour) -> int:
    return state.unseen_in_a_row + 1 if event.weight >= HEAVY and event.item_id not in state.items else 0


def _same_session(state: UserState, idle_ms: int, gap_ms: int, session_id: str | None) -> bool:
    if state.session_length == 0:
        return False
    if session_id is not None and state.session_id is not None:
        return session_id == state.session_id
    return idle_ms <= gap_ms


def _session_with(
    state: UserState, event: Behaviour, times: tuple[int, ...], context: int, gap_ms: int
) -> tuple[int, int, bool]:
    """Where the running session starts in the history and its events, once `event` is in it; whether it is in it."""
    start, length = len(times) - len(state.session), state.session_length
    known = bisect_right(times, event.ts_ms)
    named = event.session_id is not None and state.session_id is not None
    if named and event.session_id != state.session_id:
        return (known, len(times) - known, False) if known > start else (start, length, False)
    opened_ms = times[start] if start < len(times) else state.last_ms
    if known < start or not (named or opened_ms - event.ts_ms <= gap_ms):
        return start, length, False
    if known > start or state.session_id or event.session_id or start < len(times) - context + 1:
        return start, length + 1, True
    joined = _chain_start(times[:start], event.ts_ms, gap_ms)
    return joined, length + 1 + start - joined, True


def _chain_start(times: tuple[int, ...], end_ms: int, gap_ms: int) -> int:
    """From which of rising `times` on there is no gap until `end_ms`."""
    start = len(times)
    while start and end_ms - times[start - 1] <= gap_ms:
        start -= 1
        end_ms = times[start]
    return start


def _without(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(other for other in items if other != item) if item in items else items


def _place(items: tuple[str, ...], item: str) -> int:
    return len(items) - 1 - items.index(item) if item in items else -1


def _moved_to_end(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return (*_without(items, item), item)


def packed(kind: str, *numbers: int) -> bytes:
    """Event times (`TIMES`) or counts (`COUNTS`) as a user's state holds them."""
    return pack(kind * len(numbers), *numbers)


def _remember(state: UserState, item: str, now_ms: int) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, with `item` at the end."""
    count = 1
    if item in state.items:
        count += unpack_from(COUNTS, state.packed_counts, state.items.index(item) * COUNT_BYTES)[0]
    items, seen_ms, counts = _forgotten(state, item)
    return (*items, item), seen_ms + packed(TIMES, now_ms), counts + packed(COUNTS, count)


def _counted(counts: bytes, at: int) -> bytes:
    """Counts, with one more of item number `at`."""
    numbers = array(COUNTS, counts)
    numbers[at] += 1
    return numbers.tobytes()


def _moved_from_end(
    items: tuple[str, ...], seen_ms: bytes, counts: bytes, later: int
) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, with the last one moved in front of `later` others."""
    at = len(items) - 1 - later
    time, count = at * TIME_BYTES, at * COUNT_BYTES
    return (
        (*items[:at], items[-1], *items[at:-1]),
        seen_ms[:time] + seen_ms[-TIME_BYTES:] + seen_ms[time:-TIME_BYTES],
        counts[:count] + counts[-COUNT_BYTES:] + counts[count:-COUNT_BYTES],
    )


def _forgotten(state: UserState, item: str) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, without `item`."""
    items, seen_ms, counts = state.items, state.packed_seen_ms, state.packed_counts
    if item not in items:
        return items, seen_ms, counts
    at = items.index(item)
    time, count = at * TIME_BYTES, at * COUNT_BYTES
    return (
        (*items[:at], *items[at + 1 :]),
        seen_ms[:time] + seen_ms[time + TIME_BYTES :],
        counts[:count] + counts[count + COUNT_BYTES :],
    )
