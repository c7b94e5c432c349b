"""What the server counts of itself, in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from freshflow.serving.responses import Health, ListKind

__all__ = ["LIST_AGE_BUCKETS_S", "ServerMetrics", "Histogram"]

RESPONSE_TIME_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LIST_AGE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
INPUT_METRICS = (
    ("records", "records_total", "counter", "Records taken over since the start."),
    ("tombstones", "tombstones_total", "counter", "Tombstones among them."),
    (
        "skipped",
        "skipped_total",
        "counter",
        "Records that were not: answers to searches, and what is none of the kind.",
    ),
    ("behind", "behind", "gauge", "Bytes of a file, or records of a topic, that are there and not read yet."),
    ("staleness_s", "staleness_seconds", "gauge", "How long ago the latest record that was read was made."),
)


class Histogram:
    """How many values were at most so large; for one thread to write."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._bins = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._bins[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, name: str, labels: str) -> Iterator[str]:
        """Its lines.

        >>> few = Histogram((1.0, 2.0)); few.note(2.0); few.note(7.0)
        >>> list(few.samples("ages", 'of="lists"'))[1:3]
        ['ages_bucket{of="lists",le="2.0"} 1', 'ages_bucket{of="lists",le="+Inf"} 2']
        """
        cumulative_count = 0
        for bound, bin_count in zip((*map(str, self._bounds), "+Inf"), list(self._bins), strict=True):
            cumulative_count += bin_count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {cumulative_count}'
        yield f"{name}_sum{{{labels}}} {self._sum:.6f}"
        yield f"{name}_count{{{labels}}} {cumulative_count}"


class ServerMetrics:
    """Requests by path and status, and by how long the answer took to make."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.response_times: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(RESPONSE_TIME_BUCKETS_S))

    def record_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[path, status] += 1
        self.response_times[path].observe(seconds)

    def render(self, health: Health, list_ages: Mapping[ListKind, Histogram]) -> str:
        """All of it, with how the inputs stand, and the ages of lists when they were stored."""
        return "".join(f"{line}\n" for line in self._lines(health, list_ages))

    def _lines(self, health: Health, list_ages: Mapping[ListKind, Histogram]) -> Iterator[str]:
        requests = (
            (f'path="{path}",status="{status}"', count) for (path, status), count in sorted(self.requests.items())
        )
        yield from _metric_lines("requests_total", "counter", "Requests by path and status.", requests)
        yield from _header_lines("request_seconds", "histogram", "How long answers took to make.")
        for path, response_time_histogram in sorted(self.response_times.items()):
            yield from response_time_histogram.samples("freshflow_serve_request_seconds", f'path="{path}"')
        lists = (("recommendations", health.users), ("related", health.items))
        yield from _metric_lines(
            "lists", "gauge", "Lists that are kept.", ((f'kind="{kind}"', n_lists) for kind, n_lists in lists)
        )
        yield from _header_lines(
            "list_age_seconds", "histogram", "From when a list was made to when it could be asked for."
        )
        for kind, histogram in list_ages.items():
            yield from histogram.samples("freshflow_serve_list_age_seconds", f'kind="{kind}"')
        for field, name, metric_type, help_text in INPUT_METRICS:
            values = ((f'kind="{input_health.kind}"', getattr(input_health, field)) for input_health in health.inputs)
            yield from _metric_lines(f"input_{name}", metric_type, help_text, values)
        up = ((f'kind="{input_health.kind}"', int(input_health.failure is None)) for input_health in health.inputs)
        yield from _metric_lines("input_up", "gauge", "Whether the input is read.", up)


def _metric_lines(
    name: str, metric_type: str, help_text: str, values: Iterable[tuple[str, float | None]]
) -> Iterator[str]:
    yield from _header_lines(name, metric_type, help_text)
    for labels, value in values:
        if value is not None:
            yield f"freshflow_serve_{name}{{{labels}}} {value}"


def _header_lines(name: str, metric_type: str, help_text: str) -> Iterator[str]:
    yield f"# HELP freshflow_serve_{name} {help_text}"
    yield f"# TYPE freshflow_serve_{name} {metric_type}"
