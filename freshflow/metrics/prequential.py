"""Progressive validation: each event is predicted from earlier events, scored, and only then learned from.

HR@k is the share of events whose item stood among the first k of the list; MRR@k the mean of 1 / rank, 0 beyond k.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._numba import lean
from freshflow.metrics.ranking_metrics import CUTOFF

__all__ = ["CUTOFF", "HitRate", "Validation"]

WINDOW = 5_000  # events of the rolling figures
NO_EVENT, RANKS = CUTOFF + 1, CUTOFF + 2


class HitRate:
    """HR@20 and MRR@20 over all events and over the last `WINDOW`.

    Both figures follow from counts of ranks, which leave no rounding error behind when they leave the window: `total`
    and `recent` (22,) hold how often an item stood at each rank up to `CUTOFF`, at 0, how often at none of them, and,
    at 21, how often there was no event yet. `window` (5000,) are the ranks of the last events, a ring.
    """

    def __init__(self) -> None:
        self.events = 0
        self.total = np.zeros(RANKS, np.int64)
        self.recent = np.zeros(RANKS, np.int64)
        self.recent[NO_EVENT] = WINDOW
        self.window = np.full(WINDOW, NO_EVENT, np.int8)

    def add(self, ranks: Sequence[int]) -> None:
        """Count events whose items stood at `ranks` (from 1), or, where it is 0, on no list."""
        _count(self.total, self.recent, self.window, self.events, np.array(ranks, np.int64))
        self.events += len(ranks)

    def figures(self) -> dict[str, float]:
        """The figures by name; 0 before the first event."""
        (hr20, mrr20), (recent_hr20, recent_mrr20) = _figures(self.total.tolist()), _figures(self.recent.tolist())
        return {"hr20": hr20, "mrr20": mrr20, "recent_hr20": recent_hr20, "recent_mrr20": recent_mrr20}


@lean
def _count(
    total: NDArray[np.int64],
    recent: NDArray[np.int64],
    window: NDArray[np.int8],
    events: int,
    ranks: NDArray[np.int64],
) -> None:
    """Count `ranks` (N,), which follow `events` others; the arrays are those of `HitRate`."""
    for n in range(len(ranks)):
        rank = ranks[n] if 0 < ranks[n] <= CUTOFF else 0
        at = (events + n) % WINDOW
        recent[window[at]] -= 1
        window[at] = rank
        recent[rank] += 1
        total[rank] += 1


def _figures(counts: list[int]) -> tuple[float, float]:
    hits = counts[1:NO_EVENT]
    events = max(1, counts[0] + sum(hits))
    return sum(hits) / events, sum(count / rank for rank, count in enumerate(hits, start=1)) / events


class Validation(msgspec.Struct):
    """The job's lists, made at the moment of need and last published before it, beside the simplest rival: the most
    popular items of the last 200 events.
    """

    ours: HitRate = msgspec.field(default_factory=HitRate)
    published: HitRate = msgspec.field(default_factory=HitRate)
    popularity: HitRate = msgspec.field(default_factory=HitRate)
