"""What buckets of guests hand on to a bucket of users, put back in the order of the stream.

The records of one origin are split over the buckets of guests, and each hands what it makes of its part to all buckets
of users. These take the parts together again: what all have come to, by position. So who a guest is, what the user does
and what was forgotten keep their order, whichever processes they pass through; between origins there is none to keep.
Every bucket of guests hears of every batch that was read, and says so, so none waits for long.
"""

from collections.abc import Mapping, Sequence

from freshflow.events.model import Origin
from freshflow.users.updates import Handed, Join

__all__ = ["Handover", "HeldEvents"]

# By origin: how far each sender has come, and what waits for the others to come as far.
HeldEvents = dict[str, tuple[dict[int, int], list[Handed]]]


class Handover:
    """Events by origin, of several senders."""

    def __init__(self, held: HeldEvents | None = None) -> None:
        self._held: HeldEvents = held or {}

    def take(
        self, sender: int, senders: int, origin: Origin, handed: Sequence[Handed], upto: int
    ) -> tuple[list[Handed], int] | None:
        """What is next of an origin, in order, and up to where; None where not all have come further.

        One of so many senders has handed on all it makes of the origin up to a position. What says who a guest is
        comes before what else is in its record.
        """
        reached, waiting = self._held.setdefault(origin.key, ({}, []))
        before = _least(reached, senders)
        reached[sender] = upto
        waiting += handed
        now = _least(reached, senders)
        if now is None or now == before:
            return None
        due = [one for one in waiting if one.position <= now]
        self._held[origin.key] = (reached, [one for one in waiting if one.position > now])
        return (due if senders == 1 else sorted(due, key=_place)), now

    def state(self) -> HeldEvents:
        """All there is to keep, as it is now."""
        return self._held


def _least(reached: Mapping[int, int], senders: int) -> int | None:
    """The position that all senders have reached; None while some have not been heard of."""
    return min(reached.values()) if len(reached) == senders else None


def _place(one: Handed) -> tuple[int, bool]:
    return one.position, not isinstance(one, Join)
