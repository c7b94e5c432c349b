"""The table of two variants: the figures of each, and how far they are apart."""

from collections.abc import Iterable, Mapping
from logging import getLogger

from rich.console import Console
from rich.table import Table

from freshflow.evaluation.paired_test import Paired
from freshflow.metrics.ab_test import Difference, Sums, difference
from freshflow.metrics.report import Report, sums_by_variant
from freshflow.streaming.monitoring.logging import in_json

__all__ = ["comparison_table", "paired_table", "print_comparison"]

log = getLogger("freshflow")

NAMES = {
    "hr20": "HR@20",
    "mrr20": "MRR@20",
    "published_hr20": "published HR@20",
    "published_mrr20": "published MRR@20",
}
NOTHING = "too few users"


def print_comparison(reports: Iterable[Report]) -> None:
    """Print, or log, what the last reports of all partitions say of two variants; nothing of a job without."""
    sums = sums_by_variant(reports)
    if len(sums) != 2:
        return
    if in_json():
        _log(sums)
        return
    console = Console(stderr=True, markup=False, highlight=False)
    console.print()
    console.print(comparison_table(sums))


def _log(sums: Mapping[str, Sums]) -> None:
    first, second = sums.values()
    of_each = {
        name: {"events": of.events, **{figure: of.mean(figure) for figure in NAMES}} for name, of in sums.items()
    }
    apart = {figure: difference(first, second, figure) for figure in NAMES}
    log.info("The variants compared.", extra={"counted": {"variants": of_each, "difference": apart}})


def comparison_table(sums: Mapping[str, Sums]) -> Table:
    """Two variants by name, and the second less the first."""
    first, second = sums.values()
    table = _table(sums)
    table.add_row("events", *(f"{of.events:,}" for of in (first, second)))
    for figure, name in NAMES.items():
        _add(table, name, (first.mean(figure), second.mean(figure)), difference(first, second, figure))
    return table


def paired_table(paired: Paired) -> Table:
    """Two evaluated variants by name, and the second less the first, event by event."""
    first, second = paired.variants.values()
    table = _table(paired.variants)
    for kind, apart in paired.difference.items():
        table.add_row(f"{kind}: events", f"{first[kind].events:,}", f"{second[kind].events:,}")
        for figure, of in apart.items():
            _add(table, f"  {NAMES[figure]}", (getattr(first[kind], figure), getattr(second[kind], figure)), of)
    return table


def _table(names: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", style="bold", no_wrap=True)
    for name in (*names, "second - first", "by 95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(table: Table, name: str, of_each: tuple[float, float], apart: Difference) -> None:
    interval = NOTHING if apart.low is None or apart.high is None else f"{apart.low:+.3f} to {apart.high:+.3f}"
    table.add_row(name, *(f"{of:.3f}" for of in of_each), f"{apart.by:+.3f}", interval)
