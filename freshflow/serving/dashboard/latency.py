"""How long lists took from their event, and how many there are a second: of the last minute, and over hours."""

from collections import deque
from collections.abc import Sequence

import msgspec

__all__ = ["Latencies", "LatencyPoint", "PerSecond", "quantile"]

STEP_MS = 10_000  # a point of the line over time
HELD = 5_000  # latencies of the last minute, of which the latest are enough
LATELY_MS, MANY = 15_000, 100  # where there are as many in this time, what was before counts no more
SHOWN = 180  # points of the line
OVER_MS = 60_000  # what is older is no latency, but an event read from an archive
MINUTE_S = 60
RATE_S = 10  # looked back on for a rate


class LatencyPoint(msgspec.Struct, frozen=True, array_like=True):
    """Latencies around `at_ms`, in milliseconds; the p99 is the highest of the steps that were put together."""

    at_ms: int
    p50: float
    p99: float


class Latencies:
    """Milliseconds from event to list; `made_*` by when a list was computed, `shown_*` by when this server had it."""

    def __init__(self, hours: float) -> None:
        self.version = 0  # rises with each point
        self._points: deque[LatencyPoint] = deque(maxlen=int(hours * 3_600_000) // STEP_MS)
        self._minute: deque[tuple[int, int, int]] = deque(maxlen=HELD)  # when, made, shown
        self._step: list[int] = []
        self._step_ms = 0

    def add(self, now_ms: int, event_ts: int, computed_at: int) -> bool:
        """A list is here `now_ms`; whether it is of an event as it happens."""
        made_ms, shown_ms = computed_at - event_ts, now_ms - event_ts
        if not 0 <= made_ms <= shown_ms <= OVER_MS:
            return False
        self.pass_to(now_ms)
        self._minute.append((now_ms, made_ms, shown_ms))
        if len(self._step) < HELD:
            self._step.append(shown_ms)
        return True

    def pass_to(self, now_ms: int) -> None:
        """End the step that is over by `now_ms`, and drop what is older than a minute."""
        while self._minute and self._minute[0][0] < now_ms - 1000 * MINUTE_S:
            self._minute.popleft()
        if now_ms // STEP_MS == self._step_ms // STEP_MS:
            return
        if self._step:
            several = sorted(self._step)
            self._points.append(LatencyPoint(self._step_ms, quantile(several, 0.5), quantile(several, 0.99)))
            self._step = []
            self.version += 1
        self._step_ms = now_ms

    def minute(self) -> dict[str, float] | None:
        """p50 and p99 of the last minute, or of less where that is much; None without any."""
        if not self._minute:
            return None
        lately = [one for one in self._minute if one[0] > self._minute[-1][0] - LATELY_MS]
        several = lately if len(lately) >= MANY else self._minute
        made, shown = sorted(one[1] for one in several), sorted(one[2] for one in several)
        return {
            "made_p50": quantile(made, 0.5),
            "made_p99": quantile(made, 0.99),
            "shown_p50": quantile(shown, 0.5),
            "shown_p99": quantile(shown, 0.99),
        }

    def points(self) -> list[LatencyPoint]:
        """The line over time."""
        points, each = list(self._points), -(-len(self._points) // SHOWN) or 1
        return [_together(points[start : start + each]) for start in range(0, len(points), each)]


class PerSecond:
    """How often something happened in each of the last 60 seconds, by its own time."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # by second, the latest of them

    def add(self, at_ms: int) -> None:
        """It happened."""
        second = at_ms // 1000
        self._counts[second] = self._counts.get(second, 0) + 1
        if len(self._counts) > 2 * MINUTE_S:
            self._counts = dict(sorted(self._counts.items())[-MINUTE_S - 1 :])

    def minute(self, now_ms: int) -> list[int]:
        """Counts of the 60 whole seconds before now, the oldest first."""
        now_s = now_ms // 1000
        return [self._counts.get(second, 0) for second in range(now_s - MINUTE_S, now_s)]

    def rate(self, now_ms: int) -> float:
        """How often a second, over the last whole ones."""
        return sum(self.minute(now_ms)[-RATE_S:]) / RATE_S


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least value that `share` of them do not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _together(points: Sequence[LatencyPoint]) -> LatencyPoint:
    middle = sum(point.p50 for point in points) / len(points)
    return LatencyPoint(points[-1].at_ms, round(middle, 1), max(point.p99 for point in points))
