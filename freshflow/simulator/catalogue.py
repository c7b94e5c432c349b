"""Catalogue of a simulated shop: a two-level tree of categories, titles, prices and publication times."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator import lines
from freshflow.simulator.config import MS_PER_DAY

DEPARTMENTS = {
    "kitchen": ("knives", "pans", "kettles", "bowls", "mugs"),
    "garden": ("spades", "planters", "hoses", "seeds", "lanterns"),
    "office": ("notebooks", "pens", "lamps", "chairs", "shelves"),
    "outdoor": ("tents", "backpacks", "bottles", "stoves", "torches"),
    "sport": ("mats", "dumbbells", "balls", "rackets", "shoes"),
    "audio": ("headphones", "speakers", "cables", "microphones", "turntables"),
    "home": ("blankets", "cushions", "candles", "rugs", "clocks"),
    "toys": ("puzzles", "blocks", "trains", "kites", "dolls"),
}
LEAF_CATEGORIES: tuple[tuple[str, str], ...] = tuple(
    (department, f"{department}/{leaf}") for department, leaves in DEPARTMENTS.items() for leaf in leaves
)
# fmt: off
ADJECTIVES = (
    "Amber", "Ash", "Birch", "Blue", "Bright", "Cedar", "Clay", "Copper",
    "Coral", "Dune", "Fern", "Flint", "Granite", "Green", "Harbour", "Hazel",
    "Indigo", "Ivory", "Juniper", "Linen", "Maple", "Mist", "Moss", "Oak",
    "Ochre", "Olive", "Pebble", "Pine", "River", "Sage", "Slate", "Willow",
)
# fmt: on
MAX_INITIAL_AGE_DAYS = 365  # age of the first items when the shop opens


class ShopCatalogue(NamedTuple):
    """The columns of a catalogue, one row per item.

    Attributes:
        leaf: Index of the item's category in `LEAF_CATEGORIES`.
        adjective: Index of the title's adjective in `ADJECTIVES`.
        price: Price.
        published_ms: Publication time, in epoch milliseconds.
        embeddings: Vectors (items, D), or None.
    """

    leaf: list[int]
    adjective: list[int]
    price: list[float]
    published_ms: list[int]
    embeddings: NDArray[np.float32] | None = None

    def encode_launch(self, ts_ms: int, item: int) -> bytes:
        """Encode the catalogue entry with which an item is launched."""
        leaf = LEAF_CATEGORIES[self.leaf[item]]
        noun = leaf[1].partition("/")[2]
        title = f"{ADJECTIVES[self.adjective[item]]} {noun} {item + 1}"
        vector = None if self.embeddings is None else [round(x, 3) for x in self.embeddings[item].tolist()]
        return lines.encode_item_launch(ts_ms, item, title, leaf, self.price[item], self.published_ms[item], vector)


def build_catalogue(
    leaf: NDArray[np.int64], launch_ms: NDArray[np.int64], start_ms: int, rng: np.random.Generator
) -> ShopCatalogue:
    """Build the catalogue entries of items; items launched after the start are published at their launch.

    Args:
        leaf: Index of each item's leaf category, shape (items,).
        launch_ms: Launch time of each item, shape (items,), in epoch milliseconds.
        start_ms: Opening time of the shop, in epoch milliseconds.
        rng: The random generator.
    """
    n_items = len(leaf)
    typical_price = rng.lognormal(3.0, 0.7, len(LEAF_CATEGORIES))  # each category has its price level
    price = np.round(typical_price[leaf] * rng.lognormal(0.0, 0.4, n_items) + 1.0, 2)
    age_ms = (rng.random(n_items) * MAX_INITIAL_AGE_DAYS * MS_PER_DAY).astype(np.int64)
    published_ms = np.where(launch_ms > start_ms, launch_ms, start_ms - age_ms)
    adjective = rng.integers(0, len(ADJECTIVES), n_items)
    return ShopCatalogue(leaf.tolist(), adjective.tolist(), price.tolist(), published_ms.tolist())
