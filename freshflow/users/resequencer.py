"""Resequencing: a user bucket restores the order of events that several anonymous buckets forward.

The records of one origin are split over the anonymous buckets, and each forwards its part to all user buckets. A user
bucket releases events by position, up to the position that all senders have reached. Identifications, interactions and
deletions therefore keep their order in any number of processes; events of different origins have no order to keep.
Every anonymous bucket receives every batch and reports its position, so no event waits for long.
"""

from collections.abc import Mapping, Sequence

from freshflow.events.model import Origin
from freshflow.users.updates import ForwardedEvent, MergeRequested

# By origin: the position of each sender, and the events ahead of the slowest.
PendingEvents = dict[str, tuple[dict[int, int], list[ForwardedEvent]]]


class Resequencer:
    """Pending events by origin, from several senders."""

    def __init__(self, pending: PendingEvents | None = None) -> None:
        self._pending: PendingEvents = pending or {}

    def process(
        self, sender: int, n_senders: int, origin: Origin, events: Sequence[ForwardedEvent], end_position: int
    ) -> tuple[list[ForwardedEvent], int] | None:
        """Add the events of a sender; return those that all senders have passed.

        An identification precedes the other events of its record.

        Args:
            sender: The number of the sender.
            n_senders: The number of senders.
            origin: The log of the events.
            events: The events of the sender.
            end_position: The position up to which the sender has forwarded all events of the origin.

        Returns:
            The next events of the origin in order, and the position up to which they are complete; None if the common
            position of all senders has not advanced.
        """
        sender_positions, pending_events = self._pending.setdefault(origin.key, ({}, []))
        previous_position = _common_position(sender_positions, n_senders)
        sender_positions[sender] = end_position
        pending_events += events
        common_position = _common_position(sender_positions, n_senders)
        if common_position is None or common_position == previous_position:
            return None
        ready_events = [event for event in pending_events if event.position <= common_position]
        self._pending[origin.key] = (
            sender_positions,
            [event for event in pending_events if event.position > common_position],
        )
        return (ready_events if n_senders == 1 else sorted(ready_events, key=_sort_key)), common_position

    def state(self) -> PendingEvents:
        """Return the state."""
        return self._pending


def _common_position(sender_positions: Mapping[int, int], n_senders: int) -> int | None:
    """Return the position that all senders have reached, or None while some have not reported."""
    return min(sender_positions.values()) if len(sender_positions) == n_senders else None


def _sort_key(event: ForwardedEvent) -> tuple[int, bool]:
    return event.position, not isinstance(event, MergeRequested)
