"""Progress line of a running job, and summary table at its end, both on standard error."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

from rich.console import Console
from rich.table import Table

from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.logging import is_json_logging
from freshflow.streaming.monitoring.progress import JobStats

_logger = getLogger("freshflow")

# A terminal line is redrawn in place; a log file gets a line per period, so the period is longer.
TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0
NOTE_COLUMN = 46  # column at which the table's notes begin
_NO_VALUE = "-"
_MAX_UNKNOWN_TYPES = 8  # ignored event types shown by name
# Events that produced no list or were not learned from: label, counters, note; shown if not zero.
_EXCLUDED_EVENTS = (
    ("duplicates", ("duplicate",), "dropped"),
    ("late", ("late",), "dropped, older than users.allowed_lateness_s allows"),
    ("noise", ("noise_rate", "noise_repeats", "noise_sequence"), "bots and the like, not learned from"),
)


@contextmanager
def show_progress(stats: JobStats, *, quiet: bool) -> Iterator[None]:
    """Show the progress in `stats` while the block runs."""
    if is_json_logging():
        with _log_periodically(stats, quiet):
            yield
        return
    console = _console()
    stop_event = threading.Event()
    start_s = time.monotonic()
    thread = threading.Thread(target=_run_display, args=(console, stats, stop_event, start_s), daemon=True)
    if not quiet:
        thread.start()
    try:
        yield
    finally:
        stop_event.set()
        if not quiet:
            thread.join()


def print_summary(stats: JobStats, urls: JobUrls) -> None:
    """Print the summary of a finished job."""
    if is_json_logging():
        _log_counts(stats, "The job has ended.")
        return
    console = _console()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for row in _summary_rows(stats, urls, max(30, console.width - NOTE_COLUMN)):
        table.add_row(*row)
    console.print(table)


@contextmanager
def _log_periodically(stats: JobStats, quiet: bool) -> Iterator[None]:
    stop_event = threading.Event()

    def log_loop() -> None:
        while not stop_event.wait(LOG_PERIOD_S):
            if stats.n_read:
                _log_counts(stats, "The job goes on.")

    thread = threading.Thread(target=log_loop, daemon=True)
    if not quiet:
        thread.start()
    try:
        yield
    finally:
        stop_event.set()


def _log_counts(stats: JobStats, message: str) -> None:
    """Log the counts as fields of a record."""
    counts = {
        "events": stats.n_read,
        "lists": stats.n_lists,
        "rejected": dict(stats.n_rejected),
        "hr20": round(stats.mean_quality("hr20"), 6),
    }
    _logger.info(message, extra={"counted": counts})


def shorten_url(url: str, width: int) -> str:
    """Shorten a URL for display: relative to the working directory, and cut at the front to `width` characters.

    >>> shorten_url("/srv/shop/exports/2025-03-03/events.jsonl.gz", 30)
    '…/2025-03-03/events.jsonl.gz'
    """
    path = Path(url)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        url = str(path.relative_to(Path.cwd()))
    if len(url) <= width:
        return url
    scheme, separator, remainder = url.rpartition("://")
    prefix = f"{scheme}{separator}…"
    suffix = remainder[len(prefix) - width :]
    return prefix + suffix[max(0, suffix.find("/")) :]


def _console() -> Console:
    return Console(stderr=True, markup=False, highlight=False)


def _run_display(console: Console, stats: JobStats, stop_event: threading.Event, start_s: float) -> None:
    if not console.is_terminal:
        while not stop_event.wait(LOG_PERIOD_S):
            if stats.n_read:
                console.print(_progress_line(stats, start_s))
        return
    with console.status("starting") as status:
        while not stop_event.wait(TERMINAL_PERIOD_S):
            status.update(_progress_line(stats, start_s))


def _progress_line(stats: JobStats, start_s: float) -> str:
    seconds = max(1e-9, time.monotonic() - start_s)
    return (
        f"{stats.n_read:,} events in, {stats.n_lists:,} lists out, {stats.n_rejected.total():,} rejected, "
        f"{stats.n_read / seconds:,.0f} events/s, HR@20 {stats.mean_quality('recent_hr20'):.3f}"
    )


def _summary_rows(stats: JobStats, urls: JobUrls, width: int) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the summary: label, figure, and a note of at most `width` characters."""
    yield "events in", f"{stats.n_read:,}", shorten_url(urls.input, width)
    yield "lists out", f"{stats.n_lists:,}", shorten_url(urls.output, width)
    yield "  refreshed", f"{stats.total_count('refreshed'):,}", "of users who did nothing"
    if urls.related is not None:
        yield "related items", f"{stats.total_count('related'):,}", shorten_url(urls.related, width)
    yield "lists that did not change", f"{stats.total_count('unchanged'):,}", "not published again"
    for name, kinds, note in _EXCLUDED_EVENTS:
        count = sum(map(stats.total_count, kinds))
        if count:
            yield name, f"{count:,}", note
    dead_letter_note = shorten_url(urls.dead_letter_url() or "logged", width) if stats.n_rejected else ""
    yield "rejected", f"{stats.n_rejected.total():,}", dead_letter_note
    for code, count in stats.n_rejected.most_common():
        yield f"  {code}", f"{count:,}", ""
    if stats.n_unknown_type:
        yield "passed over", f"{stats.n_unknown_type.total():,}", "types that are no behaviour with an item"
    for name, count in stats.n_unknown_type.most_common(_MAX_UNKNOWN_TYPES):
        yield f"  {name}", f"{count:,}", ""
    has_events = stats.total_count("events") > 0
    yield "HR@20", _format_share(stats, "hr20", has_events), "predicted first, then learned"
    yield "  published before", _format_share(stats, "published_hr20", has_events), "the list the user was last sent"
    yield "  of popularity", _format_share(stats, "popularity_hr20", has_events), "the top of the last 200 events"
    yield "MRR@20", _format_share(stats, "mrr20", has_events), ""
    yield "  of popularity", _format_share(stats, "popularity_mrr20", has_events), ""
    latencies = f"{stats.latency_quantile_ms(0.5):,.0f} / {stats.latency_quantile_ms(0.99):,.0f} ms"
    yield "event to list, p50 / p99", latencies if stats.n_lists else _NO_VALUE, "from reading to writing"
    seconds = stats.duration_s()
    yield "events a second", f"{stats.n_read / seconds:,.0f}" if seconds else _NO_VALUE, f"in {seconds:,.1f} s"


def _format_share(stats: JobStats, name: str, has_events: bool) -> str:
    return f"{stats.mean_quality(name):.3f}" if has_events else _NO_VALUE
