"""Lists that are made again without an act of their user: refreshes, and withdrawals of unavailable items."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.engine.batch_ranking import BatchRanker
from freshflow.engine.micro_batch import MAX_BATCH_QUERIES
from freshflow.engine.publishing import ListEncoder
from freshflow.engine.queries import QueryBuilder
from freshflow.engine.reporting import PartitionMetrics
from freshflow.feature import Feature, ListBatch, RefreshedList, TriggerEvent, hidden_rows
from freshflow.outputs.list_ids import list_name, refreshed_list_ids
from freshflow.outputs.records import Model, Output, RecommendationList
from freshflow.ranking.kernel import ENTRY_ROW, RankingResults
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers


class RemadeLists:
    """The `ListMaker` of features: it makes and publishes lists of users who have not acted."""

    def __init__(
        self,
        number: int,
        config: Config,
        clock: Callable[[], int],
        ranker: Ranker,
        active_users: ActiveUsers,
        features: tuple[Feature, ...],
        queries: QueryBuilder,
        batch_ranker: BatchRanker,
        encoder: ListEncoder,
        metrics: PartitionMetrics,
    ) -> None:
        self._number = number
        self._list_length = config.lists.k
        self._clock = clock
        self._ranker = ranker
        self._active_users = active_users
        self._features = features
        self._queries = queries
        self._batch_ranker = batch_ranker
        self._encoder = encoder
        self._metrics = metrics
        self._has_choosers = any(feature.chooses_items for feature in features)

    @property
    def has_choosers(self) -> bool:
        """True if a feature chooses the items of lists, so that scores alone do not make a list."""
        return self._has_choosers

    def hidden_rows(self) -> NDArray[np.int64]:
        """Return the rows (N,) of items that a feature hides from every user."""
        return hidden_rows(self._features)

    def rank_users(self, slots: NDArray[np.int32], now_ms: int) -> RankingResults:
        """Rank for the users in `slots` (N,) as of `now_ms`; query number n is that of slot number n."""
        profiles = self._active_users.users
        return self._batch_ranker.rank_queries(
            [self._queries.build_idle_query(profiles[slot], now_ms) for slot in slots.tolist()]
        )

    def remake_lists(self, slots: NDArray[np.int32], now_ms: int) -> list[RefreshedList]:
        """Rank for the users in `slots` (N,), let features choose, and return the lists that have changed."""
        active_users, query_indices = self._active_users, np.arange(len(slots))
        queries = [
            self._queries.deepen(self._queries.build_idle_query(active_users.users[slot], now_ms))
            for slot in slots.tolist()
        ]
        rankings = self._batch_ranker.rank_queries(queries)
        lists = ListBatch(range(len(slots)), [self._list_length] * len(slots), queries, rankings, self._features)
        texts = self._encoder.encode(lists)
        list_rows = rankings.entries[: len(slots), : self._list_length, ENTRY_ROW]
        is_changed = (active_users.baselines.list_rows[slots] != list_rows).any(axis=1)
        active_users.record_list(slots, list_rows, self._metrics.counts["events"], now_ms)
        for feature in self._features:
            feature.on_lists_recorded(slots.astype(np.int64), query_indices, rankings, now_ms)
        return [
            (active_users.ids[slot], text)
            for slot, text, changed in zip(slots.tolist(), texts, is_changed.tolist(), strict=True)
            if changed
        ]

    def publish(self, trigger: TriggerEvent, cause_name: str, lists: Sequence[RefreshedList]) -> list[Output]:
        """Return the records of lists; `cause_name` keeps their ids distinct from other lists after `trigger`."""
        computed_at, source = self._clock(), trigger.source
        model, variant = Model(self._number, self._ranker.n_applied_updates), self._metrics.variant
        name = list_name(trigger.origin, trigger.position, cause_name, trigger.nth)
        list_ids = refreshed_list_ids(name, [user_id for user_id, _ in lists])
        return [
            RecommendationList(
                *(user_id, list_id, "feed", "refresh", trigger.ts_ms, computed_at, source, model, items),
                variant=variant,
            )
            for (user_id, items), list_id in zip(lists, list_ids, strict=True)
        ]

    def withdraw_item(self, row: int, trigger: TriggerEvent, now_ms: int) -> list[Output]:
        """Return the lists of users who are shown an unavailable item, made again without it.

        Args:
            row: The row of the item.
            trigger: The catalogue event.
            now_ms: The event time of the partition.
        """
        slots = self._active_users.slots_showing(row)
        outputs: list[Output] = []
        for start in range(0, len(slots), MAX_BATCH_QUERIES):
            remade_lists = self.remake_lists(slots[start : start + MAX_BATCH_QUERIES], now_ms)
            outputs += self.publish(trigger, "withdrawal", remade_lists)
        self._metrics.counts["withdrawn"] += len(outputs)
        return outputs
