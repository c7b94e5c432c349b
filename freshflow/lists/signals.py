"""Signals of other partitions, held until this partition's own stream has come as far.

The records of one origin are split over the partitions and arrive here again in any order. Visits of other partitions
are taken in by position, so that a list never knows what stands below its event in the same file or topic partition.
Between origins there is no order to keep.
"""

from collections.abc import Iterable, Sequence

from freshflow.items.visits import Visit
from freshflow.users.interactions import Step

__all__ = ["HELD", "Signals"]

# Visits held at most, of all origins together; beyond it the oldest are taken in without an event of our own.
HELD = 4096


class Signals:
    """Visits by origin that are not folded in yet."""

    def __init__(self, held: dict[str, list[Visit]] | None = None) -> None:
        self.held = held or {}

    def add(self, origin: str, visits: Iterable[Visit]) -> None:
        """Hold visits of an origin, in any order."""
        self.held.setdefault(origin, []).extend(visits)

    def merge(self, origin: str, steps: Sequence[Step]) -> list[Step]:
        """`steps` of an origin with the signals that belong before and between them, in the order of positions."""
        if not self.held or not steps:
            return list(steps)
        last = steps[-1].position
        due = [visit for other in [*self.held] if other != origin for visit in self.held.pop(other)]
        mine = self.held.pop(origin, [])
        later = [visit for visit in mine if visit.position > last]
        if later:
            self.held[origin] = later
        between: list[Step] = [*steps, *(visit for visit in mine if visit.position <= last)]
        return [*due, *sorted(between, key=lambda step: step.position)]

    def overflow(self) -> list[Visit]:
        """All held signals if they are more than `HELD`, else none."""
        return self.drain() if sum(map(len, self.held.values())) > HELD else []

    def drain(self) -> list[Visit]:
        """All held signals, by origin and position; none are held any more."""
        visits = [
            visit for origin in sorted(self.held) for visit in sorted(self.held[origin], key=lambda v: v.position)
        ]
        self.held = {}
        return visits
