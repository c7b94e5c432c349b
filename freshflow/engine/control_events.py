"""Events that no list is ranked for: catalogue events, requests to forget a user, and evictions of users and items."""

from collections.abc import Sequence
from zlib import crc32

from freshflow.engine.micro_batch import MicroBatch
from freshflow.engine.remade_lists import RemadeLists
from freshflow.engine.reporting import PartitionMetrics
from freshflow.events.model import Forget, ItemUpdate, Origin
from freshflow.feature import Feature, TriggerEvent
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.metrics.report import Receipt
from freshflow.outputs.json_writer import JsonListWriter
from freshflow.outputs.records import ListDeletion, Output
from freshflow.refresh.active_users import ActiveUsers
from freshflow.users.updates import UserEvicted

# Examples between two searches for idle items, a multiple of the update intervals. A search takes milliseconds.
IDLE_ITEM_CHECK_INTERVAL = 4096

ControlStep = ItemUpdate | Forget | UserEvicted


class ItemLifecycle:
    """The admission and eviction of a partition's items; it notifies everything that refers to item rows."""

    def __init__(
        self,
        item_statistics: ItemStatistics,
        active_users: ActiveUsers,
        json_writer: JsonListWriter,
        features: tuple[Feature, ...],
    ) -> None:
        self._item_statistics = item_statistics
        self._active_users = active_users
        self._json_writer = json_writer
        self._features = features

    def admit(self, item_id: str, ts_ms: int, trigger: TriggerEvent | None) -> list[Output]:
        """Give a new item a row; `trigger` is the event before which the outputs of evictions are published."""
        self._item_statistics.admit(item_id, ts_ms)
        return self.announce([item_id], trigger)

    def announce(self, new_ids: Sequence[str], trigger: TriggerEvent | None) -> list[Output]:
        """Notify features of new items, and of the items evicted for them."""
        if new_ids:
            for feature in self._features:
                feature.on_items_added(new_ids)
        return self._release_evicted_rows(trigger)

    def evict_idle(self, n_examples: int, trigger: TriggerEvent | None) -> list[Output]:
        """Evict idle items after every `IDLE_ITEM_CHECK_INTERVAL` examples."""
        if n_examples % IDLE_ITEM_CHECK_INTERVAL:
            return []
        self._item_statistics.evict_idle()
        return self._release_evicted_rows(trigger)

    def _release_evicted_rows(self, trigger: TriggerEvent | None) -> list[Output]:
        """Remove the rows of evicted items, which are reused for other items."""
        if not len(self._item_statistics.evicted_rows):
            return []
        rows = self._item_statistics.drain_evicted_rows()
        self._active_users.drop_items(rows)
        self._json_writer.drop_items(rows)
        return [output for feature in self._features for output in feature.on_items_evicted(rows, trigger)]


class ControlEvents:
    """The application of control events to a partition."""

    def __init__(
        self,
        number: int,
        item_statistics: ItemStatistics,
        active_users: ActiveUsers,
        features: tuple[Feature, ...],
        lifecycle: ItemLifecycle,
        remade_lists: RemadeLists,
        metrics: PartitionMetrics,
    ) -> None:
        self._number = number
        self._item_statistics = item_statistics
        self._active_users = active_users
        self._features = features
        self._lifecycle = lifecycle
        self._remade_lists = remade_lists
        self._metrics = metrics

    def can_overtake(self, step: ControlStep, batch: MicroBatch) -> bool:
        """Return True if `step` may be applied before the steps of `batch`: it evicts a user without a list."""
        if type(step) is not UserEvicted or step.is_idle or batch.has_list_for(step.user_id):
            return False
        user_id = step.user_id
        return not self._active_users.is_active(user_id) and not any(
            feature.tracks_user(user_id) for feature in self._features
        )

    def apply(
        self, origin: Origin, step: ControlStep, latest_event: TriggerEvent | None, now_ms: int
    ) -> Sequence[Output]:
        """Apply a control event.

        Args:
            origin: The file or topic of the event.
            step: The event.
            latest_event: The latest interaction of the partition's own users.
            now_ms: The event time of the partition.

        Returns:
            The outputs that follow.
        """
        if type(step) is ItemUpdate:
            return self._update_item(origin, step, latest_event, now_ms)
        was_active = self._active_users.forget(step.user_id)
        for feature in self._features:
            feature.on_user_forgotten(step.user_id)
        if type(step) is UserEvicted:
            return [ListDeletion(step.user_id)] if step.is_idle else []
        assert type(step) is Forget
        if step.is_in_other_bucket:
            return []
        return self._forget_user(origin, step, was_active)

    def _update_item(
        self, origin: Origin, update: ItemUpdate, latest_event: TriggerEvent | None, now_ms: int
    ) -> list[Output]:
        item_statistics, item_id = self._item_statistics, update.item_id
        is_new = item_statistics.index.get(item_id) == NO_ROW
        was_available = item_statistics.is_available(item_id)
        item_statistics.update_catalogue(update)
        outputs = self._lifecycle.announce([item_id] if is_new else [], latest_event)
        trigger = TriggerEvent(origin, update.position, update.ts_ms)
        for feature in self._features:
            outputs += feature.on_item_updated(update, was_available, trigger, now_ms)
        if update.available is False:
            outputs += self._remade_lists.withdraw_item(item_statistics.index.get(item_id), trigger, now_ms)
        return outputs

    def _forget_user(self, origin: Origin, forget: Forget, was_active: bool) -> list[Output]:
        """Delete the remaining state of a user, and confirm it with a receipt and a deletion of the list."""
        metrics = self._metrics
        metrics.drift_detector.forget(crc32(forget.user_id.encode()))
        metrics.counts["forgotten"] += 1
        source, is_known = origin.source_ref(forget.position), forget.is_known or was_active
        metrics.receipts.append(Receipt(self._number, forget.ts_ms, source, is_known, metrics.counts["forgotten"]))
        return [ListDeletion(forget.user_id)]
