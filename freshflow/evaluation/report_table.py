"""Evaluation report as text tables of at most 80 columns."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from freshflow.evaluation.report import EvaluationReport, RecommenderQuality
from freshflow.metrics.ranking_metrics import MetricValues

_NO_VALUE = "-"
_MAX_UNKNOWN_TYPES = 8  # ignored event types shown by name


def print_report(report: EvaluationReport, console: Console) -> None:
    """Print the counts, the job's metrics overall and over time, and the baselines."""
    console.print(_overview_table(report))
    if not report.scored:
        return
    console.print("\n[bold]The job[/], asked before each event")
    console.print(_job_table(report.job, report.scored))
    if report.searches is not None:
        search_scores = report.searches
        console.print(f"\n[bold]Searches[/], of which {search_scores.chosen:,} items were chosen")
        console.print(
            f"MRR@20 {_format_share(search_scores.mrr20)}, "
            f"in the engine's order {_format_share(search_scores.engine_mrr20)}"
        )
    console.print("\n[bold]Over the stream[/], from its first tenth to its last")
    console.print(_tenths_table(report.job))
    if report.baselines:
        console.print("\n[bold]Beside simple recommenders[/], asked at the same moments")
        console.print(_baselines_table(report))


def _table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    return table


def _overview_table(report: EvaluationReport) -> Table:
    table = _table()
    table.show_header = False
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for row in _overview_rows(report):
        table.add_row(*row)
    return table


def _overview_rows(report: EvaluationReport) -> Iterator[tuple[str, str, str]]:
    yield "events", f"{report.events:,}", f"{report.users:,} users, {report.items:,} items"
    if report.scored != report.events:
        yield "  scored", f"{report.scored:,}", "a list was asked for before each of them"
    if report.not_learned:
        counts_text = ", ".join(f"{kind.replace('_', ': ')} {count:,}" for kind, count in report.not_learned.items())
        yield "  not learned", f"{sum(report.not_learned.values()):,}", counts_text
    yield "rejected", f"{sum(report.rejected.values()):,}", ""
    for code, count in report.rejected.items():
        yield f"  {code}", f"{count:,}", escape(report.refusals.get(code, ""))
    if report.passed_over:
        yield "passed over", f"{sum(report.passed_over.values()):,}", "types that are no behaviour with an item"
    for name, count in list(report.passed_over.items())[:_MAX_UNKNOWN_TYPES]:
        yield f"  {escape(name)}", f"{count:,}", ""
    yield "catalogue coverage", _format_share(report.job.coverage), "of items stood in some list's first 20"
    yield "events a second", f"{report.job.events_per_second:,.0f}", "with a question before each"
    yield "peak memory", f"{report.peak_memory_mb:,.0f} MB", ""


def _job_table(job: RecommenderQuality, scored: int) -> Table:
    table = _table()
    for name in ("events", "HR@10", "HR@20", "MRR@20", "NDCG@20", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {
        "all events": job.all,
        "new pairs, seen items taken out": job.new,
        "list pushed before the event": job.published or MetricValues(),
        "a user's first event": job.cold_users,
        "an item's first event": job.cold_items,
        "an item's first day": job.launches,
    }
    for name, values in rows.items():
        cells = [values.hr10, values.hr20, values.mrr20, values.ndcg20]
        value_texts = [_format_share(cell) if values.events else _NO_VALUE for cell in cells]
        table.add_row(name, f"{values.events:,}", *value_texts, f"{values.events / scored:.0%}")
    return table


def _tenths_table(job: RecommenderQuality) -> Table:
    table = _table()
    for _ in job.tenths["all"]:
        table.add_column(justify="right", no_wrap=True)
    table.show_header = False
    for kind, parts in job.tenths.items():
        for name, metric in (("HR@20", "hr20"), ("MRR@20", "mrr20")):
            cells = [f"{getattr(part, metric):.2f}".lstrip("0") if part.events else _NO_VALUE for part in parts]
            table.add_row(f"{kind} {name}", *cells)
    return table


def _baselines_table(report: EvaluationReport) -> Table:
    table = _table()
    for name in ("all HR@20", "MRR@20", "new HR@20", "MRR@20", "coverage"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {"the job": report.job} | report.baselines
    best_values = [max(column) for column in zip(*map(_compared_values, rows.values()), strict=True)]
    for name, quality in rows.items():
        cells = [
            f"[bold]{_format_share(value)}[/]" if value == best_value else _format_share(value)
            for value, best_value in zip(_compared_values(quality), best_values, strict=True)
        ]
        table.add_row(name, *cells, _format_share(quality.coverage))
    return table


def _compared_values(quality: RecommenderQuality) -> tuple[float, float, float, float]:
    return quality.all.hr20, quality.all.mrr20, quality.new.hr20, quality.new.mrr20


def _format_share(value: float) -> str:
    return f"{value:.3f}"
