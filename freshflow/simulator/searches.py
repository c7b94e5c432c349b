"""Visitors who search: what they type, what a mediocre engine finds, and what they take of it.

A visitor looks for things of a category they like and types its name, in one of several spellings, often with an
adjective. The engine finds what is there of that category, and orders it by a relevance that knows nothing of what
people want. The visitor looks through the results from the top, gets tired, and takes by their own hidden taste: of the
category's items the popular ones, those with the adjective they typed, and those they know.
"""

from collections.abc import Callable, Sequence

from freshflow.simulator.catalogue import ADJECTIVES, LEAF_CATEGORIES
from freshflow.simulator.config import ShopConfig, create_rng
from freshflow.simulator.shop import SimulatedShop
from freshflow.simulator.visitors import draw_uniforms

__all__ = ["SearchSimulator"]

MAX_SEARCH_RESULTS = 30  # results at most
ADJECTIVE_SHARE = 0.3  # share of the searches
KNOWN_ITEM_BOOST, ADJECTIVE_BOOST = (
    3.0,
    3.0,
)  # times as likely as others: what the visitor knows, and what has the adjective
POSITION_BIAS_EXPONENT = 0.3  # of what stands at rank r, r^-0.3 is looked at
SPELLINGS: tuple[Callable[[str], str], ...] = (str, str, str.upper, str.title, "{} ".format)


class SearchSimulator:
    """The searches of a shop; `search` draws one."""

    def __init__(self, shop: SimulatedShop, config: ShopConfig) -> None:
        rng = create_rng(config, "searches")
        self._draw = draw_uniforms(rng).__next__
        self._relevance: list[float] = rng.random(config.items).tolist()
        self._item_popularity = [0.0] * config.items  # 1 / place among the items of its category
        for shelf in shop.by_leaf:
            for rank, item in enumerate(shelf, start=1):
                self._item_popularity[item] = 1 / rank

    def is_next(self, share: float) -> bool:
        """Whether the next item is chosen from a search, as a `share` of them are."""
        return self._draw() < share

    def search(
        self,
        shop: SimulatedShop,
        tastes: Sequence[int],
        known_items: Sequence[int],
        is_available: Callable[[int], int],
        excluded_item: int,
    ) -> tuple[str, list[int], int]:
        """A query, what the engine finds, and the item taken of it, or -1 where it finds nothing."""
        leaf = tastes[int(self._draw() * len(tastes))]
        noun = LEAF_CATEGORIES[leaf][1].partition("/")[2]
        adjective_index = int(self._draw() * len(ADJECTIVES)) if self._draw() < ADJECTIVE_SHARE else -1
        query = noun if adjective_index < 0 else f"{ADJECTIVES[adjective_index].lower()} {noun}"
        query = SPELLINGS[int(self._draw() * len(SPELLINGS))](query)
        adjectives = shop.catalogue.adjective
        results = [item for item in shop.by_leaf[leaf] if is_available(item) and item != excluded_item]
        results = sorted(results, key=lambda item: (adjectives[item] != adjective_index, self._relevance[item], item))[
            :MAX_SEARCH_RESULTS
        ]
        if not results:
            return query, results, -1
        weights = [
            self._item_popularity[item]
            * (KNOWN_ITEM_BOOST if item in known_items else 1.0)
            * (ADJECTIVE_BOOST if adjectives[item] == adjective_index else 1.0)
            * rank**-POSITION_BIAS_EXPONENT
            for rank, item in enumerate(results, start=1)
        ]
        remaining_weight = self._draw() * sum(weights)
        for item, weight in zip(results, weights, strict=True):
            remaining_weight -= weight
            if remaining_weight < 0:
                return query, results, item
        return query, results, results[-1]
