"""What time it is, for commands that say so in what they write."""

import time

__all__ = ["wall_clock_ms"]


def wall_clock_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
