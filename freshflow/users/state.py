"""The state of one user, and what an event makes of it: plain values in, plain values out.

A session is a run of events without a gap of more than `gap_ms`, or, where events name it, one `session_id`. The
*context* of a moment is what the user has in mind then: the running session's items, or, when a new session starts,
the last items of the history.
"""

from array import array
from hashlib import blake2b
from sys import intern

import msgspec
from msgspec import structs

from freshflow.events.types import Behaviour

__all__ = [
    "COUNTS",
    "FINGERPRINT_BYTES",
    "NEW_USER",
    "TIMES",
    "Context",
    "UserState",
    "add_event",
    "context_at",
    "dismiss",
    "is_duplicate",
    "packed",
    "with_shared_ids",
]

# A retry of a producer comes within its user's next few events; more would cost memory for every user.
FINGERPRINTS, FINGERPRINT_BYTES = 8, 8
# How event times and counts are packed: eight bytes and four, in the machine's order.
TIMES, COUNTS = "q", "I"
TIME_BYTES, COUNT_BYTES = array(TIMES).itemsize, array(COUNTS).itemsize


class UserState(msgspec.Struct, frozen=True, gc=False):
    """What is known of a user after their latest event.

    `session` and `items` hold distinct item ids, the least recent first; ids are interned, as many users know the same.
    `seen_ms` (event time of the latest event with the item) and `counts` stand beside `items`, packed: as tuples they
    would take five times the memory, and ranking wants arrays. `session_length` counts events, repeats included.
    `place` is where the latest event's item stood in the session before it (0: it came again at once, 1: second to
    last, and so on), or -1 if it was new there; `stays` counts how often it came again at once.
    `dismissed` items are not to be shown. `fingerprints` are hashes of the latest events, of eight bytes each, to
    recognise duplicates.
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


def add_event(state: UserState, event: Behaviour, *, gap_ms: int, context: int, history: int) -> UserState:
    """The state after `event`: session extended or started anew, the item moved to the end of the history.

    `context` bounds the session's items and `history` the items remembered; the least recent go first. An event that
    is older than the latest one counts as part of the present moment and does not set the user's clock back.
    """
    item = intern(event.item_id)
    running = _same_session(state, max(0, event.ts_ms - state.last_ms), gap_ms, event.session_id)
    session = _moved_to_end(state.session, item) if running else (item,)
    place = _place(state.session, item) if running else -1
    items, seen_ms, counts = _remember(state, item, max(state.last_ms, event.ts_ms))
    session, items = session[-context:], items[-history:]
    return UserState(
        session=items if session == items else session,  # most users have but one, and need no other tuple for it
        session_id=event.session_id or (state.session_id if running else None),
        session_length=state.session_length + 1 if running else 1,
        place=place,
        stays=state.stays + 1 if place == 0 else 0,
        last_ms=max(state.last_ms, event.ts_ms),
        items=items,
        packed_seen_ms=seen_ms[-history * TIME_BYTES :],
        packed_counts=counts[-history * COUNT_BYTES :],
        dismissed=_without(state.dismissed, item),
        fingerprints=_fingerprints(state, event),
    )


def dismiss(state: UserState, event: Behaviour, *, history: int) -> UserState:
    """The state after the user turned `event.item_id` down: out of mind, out of the history, and not to be shown.

    At most `history` dismissed items are remembered, the least recent go first; an event with the item takes it back.
    """
    item = intern(event.item_id)
    items, seen_ms, counts = _forgotten(state, item)
    return structs.replace(
        state,
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
    items, session, dismissed = (tuple(map(intern, ids)) for ids in (state.items, state.session, state.dismissed))
    return structs.replace(state, items=items, session=items if session == items else session, dismissed=dismissed)


def is_duplicate(state: UserState, event: Behaviour) -> bool:
    """Whether `event` is among the user's latest: by `event_id`, or else by item, type and time."""
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


def _same_session(state: UserState, idle_ms: int, gap_ms: int, session_id: str | None) -> bool:
    if state.session_length == 0:
        return False
    if session_id is not None and state.session_id is not None:
        return session_id == state.session_id
    return idle_ms <= gap_ms


def _without(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(other for other in items if other != item) if item in items else items


def _place(items: tuple[str, ...], item: str) -> int:
    return len(items) - 1 - items.index(item) if item in items else -1


def _moved_to_end(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return (*_without(items, item), item)


def packed(kind: str, *numbers: int) -> bytes:
    """Event times (`TIMES`) or counts (`COUNTS`) as a user's state holds them."""
    return array(kind, numbers).tobytes()


def _remember(state: UserState, item: str, now_ms: int) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, with `item` at the end."""
    count = 1
    if item in state.items:
        at = state.items.index(item) * COUNT_BYTES
        count += array(COUNTS, state.packed_counts[at : at + COUNT_BYTES])[0]
    items, seen_ms, counts = _forgotten(state, item)
    return (*items, item), seen_ms + packed(TIMES, now_ms), counts + packed(COUNTS, count)


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
