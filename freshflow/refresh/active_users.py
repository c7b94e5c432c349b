"""Active users: the users with refreshed lists, their latest lists, and the probability that they act soon.

Users are grouped by recency, the partition's events since their own last one, in tiers that double (1, 2-3, 4-7, ...),
and by the number of items they know, in classes that quadruple (1-3, 4-15, 16-63, 64 and more). The hazard h of a user
is the share of the partition's events that come from the group, divided by the size of the group.

A refresh gains hits until the next refresh. If lists are made every T events and age evenly, this total equals the gain
of the new list today over the next T / 2 events. The weight of a refresh is therefore the probability that the user
acts within these events,  1 - exp(-h T / 2),  with T the events since the list was made. Lists of infrequent users are
refreshed seldom, but not never.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable, ValueColumn
from freshflow.config.schema import RefreshConfig
from freshflow.items.index import extend_rows
from freshflow.ranking.incremental_scores import N_BASELINE_ITEMS, UserBaselines
from freshflow.ranking.kernel import RankingResults
from freshflow.refresh.activity_table import (
    EMPTY_ENTRY,
    LAST_EVENT,
    LIST_EVENT,
    LIST_MS,
    N_HISTORY_CLASSES,
    N_IDLE_TIERS,
    record_acts,
    select_due_users,
)
from freshflow.users.profile import UserProfile, intern_ids

MIN_ARRIVAL_WINDOW, MAX_ARRIVAL_WINDOW = 20, 2000  # events: at least and at most T / 2
INITIAL_USER_SLOTS = 256
USER_EVICTION_DIVISOR = 16


class ActivityResult(NamedTuple):
    """The results of recording acts of users (N,).

    Attributes:
        slots: The slots of the users.
        is_new: True where the list differs from the one shown before.
        ranks: The rank (from 1) of the visited item in the list shown before; 0 if it was not in the list.
    """

    slots: NDArray[np.int64]
    is_new: NDArray[np.bool_]
    ranks: NDArray[np.int64]


class ActiveUsersState(StateTable, frozen=True):
    """State of `ActiveUsers`, by slot (U,): ids, profiles, the columns of `UserBaselines`, and activity."""

    ids: ValueColumn[str]
    profiles: ValueColumn[UserProfile]
    list_rows: NDArray[np.int32]
    item_rows: NDArray[np.int32]
    residuals: NDArray[np.float32]
    levels: NDArray[np.float32]
    reasons: NDArray[np.int32]
    activity_table: NDArray[np.int64]
    arrival_rates: NDArray[np.float64]
    group_sizes: NDArray[np.float64]
    n_evicted: int


class ActiveUsers:
    """A table of at most `config.users` active users; the least recently active are evicted first.

    Attributes:
        ids: User ids by slot.
        users: Profiles after the last event, by slot.
        baselines: Baselines of the lists, by slot.
        activity_table: (U, 7) int64: event number and event time of the last event, event number and event time of the
            last new list, event time of the last full ranking, history class, number of dismissed items.
        arrival_rates: (tiers * classes,) average share of the partition's events by group.
        group_sizes: (tiers * classes,) number of users by group.
        n_evicted: Number of evicted users.
    """

    def __init__(self, config: RefreshConfig, k: int) -> None:
        self.config = config
        n_baseline = N_BASELINE_ITEMS if config.interval_s > 0 else 0  # without refreshes, only lists are kept
        self.slots: dict[str, int] = {}
        self.ids: list[str] = []
        self.users: list[UserProfile] = []
        self.baselines = UserBaselines(
            np.empty((0, k), np.int32),
            np.empty((0, n_baseline), np.int32),
            np.empty((0, n_baseline), np.float32),
            np.empty((0, 2), np.float32),
            np.empty((0, n_baseline, 2), np.int32),
        )
        self.activity_table = np.empty((0, 7), np.int64)
        self.arrival_rates = np.zeros(N_IDLE_TIERS * N_HISTORY_CLASSES)
        self.group_sizes = np.zeros(N_IDLE_TIERS * N_HISTORY_CLASSES)
        self.n_evicted = 0

    def record_activity(
        self,
        user_states: Sequence[tuple[str, UserProfile]],
        event_numbers: NDArray[np.int64],
        ts_ms: NDArray[np.int64],
        target_rows: NDArray[np.int32],
        new_lists: NDArray[np.int32],
    ) -> ActivityResult:
        """Record acts of users in order, and the lists that the users are shown from then on.

        Args:
            user_states: The id of each user and the profile after the act.
            event_numbers: (N,) numbers of the events.
            ts_ms: (N,) times of the events.
            target_rows: (N,) rows of the visited items.
            new_lists: (N, K) item rows of the new lists, -1 padded.
        """
        activity = ActivityResult(
            np.zeros(len(user_states), np.int64),
            np.zeros(len(user_states), np.bool_),
            np.zeros(len(user_states), np.int64),
        )
        is_first = np.zeros(len(user_states), np.bool_)
        n_recorded = 0
        for n, (user_id, user) in enumerate(user_states):
            slot = self.slots.get(user_id)
            if slot is None:
                if len(self.ids) == self.config.users:  # an eviction moves slots
                    self._record_range(
                        n_recorded, n, is_first, event_numbers, ts_ms, target_rows, new_lists, user_states, activity
                    )
                    n_recorded = n
                    self._evict_least_recent()
                slot = self._allocate_slot(user_id, user)
                is_first[n] = True
            activity.slots[n] = slot
            self.users[slot] = user
        self._record_range(
            n_recorded, len(user_states), is_first, event_numbers, ts_ms, target_rows, new_lists, user_states, activity
        )
        return activity

    def _record_range(
        self,
        start: int,
        end: int,
        is_first: NDArray[np.bool_],
        event_numbers: NDArray[np.int64],
        ts_ms: NDArray[np.int64],
        target_rows: NDArray[np.int32],
        new_lists: NDArray[np.int32],
        user_states: Sequence[tuple[str, UserProfile]],
        activity: "ActivityResult",
    ) -> None:
        n_known_items = [len(user.items) for _, user in user_states[start:end]]
        n_dismissed = [len(user.dismissed_items) for _, user in user_states[start:end]]
        row_range = slice(start, end)
        record_acts(
            self.baselines.list_rows,
            self.activity_table,
            self.arrival_rates,
            is_first[row_range],
            event_numbers[row_range],
            ts_ms[row_range],
            np.array(n_known_items, np.int64),
            np.array(n_dismissed, np.int64),
            target_rows[row_range],
            new_lists[row_range],
            activity.slots[row_range],
            activity.is_new[row_range],
            activity.ranks[row_range],
        )

    def store_baseline(
        self, slots: NDArray[np.int64], query_indices: NDArray[np.int64], rankings: RankingResults
    ) -> None:
        """Store rankings as the baselines of users.

        Args:
            slots: (N,) slots of the users.
            query_indices: (N,) numbers of the queries that ranked for them.
            rankings: The results of the queries.
        """
        self.baselines.item_rows[slots] = rankings.baseline_items[query_indices, :, 0]
        self.baselines.reasons[slots] = rankings.baseline_items[query_indices, :, 1:]
        self.baselines.residuals[slots] = rankings.baseline_residuals[query_indices]
        self.baselines.levels[slots] = rankings.baseline_levels[query_indices]

    def record_list(self, slots: NDArray[np.int32], lists: NDArray[np.int32], event_number: int, now_ms: int) -> None:
        """Record new lists of users who have not acted.

        Args:
            slots: (N,) slots of the users.
            lists: (N, K) item rows of the lists, -1 padded.
            event_number: The number of the partition's latest event.
            now_ms: The event time.
        """
        self.baselines.list_rows[slots] = lists
        self.activity_table[slots, LIST_EVENT] = event_number
        self.activity_table[slots, LIST_MS] = now_ms

    def due_for_refresh(
        self, event_number: int, now_ms: int, min_chance: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the users within the horizon whose refresh interval has passed.

        Args:
            event_number: The number of the partition's latest event.
            now_ms: The event time.
            min_chance: The least probability to act; users below it are left out.

        Returns:
            The slots (N,) and the probability (N,) of each user to act in time.
        """
        config, n_users = self.config, len(self.ids)
        slots, groups = np.empty(n_users, np.int32), np.empty(n_users, np.int32)
        self.group_sizes[:] = 0
        interval_ms, horizon_ms = int(config.interval_s * 1000), int(config.horizon_s * 1000)
        n = select_due_users(
            self.activity_table[:n_users],
            event_number,
            now_ms,
            interval_ms,
            horizon_ms,
            self.group_sizes,
            slots,
            groups,
        )
        hazards = self.arrival_rates / np.maximum(self.group_sizes, 1)
        window_events = np.clip(
            (event_number - self.activity_table[slots[:n], LIST_EVENT]) / 2, MIN_ARRIVAL_WINDOW, MAX_ARRIVAL_WINDOW
        )
        chances = 1 - np.exp(-window_events * hazards[groups[:n]])
        is_likely = chances >= min_chance
        return slots[:n][is_likely], chances[is_likely]

    def slots_showing(self, row: int) -> NDArray[np.int32]:
        """Return the slots (N,) of users whose lists contain the item in `row`."""
        return np.flatnonzero((self.baselines.list_rows[: len(self.ids)] == row).any(axis=1)).astype(np.int32)

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Remove item `rows` from lists and baselines; the rows are reused for other items."""
        for column in (self.baselines.list_rows, self.baselines.item_rows, self.baselines.reasons[:, :, 1]):
            column[np.isin(column, rows)] = EMPTY_ENTRY

    def is_active(self, user_id: str) -> bool:
        """Return True if the table contains the user."""
        return user_id in self.slots

    def forget(self, user_id: str) -> bool:
        """Remove a user, whose slot the last user takes over; return False if the user was unknown."""
        slot = self.slots.pop(user_id, None)
        if slot is None:
            return False
        last_slot = len(self.ids) - 1
        for column in (*self.baselines, self.activity_table):
            column[slot] = column[last_slot]
        self.ids[slot], self.users[slot] = self.ids[last_slot], self.users[last_slot]
        if slot != last_slot:
            self.slots[self.ids[slot]] = slot
        self.ids.pop()
        self.users.pop()
        return True

    def state(self) -> ActiveUsersState:
        """Return the state."""
        n_users, baselines = len(self.ids), self.baselines
        return ActiveUsersState(
            ids=ValueColumn(self.ids),
            profiles=ValueColumn(self.users),
            list_rows=baselines.list_rows[:n_users],
            item_rows=baselines.item_rows[:n_users],
            residuals=baselines.residuals[:n_users],
            levels=baselines.levels[:n_users],
            reasons=baselines.reasons[:n_users],
            activity_table=self.activity_table[:n_users],
            arrival_rates=self.arrival_rates,
            group_sizes=self.group_sizes,
            n_evicted=self.n_evicted,
        )

    def restore(self, state: ActiveUsersState) -> None:
        """Continue from a state; lists may have had another length.

        If refreshes were off and are on now, no user is active yet, as there is no baseline to refresh a list from.
        """
        k, n_baseline = self.baselines.list_rows.shape[1], self.baselines.item_rows.shape[1]
        if state.item_rows.shape[1] < n_baseline:
            return
        list_rows = np.full((len(state.list_rows), k), EMPTY_ENTRY, np.int32)
        list_rows[:, : state.list_rows.shape[1]] = state.list_rows[:, :k]
        self.baselines = UserBaselines(
            list_rows,
            state.item_rows[:, :n_baseline],
            state.residuals[:, :n_baseline],
            state.levels,
            state.reasons[:, :n_baseline],
        )
        self.ids, self.users = list(state.ids.values), list(map(intern_ids, state.profiles.values))
        self.activity_table = state.activity_table
        self.arrival_rates, self.group_sizes = state.arrival_rates, state.group_sizes
        self.n_evicted = state.n_evicted
        self.slots = {user_id: slot for slot, user_id in enumerate(self.ids)}

    def _allocate_slot(self, user_id: str, user: UserProfile) -> int:
        slot = len(self.ids)
        if slot == len(self.activity_table):
            capacity = min(max(INITIAL_USER_SLOTS, 2 * slot), self.config.users)
            self.baselines = UserBaselines(*(extend_rows(column, capacity, EMPTY_ENTRY) for column in self.baselines))
            self.activity_table = extend_rows(self.activity_table, capacity)
        self.slots[user_id] = slot
        self.ids.append(user_id)
        self.users.append(user)
        return slot

    def _evict_least_recent(self) -> None:
        """Evict the least recently active sixteenth of the users."""
        slots_by_age = np.argsort(self.activity_table[: len(self.ids), LAST_EVENT], kind="stable")
        evicted_ids = [
            self.ids[slot] for slot in slots_by_age[: max(1, len(self.ids) // USER_EVICTION_DIVISOR)].tolist()
        ]
        for user_id in evicted_ids:
            self.forget(user_id)
        self.n_evicted += len(evicted_ids)
