"""Time where none is given: event time goes on by the clock while no event comes, as it does for the users."""

__all__ = ["REFRESH_CHECK_MS", "EventClock"]

# A list is looked at about as soon as it can have aged enough to be worth it, and a look takes a millisecond or two.
REFRESH_CHECK_MS = 1000


class EventClock:
    """Of a partition of a live job: which event time it is, and when to look at lists though no event came.

    With the latest event at event time t, read at r, it is  t + (clock - r). All in epoch milliseconds.
    """

    def __init__(self, event_ts: int, clock_ms: int) -> None:
        self.event_ts = event_ts
        self.read_ms = clock_ms
        self.n_refresh_checks = 0
        self.next_check_ms = clock_ms + REFRESH_CHECK_MS

    def advance(self, event_ts: int, read_ms: int, n_refresh_checks: int, clock_ms: int) -> None:
        """Events up to `event_ts`, read at `read_ms`, have been taken; the partition has looked so many times."""
        if event_ts != self.event_ts:
            self.event_ts, self.read_ms = event_ts, read_ms
        if n_refresh_checks != self.n_refresh_checks:
            self.n_refresh_checks = n_refresh_checks
            self.record_check(clock_ms)

    def record_check(self, clock_ms: int) -> None:
        """The lists were looked at now."""
        self.next_check_ms = clock_ms + REFRESH_CHECK_MS

    def now_ms(self, clock_ms: int) -> int:
        """The event time at a time of the clock."""
        return self.event_ts + max(0, clock_ms - self.read_ms)
