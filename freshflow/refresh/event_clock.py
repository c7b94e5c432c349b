"""Event time between events: while no event arrives, event time advances with the clock."""

# Lists age too little within a second to be worth a message, and a check takes one or two milliseconds.
REFRESH_CHECK_MS = 1000


class EventClock:
    """The event time of a partition of a live job, and the time of its next check by the clock.

    With the latest event at event time t, read at r, event time is  t + (clock - r). All times are epoch milliseconds.
    """

    def __init__(self, event_ts: int, clock_ms: int) -> None:
        self.event_ts = event_ts
        self.read_ms = clock_ms
        self.n_refresh_checks = 0
        self.next_check_ms = clock_ms + REFRESH_CHECK_MS

    def advance(self, event_ts: int, read_ms: int, n_refresh_checks: int, clock_ms: int) -> None:
        """Advance to the latest event, and postpone the next check if events have caused one.

        Args:
            event_ts: The event time of the latest processed event.
            read_ms: The clock when it was read.
            n_refresh_checks: The number of checks of the partition so far.
            clock_ms: The clock.
        """
        if event_ts != self.event_ts:
            self.event_ts, self.read_ms = event_ts, read_ms
        if n_refresh_checks != self.n_refresh_checks:
            self.n_refresh_checks = n_refresh_checks
            self.record_check(clock_ms)

    def record_check(self, clock_ms: int) -> None:
        """Schedule the next check after one at `clock_ms`."""
        self.next_check_ms = clock_ms + REFRESH_CHECK_MS

    def now_ms(self, clock_ms: int) -> int:
        """Return the event time when the clock is at `clock_ms`."""
        return self.event_ts + max(0, clock_ms - self.read_ms)
