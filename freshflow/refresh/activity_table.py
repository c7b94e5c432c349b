"""The activity table of active users: its columns, and the compiled loops that update and scan it."""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount

N_IDLE_TIERS, N_HISTORY_CLASSES = 24, 4
ARRIVAL_AVERAGE_EVENTS = 2000.0  # events over which arrivals are averaged
EMPTY_ENTRY = -1
# Columns of the table.
LAST_EVENT, LAST_EVENT_MS, LIST_EVENT, LIST_MS, FULL_RANKING_MS, HISTORY_CLASS, N_DISMISSED = range(7)


@jit_no_refcount
def select_due_users(
    activity_table: NDArray[np.int64],
    event_number: int,
    now_ms: int,
    interval_ms: int,
    horizon_ms: int,
    group_sizes: NDArray[np.float64],
    slots: NDArray[np.int32],
    groups: NDArray[np.int32],
) -> int:
    """Write slots and groups of due users, count users within the horizon in `group_sizes`; return the number due."""
    n = 0
    for slot in range(len(activity_table)):
        if now_ms - activity_table[slot, LAST_EVENT_MS] > horizon_ms:
            continue
        group = (
            _idle_tier(event_number - activity_table[slot, LAST_EVENT]) * N_HISTORY_CLASSES
            + activity_table[slot, HISTORY_CLASS]
        )
        group_sizes[group] += 1
        if now_ms - activity_table[slot, LIST_MS] >= interval_ms:
            slots[n], groups[n] = slot, group
            n += 1
    return n


@jit_no_refcount
def record_acts(
    current_lists: NDArray[np.int32],
    activity_table: NDArray[np.int64],
    arrival_rates: NDArray[np.float64],
    is_first: NDArray[np.bool_],
    event_numbers: NDArray[np.int64],
    ts_ms: NDArray[np.int64],
    n_known_items: NDArray[np.int64],
    n_dismissed: NDArray[np.int64],
    target_rows: NDArray[np.int32],
    new_lists: NDArray[np.int32],
    slots: NDArray[np.int64],
    is_new: NDArray[np.bool_],
    ranks: NDArray[np.int64],
) -> None:
    """Record acts (N,) of users in `slots` in order, and write `is_new` and `ranks`; `is_first` marks new users."""
    for n in range(len(slots)):
        slot = slots[n]
        current_list, user_activity = current_lists[slot], activity_table[slot]
        arrival_rates *= 1 - 1 / ARRIVAL_AVERAGE_EVENTS
        if is_first[n]:
            current_list[:] = EMPTY_ENTRY
        else:
            arrival_rates[
                _idle_tier(event_numbers[n] - user_activity[LAST_EVENT]) * N_HISTORY_CLASSES
                + user_activity[HISTORY_CLASS]
            ] += 1 / ARRIVAL_AVERAGE_EVENTS
        for position in range(len(current_list)):
            if current_list[position] == target_rows[n] and target_rows[n] >= 0:
                ranks[n] = position + 1
            is_new[n] |= current_list[position] != new_lists[n, position]
            current_list[position] = new_lists[n, position]
        user_activity[LAST_EVENT], user_activity[HISTORY_CLASS], user_activity[N_DISMISSED] = (
            event_numbers[n],
            _history_class(n_known_items[n]),
            n_dismissed[n],
        )
        user_activity[LIST_EVENT] = event_numbers[n]
        user_activity[LAST_EVENT_MS] = user_activity[LIST_MS] = user_activity[FULL_RANKING_MS] = ts_ms[n]


@jit_no_refcount
def _history_class(n_items: int) -> int:
    """Return the class of users who know `n_items` items."""
    history_class = 0
    while n_items >= 4 and history_class < N_HISTORY_CLASSES - 1:
        n_items >>= 2
        history_class += 1
    return history_class


@jit_no_refcount
def _idle_tier(n_idle_events: int) -> int:
    """Return the tier of users whose last event is `n_idle_events` events old."""
    tier = 0
    while n_idle_events > 1 and tier < N_IDLE_TIERS - 1:
        n_idle_events >>= 1
        tier += 1
    return tier
