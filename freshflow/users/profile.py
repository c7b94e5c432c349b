"""Profile of one user, and pure functions that update it by an event.

A session is a sequence of events without a gap of more than `gap_ms` or, if events have a `session_id`, of one
`session_id`. The *context* of an event is the list of recent items: those of the running session or, when a new session
starts, the last items of the history.

Events older than their user's latest one: `freshflow.users.out_of_order`.
"""

from array import array
from hashlib import blake2b
from struct import pack, unpack_from

import msgspec
from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.bot_filter import HEAVY_EVENT_WEIGHT, NO_BOT_LIMITS, BotLimits
from freshflow.users.interning import intern_id

# Retries of a producer arrive within the user's next seven events; more fingerprints cost memory for every user.
MAX_FINGERPRINTS, FINGERPRINT_BYTES = 8, 8
MAX_SEARCH_VISITS = 10  # visits attributed to a search
# Type codes of packed times and counts: 8 and 4 bytes, in native byte order.
TIME_TYPE, COUNT_TYPE = "q", "I"
TIME_BYTES, COUNT_BYTES = array(TIME_TYPE).itemsize, array(COUNT_TYPE).itemsize


class RecentSearch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A user's latest search while it is recent: the keys of its query, its event time, and the visits since."""

    keys: tuple[str, ...]
    ts_ms: int
    n_visits: int = 0


class UserProfile(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The profile of a user after their latest event.

    Attributes:
        session: Distinct item ids of the running session, the least recent first. Ids are interned.
        session_id: The id of the session, if events have one.
        session_length: Events of the session, repeats included.
        session_position: Position of the latest event's item in the session before it, from the end (0: an immediate
            repeat, 1: second to last, and so on), or -1 if it was new in the session.
        n_immediate_repeats: Immediate repeats of that item in a row.
        last_ms: Time of the latest event.
        items: Distinct item ids of the history, the least recent first.
        packed_seen_ms: Times of the latest event with each item of `items`, as `TIME_TYPE`. Packed numbers take a fifth
            of the memory of tuples, and ranking needs arrays.
        packed_counts: Events with each item of `items`, as `COUNT_TYPE`.
        dismissed_items: Items that are not to be recommended.
        fingerprints: Hashes of the latest events, of `FINGERPRINT_BYTES` each, to detect duplicates.
        rate_excess_ms: Rate excess of the user (`freshflow.users.bot_filter`).
        n_consecutive_unseen: Heavy events in a row on unseen items (`freshflow.users.bot_filter`).
        search: The latest search while visits can still result from it.
        purchases: Items with the time of their latest purchase (`freshflow.users.purchases`), if a rule needs them.
    """

    session: tuple[str, ...] = ()
    session_id: str | None = None
    session_length: int = 0
    session_position: int = -1
    n_immediate_repeats: int = 0
    last_ms: int = 0
    items: tuple[str, ...] = ()
    packed_seen_ms: bytes = b""
    packed_counts: bytes = b""
    dismissed_items: tuple[str, ...] = ()
    fingerprints: bytes = b""
    rate_excess_ms: int = 0
    n_consecutive_unseen: int = 0
    search: RecentSearch | None = None
    purchases: tuple[tuple[str, int], ...] = ()

    @property
    def seen_ms(self) -> tuple[int, ...]:
        """Event time of the latest event with each item."""
        return tuple(array(TIME_TYPE, self.packed_seen_ms))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of events with each item."""
        return tuple(array(COUNT_TYPE, self.packed_counts))


NEW_USER = UserProfile()


class Context(msgspec.Struct, frozen=True, gc=False):
    """The context of a list: recent item ids, the most recent first, the session length, and the idle time.

    `session_length` is 0 at the start of a session.
    """

    items: tuple[str, ...]
    session_length: int
    idle_ms: int


def context_at(
    profile: UserProfile, now_ms: int, *, gap_ms: int, max_items: int, session_id: str | None = None
) -> Context:
    """Return the context at a time: the items of the running session, or of the history if a session starts.

    Args:
        profile: The profile.
        now_ms: The time.
        gap_ms: The session gap.
        max_items: The maximum number of items.
        session_id: The session id of the event: a different one starts a session at once, the same one extends it
            beyond the gap.
    """
    idle_ms = max(0, now_ms - profile.last_ms)
    if _is_same_session(profile, idle_ms, gap_ms, session_id):
        return Context(profile.session[: -max_items - 1 : -1], profile.session_length, idle_ms)
    return Context(profile.items[: -max_items - 1 : -1], 0, idle_ms)


def add_event(
    profile: UserProfile,
    event: Interaction,
    *,
    gap_ms: int,
    max_context: int,
    max_history: int,
    bot_limits: BotLimits = NO_BOT_LIMITS,
) -> UserProfile:
    """Return the profile after an event that is not older than the latest one (others: `users.out_of_order`).

    The session is extended or a new one started; the item moves to the end of the history.

    Args:
        profile: The profile before.
        event: The event.
        gap_ms: The session gap.
        max_context: The maximum number of session items; the least recent are dropped.
        max_history: The maximum number of items in the history; the least recent are dropped.
        bot_limits: The limits of the bot filter.
    """
    item = intern_id(event.item_id)
    elapsed_ms = event.ts_ms - profile.last_ms
    is_same_session = _is_same_session(profile, elapsed_ms, gap_ms, event.session_id)
    session = _move_to_end(profile.session, item) if is_same_session else (item,)
    session_position = _session_position(profile.session, item) if is_same_session else -1
    items, seen_ms, counts = append_to_history(profile, item, event.ts_ms)
    session, items = session[-max_context:], items[-max_history:]
    rate_excess_ms = profile.rate_excess_ms + bot_limits.min_interval_ms - elapsed_ms
    return UserProfile(
        session=items if session == items else session,  # most users have one session only: share the tuple
        session_id=event.session_id or (profile.session_id if is_same_session else None),
        session_length=profile.session_length + 1 if is_same_session else 1,
        session_position=session_position,
        n_immediate_repeats=profile.n_immediate_repeats + 1 if session_position == 0 else 0,
        last_ms=event.ts_ms,
        items=items,
        packed_seen_ms=seen_ms[-max_history * TIME_BYTES :],
        packed_counts=counts[-max_history * COUNT_BYTES :],
        dismissed_items=_remove_item(profile.dismissed_items, item),
        fingerprints=append_fingerprint(profile, event),
        rate_excess_ms=0 if rate_excess_ms <= 0 else min(rate_excess_ms, 2 * bot_limits.window_ms),
        n_consecutive_unseen=_count_consecutive_unseen(profile, event) if bot_limits.max_unseen else 0,
        search=None if profile.search is None else _advance_search(profile, profile.search, event.ts_ms, gap_ms),
        purchases=profile.purchases,
    )


def add_search(profile: UserProfile, keys: tuple[str, ...], ts_ms: int, *, gap_ms: int) -> UserProfile:
    """Return the profile after a search, unchanged if the search is outdated or its query has no keys.

    Args:
        profile: The profile before.
        keys: The keys of the query.
        ts_ms: The time of the search.
        gap_ms: The session gap.
    """
    previous_search = profile.search
    if not keys or profile.last_ms - ts_ms > gap_ms or (previous_search is not None and previous_search.ts_ms >= ts_ms):
        return profile
    return structs.replace(profile, search=RecentSearch(keys, ts_ms))


def _advance_search(profile: UserProfile, search: RecentSearch, ts_ms: int, gap_ms: int) -> RecentSearch | None:
    """Return the search with one more visit, or None if it is no longer recent at `ts_ms`."""
    if ts_ms < search.ts_ms:
        return search if search.ts_ms - ts_ms <= gap_ms else None
    if ts_ms - max(search.ts_ms, profile.last_ms) > gap_ms or search.n_visits == MAX_SEARCH_VISITS:
        return None
    return structs.replace(search, n_visits=search.n_visits + 1)


def add_dismissal(
    profile: UserProfile, event: Interaction, *, max_history: int, bot_limits: BotLimits = NO_BOT_LIMITS
) -> UserProfile:
    """Return the profile after a dismissal: the item leaves the session and the history, and is not recommended again.

    A later event with the item undoes the dismissal, also if it is processed before the dismissal.

    Args:
        profile: The profile before.
        event: The dismissal.
        max_history: The maximum number of dismissed items; the least recent are dropped.
        bot_limits: The limits of the bot filter.
    """
    item = intern_id(event.item_id)
    if item in profile.items and profile.seen_ms[profile.items.index(item)] > event.ts_ms:
        return structs.replace(profile, fingerprints=append_fingerprint(profile, event))
    items, seen_ms, counts = _remove_from_history(profile, item)
    elapsed_ms = event.ts_ms - profile.last_ms
    rate_excess_ms = (
        profile.rate_excess_ms + bot_limits.min_interval_ms - elapsed_ms if elapsed_ms >= 0 else profile.rate_excess_ms
    )
    return structs.replace(
        profile,
        rate_excess_ms=min(max(0, rate_excess_ms), 2 * bot_limits.window_ms),
        session=_remove_item(profile.session, item),
        last_ms=max(profile.last_ms, event.ts_ms),
        items=items,
        packed_seen_ms=seen_ms,
        packed_counts=counts,
        dismissed_items=(*_remove_item(profile.dismissed_items, item), item)[-max_history:],
        fingerprints=append_fingerprint(profile, event),
    )


def intern_ids(profile: UserProfile) -> UserProfile:
    """Return the profile with interned ids."""
    items, session, dismissed_items = (
        tuple(map(intern_id, ids)) for ids in (profile.items, profile.session, profile.dismissed_items)
    )
    purchases = tuple((intern_id(item), ts_ms) for item, ts_ms in profile.purchases)
    session = items if session == items else session
    return structs.replace(profile, items=items, session=session, dismissed_items=dismissed_items, purchases=purchases)


def is_duplicate(profile: UserProfile, event: Interaction) -> bool:
    """Return true if `event` is among the user's latest events: by `event_id`, or else by item, type and time."""
    if not profile.fingerprints:
        return False
    fingerprint = _fingerprint(event)
    index = profile.fingerprints.find(fingerprint)
    while index > 0 and index % FINGERPRINT_BYTES:  # a match across the border of two fingerprints
        index = profile.fingerprints.find(fingerprint, index + 1)
    return index >= 0


def append_fingerprint(profile: UserProfile, event: Interaction) -> bytes:
    """Return the fingerprints of a profile with that of an event; the oldest is dropped if there are too many."""
    fingerprint = _fingerprint(event)
    if profile.fingerprints.endswith(fingerprint):  # events of one record share an id and need one fingerprint
        return profile.fingerprints
    return profile.fingerprints[(1 - MAX_FINGERPRINTS) * FINGERPRINT_BYTES :] + fingerprint


def _fingerprint(event: Interaction) -> bytes:
    text = event.event_id or f"{event.type}\n{event.ts_ms}\n{event.item_id}"
    return blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).digest()


def _count_consecutive_unseen(profile: UserProfile, event: Interaction) -> int:
    return (
        profile.n_consecutive_unseen + 1
        if event.weight >= HEAVY_EVENT_WEIGHT and event.item_id not in profile.items
        else 0
    )


def _is_same_session(profile: UserProfile, idle_ms: int, gap_ms: int, session_id: str | None) -> bool:
    if profile.session_length == 0:
        return False
    if session_id is not None and profile.session_id is not None:
        return session_id == profile.session_id
    return idle_ms <= gap_ms


def _remove_item(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(element for element in items if element != item) if item in items else items


def _session_position(items: tuple[str, ...], item: str) -> int:
    return len(items) - 1 - items.index(item) if item in items else -1


def _move_to_end(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return (*_remove_item(items, item), item)


def pack_numbers(type_code: str, *numbers: int) -> bytes:
    """Pack event times (`TIME_TYPE`) or counts (`COUNT_TYPE`) as in a profile."""
    return pack(type_code * len(numbers), *numbers)


def append_to_history(profile: UserProfile, item: str, now_ms: int) -> tuple[tuple[str, ...], bytes, bytes]:
    """Return the history with an item moved to its end.

    Args:
        profile: The profile before.
        item: The interned id of the item.
        now_ms: The time of the event with the item.

    Returns:
        The items, their packed times and their packed counts.
    """
    item_count = 1
    if item in profile.items:
        item_count += unpack_from(COUNT_TYPE, profile.packed_counts, profile.items.index(item) * COUNT_BYTES)[0]
    items, seen_ms, counts = _remove_from_history(profile, item)
    return (*items, item), seen_ms + pack_numbers(TIME_TYPE, now_ms), counts + pack_numbers(COUNT_TYPE, item_count)


def _remove_from_history(profile: UserProfile, item: str) -> tuple[tuple[str, ...], bytes, bytes]:
    """Return items, times and counts without `item`."""
    items, seen_ms, counts = profile.items, profile.packed_seen_ms, profile.packed_counts
    if item not in items:
        return items, seen_ms, counts
    index = items.index(item)
    time_offset, count_offset = index * TIME_BYTES, index * COUNT_BYTES
    return (
        (*items[:index], *items[index + 1 :]),
        seen_ms[:time_offset] + seen_ms[time_offset + TIME_BYTES :],
        counts[:count_offset] + counts[count_offset + COUNT_BYTES :],
    )
