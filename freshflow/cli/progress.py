"""The progress line of a running job, and the table at its end, both on standard error."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from freshflow.dataflow.job import Places
from freshflow.dataflow.progress import Progress

__all__ = ["show_progress", "summary"]

# A terminal is redrawn; a log gets a line that a person can still read after an hour.
TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0


@contextmanager
def show_progress(progress: Progress, *, quiet: bool) -> Iterator[None]:
    """Show what `progress` says while the block runs."""
    console = Console(stderr=True)
    done = threading.Event()
    started = time.monotonic()
    thread = threading.Thread(target=_show, args=(console, progress, done, started), daemon=True)
    if not quiet:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if not quiet:
            thread.join()


def _show(console: Console, progress: Progress, done: threading.Event, started: float) -> None:
    if not console.is_terminal:
        while not done.wait(LOG_PERIOD_S):
            console.print(_line(progress, started), highlight=False)
        return
    with console.status("starting") as status:
        while not done.wait(TERMINAL_PERIOD_S):
            status.update(_line(progress, started))


def _line(progress: Progress, started: float) -> str:
    seconds = max(1e-9, time.monotonic() - started)
    return (
        f"{progress.read:,} events in, {progress.lists:,} lists out, {progress.rejected.total():,} rejected, "
        f"{progress.read / seconds:,.0f} events/s, HR@20 {progress.quality('recent_hr20'):.3f}"
    )


def summary(progress: Progress, places: Places) -> None:
    """Print what the job did."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    rejected = ", ".join(f"{count:,} {code}" for code, count in sorted(progress.rejected.items()))
    where = places.dead_letter_place() or "logged"
    table.add_row("events in", f"{progress.read:,}", places.input)
    table.add_row("lists out", f"{progress.lists:,}", places.output)
    table.add_row("unchanged lists, not published", f"{progress.total('unchanged'):,}", "")
    table.add_row("rejected", f"{progress.rejected.total():,}", f"{rejected} ({where})" if rejected else "")
    table.add_row("HR@20", f"{progress.quality('hr20'):.3f}", "each event predicted before it was learned")
    table.add_row("HR@20 of popularity", f"{progress.quality('popularity_hr20'):.3f}", "top of the last 200 events")
    table.add_row("MRR@20", f"{progress.quality('mrr20'):.3f}", "")
    latencies = f"{progress.latency_ms(0.5):,.0f} / {progress.latency_ms(0.99):,.0f} ms"
    table.add_row("event to list, p50 / p99", latencies, "from reading the event to writing its list")
    seconds = progress.seconds()
    table.add_row("events a second", f"{progress.read / seconds:,.0f}" if seconds else "-", f"{seconds:,.1f} s")
    Console(stderr=True).print(table)
