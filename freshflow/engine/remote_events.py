"""Remote events, buffered until the partition's own stream has come as far.

The records of one origin are split over the partitions, and their events reach the other partitions in any order. A
partition takes them by position, so that a list never knows an event below its own in the same file or topic partition.
Events of different origins have no order. Every partition gets every batch that was read, so none waits for long.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

from freshflow._state_tables import StateTable
from freshflow.users.updates import RemoteEvent, Step

# Buffered events of all origins together; beyond it the buffer is flushed.
MAX_BUFFERED_EVENTS = 4096

_position_of = attrgetter("position")


class RemoteEventsState(StateTable, frozen=True):
    """State of a remote event buffer, by the key of an origin."""

    events: dict[str, list[RemoteEvent]]
    positions: dict[str, int]


class RemoteEventBuffer:
    """Remote events by origin, and the position that the own stream of each origin has reached."""

    def __init__(self) -> None:
        self.events_by_origin: dict[str, list[RemoteEvent]] = {}
        self.position_by_origin: dict[str, int] = {}

    def add(self, origin: str, events: Iterable[RemoteEvent]) -> None:
        """Buffer events of an origin, in any order."""
        self.events_by_origin.setdefault(origin, []).extend(events)

    def merge(self, origin: str, steps: Sequence[Step], end_position: int | None = None) -> list[Step]:
        """Merge the remote events that are due into steps.

        Args:
            origin: The key of the steps' origin.
            steps: The steps of the own stream, in order.
            end_position: The position up to which the origin has been read, for this partition or for others.

        Returns:
            The due events of other origins, then the steps and due events of this origin by position.
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
        """Remove and return the events that the own stream of the origin has reached, in order."""
        reached_position = self.position_by_origin.get(origin)
        if reached_position is None:
            return []
        events = sorted(self.events_by_origin.pop(origin), key=_position_of)
        n_due = bisect_right(events, reached_position, key=_position_of)
        if n_due < len(events):
            self.events_by_origin[origin] = events[n_due:]
        return events[:n_due]

    def drain_overflow(self) -> list[RemoteEvent]:
        """Remove and return all events if there are more than `MAX_BUFFERED_EVENTS`, else none."""
        return self.drain() if sum(map(len, self.events_by_origin.values())) > MAX_BUFFERED_EVENTS else []

    def drain(self) -> list[RemoteEvent]:
        """Remove and return all events, by origin and position."""
        events = [
            event
            for origin in sorted(self.events_by_origin)
            for event in sorted(self.events_by_origin[origin], key=_position_of)
        ]
        self.events_by_origin = {}
        return events

    def state(self) -> RemoteEventsState:
        """Return the state."""
        return RemoteEventsState(self.events_by_origin, self.position_by_origin)

    def restore(self, state: RemoteEventsState) -> None:
        """Continue from a state."""
        self.events_by_origin, self.position_by_origin = state.events, state.positions
