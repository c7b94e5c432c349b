"""Tables of two variants: the figures of each, and their difference with its confidence interval."""

from collections.abc import Iterable, Mapping
from logging import getLogger

from rich.console import Console
from rich.table import Table

from freshflow.evaluation.paired_test import PairedComparison
from freshflow.metrics.ab_test import Difference, VariantSums, metric_difference
from freshflow.metrics.report import Report, sums_by_variant
from freshflow.streaming.monitoring.logging import is_json_logging

_logger = getLogger("freshflow")

METRIC_LABELS = {
    "hr20": "HR@20",
    "mrr20": "MRR@20",
    "published_hr20": "published HR@20",
    "published_mrr20": "published MRR@20",
}
_NO_INTERVAL = "too few users"


def print_comparison(reports: Iterable[Report]) -> None:
    """Print or log the comparison of two variants from the last reports; do nothing for a job without variants."""
    sums = sums_by_variant(reports)
    if len(sums) != 2:
        return
    if is_json_logging():
        _log_comparison(sums)
        return
    console = Console(stderr=True, markup=False, highlight=False)
    console.print()
    console.print(comparison_table(sums))


def _log_comparison(sums: Mapping[str, VariantSums]) -> None:
    first, second = sums.values()
    values_by_variant = {
        name: {"events": variant_sums.events, **{metric: variant_sums.mean(metric) for metric in METRIC_LABELS}}
        for name, variant_sums in sums.items()
    }
    deltas = {metric: metric_difference(first, second, metric) for metric in METRIC_LABELS}
    _logger.info("The variants compared.", extra={"counted": {"variants": values_by_variant, "difference": deltas}})


def comparison_table(sums: Mapping[str, VariantSums]) -> Table:
    """Build the table of two variants of a job by name, with the second minus the first."""
    first, second = sums.values()
    table = _table(sums)
    table.add_row("events", *(f"{variant_sums.events:,}" for variant_sums in (first, second)))
    for metric, label in METRIC_LABELS.items():
        _add_row(table, label, (first.mean(metric), second.mean(metric)), metric_difference(first, second, metric))
    return table


def paired_table(comparison: PairedComparison) -> Table:
    """Build the table of two evaluated variants, with the second minus the first, paired by event."""
    first, second = comparison.variants.values()
    table = _table(comparison.variants)
    for kind, deltas in comparison.difference.items():
        table.add_row(f"{kind}: events", f"{first[kind].events:,}", f"{second[kind].events:,}")
        for metric, delta in deltas.items():
            _add_row(
                table,
                f"  {METRIC_LABELS[metric]}",
                (getattr(first[kind], metric), getattr(second[kind], metric)),
                delta,
            )
    return table


def _table(variant_names: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", style="bold", no_wrap=True)
    for name in (*variant_names, "second - first", "by 95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add_row(table: Table, label: str, values: tuple[float, float], delta: Difference) -> None:
    interval = _NO_INTERVAL if delta.low is None or delta.high is None else f"{delta.low:+.3f} to {delta.high:+.3f}"
    table.add_row(label, *(f"{value:.3f}" for value in values), f"{delta.by:+.3f}", interval)
