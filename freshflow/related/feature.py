"""Lists of related items as a feature of a partition."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import Config
from freshflow.events.model import ItemUpdate
from freshflow.feature import DueCheck, Feature, ListMaker, TriggerEvent
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.records import Output, RelatedItems
from freshflow.related.publisher import RELATED_CHECK_INTERVAL, PublisherState, RelatedList, RelatedPublisher


class RelatedState(StateTable, frozen=True):
    """State of related items."""

    publisher: PublisherState
    n_published: int


class RelatedFeature(Feature):
    """The related items of a partition, published as co-visitation changes."""

    name = "related"
    state_type = RelatedState

    def __init__(self, number: int, config: Config, item_statistics: ItemStatistics, clock: Callable[[], int]) -> None:
        self.publisher = RelatedPublisher(config.related, number, config.job.partitions)
        self._number = number
        self._item_statistics = item_statistics
        self._clock = clock
        self._n_published = 0

    def on_items_evicted(self, rows: NDArray[np.int64], trigger: TriggerEvent | None) -> Sequence[Output]:
        """Delete the lists of the items."""
        deleted_lists = self.publisher.drop_items(rows)
        return () if trigger is None else self._records(trigger, deleted_lists)

    def on_item_updated(
        self, update: ItemUpdate, was_available: bool, trigger: TriggerEvent, now_ms: int
    ) -> Sequence[Output]:
        """Withdraw an item that is not available any more, at once; check lists for one that is available again."""
        if update.available is None or update.available == was_available:
            return ()
        if update.available:
            self.publisher.on_item_available(self._item_statistics, update.item_id)
            return ()
        return self._records(trigger, self.publisher.withdraw_item(self._item_statistics, update.item_id, now_ms))

    def collect_due(self, check: DueCheck, list_maker: ListMaker) -> Sequence[Output]:
        """Publish the lists that have changed enough, after every `RELATED_CHECK_INTERVAL` examples or by the clock."""
        if check.kind == "events" and check.n_examples % RELATED_CHECK_INTERVAL:
            return ()
        return self._records(check.trigger, self.publisher.collect_due_lists(self._item_statistics, check.now_ms))

    def _records(self, trigger: TriggerEvent, lists: Sequence[RelatedList]) -> Sequence[Output]:
        if not lists:
            return ()
        computed_at, source, model = self._clock(), trigger.source, {"partition": self._number}
        self._n_published += len(lists)
        return [
            RelatedItems(related_list.item_id, computed_at, trigger.ts_ms, source, model, related_list.items)
            for related_list in lists
        ]

    def counters(self) -> Mapping[str, int]:
        """Return the number of published lists."""
        return {"related": self._n_published}

    def state(self) -> RelatedState:
        """Return the state."""
        return RelatedState(self.publisher.state(len(self._item_statistics.index.ids)), self._n_published)

    def restore(self, state: RelatedState | None) -> None:
        """Continue from a `state`, or as if no list had been published."""
        if state is not None:
            self.publisher.restore(state.publisher)
            self._n_published = state.n_published
