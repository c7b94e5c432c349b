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
from freshflow.streaming.monitoring.progress import LATENCY_BIN_RATIO, LIST_AGE_BOUNDS_S, JobStats, JobStatsSnapshot

__all__ = ["METRICS", "MetricSpec", "JobCollector", "serve_job_metrics", "build_metrics_table"]

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FAMILY_TYPES: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class MetricSpec(NamedTuple):
    """A metric: its name, its type, its labels and what it says.

    `count_names` is for those that are counts of a partition: by value of the label beside `partition` (or under "", where
    there is none) the name of the count in a `Report`. `applies_to` says under which settings there is something to count.
    """

    name: str
    type: Literal["counter", "gauge", "histogram", "summary"]
    labels: tuple[str, ...]
    help: str
    count_names: Mapping[str, str] = MappingProxyType({})
    applies_to: Callable[[Config], bool] = lambda config: True


PARTITION_LABELS = ("partition",)
RULE_NAMES = ("blocked", "bought", "boost", "price", "value", "category", "brand", "diversity", "fresh", "pinned")


def _has_rules(config: Config) -> bool:
    return config.has_rules


def _has_exploration(config: Config) -> bool:
    return config.explore.share > 0


def _has_anonymous_users(config: Config) -> bool:
    return config.users.guests


METRICS = (
    MetricSpec("freshflow_events_total", "counter", (), "Records read."),
    MetricSpec(
        "freshflow_rejected_total", "counter", ("code",), "Records that are no events: dead letters, by reason."
    ),
    MetricSpec("freshflow_passed_over_total", "counter", (), "Events of other formats whose type is no behaviour."),
    MetricSpec("freshflow_published_total", "counter", (), "Records handed to the sink of lists, tombstones included."),
    MetricSpec(
        "freshflow_lists_total",
        "counter",
        ("partition", "cause"),
        "Lists made, by cause: an interaction (or a guest's joining), an answer to a request or search, a refresh, an "
        "item's withdrawal.",
        {"interaction": "lists", "answer": "answers", "refresh": "refreshed", "withdrawal": "withdrawn"},
    ),
    MetricSpec(
        "freshflow_lists_unchanged_total", "counter", PARTITION_LABELS, "Lists not published again.", {"": "unchanged"}
    ),
    MetricSpec(
        "freshflow_learned_total", "counter", PARTITION_LABELS, "Interactions predicted, then learned.", {"": "events"}
    ),
    MetricSpec(
        "freshflow_lessons_total",
        "counter",
        PARTITION_LABELS,
        "Choices of others' users that its ranker was taught.",
        {"": "lessons"},
    ),
    MetricSpec(
        "freshflow_ranker_updates_total",
        "counter",
        PARTITION_LABELS,
        "Steps its ranker has learned by.",
        {"": "updates"},
    ),
    MetricSpec(
        "freshflow_left_out_total",
        "counter",
        ("partition", "kind"),
        "Events that teach nothing: dropped (duplicate, late, ignored: of no weight), or noise that still gets lists.",
        {kind: kind for kind in ("duplicate", "late", "ignored", "noise_rate", "noise_repeats", "noise_sequence")},
    ),
    MetricSpec(
        "freshflow_reordered_total",
        "counter",
        PARTITION_LABELS,
        "Events out of order, put in place.",
        {"": "reordered"},
    ),
    MetricSpec("freshflow_forgotten_total", "counter", PARTITION_LABELS, "Forget events obeyed.", {"": "forgotten"}),
    MetricSpec(
        "freshflow_guests_joined_total",
        "counter",
        PARTITION_LABELS,
        "Guests who became users, where guests are known (users.guests).",
        {"": "guests_joined"},
        _has_anonymous_users,
    ),
    MetricSpec("freshflow_searches_total", "counter", PARTITION_LABELS, "Answers to searches.", {"": "searches"}),
    MetricSpec(
        "freshflow_searches_reordered_total",
        "counter",
        PARTITION_LABELS,
        "Those of them that were in another order than the engine's.",
        {"": "searches_reordered"},
    ),
    MetricSpec(
        "freshflow_search_choices_total",
        "counter",
        PARTITION_LABELS,
        "Results chosen of these answers.",
        {"": "search_choices"},
    ),
    MetricSpec(
        "freshflow_related_total",
        "counter",
        PARTITION_LABELS,
        "Lists of related items, empty ones included.",
        {"": "related"},
    ),
    MetricSpec(
        "freshflow_explored_total",
        "counter",
        PARTITION_LABELS,
        "Young items put on lists to learn of them, where that is asked for (explore.share).",
        {"": "explored"},
        _has_exploration,
    ),
    MetricSpec(
        "freshflow_explored_taken_total",
        "counter",
        PARTITION_LABELS,
        "Those of them that the user took next.",
        {"": "explored_taken"},
        _has_exploration,
    ),
    MetricSpec(
        "freshflow_rule_removed_total",
        "counter",
        ("partition", "rule"),
        "Items that a rule took off lists, of pinned ones those it brought in; where there are rules.",
        {rule: f"rule_{rule}" for rule in RULE_NAMES},
        _has_rules,
    ),
    MetricSpec(
        "freshflow_rule_moved_total",
        "counter",
        ("partition", "rule"),
        "Items that a rule left on lists in another order.",
        {rule: f"rule_{rule}_moved" for rule in RULE_NAMES},
        _has_rules,
    ),
    MetricSpec(
        "freshflow_table_size",
        "gauge",
        ("partition", "table"),
        "What is kept: users, items, active users, whose lists are kept fresh, and, where they are known, guests.",
        {"users": "users", "items": "items", "active_users": "users_active", "guests": "guests"},
    ),
    MetricSpec(
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
    MetricSpec(
        "freshflow_embeddings_left_out_total",
        "counter",
        PARTITION_LABELS,
        "Embeddings of another length than content.dimensions.",
        {"": "embeddings_left_out"},
    ),
    MetricSpec("freshflow_drifts_total", "counter", PARTITION_LABELS, "Sudden falls of the hit rate.", {"": "drifts"}),
    MetricSpec(
        "freshflow_adapted_total",
        "counter",
        PARTITION_LABELS,
        "Steep falls, after which old company fades.",
        {"": "adapted"},
    ),
    MetricSpec(
        "freshflow_refreshes_allowed",
        "gauge",
        PARTITION_LABELS,
        "Refreshes that may go out now; 0: none.",
        {"": "refreshes_allowed"},
    ),
    MetricSpec(
        "freshflow_refresh_max_share", "gauge", (), "The budget: refresh.max_share; 0 where nothing is refreshed."
    ),
    MetricSpec(
        "freshflow_hit_rate_at_20",
        "gauge",
        ("partition", "of", "over"),
        "HR@20 of ours, of what was last published and of popularity, over all events or the last 5,000; of choices "
        "among search results, of our order and the engine's.",
    ),
    MetricSpec("freshflow_mrr_at_20", "gauge", ("partition", "of", "over"), "MRR@20, likewise."),
    MetricSpec(
        "freshflow_read_to_published_seconds",
        "histogram",
        (),
        "From reading an event to handing its list to the sink.",
    ),
    MetricSpec(
        "freshflow_freshness_seconds",
        "histogram",
        (),
        "From an event to the lists it causes, as its own time says; of live jobs.",
    ),
    MetricSpec(
        "freshflow_input_lag_records",
        "gauge",
        ("input_partition",),
        "Records of a topic left to read at the last epoch.",
    ),
    MetricSpec(
        "freshflow_epoch_end_seconds", "summary", ("step",), "Ends of epochs: snapshots, and flushes of sinks, by step."
    ),
    MetricSpec("freshflow_base_write_seconds", "summary", (), "Whole states written to --recovery, by other threads."),
    MetricSpec("freshflow_build_info", "gauge", ("version", "python"), "1; the versions."),
)
METRICS_BY_NAME = {metric.name: metric for metric in METRICS}


class JobCollector(Collector):
    """Gives the metrics of a job as they are when Prometheus asks.

    Of configurations with names, what is of a partition has the label `variant`, too.
    """

    def __init__(self, job_stats: JobStats, variants: Variants) -> None:
        self.job_stats = job_stats
        self.variants = variants
        self.variant_label = ("variant",) if variants.configs[0].variant.name else ()

    def collect(self) -> Iterator[Metric]:
        """Every metric of `METRICS_FILE`."""
        stats = self.job_stats.snapshot()
        yield _build_family("freshflow_build_info", [((version("freshflow"), platform.python_version()), 1)])
        yield _build_family("freshflow_events_total", [((), stats.n_read)])
        yield _build_family("freshflow_rejected_total", [((code,), count) for code, count in stats.n_rejected.items()])
        yield _build_family("freshflow_passed_over_total", [((), sum(stats.n_unknown_type.values()))])
        yield _build_family("freshflow_published_total", [((), stats.n_lists)])
        yield _build_family(
            "freshflow_refresh_max_share",
            [(self._variant_label_values(config), _refresh_budget(config)) for config in self.variants.configs],
            self.variant_label,
        )
        yield from (self._partition_metric(metric, stats) for metric in METRICS if metric.count_names)
        yield from (self._quality_metric(name, metric_key, stats) for name, metric_key in QUALITY_METRICS.items())
        yield _latency_histogram(stats)
        yield _age_histogram(stats)
        yield _build_family(
            "freshflow_input_lag_records", [((partition,), lag) for partition, lag in stats.lags.items()]
        )
        yield _build_summary(
            "freshflow_epoch_end_seconds", {(step,): timing for step, timing in stats.epoch_times.items()}
        )
        yield _build_summary("freshflow_base_write_seconds", {(): stats.snapshot_times})

    def _partition_metric(self, metric: MetricSpec, stats: JobStatsSnapshot) -> Metric:
        """Counts of each partition: a gauge as it stands, a counter since the process started."""
        samples: list[Sample] = []
        for report in stats.reports:
            config = self._config_of_report(report)
            if not metric.applies_to(config):
                continue
            initial_counts = stats.initial_counts.get(report.partition, {}) if metric.type == "counter" else {}
            for value, name in metric.count_names.items():
                if metric.type == "gauge" and name not in report.counts:
                    continue
                labels = (str(report.partition), *([value] if value else []), *self._variant_label_values(config))
                samples.append((labels, report.counts.get(name, 0) - initial_counts.get(name, 0)))
        return _build_family(metric.name, samples, self.variant_label)

    def _quality_metric(self, name: str, metric_key: str, stats: JobStatsSnapshot) -> Metric:
        samples: list[Sample] = []
        for report in stats.reports:
            for list_origin, prefix in METRIC_PREFIXES.items():
                for window, window_prefix in (("all", ""), ("recent", "recent_")):
                    key = f"{prefix}{window_prefix}{metric_key}"
                    if key in report.quality:
                        labels = (
                            str(report.partition),
                            list_origin,
                            window,
                            *self._variant_label_values(self._config_of_report(report)),
                        )
                        samples.append((labels, report.quality[key]))
        return _build_family(name, samples, self.variant_label)

    def _config_of_report(self, report: Report) -> Config:
        return self.variants.configs[self.variants.variant_of_partition(report.partition)]

    def _variant_label_values(self, config: Config) -> tuple[str, ...]:
        return (config.variant.name,) if self.variant_label else ()


Sample = tuple[tuple[str, ...], float]
QUALITY_METRICS = {"freshflow_hit_rate_at_20": "hr20", "freshflow_mrr_at_20": "mrr20"}
# Whose lists were measured, and how their figures begin.
METRIC_PREFIXES = {
    "ours": "",
    "published": "published_",
    "popularity": "popularity_",
    "search": "search_",
    "engine": "engine_",
}


def _refresh_budget(config: Config) -> float:
    return config.refresh.max_share if config.refresh.interval_s > 0 else 0.0


def _build_family(name: str, samples: Sequence[Sample], more_labels: tuple[str, ...] = ()) -> Metric:
    metric = METRICS_BY_NAME[name]
    family: Metric = FAMILY_TYPES[metric.type](name, metric.help, labels=(*metric.labels, *more_labels))
    for labels, value in samples:
        family.add_metric(labels, value)  # type: ignore[attr-defined]
    return family


def _latency_histogram(stats: JobStatsSnapshot) -> Metric:
    """The bins of `JobStats`, 2 % wide, put together: a bin counts where its lower end does not exceed the bound."""
    last_bins = [int(np.log(bound * 1000) / np.log(LATENCY_BIN_RATIO)) for bound in LATENCY_BOUNDS_S]
    cumulative_counts = [
        sum(n_lists for bin_index, n_lists in stats.latency_bins if bin_index <= last_bin) for last_bin in last_bins
    ]
    n_lists = sum(n_lists for _, n_lists in stats.latency_bins)
    return _build_histogram(
        "freshflow_read_to_published_seconds", LATENCY_BOUNDS_S, cumulative_counts, n_lists, stats.latency_sum_ms
    )


def _age_histogram(stats: JobStatsSnapshot) -> Metric:
    cumulative_counts = np.cumsum(stats.age_bins or [0] * (len(LIST_AGE_BOUNDS_S) + 1)).tolist()
    return _build_histogram(
        "freshflow_freshness_seconds",
        LIST_AGE_BOUNDS_S,
        cumulative_counts[:-1],
        cumulative_counts[-1],
        stats.age_sum_ms,
    )


def _build_histogram(
    name: str, bounds: Sequence[float], cumulative_counts: list[int], count: int, sum_ms: int
) -> Metric:
    buckets = [(str(bound), float(n)) for bound, n in zip(bounds, cumulative_counts, strict=True)]
    family = HistogramMetricFamily(name, METRICS_BY_NAME[name].help)
    family.add_metric([], [*buckets, ("+Inf", float(count))], sum_ms / 1000)
    return family


def _build_summary(name: str, timings: dict[tuple[str, ...], tuple[int, float]]) -> Metric:
    family = SummaryMetricFamily(name, METRICS_BY_NAME[name].help, labels=METRICS_BY_NAME[name].labels)
    for labels, (count, seconds) in timings.items():
        family.add_metric(labels, count, seconds)
    return family


def serve_job_metrics(job_stats: JobStats, variants: Variants) -> None:
    """Answer Prometheus at `metrics.address` until the process ends, in threads that do not keep it from ending.

    Raises `OutputError` if the address cannot be listened at.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(JobCollector(job_stats, variants))
    address = variants.configs[0].metrics.address
    host, _, port = address.rpartition(":")
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise OutputError(
            f"Metrics cannot be served at {address}: {error.strerror}; stop what listens there, or give "
            "another --metrics-address."
        ) from None


def build_metrics_table() -> str:
    """All metrics as a table in Markdown."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    return "\n".join(["| metric | type | labels | what it says |", "|---|---|---|---|", *rows])
