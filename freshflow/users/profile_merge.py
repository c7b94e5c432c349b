"""Merge of two profiles of one person, as a pure function.

Both histories are merged by event time; swapping the two profiles changes nothing. With several anonymous users, their
order does not affect the times and counts of items, as long as no bound is exceeded. Values that cannot be merged are
those of the more recent profile.
"""

from array import array

from msgspec import structs

from freshflow.users.profile import (
    COUNT_TYPE,
    FINGERPRINT_BYTES,
    MAX_FINGERPRINTS,
    NEW_USER,
    TIME_TYPE,
    RecentSearch,
    UserProfile,
)

MAX_COUNT = 2 ** (8 * array(COUNT_TYPE).itemsize) - 1  # the largest value of a packed count


def merge_profiles(
    user_profile: UserProfile, anonymous_profile: UserProfile, *, gap_ms: int, max_context: int, max_history: int
) -> UserProfile:
    """Return the merged profile of a user and an anonymous user.

    Counts of an item are added, and its latest time is kept. An item dismissed in one profile stays dismissed unless
    the other profile saw it after the last event of the first. The sessions are merged if they have the same id, or,
    if one has no id, if the pause between them is at most `gap_ms`; otherwise the later session continues.

    Args:
        user_profile: The profile of the user.
        anonymous_profile: The profile of the anonymous user.
        gap_ms: The session gap.
        max_context: The maximum number of session items; the least recent are dropped.
        max_history: The maximum number of items in the history; the least recent are dropped.
    """
    if NEW_USER in (user_profile, anonymous_profile):
        return anonymous_profile if user_profile == NEW_USER else user_profile
    earlier_profile, later_profile = sorted((user_profile, anonymous_profile), key=_recency_key)
    dismissed = _merge_dismissed(earlier_profile, later_profile)
    item_history = {
        item: entry for item, entry in _merge_history(earlier_profile, later_profile).items() if item not in dismissed
    }
    recent_items = sorted((seen_ms, item) for item, (seen_ms, _) in item_history.items())[-max_history:]
    items = tuple(item for _, item in recent_items)
    current_profile, previous_profile = (
        (later_profile, earlier_profile) if later_profile.session_length else (earlier_profile, later_profile)
    )
    is_one_session = _is_one_session(previous_profile, current_profile, gap_ms)
    session = _trailing_items(
        items, {*current_profile.session, *previous_profile.session} if is_one_session else {*current_profile.session}
    )[-max_context:]
    return UserProfile(
        session=items if session == items else session,
        session_id=current_profile.session_id or (previous_profile.session_id if is_one_session else None),
        session_length=current_profile.session_length + (previous_profile.session_length if is_one_session else 0),
        session_position=current_profile.session_position,
        n_immediate_repeats=current_profile.n_immediate_repeats,
        last_ms=later_profile.last_ms,
        items=items,
        packed_seen_ms=array(TIME_TYPE, [seen_ms for seen_ms, _ in recent_items]).tobytes(),
        packed_counts=array(COUNT_TYPE, [item_history[item][1] for item in items]).tobytes(),
        dismissed_items=dismissed[-max_history:],
        fingerprints=_merge_fingerprints(earlier_profile, later_profile),
        rate_excess_ms=max(earlier_profile.rate_excess_ms, later_profile.rate_excess_ms),
        n_consecutive_unseen=max(earlier_profile.n_consecutive_unseen, later_profile.n_consecutive_unseen),
        search=_latest_search(earlier_profile, later_profile),
        purchases=_merge_purchases(earlier_profile, later_profile)[-max_history:],
    )


def _recency_key(profile: UserProfile) -> tuple[object, ...]:
    """Order profiles by their latest event, then by all fields, so that the order is total."""
    return (profile.last_ms, *map(repr, structs.astuple(profile)))


def _merge_purchases(first: UserProfile, second: UserProfile) -> tuple[tuple[str, int], ...]:
    """Return the latest purchase of each item, the least recent first."""
    purchase_times: dict[str, int] = {}
    for item, ts_ms in (*first.purchases, *second.purchases):
        purchase_times[item] = max(purchase_times.get(item, ts_ms), ts_ms)
    return tuple(sorted(purchase_times.items(), key=lambda purchase: (purchase[1], purchase[0])))


def _latest_search(first: UserProfile, second: UserProfile) -> RecentSearch | None:
    searches = [profile.search for profile in (first, second) if profile.search is not None]
    return max(searches, key=lambda search: (search.ts_ms, search.keys, search.n_visits), default=None)


def _merge_history(first: UserProfile, second: UserProfile) -> dict[str, tuple[int, int]]:
    """Return the latest time and the count of each item."""
    item_history: dict[str, tuple[int, int]] = {}
    for profile in (first, second):
        for item, seen_ms, count in zip(profile.items, profile.seen_ms, profile.counts, strict=True):
            other_ms, other_count = item_history.get(item, (seen_ms, 0))
            item_history[item] = (max(seen_ms, other_ms), min(other_count + count, MAX_COUNT))
    return item_history


def _merge_dismissed(earlier_profile: UserProfile, later_profile: UserProfile) -> tuple[str, ...]:
    """Return the dismissed items, the least recent first."""
    earlier_items = (
        item
        for item in earlier_profile.dismissed_items
        if not _is_seen_after(later_profile, item, earlier_profile.last_ms)
    )
    return tuple(reversed(dict.fromkeys(reversed([*earlier_items, *later_profile.dismissed_items]))))


def _is_seen_after(profile: UserProfile, item: str, seen_ms: int) -> bool:
    return item in profile.items and profile.seen_ms[profile.items.index(item)] > seen_ms


def _is_one_session(previous_profile: UserProfile, current_profile: UserProfile, gap_ms: int) -> bool:
    if not previous_profile.session_length:
        return False
    if previous_profile.session_id is not None and current_profile.session_id is not None:
        return previous_profile.session_id == current_profile.session_id
    opened_ms = (
        current_profile.seen_ms[-len(current_profile.session)] if current_profile.session else current_profile.last_ms
    )
    return opened_ms - previous_profile.last_ms <= gap_ms


def _trailing_items(items: tuple[str, ...], allowed_items: set[str]) -> tuple[str, ...]:
    """Return the longest suffix of `items` that contains allowed items only."""
    start = len(items)
    while start and items[start - 1] in allowed_items:
        start -= 1
    return items[start:]


def _merge_fingerprints(earlier_profile: UserProfile, later_profile: UserProfile) -> bytes:
    """Return the latest distinct fingerprints; those of the later profile are the last."""
    fingerprints = [
        profile.fingerprints[offset : offset + FINGERPRINT_BYTES]
        for profile in (earlier_profile, later_profile)
        for offset in range(0, len(profile.fingerprints), FINGERPRINT_BYTES)
    ]
    return b"".join(list(dict.fromkeys(fingerprints))[-MAX_FINGERPRINTS:])
