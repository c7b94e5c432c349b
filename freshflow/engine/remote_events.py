"""Signals of other partitions, held until this partition's own stream has come as far.

The records of one origin are split over the partitions and arrive here again in any order. Visits of other partitions
are taken in by position, so that a list never knows what stands below its event in the same file or topic partition.
Between origins there is no order to keep. Every partition hears of every batch that was read, so none waits for long.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from freshflow.users.updates import Signal, Step

__all__ = ["HELD", "Signals"]

# Visits held at most, of all origins together; beyond it they are taken in at once.
HELD = 4096

_position = attrgetter("position")


class Signals:
    """Visits by origin that are not folded in yet, and how far the own stream of each origin has come."""

    def __init__(self, held: dict[str, list[Signal]] | None = None, reached: dict[str, int] | None = None) -> None:
        self.held = held or {}
        self.reached = reached or {}

    def add(self, origin: str, visits: Iterable[Signal]) -> None:
        """Hold visits of an origin, in any order."""
        self.held.setdefault(origin, []).extend(visits)

    def merge(self, origin: str, steps: Sequence[Step], upto: int | None = None) -> list[Step]:
        """`steps` of an origin with the signals that are due, all of this origin in the order of positions.

        `upto` is how far the origin has been read, whether or not the rest of it is for this partition.
        """
        if upto is not None or steps:
            last = upto if upto is not None else steps[-1].position
            self.reached[origin] = max(last, self.reached.get(origin, last))
        if not self.held:
            return list(steps)
        due = {name: self._due(name) for name in sorted(self.held)}
        between: list[Step] = [*steps, *due.pop(origin, [])]
        return [*(visit for visits in due.values() for visit in visits), *sorted(between, key=_position)]

    def _due(self, origin: str) -> list[Signal]:
        """Take out what the own stream of the origin has reached, in order."""
        reached = self.reached.get(origin)
        if reached is None:
            return []
        held = sorted(self.held.pop(origin), key=_position)
        due = bisect_right(held, reached, key=_position)
        if due < len(held):
            self.held[origin] = held[due:]
        return held[:due]

    def overflow(self) -> list[Signal]:
        """All held signals if they are more than `HELD`, else none."""
        return self.drain() if sum(map(len, self.held.values())) > HELD else []

    def drain(self) -> list[Signal]:
        """All held signals, by origin and position; none are held any more."""
        visits = [visit for origin in sorted(self.held) for visit in sorted(self.held[origin], key=_position)]
        self.held = {}
        return visits
