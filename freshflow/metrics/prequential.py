"""Progressive validation: each event is predicted from earlier events, scored, and only then learned from.

HR@k is the share of events whose item stood among the first k of the list; MRR@k the mean of 1 / rank, 0 beyond k.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.metrics.ranking_metrics import CUTOFF

__all__ = ["CUTOFF", "RankingMetrics", "PrequentialMetrics"]

ROLLING_WINDOW_EVENTS = 5_000  # events of the rolling figures
UNFILLED_SLOT, N_RANK_BINS = CUTOFF + 1, CUTOFF + 2


class RankingMetrics:
    """HR@20 and MRR@20 over all events and over the last `ROLLING_WINDOW_EVENTS`.

    Both figures follow from counts of ranks, which leave no rounding error behind when they leave the window: `total_counts`
    and `recent_counts` (22,) hold how often an item stood at each rank up to `CUTOFF`, at 0, how often at none of them, and,
    at 21, how often there was no event yet. `recent_ranks` (5000,) are the ranks of the last events, a ring.
    """

    def __init__(self) -> None:
        self.events = 0
        self.total_counts = np.zeros(N_RANK_BINS, np.int64)
        self.recent_counts = np.zeros(N_RANK_BINS, np.int64)
        self.recent_counts[UNFILLED_SLOT] = ROLLING_WINDOW_EVENTS
        self.recent_ranks = np.full(ROLLING_WINDOW_EVENTS, UNFILLED_SLOT, np.int8)

    def add(self, ranks: Sequence[int]) -> None:
        """Count events whose items stood at `ranks` (from 1), or, where it is 0, on no list."""
        _count_ranks(self.total_counts, self.recent_counts, self.recent_ranks, self.events, np.array(ranks, np.int64))
        self.events += len(ranks)

    def values(self) -> dict[str, float]:
        """The figures by name; 0 before the first event."""
        (hr20, mrr20), (recent_hr20, recent_mrr20) = (
            _hit_rate_and_mrr(self.total_counts.tolist()),
            _hit_rate_and_mrr(self.recent_counts.tolist()),
        )
        return {"hr20": hr20, "mrr20": mrr20, "recent_hr20": recent_hr20, "recent_mrr20": recent_mrr20}


@jit_no_refcount
def _count_ranks(
    total_counts: NDArray[np.int64],
    recent_counts: NDArray[np.int64],
    recent_ranks: NDArray[np.int8],
    events: int,
    ranks: NDArray[np.int64],
) -> None:
    """Count `ranks` (N,), which follow `events` others; the arrays are those of `RankingMetrics`."""
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
    """The job's lists, made at the moment of need and last published before it, beside the simplest rival: the most
    popular items of the last 200 events.
    """

    fresh: RankingMetrics = msgspec.field(default_factory=RankingMetrics)
    published: RankingMetrics = msgspec.field(default_factory=RankingMetrics)
    popularity: RankingMetrics = msgspec.field(default_factory=RankingMetrics)
