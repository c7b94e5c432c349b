"""Refreshes of lists of idle users, chosen by expected gain within a budget.

After every few events a check ranks the lists of active users (`freshflow.refresh.active_users`) again from the scores
that all users share (`freshflow.ranking.incremental_scores`), and publishes the lists with enough expected gain. A user
is ranked in full after the end of a session, because preferences at the start of the next session differ.
"""

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.feature import ListMaker, RefreshedList
from freshflow.items.index import NO_ROW, ItemIndex
from freshflow.items.revisits import VISITS
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.assembly import ListArrays, build_list_items
from freshflow.outputs.json_writer import JsonListWriter, encode_items
from freshflow.outputs.records import ListItem
from freshflow.ranking.incremental_scores import collect_popular_rows, global_scores, refresh_lists
from freshflow.ranking.kernel import RankingResults
from freshflow.ranking.reasons import REASON_AGAIN, REASON_NEW, REASON_POPULAR, REASON_SIMILAR, REASON_TOGETHER
from freshflow.ranking.scoring import Weights
from freshflow.refresh.active_users import ActiveUsers
from freshflow.refresh.activity_table import EMPTY_ENTRY, FULL_RANKING_MS, LAST_EVENT_MS, N_DISMISSED

MAX_SHARED_ITEMS = 400  # popular items that are candidates for every user
# Users checked, and users ranked in full, in one check; more users than these take turns.
MAX_USERS_PER_CHECK, MAX_FULL_RANKINGS_PER_CHECK = 1500, 16
# Lists made in full in one check if a feature chooses items, such as rules.
MAX_REMADE_LISTS_PER_CHECK = 16
# A user is ranked in full after the end of a session, and again when the idle time has grown by this factor.
RERANK_IDLE_RATIO = 48
# Bounds of the expected gain, in hits, from which on a list is published; the threshold moves between them by
# `THRESHOLD_STEP` a check to keep the lists within the budget. The budget saves at most `MAX_TOKENS` lists.
MIN_GAIN_THRESHOLD, MAX_GAIN_THRESHOLD, THRESHOLD_STEP = 1 / 1000, 1 / 10, 1.02
MAX_TOKENS = 1000.0
# Checks skipped at most after checks that found nothing.
MAX_SKIPPED_CHECKS = 32


class SchedulerState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a refresh scheduler: the budget, and the place in the turn of users."""

    tokens: float
    gain_threshold: float
    n_checks_to_skip: int
    n_checks_skipped: int
    next_slot: int


class RefreshScheduler:
    """The choice of lists to refresh, within a budget of messages (a token bucket)."""

    def __init__(self, config: Config, active_users: ActiveUsers, json_writer: JsonListWriter) -> None:
        self.config = config
        self.active_users = active_users
        self.json_writer = json_writer
        self.tokens = 0.0  # lists that the budget allows
        self.gain_threshold = 4 * MIN_GAIN_THRESHOLD
        self.n_checks_to_skip = self.n_checks_skipped = 0
        self.next_slot = 0  # slot at which the next check starts

    def add_tokens(self, n_acts: int) -> None:
        """Add the lists that acts of users allow to the budget."""
        share = self.config.refresh.max_share
        self.tokens = min(self.tokens + n_acts * share / (1 - share), MAX_TOKENS)

    def collect_due_lists(
        self,
        item_statistics: ItemStatistics,
        weights: Weights,
        event_number: int,
        now_ms: int,
        list_maker: ListMaker,
    ) -> list[RefreshedList]:
        """Return the lists that are worth publishing.

        Where a feature chooses items, global scores only select the users: their lists, a few at a time, are made in
        full.

        Args:
            item_statistics: The items.
            weights: The weights of the ranker.
            event_number: The number of the partition's latest event.
            now_ms: The event time.
            list_maker: The engine, which ranks and makes lists in full.
        """
        if self.n_checks_skipped < self.n_checks_to_skip:
            self.n_checks_skipped += 1
            return []
        refreshed_lists = self._find_worthy_lists(item_statistics, weights, event_number, now_ms, list_maker)
        self.gain_threshold *= THRESHOLD_STEP if self.tokens < MAX_TOKENS / 2 else 1 / THRESHOLD_STEP
        self.gain_threshold = min(max(self.gain_threshold, MIN_GAIN_THRESHOLD), MAX_GAIN_THRESHOLD)
        self.n_checks_to_skip = (
            self.n_checks_to_skip // 2 if refreshed_lists else min(2 * self.n_checks_to_skip + 1, MAX_SKIPPED_CHECKS)
        )
        self.n_checks_skipped = 0
        return refreshed_lists

    def _find_worthy_lists(
        self,
        item_statistics: ItemStatistics,
        weights: Weights,
        event_number: int,
        now_ms: int,
        list_maker: ListMaker,
    ) -> list[RefreshedList]:
        active_users = self.active_users
        slots, chances = self._select_in_turn(*active_users.due_for_refresh(event_number, now_ms, self.gain_threshold))
        if not len(slots):
            return []
        self._rank_idle_users(slots, now_ms, list_maker)
        tables, linear, units = item_statistics.tables, weights.linear[0], weights.units
        shared_scores = np.full(item_statistics.capacity, np.nan)
        popular_rows = np.empty(MAX_SHARED_ITEMS, np.int32)
        popular_rows = popular_rows[
            : collect_popular_rows(tables, popular_rows, np.zeros(item_statistics.capacity, np.bool_))
        ]
        global_scores(tables, linear, units, now_ms, popular_rows, shared_scores)
        popular_rows = popular_rows[np.argsort(-shared_scores[popular_rows], kind="stable")]
        hidden_rows = list_maker.hidden_rows()
        if len(hidden_rows):
            popular_rows = popular_rows[~np.isin(popular_rows, hidden_rows)]
        dismissed_rows, dismissed_starts = self._dismissed_rows(slots, item_statistics.index)
        list_rows = np.empty((len(slots), self.config.lists.k), np.int32)
        baseline_indices, scores, selected = (
            np.empty_like(list_rows),
            np.empty(list_rows.shape),
            np.empty(len(slots), np.int32),
        )
        gains = np.empty(len(slots))
        n_selected = refresh_lists(
            *(
                tables,
                linear,
                units,
                now_ms,
                active_users.baselines,
                slots,
                chances,
                dismissed_rows,
                dismissed_starts,
                self.gain_threshold,
            ),
            *(shared_scores, popular_rows, list_rows, baseline_indices, scores, selected, gains),
        )
        best_indices = np.argsort(-gains[selected[:n_selected]], kind="stable")[: int(self.tokens)]
        if list_maker.has_choosers:
            remade_lists = list_maker.remake_lists(slots[selected[best_indices[:MAX_REMADE_LISTS_PER_CHECK]]], now_ms)
            self.tokens -= len(remade_lists)
            return remade_lists
        self.tokens -= len(best_indices)
        selected = slots[selected[best_indices]]
        active_users.record_list(selected, list_rows[best_indices], event_number, now_ms)
        return self._build_lists(
            selected, list_rows[best_indices], baseline_indices[best_indices], scores[best_indices], item_statistics
        )

    def _select_in_turn(
        self, slots: NDArray[np.int32], chances: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return at most `MAX_USERS_PER_CHECK` of the ascending `slots`, those in turn, with their probabilities."""
        if len(slots) <= MAX_USERS_PER_CHECK:
            return slots, chances
        chosen_indices = (np.searchsorted(slots, self.next_slot) + np.arange(MAX_USERS_PER_CHECK)) % len(slots)
        self.next_slot = int(slots[chosen_indices[-1]]) + 1
        return slots[chosen_indices], chances[chosen_indices]

    def _dismissed_rows(
        self, slots: NDArray[np.int32], item_index: ItemIndex
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the rows of dismissed items, user by user, and the offsets (N + 1,) of each user's rows."""
        with_dismissals = np.flatnonzero(self.active_users.activity_table[slots, N_DISMISSED])
        rows_by_user = [
            item_index.known_rows(self.active_users.users[slot].dismissed_items)
            for slot in slots[with_dismissals].tolist()
        ]
        starts = np.zeros(len(slots) + 1, np.int64)
        starts[with_dismissals + 1] = [len(user_rows) for user_rows in rows_by_user]
        return np.array([row for user_rows in rows_by_user for row in user_rows], np.int32), np.cumsum(starts)

    def state(self) -> SchedulerState:
        """Return the state."""
        return SchedulerState(
            tokens=self.tokens,
            gain_threshold=self.gain_threshold,
            n_checks_to_skip=self.n_checks_to_skip,
            n_checks_skipped=self.n_checks_skipped,
            next_slot=self.next_slot,
        )

    def restore(self, state: SchedulerState) -> None:
        """Continue from a state."""
        self.tokens, self.gain_threshold, self.next_slot = state.tokens, state.gain_threshold, state.next_slot
        self.n_checks_to_skip, self.n_checks_skipped = state.n_checks_to_skip, state.n_checks_skipped

    def _rank_idle_users(self, slots: NDArray[np.int32], now_ms: int, list_maker: ListMaker) -> None:
        """Rank users in full whose session has ended since their last full ranking."""
        users, activity_table = self.config.users, self.active_users.activity_table
        gap_ms = int(users.session_gap_s * 1000)
        idle_ms, ranked_at_ms = (
            now_ms - activity_table[slots, LAST_EVENT_MS],
            activity_table[slots, FULL_RANKING_MS] - activity_table[slots, LAST_EVENT_MS],
        )
        is_aged = idle_ms > np.maximum(gap_ms, RERANK_IDLE_RATIO * ranked_at_ms)
        due_slots = slots[is_aged][:MAX_FULL_RANKINGS_PER_CHECK]
        if len(due_slots):
            rankings = list_maker.rank_users(due_slots, now_ms)
            self.store_full_rankings(due_slots.astype(np.int64), np.arange(len(due_slots)), rankings, now_ms)

    def store_full_rankings(
        self, slots: NDArray[np.int64], query_indices: NDArray[np.int64], rankings: RankingResults, now_ms: int
    ) -> None:
        """Store the rankings of users who have not acted as their baselines.

        Args:
            slots: The users (N,) by slot.
            query_indices: The numbers (N,) of the queries that ranked for them.
            rankings: The results of the queries.
            now_ms: The event time of the queries.
        """
        self.active_users.store_baseline(slots, query_indices, rankings)
        self.active_users.activity_table[slots, FULL_RANKING_MS] = now_ms

    def _build_lists(
        self,
        slots: NDArray[np.int32],
        rows: NDArray[np.int32],
        baseline_indices: NDArray[np.int32],
        scores: NDArray[np.float64],
        item_statistics: ItemStatistics,
    ) -> list[RefreshedList]:
        """Build the lists of users as JSON.

        Args:
            slots: (N,) slots of the users.
            rows: (N, K) item rows, -1 padded.
            baseline_indices: (N, K) positions of the items in the users' baselines, -1 for popular items.
            scores: (N, K) scores.
            item_statistics: The items.
        """
        ids = item_statistics.index.ids
        baseline = (baseline_indices != EMPTY_ENTRY) & (rows != NO_ROW)
        baseline_reasons = self.active_users.baselines.reasons[slots[:, None], np.where(baseline, baseline_indices, 0)]
        reasons, sources = (
            np.where(baseline, baseline_reasons[..., 0], REASON_POPULAR),
            np.where(baseline, baseline_reasons[..., 1], NO_ROW),
        )
        sources = np.where(reasons == REASON_AGAIN, rows, sources)
        reasons[(reasons == REASON_TOGETHER) & (sources == NO_ROW)] = (
            REASON_POPULAR  # the source item has been evicted since
        )
        if self.config.content.is_enabled:
            reasons[(reasons == REASON_SIMILAR) & (sources == NO_ROW)] = REASON_NEW
            has_visits = item_statistics.tables.revisits.counts[rows, VISITS] > 0
            reasons[(reasons == REASON_NEW) & has_visits] = REASON_POPULAR
        sizes = np.count_nonzero(rows != NO_ROW, axis=1)
        lists = ListArrays(rows, scores, reasons, sources, sizes)
        has_ties = ((scores[:, 1:] == scores[:, :-1]) & (rows[:, 1:] != NO_ROW)).any(axis=1)
        for n in np.flatnonzero(has_ties).tolist():
            order = sorted(range(sizes[n]), key=lambda position: (-scores[n, position], ids[rows[n, position]]))
            for column in (rows, scores, reasons, sources, baseline_indices):
                column[n, : sizes[n]] = column[n, order]
        if self.config.lists.contributions:
            texts = [
                encode_items(
                    [
                        self._add_contributions(slot, item, baseline_index)
                        for item, baseline_index in zip(items, baseline, strict=False)
                    ]
                )
                for slot, items, baseline in zip(
                    slots.tolist(), build_list_items(lists, ids), baseline_indices.tolist(), strict=True
                )
            ]
        else:
            texts = self.json_writer.encode_lists(lists, ids)
        return [(self.active_users.ids[slot], text) for slot, text in zip(slots.tolist(), texts, strict=True)]

    def _add_contributions(self, slot: int, item: ListItem, baseline_index: int) -> ListItem:
        """Return the item with its score split into the part shared by all users and the user's own part."""
        baselines = self.active_users.baselines
        residual = float(
            baselines.residuals[slot, baseline_index] if baseline_index != EMPTY_ENTRY else baselines.levels[slot, 0]
        )
        return structs.replace(item, contributions={"everyone": item.score - residual, "user": residual})
