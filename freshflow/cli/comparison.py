"""The table of two variants: the figures of each, and how far they are apart."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from freshflow.quality.comparison import Difference, Sums, difference
from freshflow.quality.report import Report, sums_by_variant

__all__ = ["comparison_table", "print_comparison"]

COLUMNS = {"HR@20": "hr20", "MRR@20": "mrr20", "published HR": "published_hr20", "MRR": "published_mrr20"}
NOTHING = "-"


def print_comparison(reports: Iterable[Report]) -> None:
    """Print what the last reports of all partitions say of two variants; nothing of a job without."""
    sums = sums_by_variant(reports)
    if len(sums) == 2:
        console = Console(stderr=True, markup=False, highlight=False)
        console.print()
        console.print(comparison_table(sums))


def comparison_table(sums: Mapping[str, Sums]) -> Table:
    """Two variants by name, and the second less the first."""
    (first, of_first), (second, of_second) = sums.items()
    apart = {figure: difference(of_first, of_second, figure) for figure in COLUMNS.values()}
    table = table_of(COLUMNS)
    for name, of in sums.items():
        table.add_row(name, f"{of.events:,}", *(f"{of.mean(figure):.3f}" for figure in COLUMNS.values()))
    add_difference(table, f"{second} - {first}", list(apart.values()))
    return table


def table_of(columns: Iterable[str]) -> Table:
    """An empty table with these columns of figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", style="bold", no_wrap=True)
    for name in ("events", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def add_difference(table: Table, name: str, apart: Iterable[Difference]) -> None:
    """Three rows: by how much figures differ, and from where to where that is by 95 %."""
    rows = [(d.by, d.low, d.high) for d in apart]
    for label, cells in zip((name, "  from, by 95 %", "  to"), zip(*rows, strict=True), strict=True):
        table.add_row(label, "", *(NOTHING if cell is None else f"{cell:+.3f}" for cell in cells))
