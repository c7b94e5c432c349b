"""Prometheus metrics of the server, written by `prometheus_client`."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from freshflow.serving.responses import Health, InputHealth, ListKind

RESPONSE_TIME_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LIST_AGE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
PREFIX = "freshflow_serve"
STARTED_SUFFIX = "_created"  # the client adds a sample per series with its start time, which nothing here needs


class ServerMetrics:
    """Counters and histograms of one server: requests, response times and the ages of lists when stored."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            f"{PREFIX}_requests", "Requests by path and status.", ("path", "status"), registry=registry
        )
        self._response_times = Histogram(
            f"{PREFIX}_request_seconds",
            "Time to make a response.",
            ("path",),
            buckets=RESPONSE_TIME_BUCKETS_S,
            registry=registry,
        )
        self._request_series: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._list_ages = Histogram(
            f"{PREFIX}_list_age_seconds",
            "Time from computing a list to serving it.",
            ("kind",),
            buckets=LIST_AGE_BUCKETS_S,
            registry=registry,
        )

    def record_request(self, path: str, status: int, duration_s: float) -> None:
        """Count a request and the time its response took."""
        series = self._request_series.get((path, status))
        if series is None:  # looking labels up costs more than counting
            series = self._requests.labels(path, str(status)), self._response_times.labels(path)
            self._request_series[path, status] = series
        count, response_times = series
        count.inc()
        response_times.observe(duration_s)

    def list_age_recorder(self, kind: ListKind) -> Callable[[float], None]:
        """Return the function that counts a list of one kind by its age in seconds when it was stored."""
        observe: Callable[[float], None] = self._list_ages.labels(kind).observe
        return observe

    def render(self, health: Health) -> bytes:
        """Return all metrics, with the state of the inputs, in the Prometheus text format 0.0.4."""
        inputs = CollectorRegistry()
        inputs.register(_HealthCollector(health))
        lines = (generate_latest(self._registry) + generate_latest(inputs)).splitlines(keepends=True)
        return b"".join(line for line in lines if STARTED_SUFFIX.encode() not in line)


class _HealthCollector(Collector):
    """Metrics of a `Health`: stored lists, and the position and state of each input."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        health = self._health
        lists = GaugeMetricFamily(f"{PREFIX}_lists", "Stored lists.", labels=("kind",))
        for kind, n_lists in (("recommendations", health.users), ("related", health.items)):
            if n_lists is not None:
                lists.add_metric((kind,), n_lists)
        yield lists
        yield from _input_metrics(health.inputs)


def _input_metrics(inputs: tuple[InputHealth, ...]) -> Iterator[Metric]:
    records = CounterMetricFamily(f"{PREFIX}_input_records", "Records stored since the start.", labels=("kind",))
    tombstones = CounterMetricFamily(f"{PREFIX}_input_tombstones", "Tombstones among them.", labels=("kind",))
    skipped = CounterMetricFamily(
        f"{PREFIX}_input_skipped",
        "Records skipped: answers to searches, and records of another kind.",
        labels=("kind",),
    )
    lag = GaugeMetricFamily(
        f"{PREFIX}_input_behind", "Lag: bytes of a file, or records of a topic, not read yet.", labels=("kind",)
    )
    staleness = GaugeMetricFamily(
        f"{PREFIX}_input_staleness_seconds", "Age of the latest record that was read.", labels=("kind",)
    )
    up = GaugeMetricFamily(f"{PREFIX}_input_up", "1 while the input can be read, else 0.", labels=("kind",))
    for state in inputs:
        labels = (state.kind,)
        records.add_metric(labels, state.records)
        tombstones.add_metric(labels, state.tombstones)
        skipped.add_metric(labels, state.skipped)
        if state.behind is not None:
            lag.add_metric(labels, state.behind)
        if state.staleness_s is not None:
            staleness.add_metric(labels, state.staleness_s)
        up.add_metric(labels, int(state.failure is None))
    yield from (records, tombstones, skipped, lag, staleness, up)
