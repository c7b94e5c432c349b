"""The progress line of a running job, and the table at its end, both on standard error."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

from rich.console import Console
from rich.table import Table

from freshflow.streaming.job import Places
from freshflow.streaming.monitoring.logging import in_json
from freshflow.streaming.monitoring.progress import Progress

__all__ = ["shortened", "show_progress", "summary"]

log = getLogger("freshflow")

# A terminal is redrawn; a log gets a line that a person can still read after an hour.
TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0
NOTE_FROM = 46  # the column at which the table's notes begin
NOTHING = "-"
SHOWN = 8  # names of types that are passed over
# Events of which no list was made, or that nothing was learned from; shown where there are any.
LEFT_OUT = (
    ("duplicates", ("duplicate",), "dropped"),
    ("late", ("late",), "dropped, older than users.lateness_s allows"),
    ("noise", ("noise_rate", "noise_repeats", "noise_sequence"), "bots and the like, not learned from"),
)


@contextmanager
def show_progress(progress: Progress, *, quiet: bool) -> Iterator[None]:
    """Show what `progress` says while the block runs."""
    if in_json():
        with _logged(progress, quiet):
            yield
        return
    console = _console()
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


def summary(progress: Progress, places: Places) -> None:
    """Print what the job did."""
    if in_json():
        _log(progress, "The job has ended.")
        return
    console = _console()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for row in _rows(progress, places, max(30, console.width - NOTE_FROM)):
        table.add_row(*row)
    console.print(table)


@contextmanager
def _logged(progress: Progress, quiet: bool) -> Iterator[None]:
    done = threading.Event()

    def tell() -> None:
        while not done.wait(LOG_PERIOD_S):
            if progress.read:
                _log(progress, "The job goes on.")

    thread = threading.Thread(target=tell, daemon=True)
    if not quiet:
        thread.start()
    try:
        yield
    finally:
        done.set()


def _log(progress: Progress, message: str) -> None:
    """What was counted, as fields of a record of the log."""
    counted = {
        "events": progress.read,
        "lists": progress.lists,
        "rejected": dict(progress.rejected),
        "hr20": round(progress.quality("hr20"), 6),
    }
    log.info(message, extra={"counted": counted})


def shortened(place: str, width: int) -> str:
    """A place as short as it is still clear: from here on, and cut at the front where it is longer than `width`.

    >>> shortened("/srv/shop/exports/2025-03-03/events.jsonl.gz", 30)
    '…/2025-03-03/events.jsonl.gz'
    """
    path = Path(place)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        place = str(path.relative_to(Path.cwd()))
    if len(place) <= width:
        return place
    scheme, separator, rest = place.rpartition("://")
    start = f"{scheme}{separator}…"
    end = rest[len(start) - width :]
    return start + end[max(0, end.find("/")) :]


def _console() -> Console:
    return Console(stderr=True, markup=False, highlight=False)


def _show(console: Console, progress: Progress, done: threading.Event, started: float) -> None:
    if not console.is_terminal:
        while not done.wait(LOG_PERIOD_S):
            if progress.read:
                console.print(_line(progress, started))
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


def _rows(progress: Progress, places: Places, width: int) -> Iterator[tuple[str, str, str]]:
    """What was counted, the figure, and a note of at most `width` characters on it."""
    yield "events in", f"{progress.read:,}", shortened(places.input, width)
    yield "lists out", f"{progress.lists:,}", shortened(places.output, width)
    yield "  refreshed", f"{progress.total('refreshed'):,}", "of users who did nothing"
    if places.related is not None:
        yield "related items", f"{progress.total('related'):,}", shortened(places.related, width)
    yield "lists that did not change", f"{progress.total('unchanged'):,}", "not published again"
    for name, kinds, note in LEFT_OUT:
        count = sum(map(progress.total, kinds))
        if count:
            yield name, f"{count:,}", note
    where = shortened(places.dead_letter_place() or "logged", width) if progress.rejected else ""
    yield "rejected", f"{progress.rejected.total():,}", where
    for code, count in progress.rejected.most_common():
        yield f"  {code}", f"{count:,}", ""
    if progress.passed_over:
        yield "passed over", f"{progress.passed_over.total():,}", "types that are no behaviour with an item"
    for name, count in progress.passed_over.most_common(SHOWN):
        yield f"  {name}", f"{count:,}", ""
    tested = progress.total("events") > 0
    yield "HR@20", _share(progress, "hr20", tested), "predicted first, then learned"
    yield "  published before", _share(progress, "published_hr20", tested), "the list the user was last sent"
    yield "  of popularity", _share(progress, "popularity_hr20", tested), "the top of the last 200 events"
    yield "MRR@20", _share(progress, "mrr20", tested), ""
    yield "  of popularity", _share(progress, "popularity_mrr20", tested), ""
    latencies = f"{progress.latency_ms(0.5):,.0f} / {progress.latency_ms(0.99):,.0f} ms"
    yield "event to list, p50 / p99", latencies if progress.lists else NOTHING, "from reading to writing"
    seconds = progress.seconds()
    yield "events a second", f"{progress.read / seconds:,.0f}" if seconds else NOTHING, f"in {seconds:,.1f} s"


def _share(progress: Progress, name: str, tested: bool) -> str:
    return f"{progress.quality(name):.3f}" if tested else NOTHING
