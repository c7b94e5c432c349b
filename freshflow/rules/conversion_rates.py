"""Conversion rates of items: the shares of an item's events that are carts and purchases.

Counts decay with a half-life of a week, lazily, as popularity does. With n events of an item, n_o of one type, and r_o
the rate over all items, the rate is  (n_o + m r_o) / (n + m):  the rate of an item with few events shrinks to that of
all items (empirical Bayes: Efron & Morris 1975).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import extend_rows

CONVERSION_COLUMNS = {"cart": 1, "purchase": 2}  # columns of counts, by type of event; column 0 counts all
CONVERSION_HALF_LIFE_MS = 7 * 24 * 3_600_000.0
PRIOR_EVENTS = 20.0  # m
PRIOR_RATE = 0.05  # r_o before the first events, with the same weight


class ConversionRatesState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of `ConversionRates`."""

    counts: NDArray[np.float64]
    last_ms: NDArray[np.float64]
    total: NDArray[np.float64]
    total_ms: float


class ConversionRates:
    """Decayed counts of events, carts and purchases, per item and in total.

    Attributes:
        counts: Counts per item (rows, 3) as of `last_ms`.
        last_ms: Event times (rows,) in epoch milliseconds.
        total: Counts over all items (3,) as of `total_ms`.
        total_ms: Event time of `total`.
    """

    def __init__(self) -> None:
        self.counts, self.last_ms = np.zeros((0, 3)), np.zeros(0)
        self.total, self.total_ms = np.zeros(3), 0.0

    def add(self, row: int, type_: str, ts_ms: int, capacity: int) -> None:
        """Count an event; a late event is decayed by its age.

        Args:
            row: Row of the item.
            type_: Type of the event.
            ts_ms: Time of the event in epoch milliseconds.
            capacity: Number of item rows.
        """
        if len(self.counts) < capacity:
            self.counts, self.last_ms = extend_rows(self.counts, capacity), extend_rows(self.last_ms, capacity)
        self.last_ms[row] = _decay_and_add(self.counts[row], self.last_ms[row], type_, ts_ms)
        self.total_ms = _decay_and_add(self.total, self.total_ms, type_, ts_ms)

    def state(self) -> ConversionRatesState:
        """Return the state."""
        return ConversionRatesState(self.counts, self.last_ms, self.total, self.total_ms)

    def restore(self, state: ConversionRatesState) -> None:
        """Continue from a state."""
        self.counts, self.last_ms = state.counts, state.last_ms
        self.total, self.total_ms = state.total, state.total_ms

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Forget the items in `rows`."""
        rows = rows[rows < len(self.counts)]
        self.counts[rows] = self.last_ms[rows] = 0

    def mean_rates(self) -> NDArray[np.float64]:
        """Return the rates of carts and purchases over all items (2,)."""
        rates: NDArray[np.float64] = (self.total[1:] + PRIOR_RATE * PRIOR_EVENTS) / (self.total[0] + PRIOR_EVENTS)
        return rates

    def rates(self, rows: NDArray[np.int32], now_ms: int) -> NDArray[np.float64]:
        """Return the rates of carts and purchases (N, 2) of the items in `rows` (N,) at `now_ms`."""
        counts = np.zeros((len(rows), 3))
        is_tracked = rows < len(self.counts)
        ages_ms = np.maximum(now_ms - self.last_ms[rows[is_tracked]], 0)
        counts[is_tracked] = self.counts[rows[is_tracked]] * np.exp2(-ages_ms / CONVERSION_HALF_LIFE_MS)[:, None]
        rates: NDArray[np.float64] = (counts[:, 1:] + PRIOR_EVENTS * self.mean_rates()) / (counts[:, :1] + PRIOR_EVENTS)
        return rates


def _decay_and_add(counts: NDArray[np.float64], last_ms: float, type_: str, ts_ms: int) -> float:
    """Count an event in `counts` (3,), which are as of `last_ms`, and return their new time."""
    decay = 2.0 ** (-abs(ts_ms - last_ms) / CONVERSION_HALF_LIFE_MS)
    weight = 1.0
    if ts_ms >= last_ms:
        counts *= decay
    else:
        weight = decay
    counts[0] += weight
    if type_ in CONVERSION_COLUMNS:
        counts[CONVERSION_COLUMNS[type_]] += weight
    return max(last_ms, float(ts_ms))
