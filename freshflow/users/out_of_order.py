"""Out-of-order events: pure functions that insert an event older than its user's latest one at its time.

The context of such an event follows from the profile at that time (`profile_at`). The earlier counts and times of items
are not known; they stay as they are.
"""

from array import array
from bisect import bisect_right

from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.interning import intern_id
from freshflow.users.profile import (
    COUNT_BYTES,
    COUNT_TYPE,
    TIME_BYTES,
    UserProfile,
    append_fingerprint,
    append_to_history,
)


def profile_at(profile: UserProfile, ts_ms: int, *, gap_ms: int) -> UserProfile:
    """Return the profile as of an earlier time, as far as it can be reconstructed: items seen later are left out.

    The session consists of the remaining items of the running one, or of the last earlier items without a gap.

    Args:
        profile: The current profile.
        ts_ms: The time.
        gap_ms: The session gap.
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
    """Return the profile after an event older than the latest one; its item is inserted at its time.

    The event joins the running session if it lies within it or at most a gap before it; it can then connect the session
    with the one before. If it lies within the running session but has another session id, the running session starts
    after it. The user's clock never goes back, and a dismissal of the item is not undone.

    Args:
        profile: The current profile.
        event: The event.
        gap_ms: The session gap.
        max_context: The maximum number of session items; the least recent are dropped.
        max_history: The maximum number of items in the history; the least recent are dropped.
    """
    item, fingerprints = intern_id(event.item_id), append_fingerprint(profile, event)
    if item in profile.dismissed_items:
        return structs.replace(profile, fingerprints=fingerprints)
    seen_times = profile.seen_ms
    start, length, is_in_session = _extend_session(profile, event, seen_times, max_context, gap_ms)
    n_earlier = bisect_right(seen_times, event.ts_ms)
    n_later = len(seen_times) - n_earlier  # items seen after the event
    n_session_items = len(seen_times) - start  # without the event's
    index = profile.items.index(item) if item in profile.items else -1
    if index >= n_earlier:  # the item was also seen later
        items, seen_ms, counts = profile.items, profile.packed_seen_ms, _increment_count(profile.packed_counts, index)
    else:
        n_session_items += is_in_session - (index >= start)
        items, seen_ms, counts = append_to_history(profile, item, event.ts_ms)
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


def _extend_session(
    profile: UserProfile, event: Interaction, seen_times: tuple[int, ...], max_context: int, gap_ms: int
) -> tuple[int, int, bool]:
    """Return the start of the session in the history, its length, and a flag: the event belongs to it."""
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
    """Return the first index of increasing `seen_times` from which there is no gap until `end_ms`."""
    start = len(seen_times)
    while start and end_ms - seen_times[start - 1] <= gap_ms:
        start -= 1
        end_ms = seen_times[start]
    return start


def _increment_count(counts: bytes, index: int) -> bytes:
    numbers = array(COUNT_TYPE, counts)
    numbers[index] += 1
    return numbers.tobytes()


def _move_from_end(
    items: tuple[str, ...], seen_ms: bytes, counts: bytes, n_later: int
) -> tuple[tuple[str, ...], bytes, bytes]:
    """Return items, times and counts with the last one moved in front of `n_later` others."""
    index = len(items) - 1 - n_later
    time_offset, count_offset = index * TIME_BYTES, index * COUNT_BYTES
    return (
        (*items[:index], items[-1], *items[index:-1]),
        seen_ms[:time_offset] + seen_ms[-TIME_BYTES:] + seen_ms[time_offset:-TIME_BYTES],
        counts[:count_offset] + counts[-COUNT_BYTES:] + counts[count_offset:-COUNT_BYTES],
    )
