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

from freshflow.events.model import Interaction
from freshflow.users.bot_filter import HEAVY_EVENT_WEIGHT, NO_BOT_LIMITS, BotLimits
from freshflow.users.interning import intern_id

__all__ = [
    "COUNT_TYPE",
    "MAX_FINGERPRINTS",
    "FINGERPRINT_BYTES",
    "NEW_USER",
    "TIME_TYPE",
    "Context",
    "RecentSearch",
    "UserProfile",
    "add_out_of_order_event",
    "add_event",
    "add_search",
    "profile_at",
    "context_at",
    "add_dismissal",
    "is_duplicate",
    "pack_numbers",
    "intern_ids",
]

# A retry of a producer comes within its user's next seven events; more would cost memory for every user.
MAX_FINGERPRINTS, FINGERPRINT_BYTES = 8, 8
MAX_SEARCH_VISITS = 10  # after a search that may come of it
# How event times and counts are packed: eight bytes and four, in the machine's order.
TIME_TYPE, COUNT_TYPE = "q", "I"
TIME_BYTES, COUNT_BYTES = array(TIME_TYPE).itemsize, array(COUNT_TYPE).itemsize


class RecentSearch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A user's latest search, while it counts: the keys of its query, its event time, and the visits since."""

    keys: tuple[str, ...]
    ts_ms: int
    n_visits: int = 0


class UserProfile(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is known of a user after their latest event.

    `session` and `items` hold distinct item ids, the least recent first; ids are shared, as many users know the same.
    `seen_ms` (event time of the latest event with the item) and `counts` stand beside `items`, packed: as tuples they
    would take five times the memory, and ranking wants arrays. `session_length` counts events, repeats included.
    `session_position` is where the latest event's item stood in the session before it (0: it came again at once, 1: second to
    last, and so on), or -1 if it was new there; `n_immediate_repeats` counts how often it came again at once.
    `dismissed_items` items are not to be shown. `fingerprints` are hashes of the latest events, of eight bytes each, to
    recognise duplicates. `rate_excess_ms` and `n_consecutive_unseen` are what `freshflow.users.bot_filter` goes by. `search` is the
    latest search, for as long as what the user does may come of it. `purchases` are items with the time of their latest
    purchase (`freshflow.users.purchases`), kept where a rule asks for them.
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
        """How many events there were with each item."""
        return tuple(array(COUNT_TYPE, self.packed_counts))


NEW_USER = UserProfile()


class Context(msgspec.Struct, frozen=True, gc=False):
    """The moment a list is made for: item ids in mind, the most recent first, and whether a session is running."""

    items: tuple[str, ...]
    session_length: int
    idle_ms: int


def context_at(
    profile: UserProfile, now_ms: int, *, gap_ms: int, max_items: int, session_id: str | None = None
) -> Context:
    """The context at `now_ms`: the running session, or at a session's start the last `max_items` items of the history.

    A `session_id` that differs from the running one starts a session at once; the same one extends it beyond the gap.
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
    """The state after `event`: session extended or started anew, the item moved to the end of the history.

    `max_context` bounds the session's items and `max_history` the items remembered; the least recent go first. The event is not
    older than the latest one: see `add_out_of_order_event`.
    """
    item = intern_id(event.item_id)
    elapsed_ms = event.ts_ms - profile.last_ms
    is_same_session = _is_same_session(profile, elapsed_ms, gap_ms, event.session_id)
    session = _move_to_end(profile.session, item) if is_same_session else (item,)
    session_position = _session_position(profile.session, item) if is_same_session else -1
    items, seen_ms, counts = _append_to_history(profile, item, event.ts_ms)
    session, items = session[-max_context:], items[-max_history:]
    rate_excess_ms = profile.rate_excess_ms + bot_limits.min_interval_ms - elapsed_ms
    return UserProfile(
        session=items if session == items else session,  # most users have but one, and need no other tuple for it
        session_id=event.session_id or (profile.session_id if is_same_session else None),
        session_length=profile.session_length + 1 if is_same_session else 1,
        session_position=session_position,
        n_immediate_repeats=profile.n_immediate_repeats + 1 if session_position == 0 else 0,
        last_ms=event.ts_ms,
        items=items,
        packed_seen_ms=seen_ms[-max_history * TIME_BYTES :],
        packed_counts=counts[-max_history * COUNT_BYTES :],
        dismissed_items=_remove_item(profile.dismissed_items, item),
        fingerprints=_append_fingerprint(profile, event),
        rate_excess_ms=0 if rate_excess_ms <= 0 else min(rate_excess_ms, 2 * bot_limits.window_ms),
        n_consecutive_unseen=_count_consecutive_unseen(profile, event) if bot_limits.max_unseen else 0,
        search=None if profile.search is None else _advance_search(profile, profile.search, event.ts_ms, gap_ms),
        purchases=profile.purchases,
    )


def add_search(profile: UserProfile, keys: tuple[str, ...], ts_ms: int, *, gap_ms: int) -> UserProfile:
    """The state after a search for what these keys stand for; one that comes too late to count changes nothing."""
    previous_search = profile.search
    if not keys or profile.last_ms - ts_ms > gap_ms or (previous_search is not None and previous_search.ts_ms >= ts_ms):
        return profile
    return structs.replace(profile, search=RecentSearch(keys, ts_ms))


def _advance_search(profile: UserProfile, search: RecentSearch, ts_ms: int, gap_ms: int) -> RecentSearch | None:
    """The search, if it still counts at an event at `ts_ms`: there was no pause longer than the gap since."""
    if ts_ms < search.ts_ms:
        return search if search.ts_ms - ts_ms <= gap_ms else None
    if ts_ms - max(search.ts_ms, profile.last_ms) > gap_ms or search.n_visits == MAX_SEARCH_VISITS:
        return None
    return structs.replace(search, n_visits=search.n_visits + 1)


def profile_at(profile: UserProfile, ts_ms: int, *, gap_ms: int) -> UserProfile:
    """What `profile` tells of the user at `ts_ms`, before its latest event: items that were seen later are left out.

    The session is what is left of the running one, or else the items before it without a gap between them.
    """
    seen_times = profile.seen_ms
    n_earlier = bisect_right(seen_times, ts_ms)
    start = len(profile.items) - len(profile.session)
    if n_earlier > start:
        length = max(n_earlier - start, profile.session_length - (len(profile.items) - n_earlier))
    else:
        start = _chain_start(seen_times[:n_earlier], ts_ms, gap_ms)
        length = n_earlier - start
    return UserProfile(
        session=profile.items[start:n_earlier],
        session_length=length,
        last_ms=seen_times[n_earlier - 1] if n_earlier else 0,
        items=profile.items[:n_earlier],
        packed_seen_ms=profile.packed_seen_ms[: n_earlier * TIME_BYTES],
        packed_counts=profile.packed_counts[: n_earlier * COUNT_BYTES],
        dismissed_items=profile.dismissed_items,
    )


def add_out_of_order_event(
    profile: UserProfile, event: Interaction, *, gap_ms: int, max_context: int, max_history: int
) -> UserProfile:
    """The state after an `event` that is older than the latest one: the item stands where its time belongs.

    The event belongs to the running session if it came in it, or up to the gap before it; then it may join that session
    to the one before. If it came in the running session and names another, the running one began after it. Neither the
    user's clock nor a dismissal of the item is undone.
    """
    item, fingerprints = intern_id(event.item_id), _append_fingerprint(profile, event)
    if item in profile.dismissed_items:
        return structs.replace(profile, fingerprints=fingerprints)
    seen_times = profile.seen_ms
    start, length, is_in_session = _extend_session(profile, event, seen_times, max_context, gap_ms)
    n_earlier = bisect_right(seen_times, event.ts_ms)
    n_later = len(seen_times) - n_earlier  # items that were seen after the event
    n_session_items = len(seen_times) - start  # items of the session, the event's not counted
    index = profile.items.index(item) if item in profile.items else -1
    if index >= n_earlier:  # it was seen later, too
        items, seen_ms, counts = profile.items, profile.packed_seen_ms, _increment_count(profile.packed_counts, index)
    else:
        n_session_items += is_in_session - (index >= start)
        items, seen_ms, counts = _append_to_history(profile, item, event.ts_ms)
        items, seen_ms, counts = _move_from_end(items, seen_ms, counts, n_later)
    items = items[-max_history:]
    precedes_same_item = is_in_session and index == len(seen_times) - 1 and index >= n_earlier
    session_position = (
        profile.session_position
        if not precedes_same_item
        else n_later - 1
        if profile.session_position < 0
        else min(profile.session_position, n_later - 1)
    )
    session = items[len(items) - min(n_session_items, max_context, len(items)) :]
    return structs.replace(
        profile,
        session=items if session == items else session,
        session_id=profile.session_id or (event.session_id if is_in_session else None),
        session_length=length,
        session_position=session_position,
        n_immediate_repeats=profile.n_immediate_repeats + 1
        if precedes_same_item and n_later == 1
        else profile.n_immediate_repeats,
        items=items,
        packed_seen_ms=seen_ms[-max_history * TIME_BYTES :],
        packed_counts=counts[-max_history * COUNT_BYTES :],
        fingerprints=fingerprints,
    )


def add_dismissal(
    profile: UserProfile, event: Interaction, *, max_history: int, bot_limits: BotLimits = NO_BOT_LIMITS
) -> UserProfile:
    """The state after the user turned `event.item_id` down: out of mind, out of the history, and not to be shown.

    At most `max_history` dismissed items are remembered, the least recent go first; an event with the item takes it back,
    also one that came before the dismissal arrives.
    """
    item = intern_id(event.item_id)
    if item in profile.items and profile.seen_ms[profile.items.index(item)] > event.ts_ms:
        return structs.replace(profile, fingerprints=_append_fingerprint(profile, event))
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
        fingerprints=_append_fingerprint(profile, event),
    )


def intern_ids(profile: UserProfile) -> UserProfile:
    """The same state, with the ids that other states hold as well."""
    items, session, dismissed_items = (
        tuple(map(intern_id, ids)) for ids in (profile.items, profile.session, profile.dismissed_items)
    )
    purchases = tuple((intern_id(item), ts_ms) for item, ts_ms in profile.purchases)
    session = items if session == items else session
    return structs.replace(profile, items=items, session=session, dismissed_items=dismissed_items, purchases=purchases)


def is_duplicate(profile: UserProfile, event: Interaction) -> bool:
    """Whether `event` is among the user's latest: by `event_id`, or else by item, type and time."""
    if not profile.fingerprints:
        return False
    fingerprint = _fingerprint(event)
    index = profile.fingerprints.find(fingerprint)
    while index > 0 and index % FINGERPRINT_BYTES:  # where two others meet
        index = profile.fingerprints.find(fingerprint, index + 1)
    return index >= 0


def _append_fingerprint(profile: UserProfile, event: Interaction) -> bytes:
    fingerprint = _fingerprint(event)
    if profile.fingerprints.endswith(fingerprint):  # events of one record share an id, and take the place of one
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


def _extend_session(
    profile: UserProfile, event: Interaction, seen_times: tuple[int, ...], max_context: int, gap_ms: int
) -> tuple[int, int, bool]:
    """Where the running session starts in the history and its events, once `event` is in it; whether it is in it."""
    start, length = len(seen_times) - len(profile.session), profile.session_length
    n_earlier = bisect_right(seen_times, event.ts_ms)
    has_session_ids = event.session_id is not None and profile.session_id is not None
    if has_session_ids and event.session_id != profile.session_id:
        return (n_earlier, len(seen_times) - n_earlier, False) if n_earlier > start else (start, length, False)
    opened_ms = seen_times[start] if start < len(seen_times) else profile.last_ms
    if n_earlier < start or not (has_session_ids or opened_ms - event.ts_ms <= gap_ms):
        return start, length, False
    if n_earlier > start or profile.session_id or event.session_id or start < len(seen_times) - max_context + 1:
        return start, length + 1, True
    joined_start = _chain_start(seen_times[:start], event.ts_ms, gap_ms)
    return joined_start, length + 1 + start - joined_start, True


def _chain_start(seen_times: tuple[int, ...], end_ms: int, gap_ms: int) -> int:
    """From which of rising `seen_times` on there is no gap until `end_ms`."""
    start = len(seen_times)
    while start and end_ms - seen_times[start - 1] <= gap_ms:
        start -= 1
        end_ms = seen_times[start]
    return start


def _remove_item(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(element for element in items if element != item) if item in items else items


def _session_position(items: tuple[str, ...], item: str) -> int:
    return len(items) - 1 - items.index(item) if item in items else -1


def _move_to_end(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return (*_remove_item(items, item), item)


def pack_numbers(type_code: str, *numbers: int) -> bytes:
    """Event times (`TIME_TYPE`) or counts (`COUNT_TYPE`) as a user's state holds them."""
    return pack(type_code * len(numbers), *numbers)


def _append_to_history(profile: UserProfile, item: str, now_ms: int) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, with `item` at the end."""
    item_count = 1
    if item in profile.items:
        item_count += unpack_from(COUNT_TYPE, profile.packed_counts, profile.items.index(item) * COUNT_BYTES)[0]
    items, seen_ms, counts = _remove_from_history(profile, item)
    return (*items, item), seen_ms + pack_numbers(TIME_TYPE, now_ms), counts + pack_numbers(COUNT_TYPE, item_count)


def _increment_count(counts: bytes, index: int) -> bytes:
    """Counts, with one more of item number `index`."""
    numbers = array(COUNT_TYPE, counts)
    numbers[index] += 1
    return numbers.tobytes()


def _move_from_end(
    items: tuple[str, ...], seen_ms: bytes, counts: bytes, n_later: int
) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, with the last one moved in front of `n_later` others."""
    index = len(items) - 1 - n_later
    time_offset, count_offset = index * TIME_BYTES, index * COUNT_BYTES
    return (
        (*items[:index], items[-1], *items[index:-1]),
        seen_ms[:time_offset] + seen_ms[-TIME_BYTES:] + seen_ms[time_offset:-TIME_BYTES],
        counts[:count_offset] + counts[-COUNT_BYTES:] + counts[count_offset:-COUNT_BYTES],
    )


def _remove_from_history(profile: UserProfile, item: str) -> tuple[tuple[str, ...], bytes, bytes]:
    """Items, event times and counts, without `item`."""
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
