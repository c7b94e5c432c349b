"""Time where none is given: event time goes on by the clock while no event comes, as it does for the users."""

__all__ = ["LOOK_MS", "LiveTime"]

# A list is looked at about as soon as it can have aged enough to be worth it, and a look takes a millisecond or two.
LOOK_MS = 1000


class LiveTime:
    """Of a partition of a live job: which event time it is, and when to look at lists though no event came.

    With the latest event at event time t, read at r, it is  t + (clock - r). All in epoch milliseconds.
    """

    def __init__(self, event_ts: int, clock_ms: int) -> None:
        self.event_ts = event_ts
        self.read_ms = clock_ms
        self.looks = 0
        self.look_at_ms = clock_ms + LOOK_MS

    def follow(self, event_ts: int, read_ms: int, looks: int, clock_ms: int) -> None:
        """Events up to `event_ts`, read at `read_ms`, have been taken; the partition has looked so many times."""
        if event_ts != self.event_ts:
            self.event_ts, self.read_ms = event_ts, read_ms
        if looks != self.looks:
            self.looks = looks
            self.looked(clock_ms)

    def looked(self, clock_ms: int) -> None:
        """The lists were looked at now."""
        self.look_at_ms = clock_ms + LOOK_MS

    def now_ms(self, clock_ms: int) -> int:
        """The event time at a time of the clock."""
        return self.event_ts + max(0, clock_ms - self.read_ms)
