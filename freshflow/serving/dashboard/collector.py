"""Collector of the live page's figures from lists, metrics and dead letters while the server runs."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from logging import getLogger
from typing import Any

import msgspec

from freshflow.config.schema import Config
from freshflow.errors import FreshFlowError, InputError
from freshflow.io.registry import is_live, open_tail
from freshflow.io.scheme import Tail
from freshflow.serving.app import ServerState
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.history import ReportHistory
from freshflow.serving.dashboard.latency import LatencyHistory, PerSecondCounter
from freshflow.serving.records import ListChange, parse_record
from freshflow.serving.responses import ListKind

_log = getLogger("freshflow")

DASHBOARD_LIST_KIND: ListKind = "recommendations"
RETENTION_HOURS = 6.0  # retention of reports and latencies
MAX_LISTED_USERS, MAX_USER_ID_CHARS = 60, 100  # users in the page's menu, and characters of their ids
MAX_DEAD_LETTERS, MAX_REASON_CHARS = 8, 300  # dead letters shown, and characters of a reason
TAIL_POLL_S = 0.25
STOP_CHECK_S = 0.5  # seconds between checks of the stop event while waiting for updates


class DashboardSources(msgspec.Struct, frozen=True):
    """URLs of a job's metrics and dead letters: a path or a topic, or None if not given."""

    metrics: str | None = None
    dead_letters: str | None = None


class DeadLetterEntry(msgspec.Struct, frozen=True):
    """A rejected record: time, reason, code and source position."""

    rejected_at: int
    reason: str
    code: str
    source: dict[str, str | int]


class _ListHead(msgspec.Struct):
    """The decoded fields of a list."""

    cause: str = ""
    event_ts: int = 0
    computed_at: int = 0


_decode = msgspec.json.Decoder(_ListHead).decode


class DashboardCollector:
    """Bounded, thread-safe state of the live page; `clock` returns epoch milliseconds."""

    def __init__(self, sources: DashboardSources, clock: Callable[[], int]) -> None:
        self.sources = sources
        self.clock = clock
        self.failures: dict[str, str] = {}  # by input: the reason for its read failure
        self._lock = threading.Lock()
        self._history = ReportHistory(RETENTION_HOURS)
        self._latencies = LatencyHistory(RETENTION_HOURS)
        self._list_counter, self._dead_letter_counter = PerSecondCounter(), PerSecondCounter()
        self._n_archived = 0
        self._users: OrderedDict[str, int] = OrderedDict()
        self._dead_letters: deque[DeadLetterEntry] = deque(maxlen=MAX_DEAD_LETTERS)
        self._n_dead_letters = 0

    @property
    def version(self) -> tuple[int, int]:
        """Counters that change whenever `chart_series` does."""
        return self._history.version, self._latencies.version

    def add_updates(self, updates: Iterable[Update]) -> None:
        """Add published and deleted lists."""
        now_ms = self.clock()
        with self._lock:
            for kind, change in updates:
                if kind != DASHBOARD_LIST_KIND:
                    continue
                self._users.pop(change.key, None)
                if change.value is None:
                    continue
                head = _decode(change.value)
                self._list_counter.add(head.computed_at)
                if len(change.key) <= MAX_USER_ID_CHARS:
                    self._users[change.key] = head.computed_at
                if head.cause != "refresh" and not self._latencies.add(now_ms, head.event_ts, head.computed_at):
                    self._n_archived += 1
            self._evict_users()

    def load_published(self, changes: Iterable[ListChange]) -> None:
        """Add lists published before the start, in order; only their users are recorded."""
        with self._lock:
            for change in changes:
                self._users.pop(change.key, None)
                if change.value is not None and len(change.key) <= MAX_USER_ID_CHARS:
                    self._users[change.key] = change.computed_at
            self._evict_users()

    def add_reports(self, records: Iterable[bytes]) -> None:
        """Add reports of the job."""
        with self._lock:
            for record in records:
                self._history.add_report(record)

    def add_dead_letters(self, records: Iterable[bytes]) -> None:
        """Add dead letters."""
        with self._lock:
            for record in records:
                try:
                    dead_letter = msgspec.json.decode(record, type=DeadLetterEntry)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
                self._dead_letters.append(
                    msgspec.structs.replace(dead_letter, reason=dead_letter.reason[:MAX_REASON_CHARS])
                )
                self._dead_letter_counter.add(dead_letter.rejected_at)
                self._n_dead_letters += 1

    def latest_user(self) -> str | None:
        """Return the user in the menu with the latest list, or None."""
        with self._lock:
            return next(reversed(self._users), None)

    def _evict_users(self) -> None:
        while len(self._users) > MAX_LISTED_USERS:
            self._users.popitem(last=False)

    def current_values(self) -> dict[str, Any]:
        """Return the current figures, without the chart series."""
        now_ms = self.clock()
        with self._lock:
            self._latencies.advance_to(now_ms)
            has_dead_letters = self.sources.dead_letters is not None
            return {
                "now_ms": now_ms,
                "events": self._history.events_per_second(now_ms),
                "lists": self._list_counter.rate(now_ms),
                "lists_minute": self._list_counter.last_minute_counts(now_ms),
                "dead_letters": self._dead_letter_counter.rate(now_ms) if has_dead_letters else None,
                "refusals": self._n_dead_letters if has_dead_letters else None,
                "letters": list(reversed(self._dead_letters)),
                "latency": self._latencies.last_minute_quantiles(),
                "archived": self._n_archived,
                "users": list(reversed(self._users)),
                "partitions": self._history.partition_rows(),
            }

    def chart_series(self) -> dict[str, Any]:
        """Return the series of the charts: quality, drift markers, latency."""
        with self._lock:
            history, latencies = self._history, self._latencies
            return {
                "quality": history.quality_points(),
                "marks": history.visible_drift_markers(),
                "latency": latencies.points(),
            }


@contextmanager
def run_collector(
    state: ServerState, sources: DashboardSources, config: Config, clock: Callable[[], int]
) -> Iterator[DashboardCollector]:
    """Yield a collector, fed by background threads until the block ends.

    Args:
        state: The server state; its broadcast supplies the lists.
        sources: The URLs of metrics and dead letters.
        config: The settings of the inputs.
        clock: Returns the time in epoch milliseconds.

    Raises:
        FreshFlowError: If metrics or dead letters cannot be read.
    """
    collector, stop_event = DashboardCollector(sources, clock), threading.Event()
    inputs = ((sources.metrics, collector.add_reports), (sources.dead_letters, collector.add_dead_letters))
    collector.load_published(_published_changes(state, config))
    with ExitStack() as exit_stack:
        tails = [(url, open_tail(url, config), add_records) for url, add_records in inputs if url is not None]
        for _, tail, _ in tails:
            exit_stack.callback(tail.close)
        threads = [
            threading.Thread(target=_follow_tail, args=(collector, stop_event, *tail_args), daemon=True)
            for tail_args in tails
        ]
        threads.append(
            threading.Thread(target=lambda: asyncio.run(_collect_updates(collector, stop_event, state)), daemon=True)
        )
        for thread in threads:
            thread.start()
            exit_stack.callback(thread.join)
        exit_stack.callback(stop_event.set)
        yield collector


def _published_changes(state: ServerState, config: Config) -> Iterator[ListChange]:
    """Yield the latest lists of a file, as a finished file brings no updates; a topic is skipped."""
    for reader in state.readers:
        if reader.input.kind == DASHBOARD_LIST_KIND and not is_live(reader.source_url):
            with suppress(InputError):  # reported by the reader
                for value in open_tail(reader.source_url, config).read():
                    change = parse_record(DASHBOARD_LIST_KIND, None, value)
                    if change is not None:
                        yield change


def _follow_tail(
    collector: DashboardCollector,
    stop_event: threading.Event,
    url: str,
    tail: Tail,
    add_records: Callable[[Iterable[bytes]], None],
) -> None:
    try:
        while not stop_event.wait(TAIL_POLL_S):
            add_records(tail.read())
    except FreshFlowError as error:
        collector.failures[url] = str(error)
        _log.error("%s The page shows the records read before.", error)
    except Exception as error:
        collector.failures[url] = f"Reading {url} failed: {type(error).__name__}: {error}."
        _log.exception("Reading %s failed; the page shows the records read before.", url)


async def _collect_updates(collector: DashboardCollector, stop_event: threading.Event, state: ServerState) -> None:
    with state.broadcast.subscribe() as subscription:
        while not stop_event.is_set():
            try:
                collector.add_updates(await asyncio.wait_for(subscription.wait_for_updates(), STOP_CHECK_S))
            except TimeoutError:
                continue
