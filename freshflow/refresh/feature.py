"""Refreshes of idle users' lists as a feature of a partition."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import Config
from freshflow.feature import DueCheck, Feature, ListMaker
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.json_writer import JsonListWriter
from freshflow.outputs.records import Output
from freshflow.ranking.kernel import RankingResults
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers
from freshflow.refresh.scheduler import RefreshScheduler, SchedulerState


class RefreshState(StateTable, frozen=True):
    """State of refreshes."""

    scheduler: SchedulerState
    n_refreshed: int


class RefreshFeature(Feature):
    """The refreshes of a partition: after each update of the ranker, or by the clock, lists worth a message."""

    name = "refresh"
    state_type = RefreshState
    needs_baselines = True

    def __init__(
        self,
        config: Config,
        item_statistics: ItemStatistics,
        ranker: Ranker,
        active_users: ActiveUsers,
        json_writer: JsonListWriter,
    ) -> None:
        self.scheduler = RefreshScheduler(config, active_users, json_writer)
        self._item_statistics = item_statistics
        self._ranker = ranker
        self._active_users = active_users
        self._n_refreshed = 0

    def on_lists_recorded(
        self,
        slots: NDArray[np.int64],
        query_indices: NDArray[np.int64],
        rankings: RankingResults,
        remade_ms: int | None,
    ) -> None:
        """Store the rankings as baselines; each act of a user adds to the budget."""
        if remade_ms is not None:
            self.scheduler.store_full_rankings(slots, query_indices, rankings, remade_ms)
            return
        self._active_users.store_baseline(slots, query_indices, rankings)
        self.scheduler.add_tokens(len(slots))

    def collect_due(self, check: DueCheck, list_maker: ListMaker) -> Sequence[Output]:
        """Refresh lists, if one of the partition's own users has acted or by the clock."""
        if check.kind == "end" or (check.kind == "events" and not check.has_interactions):
            return ()
        self.n_checks += 1
        refreshed_lists = self.scheduler.collect_due_lists(
            self._item_statistics, self._ranker.weights, check.n_events, check.now_ms, list_maker
        )
        self._n_refreshed += len(refreshed_lists)
        cause_name = "refresh" if check.kind == "events" else f"refresh {check.now_ms}"
        return list_maker.publish(check.trigger, cause_name, refreshed_lists)

    def counters(self) -> Mapping[str, int]:
        """Return the number of refreshed lists and the lists that the budget allows."""
        return {"refreshed": self._n_refreshed, "refreshes_allowed": int(self.scheduler.tokens)}

    def state(self) -> RefreshState:
        """Return the state."""
        return RefreshState(self.scheduler.state(), self._n_refreshed)

    def restore(self, state: RefreshState | None) -> None:
        """Continue from a `state`, or with an empty budget."""
        if state is not None:
            self.scheduler.restore(state.scheduler)
            self._n_refreshed = state.n_refreshed
