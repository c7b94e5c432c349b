"""Scores of recommenders: the rank of each event's item on the lists computed before the event."""

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from zlib import crc32

import msgspec
import numpy as np

from freshflow.events.model import Interaction
from freshflow.metrics.ab_test import N_USER_GROUPS
from freshflow.metrics.ranking_metrics import (
    CUTOFF,
    NOT_COUNTED,
    MetricValues,
    compute_metrics,
    compute_metrics_by_part,
    rank_in_list,
)

# `all`: every event. `new`: a user's first event with an item; seen items are removed from the list before ranking.
# `published`: every event, on the list last pushed to the user. `cold_users`, `cold_items`: first events of a user or
# an item. `launches`: events within a day of the item's first, if that is over a day after the start of the stream.
SCORE_KINDS = ("all", "new", "published", "cold_users", "cold_items", "launches")
LAUNCH_PERIOD_MS = 86_400_000


class PredictionTarget(msgspec.Struct, frozen=True):
    """An event's item as the target of a prediction, with the state of its user and item before the event.

    `is_cold_user` and `is_cold_item` mark first events of a user or an item, `is_launch` an item launched within the
    last day. `user_group` is the user's group in the paired comparison (`freshflow.metrics.ab_test`).
    """

    item_id: str
    seen_items: AbstractSet[str]
    is_cold_user: bool
    is_cold_item: bool
    user_group: int = 0
    is_launch: bool = False


class StreamHistory:
    """History of the stream: seen items by user, and first appearance by item.

    Memory grows with the distinct user-item pairs of the file.
    """

    def __init__(self) -> None:
        self.seen_by_user: dict[str, set[str]] = {}
        self.known_items: set[str] = set()
        self.first_seen_ms: dict[str, int] = {}
        self.stream_start_ms: int | None = None

    def prediction_target(self, event: Interaction) -> PredictionTarget:
        """Return the prediction target of an event that has not been added yet."""
        seen_items = self.seen_by_user.get(event.user_id)
        user_group = crc32(event.user_id.encode("utf-8", "surrogatepass")) % N_USER_GROUPS
        is_cold_item = event.item_id not in self.known_items
        return PredictionTarget(
            event.item_id,
            seen_items or frozenset(),
            seen_items is None,
            is_cold_item,
            user_group,
            self._is_launch(event),
        )

    def _is_launch(self, event: Interaction) -> bool:
        """Return True if the item appeared within the day before the event, but not on the stream's first day."""
        stream_start_ms = event.ts_ms if self.stream_start_ms is None else self.stream_start_ms
        first_seen_ms = self.first_seen_ms.get(event.item_id, event.ts_ms)
        return first_seen_ms - stream_start_ms > LAUNCH_PERIOD_MS and event.ts_ms - first_seen_ms < LAUNCH_PERIOD_MS

    def add_item(self, item_id: str, ts_ms: int) -> None:
        """Record the first appearance of an item."""
        self.stream_start_ms = ts_ms if self.stream_start_ms is None else self.stream_start_ms
        self.first_seen_ms.setdefault(item_id, ts_ms)

    def add_interaction(self, event: Interaction) -> None:
        """Add an event to the history of its user and item."""
        self.seen_by_user.setdefault(event.user_id, set()).add(event.item_id)
        self.known_items.add(event.item_id)
        self.add_item(event.item_id, event.ts_ms)

    def merge_anonymous(self, anonymous_id: str, user_id: str) -> None:
        """Move the seen items of a guest to the user."""
        seen_items = self.seen_by_user.pop(anonymous_id, None)
        if seen_items is not None:
            self.seen_by_user.setdefault(user_id, set()).update(seen_items)

    def forget_user(self, user_id: str) -> None:
        """Drop the user's history; the next event counts as a cold user's."""
        self.seen_by_user.pop(user_id, None)


class Scores:
    """Ranks of one recommender: a byte per scored event and kind, and the set of listed items.

    `user_groups` holds the group of each event's user.
    """

    def __init__(self) -> None:
        self.ranks = {kind: bytearray() for kind in SCORE_KINDS}
        self.user_groups = array("H")
        self.listed_items: set[str] = set()

    def add(self, target: PredictionTarget, items: Sequence[str], published_items: Sequence[str] | None = None) -> None:
        """Score the requested list, and the list last pushed to the user, if any.

        Args:
            target: The event's item and state.
            items: The requested list, best first.
            published_items: The list last pushed to the user; None if the recommender pushes none.
        """
        rank = rank_in_list(target.item_id, items)
        is_new = target.item_id not in target.seen_items
        rank_by_kind = {
            "all": rank,
            "new": rank_in_list(target.item_id, items, excluded=target.seen_items) if is_new else NOT_COUNTED,
            "published": NOT_COUNTED if published_items is None else rank_in_list(target.item_id, published_items),
            "cold_users": rank if target.is_cold_user else NOT_COUNTED,
            "cold_items": rank if target.is_cold_item else NOT_COUNTED,
            "launches": rank if target.is_launch else NOT_COUNTED,
        }
        for kind in SCORE_KINDS:
            self.ranks[kind].append(rank_by_kind[kind])
        self.user_groups.append(target.user_group)
        self.listed_items.update(items[:CUTOFF])

    def metric_values(self, kind: str) -> MetricValues:
        """Return the metrics of a kind over the whole stream."""
        return compute_metrics(np.frombuffer(self.ranks[kind], np.uint8))

    def metric_values_by_part(self, kind: str, n_parts: int) -> list[MetricValues]:
        """Return the metrics of a kind over `n_parts` equal parts of the stream."""
        return compute_metrics_by_part(np.frombuffer(self.ranks[kind], np.uint8), n_parts)

    def __len__(self) -> int:
        return len(self.ranks["all"])
