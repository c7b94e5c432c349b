"""Signals of other partitions, held until this partition's own stream has come as far.

The records of one origin are split over the partitions and arrive here again in any order. Visits of other partitions
are taken in by position, so that a list never knows what stands below its event in the same file or topic partition.
Between origins there is no order to keep. Every partition hears of every batch that was read, so none waits for long.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from freshflow.users.updates import RemoteEvent, Step

__all__ = ["MAX_BUFFERED_EVENTS", "RemoteEventBuffer"]

# Visits held at most, of all origins together; beyond it they are taken in at once.
MAX_BUFFERED_EVENTS = 4096

_position_of = attrgetter("position")


class RemoteEventBuffer:
    """Visits by origin that are not folded in yet, and how far the own stream of each origin has come."""

    def __init__(
        self,
        events_by_origin: dict[str, list[RemoteEvent]] | None = None,
        position_by_origin: dict[str, int] | None = None,
    ) -> None:
        self.events_by_origin = events_by_origin or {}
        self.position_by_origin = position_by_origin or {}

    def add(self, origin: str, events: Iterable[RemoteEvent]) -> None:
        """Hold visits of an origin, in any order."""
        self.events_by_origin.setdefault(origin, []).extend(events)

    def merge(self, origin: str, steps: Sequence[Step], end_position: int | None = None) -> list[Step]:
        """`steps` of an origin with the signals that are due, all of this origin in the order of positions.

        `end_position` is how far the origin has been read, whether or not the rest of it is for this partition.
        """
        if end_position is not None or steps:
            last_position = end_position if end_position is not None else steps[-1].position
            self.position_by_origin[origin] = max(last_position, self.position_by_origin.get(origin, last_position))
        if not self.events_by_origin:
            return list(steps)
        due_events = {event_origin: self._pop_due(event_origin) for event_origin in sorted(self.events_by_origin)}
        origin_steps: list[Step] = [*steps, *due_events.pop(origin, [])]
        return [*(event for events in due_events.values() for event in events), *sorted(origin_steps, key=_position_of)]

    def _pop_due(self, origin: str) -> list[RemoteEvent]:
        """Take out what the own stream of the origin has reached, in order."""
        reached_position = self.position_by_origin.get(origin)
        if reached_position is None:
            return []
        events = sorted(self.events_by_origin.pop(origin), key=_position_of)
        n_due = bisect_right(events, reached_position, key=_position_of)
        if n_due < len(events):
            self.events_by_origin[origin] = events[n_due:]
        return events[:n_due]

    def drain_overflow(self) -> list[RemoteEvent]:
        """All held signals if they are more than `MAX_BUFFERED_EVENTS`, else none."""
        return self.drain() if sum(map(len, self.events_by_origin.values())) > MAX_BUFFERED_EVENTS else []

    def drain(self) -> list[RemoteEvent]:
        """All held signals, by origin and position; none are held any more."""
        events = [
            event
            for origin in sorted(self.events_by_origin)
            for event in sorted(self.events_by_origin[origin], key=_position_of)
        ]
        self.events_by_origin = {}
        return events
