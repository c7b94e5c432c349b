"""Progressive validation: each event is predicted from earlier events, scored, and only then learned from.

HR@k is the share of events whose item stood among the first k of the list; MRR@k the mean of 1 / rank, 0 beyond k.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

__all__ = ["CUTOFF", "HitRate", "Validation"]

CUTOFF = 20  # the k of HR@k and MRR@k
WINDOW = 5_000  # events of the rolling figures


class HitRate:
    """HR@20 and MRR@20 over all events and over the last `WINDOW`."""

    def __init__(self) -> None:
        self.events = 0
        self.hits = 0
        self.reciprocal = 0.0
        self.recent: deque[float] = deque(maxlen=WINDOW)

    def add(self, ranks: Iterable[int]) -> None:
        """Count events whose items stood at `ranks` (from 1), or, where it is 0, on no list."""
        values = [1 / rank if 0 < rank <= CUTOFF else 0.0 for rank in ranks]
        self.events += len(values)
        self.hits += sum(value > 0 for value in values)
        self.reciprocal += sum(values)
        self.recent.extend(values)

    def figures(self) -> dict[str, float]:
        """The figures by name; 0 before the first event."""
        total, recent = max(1, self.events), max(1, len(self.recent))
        return {
            "hr20": self.hits / total,
            "mrr20": self.reciprocal / total,
            "recent_hr20": sum(value > 0 for value in self.recent) / recent,
            "recent_mrr20": sum(self.recent) / recent,
        }


class Validation(msgspec.Struct):
    """The job's own lists beside the simplest rival: the most popular items of the last 200 events."""

    ours: HitRate = msgspec.field(default_factory=HitRate)
    popularity: HitRate = msgspec.field(default_factory=HitRate)
