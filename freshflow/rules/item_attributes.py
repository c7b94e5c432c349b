"""Attributes of items for rules: catalogue data and first-seen times, in columns by item row.

They are derived from the configuration and the item statistics: for single items after item events, and for all items
when a job resumes.
"""

import math
from collections.abc import Iterable

import numpy as np

from freshflow.config.schema import RulesConfig
from freshflow.items.index import extend_rows
from freshflow.items.popularity import FIRST_MS, WEEK
from freshflow.items.statistics import ItemStatistics
from freshflow.rules.newest_items import NEVER_SEEN_MS, NewestItems

MAX_RULE_CATEGORIES = 4  # categories of an item that rules see, the first ones
NO_CODE = -1  # the code of a missing category or brand
# Bound on category and brand names, beyond which names without an item are forgotten.
MAX_NAMES_PER_ROW, MAX_EXTRA_NAMES = 4, 10_000


class ItemAttributes:
    """Columns of attributes by item row.

    Attributes:
        categories: Codes of the first categories (rows, 4), -1 padded.
        brands: Codes of brands (rows, 1), -1 where unknown.
        prices: Prices (rows,), NaN where unknown.
        margins: Margins (rows,), NaN where unknown.
        is_blocked: Mask of blocked items (rows,).
        boosts: Logarithms of boost factors (rows,).
        first_seen_ms: Publication times (rows,), or else times of the first event, in epoch milliseconds.
    """

    def __init__(self, config: RulesConfig) -> None:
        self.config = config
        self._blocked_ids = frozenset(config.blocked)
        self.clear()

    def clear(self) -> None:
        """Forget all items."""
        self.categories = np.empty((0, MAX_RULE_CATEGORIES), np.int32)
        self.brands = np.empty((0, 1), np.int32)
        self.prices, self.margins, self.boosts = np.empty(0), np.empty(0), np.empty(0)
        self.is_blocked = np.empty(0, np.bool_)
        self.first_seen_ms = np.empty(0, np.int64)
        self.newest_items = NewestItems()
        self._codes: dict[str, int] = {}

    def update_rows(self, item_statistics: ItemStatistics, rows: Iterable[int]) -> None:
        """Update the attributes of the items in `rows`; a row without an item has none."""
        self._grow(item_statistics.capacity)
        for row in rows:
            self._update_row(item_statistics, row)
        if len(self._codes) > MAX_NAMES_PER_ROW * item_statistics.capacity + MAX_EXTRA_NAMES:
            self.rebuild(item_statistics)

    def rebuild(self, item_statistics: ItemStatistics) -> None:
        """Derive the attributes of all items anew."""
        self.clear()
        self._grow(item_statistics.capacity)
        for row in range(len(item_statistics.index.ids)):
            self._update_row(item_statistics, row)

    def record_visit(self, row: int, ts_ms: int, *, has_published_ms: bool) -> None:
        """Record a visit at `ts_ms`, which bounds the first-seen time of an item unless `has_published_ms`."""
        previous_ms = int(self.first_seen_ms[row])
        if not has_published_ms and (previous_ms == NEVER_SEEN_MS or ts_ms < previous_ms):
            self._set_first_seen(row, ts_ms)

    def _update_row(self, item_statistics: ItemStatistics, row: int) -> None:
        entry, item_id = item_statistics.catalogue.entries.get(row), item_statistics.index.ids[row]
        categories = (entry.categories or ())[:MAX_RULE_CATEGORIES] if entry else ()
        brand = entry.brand if entry else None
        self.categories[row] = NO_CODE
        self.categories[row, : len(categories)] = [self._code_of(f"category {name}") for name in categories]
        self.brands[row] = NO_CODE if brand is None else self._code_of(f"brand {brand}")
        self.prices[row] = entry.price if entry and entry.price is not None else math.nan
        self.margins[row] = entry.margin if entry and entry.margin is not None else math.nan
        self.is_blocked[row] = item_id in self._blocked_ids
        config = self.config
        factors = [config.boost_items.get(item_id, 1.0), config.boost_brands.get(brand or "", 1.0)]
        factors += [config.boost_categories.get(name, 1.0) for name in categories]
        self.boosts[row] = sum(map(math.log, factors))
        self._set_first_seen(row, _first_seen_ms(item_statistics, row))

    def _set_first_seen(self, row: int, first_seen_ms: int) -> None:
        previous_ms = int(self.first_seen_ms[row])
        if first_seen_ms != previous_ms:
            self.first_seen_ms[row] = first_seen_ms
            self.newest_items.update_first_seen(row, first_seen_ms, previous_ms)

    def _code_of(self, text: str) -> int:
        return self._codes.setdefault(text, len(self._codes))

    def _grow(self, capacity: int) -> None:
        if len(self.brands) >= capacity:
            return
        self.categories, self.brands = (
            extend_rows(self.categories, capacity, NO_CODE),
            extend_rows(self.brands, capacity, NO_CODE),
        )
        self.prices, self.margins = (
            extend_rows(self.prices, capacity, math.nan),
            extend_rows(self.margins, capacity, math.nan),
        )
        self.boosts, self.is_blocked = extend_rows(self.boosts, capacity), extend_rows(self.is_blocked, capacity)
        self.first_seen_ms = extend_rows(self.first_seen_ms, capacity, NEVER_SEEN_MS)


def _first_seen_ms(item_statistics: ItemStatistics, row: int) -> int:
    """Return the publication time of an item, or else the time of its first visit or item event."""
    if not item_statistics.index.ids[row]:
        return NEVER_SEEN_MS
    catalogue, item_counters = item_statistics.catalogue, item_statistics.tables.popularity.counters[row]
    entry = catalogue.entries.get(row)
    if entry is not None and entry.published_ms is not None:
        return entry.published_ms
    seen_times = [int(item_counters[FIRST_MS])] if item_counters[WEEK] > 0 else []
    seen_times += [int(catalogue.first_entry_ms[row])] if entry is not None else []
    return min(seen_times, default=NEVER_SEEN_MS)
