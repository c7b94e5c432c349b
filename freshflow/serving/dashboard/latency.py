"""Latency from event to list, and rates per second, over the last minute and over hours."""

from collections import deque
from collections.abc import Sequence

import msgspec

LATENCY_POINT_MS = 10_000  # time span of a point of the line
MAX_LATENCY_SAMPLES = 5_000  # samples kept of the last minute, the latest
# With this many samples in the recent window, quantiles ignore older ones.
RECENT_WINDOW_MS, MIN_RECENT_SAMPLES = 15_000, 100
MAX_LATENCY_POINTS = 180  # points of the line
MAX_LATENCY_MS = 60_000  # a larger difference means an event replayed from an archive
MINUTE_S = 60
RATE_WINDOW_S = 10  # window of a rate


class LatencyPoint(msgspec.Struct, frozen=True, array_like=True):
    """Latencies around `timestamp_ms`, in milliseconds; the p99 of merged points is their maximum."""

    timestamp_ms: int
    p50: float
    p99: float


class LatencyHistory:
    """Milliseconds from event to list: `made_*` until the list was computed, `shown_*` until this server had it."""

    def __init__(self, hours: float) -> None:
        self.version = 0  # rises with each point
        self._points: deque[LatencyPoint] = deque(maxlen=int(hours * 3_600_000) // LATENCY_POINT_MS)
        self._recent_samples: deque[tuple[int, int, int]] = deque(maxlen=MAX_LATENCY_SAMPLES)  # time, made, shown
        self._current_latencies: list[int] = []
        self._current_start_ms = 0

    def add(self, now_ms: int, event_ts: int, computed_at: int) -> bool:
        """Add a list stored at `now_ms`; return False if its event is from an archive, not live."""
        computed_latency_ms, served_latency_ms = computed_at - event_ts, now_ms - event_ts
        if not 0 <= computed_latency_ms <= served_latency_ms <= MAX_LATENCY_MS:
            return False
        self.advance_to(now_ms)
        self._recent_samples.append((now_ms, computed_latency_ms, served_latency_ms))
        if len(self._current_latencies) < MAX_LATENCY_SAMPLES:
            self._current_latencies.append(served_latency_ms)
        return True

    def advance_to(self, now_ms: int) -> None:
        """Close the current point if `now_ms` is past it, and drop samples older than a minute."""
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
        """Return p50 and p99 of the recent window if it has enough samples, else of the last minute; None if empty."""
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
        """Return the latencies over time, merged into at most `MAX_LATENCY_POINTS` points."""
        points, group_size = list(self._points), -(-len(self._points) // MAX_LATENCY_POINTS) or 1
        return [_merge_points(points[start : start + group_size]) for start in range(0, len(points), group_size)]


class PerSecondCounter:
    """Counter of occurrences per second over the last minute, by their timestamps."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # by second, the latest ones

    def add(self, timestamp_ms: int) -> None:
        """Count an occurrence."""
        second = timestamp_ms // 1000
        self._counts[second] = self._counts.get(second, 0) + 1
        if len(self._counts) > 2 * MINUTE_S:
            self._counts = dict(sorted(self._counts.items())[-MINUTE_S - 1 :])

    def last_minute_counts(self, now_ms: int) -> list[int]:
        """Return the counts of the 60 whole seconds before now, the oldest first."""
        now_s = now_ms // 1000
        return [self._counts.get(second, 0) for second in range(now_s - MINUTE_S, now_s)]

    def rate(self, now_ms: int) -> float:
        """Return occurrences per second over the last `RATE_WINDOW_S` whole seconds."""
        return sum(self.last_minute_counts(now_ms)[-RATE_WINDOW_S:]) / RATE_WINDOW_S


def quantile(sorted_values: Sequence[float], fraction: float) -> float:
    """Return the least value that at least `fraction` of the values do not exceed.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return sorted_values[max(0, -int(-fraction * len(sorted_values) // 1) - 1)]


def _merge_points(points: Sequence[LatencyPoint]) -> LatencyPoint:
    mean_p50 = sum(point.p50 for point in points) / len(points)
    return LatencyPoint(points[-1].timestamp_ms, round(mean_p50, 1), max(point.p99 for point in points))
