"""Two histories that turn out to be one person's, as one: plain values in, a plain value out.

What both states say is put together by event time; it does not matter which is the guest's and which the user's. Of
several guests the order does not matter either for when items were seen and how often, as long as nothing is beyond its
bound. What states do not tell is left as the later one has it.
"""

from array import array

from msgspec import structs

from freshflow.users.profile import COUNTS, FINGERPRINT_BYTES, FINGERPRINTS, NEW_USER, TIMES, Searched, UserState

__all__ = ["merged"]

MOST = 2 ** (8 * array(COUNTS).itemsize) - 1  # what a count can hold


def merged(user: UserState, guest: UserState, *, gap_ms: int, context: int, history: int) -> UserState:
    """The state of a user who was the guest, too.

    An item counts as often as in both, and was seen when either last saw it. An item that one of them turned down stays
    turned down, unless the other has seen it after all that the first one did. The sessions are one if they have one
    name, or, where one of them has none, if the pause between them is no longer than `gap_ms`; else the later one runs.
    At most `history` items are remembered and `context` of a session, the least recent go first.
    """
    if NEW_USER in (user, guest):
        return guest if user == NEW_USER else user
    earlier, later = sorted((user, guest), key=_recency)
    dismissed = _dismissed(earlier, later)
    seen = {item: of for item, of in _seen(earlier, later).items() if item not in dismissed}
    remembered = sorted((ms, item) for item, (ms, _) in seen.items())[-history:]
    items = tuple(item for _, item in remembered)
    running, before = (later, earlier) if later.session_length else (earlier, later)
    joins = _is_one_session(before, running, gap_ms)
    session = _last(items, {*running.session, *before.session} if joins else {*running.session})[-context:]
    return UserState(
        session=items if session == items else session,
        session_id=running.session_id or (before.session_id if joins else None),
        session_length=running.session_length + (before.session_length if joins else 0),
        place=running.place,
        stays=running.stays,
        last_ms=later.last_ms,
        items=items,
        packed_seen_ms=array(TIMES, [ms for ms, _ in remembered]).tobytes(),
        packed_counts=array(COUNTS, [seen[item][1] for item in items]).tobytes(),
        dismissed=dismissed[-history:],
        fingerprints=_fingerprints(earlier, later),
        haste_ms=max(earlier.haste_ms, later.haste_ms),
        unseen_in_a_row=max(earlier.unseen_in_a_row, later.unseen_in_a_row),
        search=_latest_search(earlier, later),
        bought=_bought(earlier, later)[-history:],
    )


def _recency(state: UserState) -> tuple[object, ...]:
    """Orders two states by their latest event, or else by anything that tells them apart."""
    return (state.last_ms, *map(repr, structs.astuple(state)))


def _bought(one: UserState, other: UserState) -> tuple[tuple[str, int], ...]:
    """The latest purchase of each item, the least recent first."""
    times: dict[str, int] = {}
    for item, ts_ms in (*one.bought, *other.bought):
        times[item] = max(times.get(item, ts_ms), ts_ms)
    return tuple(sorted(times.items(), key=lambda of: (of[1], of[0])))


def _latest_search(one: UserState, other: UserState) -> Searched | None:
    searches = [state.search for state in (one, other) if state.search is not None]
    return max(searches, key=lambda search: (search.ts_ms, search.keys, search.visits), default=None)


def _seen(one: UserState, other: UserState) -> dict[str, tuple[int, int]]:
    """When each item was last seen, and how often."""
    seen: dict[str, tuple[int, int]] = {}
    for state in (one, other):
        for item, ms, count in zip(state.items, state.seen_ms, state.counts, strict=True):
            other_ms, others = seen.get(item, (ms, 0))
            seen[item] = (max(ms, other_ms), min(others + count, MOST))
    return seen


def _dismissed(earlier: UserState, later: UserState) -> tuple[str, ...]:
    """What is turned down, the least recent first."""
    both = (item for item in earlier.dismissed if not _saw_after(later, item, earlier.last_ms))
    return tuple(reversed(dict.fromkeys(reversed([*both, *later.dismissed]))))


def _saw_after(state: UserState, item: str, ms: int) -> bool:
    return item in state.items and state.seen_ms[state.items.index(item)] > ms


def _is_one_session(before: UserState, running: UserState, gap_ms: int) -> bool:
    if not before.session_length:
        return False
    if before.session_id is not None and running.session_id is not None:
        return before.session_id == running.session_id
    opened_ms = running.seen_ms[-len(running.session)] if running.session else running.last_ms
    return opened_ms - before.last_ms <= gap_ms


def _last(items: tuple[str, ...], wanted: set[str]) -> tuple[str, ...]:
    """The last of `items`, as far back as all are wanted."""
    start = len(items)
    while start and items[start - 1] in wanted:
        start -= 1
    return items[start:]


def _fingerprints(earlier: UserState, later: UserState) -> bytes:
    """Those of the latest events, of which the later state's are the last."""
    several = [
        state.fingerprints[at : at + FINGERPRINT_BYTES]
        for state in (earlier, later)
        for at in range(0, len(state.fingerprints), FINGERPRINT_BYTES)
    ]
    return b"".join(list(dict.fromkeys(several))[-FINGERPRINTS:])
