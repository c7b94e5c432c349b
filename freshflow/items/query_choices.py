"""What people choose after a query: by key (`freshflow.events.query_keys`), which items and how often.

A choice counts its weight, and half of it after `HALF_LIFE_MS`: catalogues and fashions change. With c choices of an
item among n after a query, and p its share after the query's words, or one in C where nothing is known of these, the
share after the query is  (c + M p) / (n + M):  M choices' worth of doubt, so that a single click proves little.
"""

import math
from collections.abc import Sequence
from heapq import nsmallest
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Choices", "Chosen"]

HALF_LIFE_MS = 30 * 86_400_000.0  # a month
DOUBT = 5.0  # M
ITEMS = 64  # of a query, the least chosen go first


class Chosen(NamedTuple):
    """What is chosen most after a query that was asked `age` visits ago: `items`, and the (share, count) of each."""

    items: tuple[str, ...]
    shares: tuple[tuple[float, float], ...]
    age: int


class _After(msgspec.Struct):
    """Choices after one query as of `at_ms`: `total`, and by item."""

    at_ms: int
    total: float = 0.0
    items: dict[str, float] = msgspec.field(default_factory=dict)

    def add(self, item_id: str, ts_ms: int, weight: float) -> None:
        age_ms = ts_ms - self.at_ms
        fading = math.exp2(-abs(age_ms) / HALF_LIFE_MS)
        if age_ms > 0:
            self.at_ms, self.total = ts_ms, self.total * fading
            self.items = {item: count * fading for item, count in self.items.items()}
        else:
            weight *= fading  # it comes from the past, and has faded itself
        self.total += weight
        if item_id not in self.items and len(self.items) == ITEMS:
            del self.items[min(self.items, key=lambda item: (self.items[item], item))]
        self.items[item_id] = self.items.get(item_id, 0.0) + weight


class Choices:
    """Of at most `bound` keys, those that were not chosen after for longest go first."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.after: dict[str, _After] = {}

    def learn(self, keys: Sequence[str], item_id: str, ts_ms: int, weight: float) -> None:
        """Somebody chose an item after the query that has these keys."""
        if not self.bound:
            return
        for key in keys:
            after = self.after.pop(key, None) or _After(ts_ms)
            after.add(item_id, ts_ms, weight)
            self.after[key] = after  # to the end of the order
        while len(self.after) > self.bound:
            del self.after[next(iter(self.after))]

    def knows(self, keys: Sequence[str]) -> bool:
        """Whether anything was ever chosen after the query or one of its words."""
        return any(key in self.after for key in keys)

    def shares(self, keys: Sequence[str], items: Sequence[str]) -> NDArray[np.float64]:
        """The shares of `items` (C,) after a query; they need not add up to 1, as other items are chosen, too."""
        even = np.full(len(items), 1 / max(1, len(items)))
        words = [self._shares(key, items, even) for key in keys[1:] if key in self.after]
        backed_off = np.mean(words, axis=0) if words else even
        return self._shares(keys[0], items, backed_off) if keys else backed_off

    def most(self, keys: Sequence[str], limit: int, age: int) -> Chosen | None:
        """The `limit` items that are chosen most after a query, the best first; None where nothing is known of it.

        Where nothing was chosen after the query itself, its words speak for it.
        """
        words = [self.after[key] for key in keys[1:] if key in self.after]
        shares, counts = dict[str, float](), dict[str, float]()
        for word in words:
            part = 1 / (len(words) * (word.total + DOUBT))
            for item, count in word.items.items():
                shares[item] = shares.get(item, 0.0) + count * part
                counts[item] = max(count, counts.get(item, 0.0))
        whole = self.after.get(keys[0]) if keys else None
        if whole is not None:
            part = 1 / (whole.total + DOUBT)
            shares = {item: DOUBT * share * part for item, share in shares.items()}
            for item, count in whole.items.items():
                shares[item] = shares.get(item, 0.0) + count * part
                counts[item] = max(count, counts.get(item, 0.0))
        if not shares:
            return None
        best = nsmallest(limit, shares, key=lambda item: (-shares[item], item))
        return Chosen(tuple(best), tuple((shares[item], counts[item]) for item in best), age)

    def _shares(self, key: str, items: Sequence[str], prior: NDArray[np.float64]) -> NDArray[np.float64]:
        after = self.after.get(key)
        if after is None:
            return prior
        counts = np.array([after.items.get(item, 0.0) for item in items])
        shares: NDArray[np.float64] = (counts + DOUBT * prior) / (after.total + DOUBT)
        return shares

    def snapshot(self) -> bytes:
        """All there is to keep."""
        return msgspec.msgpack.encode(self.after)

    def restore(self, snapshot: bytes) -> None:
        """Go on from a `snapshot`; a smaller bound keeps the latest keys."""
        self.after = msgspec.msgpack.decode(snapshot, type=dict[str, _After])
        for key in list(self.after)[: max(0, len(self.after) - self.bound)]:
            del self.after[key]
