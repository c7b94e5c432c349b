"""The world of a simulated shop: what it sells, what goes with what, and what changes while it is watched."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator.catalogue import LEAVES, Catalogue, build_catalogue
from freshflow.simulator.config import ShopConfig, generator
from freshflow.simulator.embeddings import embeddings

__all__ = ["Change", "Shop", "Trend", "build_shop", "described_as_shifted", "shifted"]

ITEMS_A_LEAF = 10  # at least, so that a small shop has few categories rather than empty ones
SUBSTITUTES, COMPLEMENTS = 4, 3  # neighbours of an item, in its own leaf and in the one that goes with it
LAUNCHED_LATER = 0.2  # share of the items that appear while the shop is watched
SOLD_OUT = 0.02  # share of the items that are unavailable for a while
TREND_SPAN = (0.45, 0.60)  # of the time watched
TREND_ITEMS = 8
TREND_PEAK = 0.3  # share of all that visitors choose, at the height of the trend


class Change(NamedTuple):
    """An item appears, can no longer be bought, or can be bought again."""

    ts_ms: int
    item: int
    what: Literal["launched", "sold out", "restocked"]


class Trend(NamedTuple):
    """Items that everybody wants for a while: interest rises, holds, and is gone at the end."""

    items: list[int]
    start_ms: int
    end_ms: int

    def share(self, now_ms: int) -> float:
        """How much of what visitors choose now is chosen for the trend: a ramp of a quarter at either end."""
        through = (now_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return TREND_PEAK * max(0.0, min(1.0, 4 * through, 4 * (1 - through)))


class Shop(NamedTuple):
    """A world; lists of items have the most popular first.

    `by_leaf` holds the items of each leaf category, `neighbours` for each item what is looked at next, the
    likeliest first, `evergreens` what is there all the time, `changes` what happens, in order of time.
    """

    catalogue: Catalogue
    by_popularity: list[int]
    by_leaf: list[list[int]]
    neighbours: list[list[int]]
    evergreens: list[int]
    changes: list[Change]
    trend: Trend


def build_shop(config: ShopConfig) -> Shop:
    """Make the world of a configuration, the same for the same seed. Takes seconds for a million items."""
    rng = generator(config, "shop")
    order = rng.permutation(config.items)  # an item's number says nothing about its popularity
    leaf = _leaves(order, rng)
    shelves = [order[leaf[order] == index] for index in range(int(leaf.max()) + 1)]
    launch_ms = _launches(config, rng)
    out = _outages(config, launch_ms, rng)
    evergreen = launch_ms == config.start_ms
    evergreen[[change.item for change in out]] = False
    catalogue = build_catalogue(leaf, launch_ms, config.start_ms, rng)
    neighbours = _neighbours(leaf, shelves, rng)
    opening = (Change(int(ts), item, "launched") for item, ts in enumerate(launch_ms))
    return Shop(
        catalogue=catalogue._replace(embeddings=embeddings(neighbours, leaf, config)),
        by_popularity=order.tolist(),
        by_leaf=[shelf.tolist() for shelf in shelves],
        neighbours=neighbours.tolist(),
        evergreens=order[evergreen[order]].tolist(),
        changes=sorted([*opening, *out]),
        trend=_trend(config, shelves, evergreen, rng),
    )


def shifted(shop: Shop, config: ShopConfig) -> Shop:
    """The world after a shift: every item takes another's place, as a neighbour, on the shelves and in popularity.

    Once learned it is as easy to predict as before. The catalogue goes on saying what it said; items appear and sell
    out when they would have, and the trend is the same.
    """
    place = generator(config, "shift").permutation(config.items)
    neighbours = np.empty_like(shop.neighbours)
    neighbours[place] = place[shop.neighbours]
    by_popularity = place[shop.by_popularity]
    evergreen = np.zeros(config.items, np.bool_)
    evergreen[shop.evergreens] = True
    return shop._replace(
        by_popularity=by_popularity.tolist(),
        by_leaf=[place[shelf].tolist() for shelf in shop.by_leaf],
        neighbours=neighbours.tolist(),
        evergreens=by_popularity[evergreen[by_popularity]].tolist(),
    )


def described_as_shifted(shop: Shop, config: ShopConfig) -> Shop:
    """The same world with a catalogue that is right after the shift, and not before it."""
    place = generator(config, "shift").permutation(config.items)
    came_from, said = np.argsort(place), shop.catalogue
    moved = {
        name: [getattr(said, name)[item] for item in came_from.tolist()]
        for name in said._fields
        if name not in ("published_ms", "embeddings")
    }
    vectors = None if said.embeddings is None else said.embeddings[came_from]
    return shop._replace(catalogue=said._replace(embeddings=vectors, **moved))


def _leaves(order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A leaf for each item: sizes fall slowly from the largest, and none is empty."""
    count = max(1, min(len(LEAVES), len(order) // ITEMS_A_LEAF))
    size = 1 / np.sqrt(np.arange(1, count + 1))
    leaf = np.searchsorted(np.cumsum(size / size.sum())[:-1], rng.random(len(order)), side="right")
    leaf[order[: 2 * count]] = np.tile(np.arange(count), 2)
    return leaf


def _launches(config: ShopConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """When each item appears, in epoch milliseconds: most of them when the shop opens."""
    later = rng.random(config.items) < LAUNCHED_LATER
    later[:2] = True, False  # there is always one of each
    at_ms = config.start_ms + (rng.uniform(0.05, 0.95, config.items) * config.span_ms).astype(np.int64)
    return np.where(later, at_ms, config.start_ms)


def _outages(config: ShopConfig, launch_ms: NDArray[np.int64], rng: np.random.Generator) -> list[Change]:
    """A sold out and a restocked for a few of the items that the shop opens with."""
    opening = np.flatnonzero(launch_ms == config.start_ms)
    count = max(1, int(SOLD_OUT * len(opening)))
    items = rng.permutation(opening)[:count].tolist()
    starts, spans = rng.uniform(0.1, 0.8, count).tolist(), rng.uniform(0.02, 0.1, count).tolist()
    changes = []
    for item, start, span in zip(items, starts, spans, strict=True):
        changes.append(Change(config.at_ms(start), item, "sold out"))
        changes.append(Change(config.at_ms(start + span), item, "restocked"))
    return changes


def _neighbours(
    leaf: NDArray[np.int64], shelves: list[NDArray[np.int64]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Shape (items, 7): substitutes and complements in turn, popular items more often than others."""
    items, leaves = len(leaf), len(shelves)
    cycle = rng.permutation(leaves)
    goes_with = np.empty(leaves, np.int64)
    goes_with[cycle] = np.roll(cycle, -1)  # one direction only: a kettle leads to mugs, mugs to bowls
    flat = np.concatenate(shelves)
    size = np.array([len(shelf) for shelf in shelves])
    first = np.cumsum(size) - size
    rows = np.empty((items, SUBSTITUTES + COMPLEMENTS), np.int64)
    for slot in range(rows.shape[1]):
        aisle = goes_with[leaf] if slot % 2 else leaf
        place = (size[aisle] * rng.random(items) ** 1.5).astype(np.int64)
        chosen = flat[first[aisle] + place]
        other = flat[first[aisle] + (place + 1) % size[aisle]]
        rows[:, slot] = np.where(chosen == np.arange(items), other, chosen)
    return rows


def _trend(
    config: ShopConfig,
    shelves: list[NDArray[np.int64]],
    evergreen: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Trend:
    """Items of one category that nobody cared much for: the less popular half of what is always there."""
    shelf = shelves[int(rng.integers(len(shelves)))]
    there = shelf[evergreen[shelf]]
    if not len(there):
        there = np.flatnonzero(evergreen)
    items = there[len(there) // 2 :][:TREND_ITEMS].tolist()
    return Trend(items, config.at_ms(TREND_SPAN[0]), config.at_ms(TREND_SPAN[1]))
