"""How long lists took from their event, and how many there are a second: of the last minute, and over hours."""

from collections import deque
from collections.abc import Sequence

import msgspec

__all__ = ["LatencyHistory", "LatencyPoint", "PerSecondCounter", "quantile"]

LATENCY_POINT_MS = 10_000  # a point of the line over time
MAX_LATENCY_SAMPLES = 5_000  # latencies of the last minute, of which the latest are enough
RECENT_WINDOW_MS, MIN_RECENT_SAMPLES = (
    15_000,
    100,
)  # where there are as many in this time, what was before counts no more
MAX_LATENCY_POINTS = 180  # points of the line
MAX_LATENCY_MS = 60_000  # what is older is no latency, but an event read from an archive
MINUTE_S = 60
RATE_WINDOW_S = 10  # looked back on for a rate


class LatencyPoint(msgspec.Struct, frozen=True, array_like=True):
    """Latencies around `timestamp_ms`, in milliseconds; the p99 is the highest of the steps that were put together."""

    timestamp_ms: int
    p50: float
    p99: float


class LatencyHistory:
    """Milliseconds from event to list; `made_*` by when a list was computed, `shown_*` by when this server had it."""

    def __init__(self, hours: float) -> None:
        self.version = 0  # rises with each point
        self._points: deque[LatencyPoint] = deque(maxlen=int(hours * 3_600_000) // LATENCY_POINT_MS)
        self._recent_samples: deque[tuple[int, int, int]] = deque(maxlen=MAX_LATENCY_SAMPLES)  # when, made, shown
        self._current_latencies: list[int] = []
        self._current_start_ms = 0

    def add(self, now_ms: int, event_ts: int, computed_at: int) -> bool:
        """A list is here `now_ms`; whether it is of an event as it happens."""
        computed_latency_ms, served_latency_ms = computed_at - event_ts, now_ms - event_ts
        if not 0 <= computed_latency_ms <= served_latency_ms <= MAX_LATENCY_MS:
            return False
        self.advance_to(now_ms)
        self._recent_samples.append((now_ms, computed_latency_ms, served_latency_ms))
        if len(self._current_latencies) < MAX_LATENCY_SAMPLES:
            self._current_latencies.append(served_latency_ms)
        return True

    def advance_to(self, now_ms: int) -> None:
        """End the step that is over by `now_ms`, and drop what is older than a minute."""
        while self._recent_samples and self._recent_samples[0][0] < now_ms - 1000 * MINUTE_S:
            self._recent_samples.popleft()
        if now_ms // LATENCY_POINT_MS == self._current_start_ms // LATENCY_POINT_MS:
            return
        if self._current_latencies:
            latencies = sorted(self._current_latencies)
            self._points.append(
                LatencyPoint(self._current_start_ms, quantile(latencies, 0.5), quantile(latencies, 0.99))
            )
            self._current_latencies = []
            self.version += 1
        self._current_start_ms = now_ms

    def last_minute_quantiles(self) -> dict[str, float] | None:
        """p50 and p99 of the last minute, or of less where that is much; None without any."""
        if not self._recent_samples:
            return None
        recent_samples = [
            sample for sample in self._recent_samples if sample[0] > self._recent_samples[-1][0] - RECENT_WINDOW_MS
        ]
        samples = recent_samples if len(recent_samples) >= MIN_RECENT_SAMPLES else self._recent_samples
        computed_latencies, served_latencies = (
            sorted(sample[1] for sample in samples),
            sorted(sample[2] for sample in samples),
        )
        return {
            "made_p50": quantile(computed_latencies, 0.5),
            "made_p99": quantile(computed_latencies, 0.99),
            "shown_p50": quantile(served_latencies, 0.5),
            "shown_p99": quantile(served_latencies, 0.99),
        }

    def points(self) -> list[LatencyPoint]:
        """The line over time."""
        points, group_size = list(self._points), -(-len(self._points) // MAX_LATENCY_POINTS) or 1
        return [_merge_points(points[start : start + group_size]) for start in range(0, len(points), group_size)]


class PerSecondCounter:
    """How often something happened in each of the last 60 seconds, by its own time."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # by second, the latest of them

    def add(self, timestamp_ms: int) -> None:
        """It happened."""
        second = timestamp_ms // 1000
        self._counts[second] = self._counts.get(second, 0) + 1
        if len(self._counts) > 2 * MINUTE_S:
            self._counts = dict(sorted(self._counts.items())[-MINUTE_S - 1 :])

    def last_minute_counts(self, now_ms: int) -> list[int]:
        """Counts of the 60 whole seconds before now, the oldest first."""
        now_s = now_ms // 1000
        return [self._counts.get(second, 0) for second in range(now_s - MINUTE_S, now_s)]

    def rate(self, now_ms: int) -> float:
        """How often a second, over the last whole ones."""
        return sum(self.last_minute_counts(now_ms)[-RATE_WINDOW_S:]) / RATE_WINDOW_S


def quantile(sorted_values: Sequence[float], fraction: float) -> float:
    """The least value that `fraction` of them do not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return sorted_values[max(0, -int(-fraction * len(sorted_values) // 1) - 1)]


def _merge_points(points: Sequence[LatencyPoint]) -> LatencyPoint:
    mean_p50 = sum(point.p50 for point in points) / len(points)
    return LatencyPoint(points[-1].timestamp_ms, round(mean_p50, 1), max(point.p99 for point in points))
