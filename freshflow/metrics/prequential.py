"""Prequential evaluation (progressive validation): each event is predicted, scored, and only then learned.

HR@k is the share of events whose item is among the first k of the list; MRR@k the mean of 1 / rank, 0 beyond k.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow._state_tables import StateTable
from freshflow.metrics.ranking_metrics import CUTOFF

ROLLING_WINDOW_EVENTS = 5_000  # events of the recent metrics
UNFILLED_SLOT, N_RANK_BINS = CUTOFF + 1, CUTOFF + 2


class RankingMetricsState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of `RankingMetrics`."""

    events: int
    total_counts: NDArray[np.int64]
    recent_counts: NDArray[np.int64]
    recent_ranks: NDArray[np.int8]


class PrequentialState(StateTable, frozen=True):
    """State of `PrequentialMetrics`."""

    fresh: RankingMetricsState
    published: RankingMetricsState
    popularity: RankingMetricsState


class RankingMetrics:
    """HR@20 and MRR@20 over all events and over the last `ROLLING_WINDOW_EVENTS`.

    Both metrics follow from counts of ranks, which leave no rounding error when they leave the window.

    Attributes:
        events: Number of events.
        total_counts: Counts (22,) of ranks up to `CUTOFF`; index 0 counts events without a rank.
        recent_counts: The same over the window; index 21 counts its unfilled slots.
        recent_ranks: Ring buffer of the ranks of the last events (5000,).
    """

    def __init__(self) -> None:
        self.events = 0
        self.total_counts = np.zeros(N_RANK_BINS, np.int64)
        self.recent_counts = np.zeros(N_RANK_BINS, np.int64)
        self.recent_counts[UNFILLED_SLOT] = ROLLING_WINDOW_EVENTS
        self.recent_ranks = np.full(ROLLING_WINDOW_EVENTS, UNFILLED_SLOT, np.int8)

    def add(self, ranks: Sequence[int]) -> None:
        """Count events by the ranks of their items, from 1, or 0 for none."""
        _count_ranks(self.total_counts, self.recent_counts, self.recent_ranks, self.events, np.array(ranks, np.int64))
        self.events += len(ranks)

    def values(self) -> dict[str, float]:
        """Return the metrics by name; 0 before the first event."""
        (hr20, mrr20), (recent_hr20, recent_mrr20) = (
            _hit_rate_and_mrr(self.total_counts.tolist()),
            _hit_rate_and_mrr(self.recent_counts.tolist()),
        )
        return {"hr20": hr20, "mrr20": mrr20, "recent_hr20": recent_hr20, "recent_mrr20": recent_mrr20}

    def state(self) -> RankingMetricsState:
        """Return the state."""
        return RankingMetricsState(self.events, self.total_counts, self.recent_counts, self.recent_ranks)

    def restore(self, state: RankingMetricsState) -> None:
        """Continue from a state."""
        self.events = state.events
        self.total_counts, self.recent_counts = state.total_counts, state.recent_counts
        self.recent_ranks = state.recent_ranks


@jit_no_refcount
def _count_ranks(
    total_counts: NDArray[np.int64],
    recent_counts: NDArray[np.int64],
    recent_ranks: NDArray[np.int8],
    events: int,
    ranks: NDArray[np.int64],
) -> None:
    """Count `ranks` (N,) after `events` others, in the arrays of a `RankingMetrics`."""
    for n in range(len(ranks)):
        rank = ranks[n] if 0 < ranks[n] <= CUTOFF else 0
        slot = (events + n) % ROLLING_WINDOW_EVENTS
        recent_counts[recent_ranks[slot]] -= 1
        recent_ranks[slot] = rank
        recent_counts[rank] += 1
        total_counts[rank] += 1


def _hit_rate_and_mrr(counts: list[int]) -> tuple[float, float]:
    hits = counts[1:UNFILLED_SLOT]
    events = max(1, counts[0] + sum(hits))
    return sum(hits) / events, sum(count / rank for rank, count in enumerate(hits, start=1)) / events


class PrequentialMetrics(msgspec.Struct):
    """Metrics of lists made just before each event, of the lists published last, and of the most popular items.

    Popularity is that of the last 200 events.
    """

    fresh: RankingMetrics = msgspec.field(default_factory=RankingMetrics)
    published: RankingMetrics = msgspec.field(default_factory=RankingMetrics)
    popularity: RankingMetrics = msgspec.field(default_factory=RankingMetrics)

    def state(self) -> PrequentialState:
        """Return the state."""
        return PrequentialState(self.fresh.state(), self.published.state(), self.popularity.state())

    def restore(self, state: PrequentialState) -> None:
        """Continue from a state."""
        self.fresh.restore(state.fresh)
        self.published.restore(state.published)
        self.popularity.restore(state.popularity)
