"""Progressive validation: each event is predicted from earlier events, scored, and only then learned from.

HR@k is the share of events whose item stood among the first k of the list; MRR@k the mean of 1 / rank, 0 beyond k.
"""

from collections.abc import Iterable

import msgspec
from river.utils import Rolling

__all__ = ["CUTOFF", "HitRate", "Validation"]

CUTOFF = 20  # the k of HR@k and MRR@k
WINDOW = 5_000  # events of the rolling figures


class RankCounts:
    """How often an item stood at each rank up to `CUTOFF`, and, at index 0, how often at none of them.

    Made to be rolled by River. Counts stay exact, where the means and sums of `river.stats` keep a rounding error of
    what they revert; and both figures follow from them, in one pass over 21 numbers.
    """

    def __init__(self) -> None:
        self.counts = [0] * (CUTOFF + 1)

    def update(self, rank: int) -> None:
        """Count an event."""
        self.counts[rank] += 1

    def revert(self, rank: int) -> None:
        """Take back an event that was counted."""
        self.counts[rank] -= 1

    def figures(self) -> tuple[float, float]:
        """HR@20 and MRR@20; 0 without events."""
        events = max(1, sum(self.counts))
        reciprocal = sum(count / rank for rank, count in enumerate(self.counts) if rank)
        return sum(self.counts[1:]) / events, reciprocal / events


class HitRate:
    """HR@20 and MRR@20 over all events and over the last `WINDOW`."""

    def __init__(self) -> None:
        self.events = 0
        self.total = RankCounts()
        self.recent = Rolling(RankCounts, window_size=WINDOW)

    def add(self, ranks: Iterable[int]) -> None:
        """Count events whose items stood at `ranks` (from 1), or, where it is 0, on no list."""
        for rank in ranks:
            place = rank if 0 < rank <= CUTOFF else 0
            self.events += 1
            self.total.update(place)
            self.recent.update(place)

    def figures(self) -> dict[str, float]:
        """The figures by name; 0 before the first event."""
        hr20, mrr20 = self.total.figures()
        recent_hr20, recent_mrr20 = self.recent.figures()
        return {"hr20": hr20, "mrr20": mrr20, "recent_hr20": recent_hr20, "recent_mrr20": recent_mrr20}


class Validation(msgspec.Struct):
    """The job's lists, made at the moment of need and last published before it, beside the simplest rival: the most
    popular items of the last 200 events.
    """

    ours: HitRate = msgspec.field(default_factory=HitRate)
    published: HitRate = msgspec.field(default_factory=HitRate)
    popularity: HitRate = msgspec.field(default_factory=HitRate)
