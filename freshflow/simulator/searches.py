"""Visitors who search: what they type, what a mediocre engine finds, and what they take of it.

A visitor looks for things of a category they like and types its name, in one of several spellings, often with an
adjective. The engine finds what is there of that category, and orders it by a relevance that knows nothing of what
people want. The visitor looks through the results from the top, gets tired, and takes by their own hidden taste: of the
category's items the popular ones, those with the adjective they typed, and those they know.
"""

from collections.abc import Callable, Sequence

from freshflow.simulator.catalogue import ADJECTIVES, LEAVES
from freshflow.simulator.config import ShopConfig, generator
from freshflow.simulator.shop import Shop
from freshflow.simulator.visitors import uniforms

__all__ = ["Searching"]

FOUND = 30  # results at most
WITH_ADJECTIVE = 0.3  # share of the searches
KNOWN, MATCHING = 3.0, 3.0  # times as likely as others: what the visitor knows, and what has the adjective
TIRED = 0.3  # of what stands at rank r, r^-0.3 is looked at
SPELLINGS: tuple[Callable[[str], str], ...] = (str, str, str.upper, str.title, "{} ".format)


class Searching:
    """The searches of a shop; `search` draws one."""

    def __init__(self, shop: Shop, config: ShopConfig) -> None:
        rng = generator(config, "searches")
        self._draw = uniforms(rng).__next__
        self._relevance: list[float] = rng.random(config.items).tolist()
        self._wanted = [0.0] * config.items  # 1 / place among the items of its category
        for shelf in shop.by_leaf:
            for place, item in enumerate(shelf, start=1):
                self._wanted[item] = 1 / place

    def is_next(self, share: float) -> bool:
        """Whether the next item is chosen from a search, as a `share` of them are."""
        return self._draw() < share

    def search(
        self, shop: Shop, tastes: Sequence[int], own: Sequence[int], there: Callable[[int], int], not_item: int
    ) -> tuple[str, list[int], int]:
        """A query, what the engine finds, and the item taken of it, or -1 where it finds nothing."""
        leaf = tastes[int(self._draw() * len(tastes))]
        noun = LEAVES[leaf][1].partition("/")[2]
        typed = int(self._draw() * len(ADJECTIVES)) if self._draw() < WITH_ADJECTIVE else -1
        query = noun if typed < 0 else f"{ADJECTIVES[typed].lower()} {noun}"
        query = SPELLINGS[int(self._draw() * len(SPELLINGS))](query)
        adjective = shop.catalogue.adjective
        found = [item for item in shop.by_leaf[leaf] if there(item) and item != not_item]
        found = sorted(found, key=lambda item: (adjective[item] != typed, self._relevance[item], item))[:FOUND]
        if not found:
            return query, found, -1
        weights = [
            self._wanted[item]
            * (KNOWN if item in own else 1.0)
            * (MATCHING if adjective[item] == typed else 1.0)
            * rank**-TIRED
            for rank, item in enumerate(found, start=1)
        ]
        left = self._draw() * sum(weights)
        for item, weight in zip(found, weights, strict=True):
            left -= weight
            if left < 0:
                return query, found, item
        return query, found, found[-1]
