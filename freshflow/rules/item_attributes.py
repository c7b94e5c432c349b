"""What rules go by: the catalogue's word on each item and since when it is there, in columns by item row.

It follows from the configuration and from item knowledge, so it is derived anew where an item event changes something,
and as a whole where a job is resumed.
"""

import math
from collections.abc import Iterable

import numpy as np

from freshflow.config.schema import RulesConfig
from freshflow.items.index import grown
from freshflow.items.popularity import FIRST_MS, WEEK
from freshflow.items.statistics import ItemKnowledge
from freshflow.rules.newest_items import UNHEARD_OF, Newest

__all__ = ["CATEGORIES", "UNSAID", "Traits"]

CATEGORIES = 4  # of an item, the first so many
UNSAID = -1  # the number of a category or brand that is not there
# Texts that no item has any more are forgotten once there are so many times as many as item rows, and some.
SPARE_TEXTS, FEW_TEXTS = 4, 10_000


class Traits:
    """By item row: `categories` (rows, 4) and `brands` (rows, 1) as numbers; `prices` and `margins`, NaN where not
    said; `blocked`; `boosts`, the logarithms of factors; `since_ms`, when it was published, or else first heard of.
    """

    def __init__(self, config: RulesConfig) -> None:
        self.config = config
        self._blocked = frozenset(config.blocked)
        self.clear()

    def clear(self) -> None:
        """Forget all items."""
        self.categories = np.empty((0, CATEGORIES), np.int32)
        self.brands = np.empty((0, 1), np.int32)
        self.prices, self.margins, self.boosts = np.empty(0), np.empty(0), np.empty(0)
        self.blocked = np.empty(0, np.bool_)
        self.since_ms = np.empty(0, np.int64)
        self.newest = Newest()
        self._numbers: dict[str, int] = {}

    def derive(self, knowledge: ItemKnowledge, rows: Iterable[int]) -> None:
        """Take over what is known of the items in `rows`; a row without an item has no traits."""
        self._make_room(knowledge.capacity)
        for row in rows:
            self._derive(knowledge, row)
        if len(self._numbers) > SPARE_TEXTS * knowledge.capacity + FEW_TEXTS:
            self.derive_all(knowledge)

    def derive_all(self, knowledge: ItemKnowledge) -> None:
        """Take over what is known of all items, and forget the rest."""
        self.clear()
        self._make_room(knowledge.capacity)
        for row in range(len(knowledge.rows.ids)):
            self._derive(knowledge, row)

    def visit(self, row: int, ts_ms: int, *, published: bool) -> None:
        """Somebody came for an item at `ts_ms`: if it was not `published`, it is there since then at the latest."""
        before_ms = int(self.since_ms[row])
        if not published and (before_ms == UNHEARD_OF or ts_ms < before_ms):
            self._set_since(row, ts_ms)

    def _derive(self, knowledge: ItemKnowledge, row: int) -> None:
        entry, item_id = knowledge.catalogue.entries.get(row), knowledge.rows.ids[row]
        categories = (entry.categories or ())[:CATEGORIES] if entry else ()
        brand = entry.brand if entry else None
        self.categories[row] = UNSAID
        self.categories[row, : len(categories)] = [self._number(f"category {name}") for name in categories]
        self.brands[row] = UNSAID if brand is None else self._number(f"brand {brand}")
        self.prices[row] = entry.price if entry and entry.price is not None else math.nan
        self.margins[row] = entry.margin if entry and entry.margin is not None else math.nan
        self.blocked[row] = item_id in self._blocked
        config = self.config
        factors = [config.boost_items.get(item_id, 1.0), config.boost_brands.get(brand or "", 1.0)]
        factors += [config.boost_categories.get(name, 1.0) for name in categories]
        self.boosts[row] = sum(map(math.log, factors))
        self._set_since(row, _since_ms(knowledge, row))

    def _set_since(self, row: int, since_ms: int) -> None:
        before_ms = int(self.since_ms[row])
        if since_ms != before_ms:
            self.since_ms[row] = since_ms
            self.newest.note(row, since_ms, before_ms)

    def _number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def _make_room(self, capacity: int) -> None:
        if len(self.brands) >= capacity:
            return
        self.categories, self.brands = grown(self.categories, capacity, UNSAID), grown(self.brands, capacity, UNSAID)
        self.prices, self.margins = grown(self.prices, capacity, math.nan), grown(self.margins, capacity, math.nan)
        self.boosts, self.blocked = grown(self.boosts, capacity), grown(self.blocked, capacity)
        self.since_ms = grown(self.since_ms, capacity, UNHEARD_OF)


def _since_ms(knowledge: ItemKnowledge, row: int) -> int:
    """When an item was published; else when somebody first came for it or an item event named it."""
    if not knowledge.rows.ids[row]:
        return UNHEARD_OF
    catalogue, memory = knowledge.catalogue, knowledge.tables.popularity.memories[row]
    entry = catalogue.entries.get(row)
    if entry is not None and entry.published_ms is not None:
        return entry.published_ms
    heard_ms = [int(memory[FIRST_MS])] if memory[WEEK] > 0 else []
    heard_ms += [int(catalogue.first_ms[row])] if entry is not None else []
    return min(heard_ms, default=UNHEARD_OF)
