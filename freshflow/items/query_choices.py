"""Choices after queries: decayed counts of chosen items by query (keys: `freshflow.events.query_keys`).

A choice counts its weight, and half of it after a month: catalogues and fashions change. With c choices of an item
among n after a query, and p its share after the query's words, or 1 / C where these have no choices, the share after
the query is  (c + M p) / (n + M):  a prior worth M = 5 choices, so that a single click proves little.
"""

import math
from collections.abc import Sequence
from heapq import nsmallest
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

CLICK_HALF_LIFE_MS = 30 * 86_400_000.0  # a month
SMOOTHING = 5.0  # M
MAX_ITEMS_PER_QUERY = 64  # of a query; the least chosen is evicted first


class TopClickedItems(NamedTuple):
    """The items that are chosen most after a query.

    Attributes:
        items: Item ids, the most chosen first.
        share_counts: The share and the count of each.
        n_visits_since_query: The age of the query in visits of the user.
    """

    items: tuple[str, ...]
    share_counts: tuple[tuple[float, float], ...]
    n_visits_since_query: int


class QueryCounts(msgspec.Struct):
    """Decayed choices after one query as of `as_of_ms`: in total and by item."""

    as_of_ms: int
    total: float = 0.0
    item_counts: dict[str, float] = msgspec.field(default_factory=dict)

    def add_click(self, item_id: str, ts_ms: int, weight: float) -> None:
        """Add a choice of an item at `ts_ms`, after all counts have decayed to that time."""
        age_ms = ts_ms - self.as_of_ms
        decay = math.exp2(-abs(age_ms) / CLICK_HALF_LIFE_MS)
        if age_ms > 0:
            self.as_of_ms, self.total = ts_ms, self.total * decay
            self.item_counts = {item: n_clicks * decay for item, n_clicks in self.item_counts.items()}
        else:
            weight *= decay  # a late choice has decayed itself
        self.total += weight
        if item_id not in self.item_counts and len(self.item_counts) == MAX_ITEMS_PER_QUERY:
            del self.item_counts[min(self.item_counts, key=lambda item: (self.item_counts[item], item))]
        self.item_counts[item_id] = self.item_counts.get(item_id, 0.0) + weight


class QueryClicks:
    """Choices by query key, for at most `max_keys` keys; the key without a choice for longest is evicted first."""

    def __init__(self, max_keys: int) -> None:
        self.max_keys = max_keys
        self.counts_by_key: dict[str, QueryCounts] = {}

    def add_click(self, keys: Sequence[str], item_id: str, ts_ms: int, weight: float) -> None:
        """Count a choice after a query.

        Args:
            keys: The keys of the query.
            item_id: The chosen item.
            ts_ms: Event time.
            weight: The weight of the choice.
        """
        if not self.max_keys:
            return
        for key in keys:
            query_counts = self.counts_by_key.pop(key, None) or QueryCounts(ts_ms)
            query_counts.add_click(item_id, ts_ms, weight)
            self.counts_by_key[key] = query_counts  # moves to the end of the eviction order
        while len(self.counts_by_key) > self.max_keys:
            del self.counts_by_key[next(iter(self.counts_by_key))]

    def has_clicks(self, keys: Sequence[str]) -> bool:
        """Return True if there is a choice after the query or one of its words."""
        return any(key in self.counts_by_key for key in keys)

    def click_shares(self, keys: Sequence[str], items: Sequence[str]) -> NDArray[np.float64]:
        """Return the shares of `items` (C,) after a query, which add up to less than 1 if others are chosen, too."""
        uniform = np.full(len(items), 1 / max(1, len(items)))
        word_shares = [self._smoothed_shares(key, items, uniform) for key in keys[1:] if key in self.counts_by_key]
        fallback_shares = np.mean(word_shares, axis=0) if word_shares else uniform
        return self._smoothed_shares(keys[0], items, fallback_shares) if keys else fallback_shares

    def top_items(self, keys: Sequence[str], limit: int, n_visits_since_query: int) -> TopClickedItems | None:
        """Return the items that are chosen most after a query, the most chosen first; None where there are no choices.

        Where there is no choice after the query itself, those after its words count.

        Args:
            keys: The keys of the query.
            limit: The greatest number of items.
            n_visits_since_query: Copied to the result.
        """
        word_counts = [self.counts_by_key[key] for key in keys[1:] if key in self.counts_by_key]
        shares, counts = dict[str, float](), dict[str, float]()
        for word_count in word_counts:
            factor = 1 / (len(word_counts) * (word_count.total + SMOOTHING))
            for item, count in word_count.item_counts.items():
                shares[item] = shares.get(item, 0.0) + count * factor
                counts[item] = max(count, counts.get(item, 0.0))
        query_counts = self.counts_by_key.get(keys[0]) if keys else None
        if query_counts is not None:
            factor = 1 / (query_counts.total + SMOOTHING)
            shares = {item: SMOOTHING * share * factor for item, share in shares.items()}
            for item, count in query_counts.item_counts.items():
                shares[item] = shares.get(item, 0.0) + count * factor
                counts[item] = max(count, counts.get(item, 0.0))
        if not shares:
            return None
        best = nsmallest(limit, shares, key=lambda item: (-shares[item], item))
        return TopClickedItems(tuple(best), tuple((shares[item], counts[item]) for item in best), n_visits_since_query)

    def _smoothed_shares(self, key: str, items: Sequence[str], prior: NDArray[np.float64]) -> NDArray[np.float64]:
        query_counts = self.counts_by_key.get(key)
        if query_counts is None:
            return prior
        counts = np.array([query_counts.item_counts.get(item, 0.0) for item in items])
        shares: NDArray[np.float64] = (counts + SMOOTHING * prior) / (query_counts.total + SMOOTHING)
        return shares

    def state(self) -> dict[str, QueryCounts]:
        """Return the counts by key."""
        return self.counts_by_key

    def restore(self, state: dict[str, QueryCounts]) -> None:
        """Continue from a state; if fewer keys are kept now, with the latest."""
        self.counts_by_key = state
        for key in list(self.counts_by_key)[: max(0, len(self.counts_by_key) - self.max_keys)]:
            del self.counts_by_key[key]
