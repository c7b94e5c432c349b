"""Wall clock of the commands that write timestamps."""

import time


def wall_clock_ms() -> int:
    """Return the current time in epoch milliseconds."""
    return time.time_ns() // 1_000_000
