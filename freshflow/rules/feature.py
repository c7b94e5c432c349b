"""Rules as a feature of a partition."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.events.model import ItemUpdate
from freshflow.feature import Feature, ListBatch, TriggerEvent
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.outputs.records import Output
from freshflow.ranking.query import Query
from freshflow.rules.apply import apply_rules, named_adjustments
from freshflow.rules.pipeline import Rules, RulesState
from freshflow.users.updates import UserInteraction


class RulesFeature(Feature):
    """The business rules of a partition, which choose the items of every list."""

    name = "rules"
    state_type = RulesState
    reads_item_statistics = True
    chooses_items = True

    def __init__(self, config: Config, item_statistics: ItemStatistics) -> None:
        self.rules = Rules(config, item_statistics)
        self._item_statistics = item_statistics
        self._explains_scores = config.lists.contributions

    def on_items_added(self, item_ids: Sequence[str]) -> None:
        """Derive the attributes of the items."""
        rows = self._item_statistics.index.lookup_rows(item_ids)
        self.rules.item_attributes.update_rows(self._item_statistics, rows)

    def on_items_evicted(self, rows: NDArray[np.int64], trigger: TriggerEvent | None) -> Sequence[Output]:
        """Derive the attributes of the rows anew, and keep a row for each pinned item."""
        self.rules.on_items_evicted(rows)
        return ()

    def on_item_updated(
        self, update: ItemUpdate, was_available: bool, trigger: TriggerEvent, now_ms: int
    ) -> Sequence[Output]:
        """Derive the attributes of the item anew."""
        self.on_items_added([update.item_id])
        return ()

    def on_visits(self, visits: Sequence[ItemVisit], interactions: Sequence[UserInteraction]) -> None:
        """Learn first visits and conversion rates."""
        self.rules.on_visits(visits)

    def ranking_depth(self, k: int) -> int:
        """Return the number of candidates that rules choose a list of `k` from."""
        return self.rules.ranking_depth(k)

    def choose_items(self, lists: ListBatch) -> None:
        """Apply the rules to each list."""
        candidate_lists = apply_rules(self.rules, lists.query_indices, lists.lengths, lists.queries, lists.rankings)
        if self._explains_scores:
            lists.adjustments.update(
                {q: named_adjustments(chosen_items) for q, chosen_items in candidate_lists.items()}
            )

    def hidden_rows(self) -> NDArray[np.int64]:
        """Return the rows (N,) of blocked items."""
        return np.flatnonzero(self.rules.item_attributes.is_blocked)

    def items_hidden_in_search(self, query: Query) -> Collection[str]:
        """Return the ids of items that rules hide from search results."""
        return self.rules.items_hidden_in_search(query)

    def counters(self) -> Mapping[str, int]:
        """Return how often each rule removed, added or moved an item."""
        return self.rules.counts

    def state(self) -> RulesState:
        """Return the state of the rules."""
        return self.rules.state()

    def restore(self, state: RulesState | None) -> None:
        """Continue from a `state`, and derive item attributes from the item statistics."""
        self.rules.restore(state or RulesState())
