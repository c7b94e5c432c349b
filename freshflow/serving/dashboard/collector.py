"""What a live page shows beside the lists, gathered while the server runs: from lists, metrics and dead letters."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from logging import getLogger
from typing import Any

import msgspec

from freshflow.config.schema import KafkaConfig
from freshflow.errors import FreshFlowError, InputError
from freshflow.serving.app import ServerState
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.history import ReportHistory
from freshflow.serving.dashboard.latency import LatencyHistory, PerSecondCounter
from freshflow.serving.dashboard.tail import FileTail, Tail, open_tail
from freshflow.serving.records import ListChange, parse_line
from freshflow.serving.responses import ListKind

__all__ = [
    "DASHBOARD_LIST_KIND",
    "RETENTION_HOURS",
    "DashboardCollector",
    "DashboardSources",
    "DeadLetterEntry",
    "run_collector",
]

_log = getLogger("freshflow")

DASHBOARD_LIST_KIND: ListKind = "recommendations"
RETENTION_HOURS = 6.0  # of reports and latencies that are kept
MAX_LISTED_USERS, MAX_USER_ID_CHARS = 60, 100  # users offered to choose from, and characters of an id that is offered
MAX_DEAD_LETTERS, MAX_REASON_CHARS = 8, 300  # dead letters shown, and characters of a reason
TAIL_POLL_S = 0.25
STOP_CHECK_S = 0.5  # until a thread that listens looks whether it should end


class DashboardSources(msgspec.Struct, frozen=True):
    """Where a job writes metrics and dead letters: a path or a topic, or None where nobody said."""

    metrics: str | None = None
    dead_letters: str | None = None


class DeadLetterEntry(msgspec.Struct, frozen=True):
    """A refused record: when, why, and where it stood."""

    rejected_at: int
    reason: str
    code: str
    source: dict[str, str | int]


class _ListHead(msgspec.Struct):
    """What is read of a list."""

    cause: str = ""
    event_ts: int = 0
    computed_at: int = 0


_decode = msgspec.json.Decoder(_ListHead).decode


class DashboardCollector:
    """All that is kept for the page, each part with a bound; `clock` gives epoch milliseconds. Safe for threads."""

    def __init__(self, sources: DashboardSources, clock: Callable[[], int]) -> None:
        self.sources = sources
        self.clock = clock
        self.failures: dict[str, str] = {}  # by input: why it is not read any longer
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
        """Another one whenever `chart_series` has changed."""
        return self._history.version, self._latencies.version

    def add_updates(self, updates: Iterable[Update]) -> None:
        """Lists have been published, or users forgotten."""
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
        """Lists that were published before this watch began, in order: whose they are, and no more."""
        with self._lock:
            for change in changes:
                self._users.pop(change.key, None)
                if change.value is not None and len(change.key) <= MAX_USER_ID_CHARS:
                    self._users[change.key] = change.computed_at
            self._evict_users()

    def add_reports(self, records: Iterable[bytes]) -> None:
        """The job has reported."""
        with self._lock:
            for record in records:
                self._history.add_report(record)

    def add_dead_letters(self, records: Iterable[bytes]) -> None:
        """Records have been refused."""
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
        """Whose list was published last, of those that are offered."""
        with self._lock:
            return next(reversed(self._users), None)

    def _evict_users(self) -> None:
        while len(self._users) > MAX_LISTED_USERS:
            self._users.popitem(last=False)

    def current_values(self) -> dict[str, Any]:
        """How it stands now, without what changes slowly."""
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
        """What is drawn over time: quality, marks of drift, latency."""
        with self._lock:
            history, latencies = self._history, self._latencies
            return {
                "quality": history.quality_points(),
                "marks": history.visible_drift_markers(),
                "latency": latencies.points(),
            }


@contextmanager
def run_collector(
    state: ServerState, sources: DashboardSources, kafka: KafkaConfig, clock: Callable[[], int]
) -> Iterator[DashboardCollector]:
    """A watch that takes what comes for as long as the block runs.

    Raises a `FreshFlowError` if metrics or dead letters cannot be read.
    """
    collector, stop_event = DashboardCollector(sources, clock), threading.Event()
    inputs = ((sources.metrics, collector.add_reports), (sources.dead_letters, collector.add_dead_letters))
    collector.load_published(_published_changes(state))
    with ExitStack() as exit_stack:
        tails = [(url, open_tail(url, kafka), add_records) for url, add_records in inputs if url is not None]
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


def _published_changes(state: ServerState) -> Iterator[ListChange]:
    """The latest lists of a file, which may not grow any more; a topic will."""
    for reader in state.readers:
        if reader.input.kind == DASHBOARD_LIST_KIND and not reader.source_url.startswith("kafka://"):
            with suppress(InputError):  # for the reader to say
                for line in FileTail(reader.source_url).read():
                    change = parse_line(DASHBOARD_LIST_KIND, line)
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
        _log.error("%s The page shows what was read before.", error)
    except Exception as error:
        collector.failures[url] = f"Reading {url} failed: {type(error).__name__}: {error}."
        _log.exception("Reading %s failed; the page shows what was read before.", url)


async def _collect_updates(collector: DashboardCollector, stop_event: threading.Event, state: ServerState) -> None:
    with state.broadcast.subscribe() as subscription:
        while not stop_event.is_set():
            try:
                collector.add_updates(await asyncio.wait_for(subscription.wait_for_updates(), STOP_CHECK_S))
            except TimeoutError:
                continue
