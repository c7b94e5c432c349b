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
    """HR@20 and MRR@20 over all events and over the last `WINDOW`.

    Both figures follow from counts of ranks, which leave no rounding error behind when they leave the window: `total`
    and `recent` (21,) hold how often an item stood at each rank up to `CUTOFF`, and, at 0, how often at none of them.
    """

    def __init__(self) -> None:
        self.events = 0
        self.total = [0] * (CUTOFF + 1)
        self.recent = [0] * (CUTOFF + 1)
        self.window: deque[int] = deque()

    def add(self, ranks: Iterable[int]) -> None:
        """Count events whose items stood at `ranks` (from 1), or, where it is 0, on no list."""
        for rank in ranks:
            place = rank if 0 < rank <= CUTOFF else 0
            self.events += 1
            self.total[place] += 1
            self.recent[place] += 1
            self.window.append(place)
            if len(self.window) > WINDOW:
                self.recent[self.window.popleft()] -= 1

    def figures(self) -> dict[str, float]:
        """The figures by name; 0 before the first event."""
        (hr20, mrr20), (recent_hr20, recent_mrr20) = _figures(self.total), _figures(self.recent)
        return {"hr20": hr20, "mrr20": mrr20, "recent_hr20": recent_hr20, "recent_mrr20": recent_mrr20}


def _figures(counts: list[int]) -> tuple[float, float]:
    events = max(1, sum(counts))
    return sum(counts[1:]) / events, sum(count / rank for rank, count in enumerate(counts) if rank) / events


class Validation(msgspec.Struct):
    """The job's lists, made at the moment of need and last published before it, beside the simplest rival: the most
    popular items of the last 200 events.
    """

    ours: HitRate = msgspec.field(default_factory=HitRate)
    published: HitRate = msgspec.field(default_factory=HitRate)
    popularity: HitRate = msgspec.field(default_factory=HitRate)
