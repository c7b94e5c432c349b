"""What buckets of guests hand on to a bucket of users, put back in the order of the stream.

The records of one origin are split over the buckets of guests, and each hands what it makes of its part to all buckets
of users. These take the parts together again: what all have come to, by position. So who a guest is, what the user does
and what was forgotten keep their order, whichever processes they pass through; between origins there is none to keep.
Every bucket of guests hears of every batch that was read, and says so, so none waits for long.
"""

from collections.abc import Mapping, Sequence

from freshflow.events.model import Origin
from freshflow.users.updates import ForwardedEvent, MergeRequested

__all__ = ["Resequencer", "PendingEvents"]

# By origin: how far each sender has come, and what waits for the others to come as far.
PendingEvents = dict[str, tuple[dict[int, int], list[ForwardedEvent]]]


class Resequencer:
    """Events by origin, of several senders."""

    def __init__(self, pending: PendingEvents | None = None) -> None:
        self._pending: PendingEvents = pending or {}

    def process(
        self, sender: int, n_senders: int, origin: Origin, events: Sequence[ForwardedEvent], end_position: int
    ) -> tuple[list[ForwardedEvent], int] | None:
        """What is next of an origin, in order, and up to where; None where not all have come further.

        One of so many senders has handed on all it makes of the origin up to a position. What says who a guest is
        comes before what else is in its record.
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
        """All there is to keep, as it is now."""
        return self._pending


def _common_position(sender_positions: Mapping[int, int], n_senders: int) -> int | None:
    """The position that all senders have reached; None while some have not been heard of."""
    return min(sender_positions.values()) if len(sender_positions) == n_senders else None


def _sort_key(event: ForwardedEvent) -> tuple[int, bool]:
    return event.position, not isinstance(event, MergeRequested)
