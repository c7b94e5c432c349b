"""World of a simulated shop: items, item-to-item relations, and changes over time."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator.catalogue import LEAF_CATEGORIES, ShopCatalogue, build_catalogue
from freshflow.simulator.config import ShopConfig, create_rng
from freshflow.simulator.embeddings import build_embeddings

MIN_ITEMS_PER_LEAF = 10  # so that a small shop has few categories, not empty ones
N_SUBSTITUTES, N_COMPLEMENTS = 4, 3  # neighbours of an item in its own category and in the complementary one
LATE_LAUNCH_SHARE = 0.2  # share of the items launched after the opening
SOLD_OUT_SHARE = 0.02  # share of the items with an outage
TREND_SPAN_SHARES = (0.45, 0.60)  # start and end, as shares of the time span
MAX_TREND_ITEMS = 8
TREND_PEAK_SHARE = 0.3  # share of all choices at the peak of the trend


class ItemChange(NamedTuple):
    """A change of an item: launched, sold out or restocked."""

    ts_ms: int
    item: int
    kind: Literal["launched", "sold out", "restocked"]


class Trend(NamedTuple):
    """Items in demand for a limited time: interest rises, holds, and falls to zero."""

    items: list[int]
    start_ms: int
    end_ms: int

    def choice_share(self, now_ms: int) -> float:
        """Return the trend's share of all choices: it ramps up and down over a quarter of the span."""
        elapsed_share = (now_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return TREND_PEAK_SHARE * max(0.0, min(1.0, 4 * elapsed_share, 4 * (1 - elapsed_share)))


class SimulatedShop(NamedTuple):
    """The world of a shop; lists of items start with the most popular.

    Attributes:
        catalogue: The catalogue.
        by_popularity: All items.
        by_leaf: The items of each leaf category.
        neighbours: For each item the items viewed next, the most likely first.
        evergreens: Items that are always available.
        changes: Changes by time.
        trend: The trend.
    """

    catalogue: ShopCatalogue
    by_popularity: list[int]
    by_leaf: list[list[int]]
    neighbours: list[list[int]]
    evergreens: list[int]
    changes: list[ItemChange]
    trend: Trend


def build_shop(config: ShopConfig) -> SimulatedShop:
    """Build the world of a configuration, a function of its seed. Takes seconds for a million items."""
    rng = create_rng(config, "shop")
    popularity_order = rng.permutation(config.items)  # item numbers are independent of popularity
    leaf = _assign_leaves(popularity_order, rng)
    shelves = [popularity_order[leaf[popularity_order] == index] for index in range(int(leaf.max()) + 1)]
    launch_ms = _draw_launches(config, rng)
    outages = _draw_outages(config, launch_ms, rng)
    is_evergreen = launch_ms == config.start_ms
    is_evergreen[[change.item for change in outages]] = False
    catalogue = build_catalogue(leaf, launch_ms, config.start_ms, rng)
    neighbours = _draw_neighbours(leaf, shelves, rng)
    launches = (ItemChange(int(ts), item, "launched") for item, ts in enumerate(launch_ms))
    return SimulatedShop(
        catalogue=catalogue._replace(embeddings=build_embeddings(neighbours, leaf, config)),
        by_popularity=popularity_order.tolist(),
        by_leaf=[shelf.tolist() for shelf in shelves],
        neighbours=neighbours.tolist(),
        evergreens=popularity_order[is_evergreen[popularity_order]].tolist(),
        changes=sorted([*launches, *outages]),
        trend=_build_trend(config, shelves, is_evergreen, rng),
    )


def shift_shop(shop: SimulatedShop, config: ShopConfig) -> SimulatedShop:
    """Return the world after a preference shift: a permutation of items in the neighbours, categories and popularity.

    After relearning, the world is as predictable as before. The catalogue still describes the old world; launches,
    outages and the trend are unchanged.
    """
    permutation = create_rng(config, "shift").permutation(config.items)
    neighbours = np.empty_like(shop.neighbours)
    neighbours[permutation] = permutation[shop.neighbours]
    by_popularity = permutation[shop.by_popularity]
    is_evergreen = np.zeros(config.items, np.bool_)
    is_evergreen[shop.evergreens] = True
    return shop._replace(
        by_popularity=by_popularity.tolist(),
        by_leaf=[permutation[shelf].tolist() for shelf in shop.by_leaf],
        neighbours=neighbours.tolist(),
        evergreens=by_popularity[is_evergreen[by_popularity]].tolist(),
    )


def with_shifted_catalogue(shop: SimulatedShop, config: ShopConfig) -> SimulatedShop:
    """Return the world with a permuted catalogue, which is right after the shift and wrong before it."""
    permutation = create_rng(config, "shift").permutation(config.items)
    source_items, catalogue = np.argsort(permutation), shop.catalogue
    permuted_columns = {
        name: [getattr(catalogue, name)[item] for item in source_items.tolist()]
        for name in catalogue._fields
        if name not in ("published_ms", "embeddings")
    }
    vectors = None if catalogue.embeddings is None else catalogue.embeddings[source_items]
    return shop._replace(catalogue=catalogue._replace(embeddings=vectors, **permuted_columns))


def _assign_leaves(popularity_order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign a leaf category to each item, none empty, with sizes proportional to 1 / sqrt(number).

    `popularity_order` (items,) holds all items.
    """
    n_leaves = max(1, min(len(LEAF_CATEGORIES), len(popularity_order) // MIN_ITEMS_PER_LEAF))
    sizes = 1 / np.sqrt(np.arange(1, n_leaves + 1))
    leaf = np.searchsorted(np.cumsum(sizes / sizes.sum())[:-1], rng.random(len(popularity_order)), side="right")
    leaf[popularity_order[: 2 * n_leaves]] = np.tile(np.arange(n_leaves), 2)
    return leaf


def _draw_launches(config: ShopConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the launch time of each item (items,), in epoch milliseconds; most are launched at the opening."""
    is_late = rng.random(config.items) < LATE_LAUNCH_SHARE
    is_late[:2] = True, False  # at least one item of each kind
    late_launch_ms = config.start_ms + (rng.uniform(0.05, 0.95, config.items) * config.span_ms).astype(np.int64)
    return np.where(is_late, late_launch_ms, config.start_ms)


def _draw_outages(config: ShopConfig, launch_ms: NDArray[np.int64], rng: np.random.Generator) -> list[ItemChange]:
    """Draw outages (sold out, restocked) for a few of the items with `launch_ms` (items,) at the opening."""
    initial_items = np.flatnonzero(launch_ms == config.start_ms)
    n_outages = max(1, int(SOLD_OUT_SHARE * len(initial_items)))
    items = rng.permutation(initial_items)[:n_outages].tolist()
    starts, spans = rng.uniform(0.1, 0.8, n_outages).tolist(), rng.uniform(0.02, 0.1, n_outages).tolist()
    changes = []
    for item, start, span in zip(items, starts, spans, strict=True):
        changes.append(ItemChange(config.time_at_ms(start), item, "sold out"))
        changes.append(ItemChange(config.time_at_ms(start + span), item, "restocked"))
    return changes


def _draw_neighbours(
    leaf: NDArray[np.int64], shelves: list[NDArray[np.int64]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw neighbours (items, 7): alternately substitutes and complements, popular items more often."""
    n_items, n_leaves = len(leaf), len(shelves)
    cycle = rng.permutation(n_leaves)
    complement_leaf = np.empty(n_leaves, np.int64)
    complement_leaf[cycle] = np.roll(cycle, -1)  # one direction only: a kettle leads to mugs, mugs to bowls
    shelf_items = np.concatenate(shelves)
    shelf_sizes = np.array([len(shelf) for shelf in shelves])
    shelf_starts = np.cumsum(shelf_sizes) - shelf_sizes
    neighbours = np.empty((n_items, N_SUBSTITUTES + N_COMPLEMENTS), np.int64)
    for slot in range(neighbours.shape[1]):
        target_leaf = complement_leaf[leaf] if slot % 2 else leaf
        positions = (shelf_sizes[target_leaf] * rng.random(n_items) ** 1.5).astype(np.int64)
        chosen_items = shelf_items[shelf_starts[target_leaf] + positions]
        next_items = shelf_items[shelf_starts[target_leaf] + (positions + 1) % shelf_sizes[target_leaf]]
        neighbours[:, slot] = np.where(chosen_items == np.arange(n_items), next_items, chosen_items)
    return neighbours


def _build_trend(
    config: ShopConfig,
    shelves: list[NDArray[np.int64]],
    is_evergreen: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Trend:
    """Build a trend from items of one category: the less popular half of those always available."""
    shelf = shelves[int(rng.integers(len(shelves)))]
    always_available = shelf[is_evergreen[shelf]]
    if not len(always_available):
        always_available = np.flatnonzero(is_evergreen)
    items = always_available[len(always_available) // 2 :][:MAX_TREND_ITEMS].tolist()
    return Trend(items, config.time_at_ms(TREND_SPAN_SHARES[0]), config.time_at_ms(TREND_SPAN_SHARES[1]))
