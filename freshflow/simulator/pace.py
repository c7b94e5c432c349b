"""Real-time pacing of a simulated stream: each line is written at its event time."""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from freshflow.errors import ConfigError
from freshflow.simulator.config import MAX_EVENTS_PER_DAY, MS_PER_DAY, ShopConfig
from freshflow.simulator.lines import Line


def live_config(rate: float, events: int, users: int, start_ms: int, **shop_options: Any) -> ShopConfig:
    """Return the configuration of a shop that opens now and has `rate` events per second on average.

    The number of visitors is raised if `users` visitors cannot produce as many events.

    Args:
        rate: Events per second, above 0 and up to 10,000.
        events: Number of events.
        users: Minimum number of visitors.
        start_ms: Opening time, in epoch milliseconds.
        **shop_options: Other fields of `ShopConfig`.

    Raises:
        ConfigError: The rate or another option is invalid.
    """
    if not 0 < rate <= 10_000:
        raise ConfigError(f"rate = {rate!r} is not allowed: expected a number above 0 and up to 10000.")
    days = events / rate / (MS_PER_DAY / 1000)
    min_users = math.ceil(events / days / MAX_EVENTS_PER_DAY) + 1
    start = datetime.fromtimestamp(start_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return ShopConfig(events=events, users=max(users, min_users), days=days, start=start, **shop_options)


def pace_lines(lines: Iterable[Line], clock: Callable[[], int], wait: Callable[[float], None]) -> Iterator[Line]:
    """Yield each line once its time has come.

    Args:
        lines: The lines.
        clock: Returns the current time, in epoch milliseconds.
        wait: Waits for a number of seconds; it can return early.
    """
    for line in lines:
        while (remaining_ms := line[0] - clock()) > 0:
            wait(remaining_ms / 1000)
        yield line
