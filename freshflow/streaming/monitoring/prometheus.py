"""What a job tells Prometheus, made of its `Progress` when it is asked, so that counting costs it nothing more.

Counters count from the start of the process: what a partition had counted before it was resumed is taken off, as
Prometheus would take a counter that falls back to a snapshot for one that was reset. Labels are numbers of partitions,
names of variants, codes and kinds, of which there are few; none ever names a user or an item.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from freshflow.config.schema import Config
from freshflow.errors import OutputError
from freshflow.metrics.report import Report
from freshflow.streaming.experiment import Variants
from freshflow.streaming.monitoring.progress import AGES_S, BIN_RATIO, Counts, Progress

__all__ = ["METRICS", "Described", "JobCollector", "serve", "table"]

LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FAMILIES: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class Described(NamedTuple):
    """A metric: its name, its type, its labels and what it says.

    `counted` is for those that are counts of a partition: by value of the label beside `partition` (or under "", where
    there is none) the name of the count in a `Report`. `where` says under which settings there is something to count.
    """

    name: str
    type: Literal["counter", "gauge", "histogram", "summary"]
    labels: tuple[str, ...]
    says: str
    counted: Mapping[str, str] = MappingProxyType({})
    where: Callable[[Config], bool] = lambda config: True


P = ("partition",)
RULES = ("blocked", "bought", "boost", "price", "value", "category", "brand", "diversity", "fresh", "pinned")


def _ruled(config: Config) -> bool:
    return config.ruled


def _explores(config: Config) -> bool:
    return config.explore.share > 0


def _knows_guests(config: Config) -> bool:
    return config.users.guests


METRICS = (
    Described("freshflow_events_total", "counter", (), "Records read."),
    Described("freshflow_rejected_total", "counter", ("code",), "Records that are no events: dead letters, by reason."),
    Described("freshflow_passed_over_total", "counter", (), "Events of other formats whose type is no behaviour."),
    Described("freshflow_published_total", "counter", (), "Records handed to the sink of lists, tombstones included."),
    Described(
        "freshflow_lists_total",
        "counter",
        ("partition", "cause"),
        "Lists made, by cause: an interaction (or a guest's joining), an answer to a request or search, a refresh, an "
        "item's withdrawal.",
        {"interaction": "lists", "answer": "answers", "refresh": "refreshed", "withdrawal": "withdrawn"},
    ),
    Described("freshflow_lists_unchanged_total", "counter", P, "Lists not published again.", {"": "unchanged"}),
    Described("freshflow_learned_total", "counter", P, "Interactions predicted, then learned.", {"": "events"}),
    Described(
        "freshflow_lessons_total", "counter", P, "Choices of others' users that its ranker was taught.", {"": "lessons"}
    ),
    Described("freshflow_ranker_updates_total", "counter", P, "Steps its ranker has learned by.", {"": "updates"}),
    Described(
        "freshflow_left_out_total",
        "counter",
        ("partition", "kind"),
        "Events that teach nothing: dropped (duplicate, late, ignored: of no weight), or noise that still gets lists.",
        {kind: kind for kind in ("duplicate", "late", "ignored", "noise_rate", "noise_repeats", "noise_sequence")},
    ),
    Described("freshflow_reordered_total", "counter", P, "Events out of order, put in place.", {"": "reordered"}),
    Described("freshflow_forgotten_total", "counter", P, "Forget events obeyed.", {"": "forgotten"}),
    Described(
        "freshflow_guests_joined_total",
        "counter",
        P,
        "Guests who became users, where guests are known (users.guests).",
        {"": "guests_joined"},
        _knows_guests,
    ),
    Described("freshflow_searches_total", "counter", P, "Answers to searches.", {"": "searches"}),
    Described(
        "freshflow_searches_reordered_total",
        "counter",
        P,
        "Those of them that were in another order than the engine's.",
        {"": "searches_reordered"},
    ),
    Described(
        "freshflow_search_choices_total", "counter", P, "Results chosen of these answers.", {"": "search_choices"}
    ),
    Described("freshflow_related_total", "counter", P, "Lists of related items, empty ones included.", {"": "related"}),
    Described(
        "freshflow_explored_total",
        "counter",
        P,
        "Young items put on lists to learn of them, where that is asked for (explore.share).",
        {"": "explored"},
        _explores,
    ),
    Described(
        "freshflow_explored_taken_total",
        "counter",
        P,
        "Those of them that the user took next.",
        {"": "explored_taken"},
        _explores,
    ),
    Described(
        "freshflow_rule_removed_total",
        "counter",
        ("partition", "rule"),
        "Items that a rule took off lists, of pinned ones those it brought in; where there are rules.",
        {rule: f"rule_{rule}" for rule in RULES},
        _ruled,
    ),
    Described(
        "freshflow_rule_moved_total",
        "counter",
        ("partition", "rule"),
        "Items that a rule left on lists in another order.",
        {rule: f"rule_{rule}_moved" for rule in RULES},
        _ruled,
    ),
    Described(
        "freshflow_table_size",
        "gauge",
        ("partition", "table"),
        "What is kept: users, items, active users, whose lists are kept fresh, and, where they are known, guests.",
        {"users": "users", "items": "items", "active_users": "users_active", "guests": "guests"},
    ),
    Described(
        "freshflow_dropped_total",
        "counter",
        ("partition", "table"),
        "What was dropped for want of room, or as idle (users_idle, items_idle; items includes idle ones).",
        {
            "users": "users_evicted",
            "users_idle": "users_idle",
            "items": "items_evicted",
            "items_idle": "items_idle",
            "active_users": "users_active_evicted",
        },
    ),
    Described(
        "freshflow_embeddings_left_out_total",
        "counter",
        P,
        "Embeddings of another length than content.dimensions.",
        {"": "embeddings_left_out"},
    ),
    Described("freshflow_drifts_total", "counter", P, "Sudden falls of the hit rate.", {"": "drifts"}),
    Described("freshflow_adapted_total", "counter", P, "Steep falls, after which old company fades.", {"": "adapted"}),
    Described(
        "freshflow_refreshes_allowed",
        "gauge",
        P,
        "Refreshes that may go out now; 0: none.",
        {"": "refreshes_allowed"},
    ),
    Described(
        "freshflow_refresh_max_share", "gauge", (), "The budget: refresh.max_share; 0 where nothing is refreshed."
    ),
    Described(
        "freshflow_hit_rate_at_20",
        "gauge",
        ("partition", "of", "over"),
        "HR@20 of ours, of what was last published and of popularity, over all events or the last 5,000; of choices "
        "among search results, of our order and the engine's.",
    ),
    Described("freshflow_mrr_at_20", "gauge", ("partition", "of", "over"), "MRR@20, likewise."),
    Described(
        "freshflow_read_to_published_seconds",
        "histogram",
        (),
        "From reading an event to handing its list to the sink.",
    ),
    Described(
        "freshflow_freshness_seconds",
        "histogram",
        (),
        "From an event to the lists it causes, as its own time says; of live jobs.",
    ),
    Described(
        "freshflow_input_lag_records",
        "gauge",
        ("input_partition",),
        "Records of a topic left to read at the last epoch.",
    ),
    Described(
        "freshflow_epoch_end_seconds", "summary", ("step",), "Ends of epochs: snapshots, and flushes of sinks, by step."
    ),
    Described("freshflow_base_write_seconds", "summary", (), "Whole states written to --recovery, by other threads."),
    Described("freshflow_build_info", "gauge", ("version", "python"), "1; the versions."),
)
NAMED = {metric.name: metric for metric in METRICS}


class JobCollector(Collector):
    """Gives the metrics of a job as they are when Prometheus asks.

    Of configurations with names, what is of a partition has the label `variant`, too.
    """

    def __init__(self, progress: Progress, variants: Variants) -> None:
        self.progress = progress
        self.variants = variants
        self.label = ("variant",) if variants.configs[0].variant.name else ()

    def collect(self) -> Iterator[Metric]:
        """Every metric of `METRICS`."""
        counts = self.progress.counts()
        yield _family("freshflow_build_info", [((version("freshflow"), platform.python_version()), 1)])
        yield _family("freshflow_events_total", [((), counts.read)])
        yield _family("freshflow_rejected_total", [((code,), count) for code, count in counts.rejected.items()])
        yield _family("freshflow_passed_over_total", [((), sum(counts.passed_over.values()))])
        yield _family("freshflow_published_total", [((), counts.lists)])
        yield _family(
            "freshflow_refresh_max_share", [(self._named(c), _budget(c)) for c in self.variants.configs], self.label
        )
        yield from (self._of_partitions(metric, counts) for metric in METRICS if metric.counted)
        yield from (self._quality(name, figure, counts) for name, figure in QUALITY.items())
        yield _latency(counts)
        yield _ages(counts)
        yield _family("freshflow_input_lag_records", [((partition,), lag) for partition, lag in counts.lags.items()])
        yield _summary("freshflow_epoch_end_seconds", {(step,): took for step, took in counts.epochs.items()})
        yield _summary("freshflow_base_write_seconds", {(): counts.bases})

    def _of_partitions(self, metric: Described, counts: Counts) -> Metric:
        """Counts of each partition: a gauge as it stands, a counter since the process started."""
        samples: list[Sample] = []
        for report in counts.reports:
            config = self._config(report)
            if not metric.where(config):
                continue
            before = counts.before.get(report.partition, {}) if metric.type == "counter" else {}
            for value, name in metric.counted.items():
                if metric.type == "gauge" and name not in report.counts:
                    continue
                labels = (str(report.partition), *([value] if value else []), *self._named(config))
                samples.append((labels, report.counts.get(name, 0) - before.get(name, 0)))
        return _family(metric.name, samples, self.label)

    def _quality(self, name: str, figure: str, counts: Counts) -> Metric:
        samples: list[Sample] = []
        for report in counts.reports:
            for of, prefix in MEASURED.items():
                for over, when in (("all", ""), ("recent", "recent_")):
                    key = f"{prefix}{when}{figure}"
                    if key in report.quality:
                        labels = (str(report.partition), of, over, *self._named(self._config(report)))
                        samples.append((labels, report.quality[key]))
        return _family(name, samples, self.label)

    def _config(self, report: Report) -> Config:
        return self.variants.configs[self.variants.variant_of(report.partition)]

    def _named(self, config: Config) -> tuple[str, ...]:
        return (config.variant.name,) if self.label else ()


Sample = tuple[tuple[str, ...], float]
QUALITY = {"freshflow_hit_rate_at_20": "hr20", "freshflow_mrr_at_20": "mrr20"}
# Whose lists were measured, and how their figures begin.
MEASURED = {
    "ours": "",
    "published": "published_",
    "popularity": "popularity_",
    "search": "search_",
    "engine": "engine_",
}


def _budget(config: Config) -> float:
    return config.refresh.max_share if config.refresh.interval_s > 0 else 0.0


def _family(name: str, samples: Sequence[Sample], more_labels: tuple[str, ...] = ()) -> Metric:
    metric = NAMED[name]
    family: Metric = FAMILIES[metric.type](name, metric.says, labels=(*metric.labels, *more_labels))
    for labels, value in samples:
        family.add_metric(labels, value)  # type: ignore[attr-defined]
    return family


def _latency(counts: Counts) -> Metric:
    """The bins of `Progress`, 2 % wide, put together: a bin counts where its lower end does not exceed the bound."""
    upto = [int(np.log(bound * 1000) / np.log(BIN_RATIO)) for bound in LATENCIES_S]
    reached = [sum(lists for at, lists in counts.latency if at <= last) for last in upto]
    lists = sum(lists for _, lists in counts.latency)
    return _histogram("freshflow_read_to_published_seconds", LATENCIES_S, reached, lists, counts.latency_sum_ms)


def _ages(counts: Counts) -> Metric:
    reached = np.cumsum(counts.ages or [0] * (len(AGES_S) + 1)).tolist()
    return _histogram("freshflow_freshness_seconds", AGES_S, reached[:-1], reached[-1], counts.ages_sum_ms)


def _histogram(name: str, bounds: Sequence[float], reached: list[int], count: int, sum_ms: int) -> Metric:
    buckets = [(str(bound), float(n)) for bound, n in zip(bounds, reached, strict=True)]
    family = HistogramMetricFamily(name, NAMED[name].says)
    family.add_metric([], [*buckets, ("+Inf", float(count))], sum_ms / 1000)
    return family


def _summary(name: str, took: dict[tuple[str, ...], tuple[int, float]]) -> Metric:
    family = SummaryMetricFamily(name, NAMED[name].says, labels=NAMED[name].labels)
    for labels, (count, seconds) in took.items():
        family.add_metric(labels, count, seconds)
    return family


def serve(progress: Progress, variants: Variants) -> None:
    """Answer Prometheus at `metrics.address` until the process ends, in threads that do not keep it from ending.

    Raises `OutputError` if the address cannot be listened at.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(JobCollector(progress, variants))
    address = variants.configs[0].metrics.address
    host, _, port = address.rpartition(":")
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise OutputError(
            f"Metrics cannot be served at {address}: {error.strerror}; stop what listens there, or give "
            "another --metrics-address."
        ) from None


def table() -> str:
    """All metrics as a table in Markdown."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.says} |"
        for metric in METRICS
    ]
    return "\n".join(["| metric | type | labels | what it says |", "|---|---|---|---|", *rows])
