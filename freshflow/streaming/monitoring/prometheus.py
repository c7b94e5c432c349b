"""Prometheus endpoint of a job, computed from its `JobStats` on each scrape, so that counting costs nothing more.

Counters begin with the process: the counts of a resumed partition are subtracted, because Prometheus would take a
counter that falls back to a snapshot for a reset. Labels are numbers of partitions, names of variants, codes and kinds,
of which there are few; none names a user or an item.
"""

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

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
from freshflow.metrics.catalogue import QUALITY_METRICS
from freshflow.metrics.report import Report
from freshflow.streaming.experiment import Variants
from freshflow.streaming.monitoring.metric_specs import MetricSpec, metric_specs
from freshflow.streaming.monitoring.progress import LATENCY_BIN_RATIO, LIST_AGE_BOUNDS_S, JobStats, JobStatsSnapshot

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FAMILY_TYPES: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}

Sample = tuple[tuple[str, ...], float]
QUALITY_FAMILIES = {metric.family: metric.name for metric in QUALITY_METRICS if metric.family}
# Prefixes of figures by the lists that they measure.
FIGURE_PREFIXES = {"ours": ""} | {
    metric.label[1]: metric.name.removesuffix("*")
    for metric in QUALITY_METRICS
    if metric.label is not None and metric.label[0] == "of"
}


class JobCollector(Collector):
    """Collector of the metrics of a job. With named variants, metrics of partitions have the label `variant`, too."""

    def __init__(self, job_stats: JobStats, variants: Variants) -> None:
        self.job_stats = job_stats
        self.variants = variants
        self.specs = metric_specs()
        self.variant_label = ("variant",) if variants.configs[0].variant.name else ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its current samples."""
        stats = self.job_stats.snapshot()
        yield self._family("freshflow_build_info", [((version("freshflow"), platform.python_version()), 1)])
        yield self._family("freshflow_events_total", [((), stats.n_read)])
        yield self._family("freshflow_rejected_total", [((code,), count) for code, count in stats.n_rejected.items()])
        yield self._family("freshflow_unknown_type_total", [((), sum(stats.n_unknown_type.values()))])
        yield self._family("freshflow_published_total", [((), stats.n_lists)])
        yield self._family(
            "freshflow_refresh_max_share",
            [(self._variant_label_values(config), _refresh_budget(config)) for config in self.variants.configs],
            self.variant_label,
        )
        yield from (self._partition_metric(spec, stats) for spec in self.specs.values() if spec.count_names)
        yield from (self._quality_metric(name, metric_key, stats) for name, metric_key in QUALITY_FAMILIES.items())
        yield self._latency_histogram(stats)
        yield self._age_histogram(stats)
        yield self._family(
            "freshflow_input_lag_records", [((partition,), lag) for partition, lag in stats.lags.items()]
        )
        yield self._summary(
            "freshflow_epoch_end_seconds", {(step,): timing for step, timing in stats.epoch_times.items()}
        )
        yield self._summary("freshflow_snapshot_write_seconds", {(): stats.snapshot_times})

    def _partition_metric(self, metric: MetricSpec, stats: JobStatsSnapshot) -> Metric:
        """Return the counts of each partition: a gauge as it is, a counter since the process started."""
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
        return self._family(metric.name, samples, self.variant_label)

    def _quality_metric(self, name: str, metric_key: str, stats: JobStatsSnapshot) -> Metric:
        samples: list[Sample] = []
        for report in stats.reports:
            for list_origin, prefix in FIGURE_PREFIXES.items():
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
        return self._family(name, samples, self.variant_label)

    def _config_of_report(self, report: Report) -> Config:
        return self.variants.configs[self.variants.variant_of_partition(report.partition)]

    def _variant_label_values(self, config: Config) -> tuple[str, ...]:
        return (config.variant.name,) if self.variant_label else ()

    def _family(self, name: str, samples: Sequence[Sample], more_labels: tuple[str, ...] = ()) -> Metric:
        spec = self.specs[name]
        family: Metric = FAMILY_TYPES[spec.type](name, spec.help, labels=(*spec.labels, *more_labels))
        for labels, value in samples:
            family.add_metric(labels, value)  # type: ignore[attr-defined]
        return family

    def _latency_histogram(self, stats: JobStatsSnapshot) -> Metric:
        """Merge the bins of `JobStats`, 2 % wide: a bin counts if its lower end does not exceed the bound."""
        last_bins = [int(np.log(bound * 1000) / np.log(LATENCY_BIN_RATIO)) for bound in LATENCY_BOUNDS_S]
        cumulative_counts = [
            sum(n_lists for bin_index, n_lists in stats.latency_bins if bin_index <= last_bin) for last_bin in last_bins
        ]
        n_lists = sum(n_lists for _, n_lists in stats.latency_bins)
        return self._histogram(
            "freshflow_read_to_published_seconds", LATENCY_BOUNDS_S, cumulative_counts, n_lists, stats.latency_sum_ms
        )

    def _age_histogram(self, stats: JobStatsSnapshot) -> Metric:
        cumulative_counts = np.cumsum(stats.age_bins or [0] * (len(LIST_AGE_BOUNDS_S) + 1)).tolist()
        return self._histogram(
            "freshflow_freshness_seconds",
            LIST_AGE_BOUNDS_S,
            cumulative_counts[:-1],
            cumulative_counts[-1],
            stats.age_sum_ms,
        )

    def _histogram(
        self, name: str, bounds: Sequence[float], cumulative_counts: list[int], count: int, sum_ms: int
    ) -> Metric:
        buckets = [(str(bound), float(n)) for bound, n in zip(bounds, cumulative_counts, strict=True)]
        family = HistogramMetricFamily(name, self.specs[name].help)
        family.add_metric([], [*buckets, ("+Inf", float(count))], sum_ms / 1000)
        return family

    def _summary(self, name: str, timings: dict[tuple[str, ...], tuple[int, float]]) -> Metric:
        spec = self.specs[name]
        family = SummaryMetricFamily(name, spec.help, labels=spec.labels)
        for labels, (count, seconds) in timings.items():
            family.add_metric(labels, count, seconds)
        return family


def _refresh_budget(config: Config) -> float:
    return config.refresh.max_share if config.refresh.interval_s > 0 else 0.0


def serve_job_metrics(job_stats: JobStats, variants: Variants) -> None:
    """Serve the metrics of a job at `metrics.address` in daemon threads.

    Raises:
        OutputError: The address is not available.
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
