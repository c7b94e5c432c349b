"""Simulated searches: queries, a mediocre search engine, and the visitor's choice among the results.

A visitor searches for a category they like by its name, in one of several spellings, often with an adjective. The
engine finds the available items of the category and orders them by a relevance that is independent of demand. The
visitor scans the results from the top, with position bias, and chooses by a hidden preference for items that are
popular in the category, match the adjective, or are already known to the visitor.
"""

from collections.abc import Callable, Sequence

from freshflow.simulator.catalogue import ADJECTIVES, LEAF_CATEGORIES
from freshflow.simulator.config import ShopConfig, create_rng
from freshflow.simulator.shop import SimulatedShop
from freshflow.simulator.visitors import draw_uniforms

MAX_SEARCH_RESULTS = 30  # length of a result list
ADJECTIVE_SHARE = 0.3  # share of the queries with an adjective
KNOWN_ITEM_BOOST = 3.0  # relative probability of items that the visitor knows
ADJECTIVE_BOOST = 3.0  # relative probability of items with the adjective of the query
POSITION_BIAS_EXPONENT = 0.3  # the result at rank r is examined with probability r^-0.3
SPELLINGS: tuple[Callable[[str], str], ...] = (str, str, str.upper, str.title, "{} ".format)


class SearchSimulator:
    """A simulator of searches in a shop."""

    def __init__(self, shop: SimulatedShop, config: ShopConfig) -> None:
        rng = create_rng(config, "searches")
        self._draw = draw_uniforms(rng).__next__
        self._relevance: list[float] = rng.random(config.items).tolist()
        self._item_popularity = [0.0] * config.items  # 1 / rank in its category
        for shelf in shop.by_leaf:
            for rank, item in enumerate(shelf, start=1):
                self._item_popularity[item] = 1 / rank

    def is_search_next(self, share: float) -> bool:
        """Draw true with probability `share`: the next item is then chosen from a search."""
        return self._draw() < share

    def search(
        self,
        shop: SimulatedShop,
        tastes: Sequence[int],
        known_items: Sequence[int],
        is_available: Callable[[int], int],
        excluded_item: int,
    ) -> tuple[str, list[int], int]:
        """Draw a search and the visitor's choice.

        Args:
            shop: The shop.
            tastes: Leaf categories that the visitor likes.
            known_items: Items that the visitor knows.
            is_available: Returns true for available items.
            excluded_item: An item that is left out of the results.

        Returns:
            The query, the results, and the chosen item, or -1 if there are no results.
        """
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
