"""A shop as it happens: events are written at their time, which is now."""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from freshflow.errors import ConfigError
from freshflow.simulator.config import MAX_EVENTS_PER_DAY, MS_PER_DAY, ShopConfig
from freshflow.simulator.lines import Line

__all__ = ["live_config", "pace_lines"]


def live_config(rate: float, events: int, users: int, start_ms: int, **shop_options: Any) -> ShopConfig:
    """A shop that opens at `start_ms` (epoch milliseconds) and in which `rate` things are done a second on average.

    It has more than `users` visitors where these could not do as much.
    """
    if not 0 < rate <= 10_000:
        raise ConfigError(f"rate = {rate!r} is not allowed: expected a number above 0 and up to 10000.")
    days = events / rate / (MS_PER_DAY / 1000)
    min_users = math.ceil(events / days / MAX_EVENTS_PER_DAY) + 1
    start = datetime.fromtimestamp(start_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return ShopConfig(events=events, users=max(users, min_users), days=days, start=start, **shop_options)


def pace_lines(lines: Iterable[Line], clock: Callable[[], int], wait: Callable[[float], None]) -> Iterator[Line]:
    """The same lines, each once its time has come; `wait` is told for how many seconds, and may return before."""
    for line in lines:
        while (remaining_ms := line[0] - clock()) > 0:
            wait(remaining_ms / 1000)
        yield line
