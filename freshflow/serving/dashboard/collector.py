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
from freshflow.serving.app import Serving
from freshflow.serving.broadcast import Update
from freshflow.serving.dashboard.history import History
from freshflow.serving.dashboard.latency import Latencies, PerSecond
from freshflow.serving.dashboard.tail import FileTail, Tail, open_tail
from freshflow.serving.records import Change, of_line
from freshflow.serving.responses import Kind

__all__ = ["HOURS", "KIND", "DeadLetter", "Sources", "Watch", "watching"]

log = getLogger("freshflow")

KIND: Kind = "recommendations"
HOURS = 6.0  # of reports and latencies that are kept
USERS, LONGEST = 60, 100  # users offered to choose from, and characters of an id that is offered
LETTERS, LETTER = 8, 300  # dead letters shown, and characters of a reason
POLL_S = 0.25
PATIENCE_S = 0.5  # until a thread that listens looks whether it should end


class Sources(msgspec.Struct, frozen=True):
    """Where a job writes metrics and dead letters: a path or a topic, or None where nobody said."""

    metrics: str | None = None
    dead_letters: str | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused record: when, why, and where it stood."""

    rejected_at: int
    reason: str
    code: str
    source: dict[str, str | int]


class _Head(msgspec.Struct):
    """What is read of a list."""

    cause: str = ""
    event_ts: int = 0
    computed_at: int = 0


_decode = msgspec.json.Decoder(_Head).decode


class Watch:
    """All that is kept for the page, each part with a bound; `clock` gives epoch milliseconds. Safe for threads."""

    def __init__(self, sources: Sources, clock: Callable[[], int]) -> None:
        self.sources = sources
        self.clock = clock
        self.failures: dict[str, str] = {}  # by input: why it is not read any longer
        self._lock = threading.Lock()
        self._history = History(HOURS)
        self._latencies = Latencies(HOURS)
        self._lists, self._refused = PerSecond(), PerSecond()
        self._archived = 0
        self._users: OrderedDict[str, int] = OrderedDict()
        self._letters: deque[DeadLetter] = deque(maxlen=LETTERS)
        self._refusals = 0

    @property
    def version(self) -> tuple[int, int]:
        """Another one whenever `lines` has changed."""
        return self._history.version, self._latencies.version

    def take(self, updates: Iterable[Update]) -> None:
        """Lists have been published, or users forgotten."""
        now_ms = self.clock()
        with self._lock:
            for kind, change in updates:
                if kind != KIND:
                    continue
                self._users.pop(change.key, None)
                if change.value is None:
                    continue
                head = _decode(change.value)
                self._lists.add(head.computed_at)
                if len(change.key) <= LONGEST:
                    self._users[change.key] = head.computed_at
                if head.cause != "refresh" and not self._latencies.add(now_ms, head.event_ts, head.computed_at):
                    self._archived += 1
            self._bound_users()

    def recall(self, changes: Iterable[Change]) -> None:
        """Lists that were published before this watch began, in order: whose they are, and no more."""
        with self._lock:
            for change in changes:
                self._users.pop(change.key, None)
                if change.value is not None and len(change.key) <= LONGEST:
                    self._users[change.key] = change.computed_at
            self._bound_users()

    def take_metrics(self, records: Iterable[bytes]) -> None:
        """The job has reported."""
        with self._lock:
            for record in records:
                self._history.add(record)

    def take_letters(self, records: Iterable[bytes]) -> None:
        """Records have been refused."""
        with self._lock:
            for record in records:
                try:
                    letter = msgspec.json.decode(record, type=DeadLetter)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
                self._letters.append(msgspec.structs.replace(letter, reason=letter.reason[:LETTER]))
                self._refused.add(letter.rejected_at)
                self._refusals += 1

    def latest_user(self) -> str | None:
        """Whose list was published last, of those that are offered."""
        with self._lock:
            return next(reversed(self._users), None)

    def _bound_users(self) -> None:
        while len(self._users) > USERS:
            self._users.popitem(last=False)

    def figures(self) -> dict[str, Any]:
        """How it stands now, without what changes slowly."""
        now_ms = self.clock()
        with self._lock:
            self._latencies.pass_to(now_ms)
            known = self.sources.dead_letters is not None
            return {
                "now_ms": now_ms,
                "events": self._history.events_a_second(now_ms),
                "lists": self._lists.rate(now_ms),
                "lists_minute": self._lists.minute(now_ms),
                "dead_letters": self._refused.rate(now_ms) if known else None,
                "refusals": self._refusals if known else None,
                "letters": list(reversed(self._letters)),
                "latency": self._latencies.minute(),
                "archived": self._archived,
                "users": list(reversed(self._users)),
                "partitions": self._history.partitions(),
            }

    def lines(self) -> dict[str, Any]:
        """What is drawn over time: quality, marks of drift, latency."""
        with self._lock:
            history, latencies = self._history, self._latencies
            return {"quality": history.points(), "marks": history.marks_shown(), "latency": latencies.points()}


@contextmanager
def watching(serving: Serving, sources: Sources, kafka: KafkaConfig, clock: Callable[[], int]) -> Iterator[Watch]:
    """A watch that takes what comes for as long as the block runs.

    Raises a `FreshFlowError` if metrics or dead letters cannot be read.
    """
    watch, done = Watch(sources, clock), threading.Event()
    wanted = ((sources.metrics, watch.take_metrics), (sources.dead_letters, watch.take_letters))
    watch.recall(_published(serving))
    with ExitStack() as open_until_the_end:
        tails = [(url, open_tail(url, kafka), take) for url, take in wanted if url is not None]
        for _, tail, _ in tails:
            open_until_the_end.callback(tail.close)
        threads = [threading.Thread(target=_follow, args=(watch, done, *each), daemon=True) for each in tails]
        threads.append(threading.Thread(target=lambda: asyncio.run(_listen(watch, done, serving)), daemon=True))
        for thread in threads:
            thread.start()
            open_until_the_end.callback(thread.join)
        open_until_the_end.callback(done.set)
        yield watch


def _published(serving: Serving) -> Iterator[Change]:
    """The latest lists of a file, which may not grow any more; a topic will."""
    for reader in serving.readers:
        if reader.input.kind == KIND and not reader.place.startswith("kafka://"):
            with suppress(InputError):  # for the reader to say
                for line in FileTail(reader.place).read():
                    change = of_line(KIND, line)
                    if change is not None:
                        yield change


def _follow(watch: Watch, done: threading.Event, url: str, tail: Tail, take: Callable[[Iterable[bytes]], None]) -> None:
    try:
        while not done.wait(POLL_S):
            take(tail.read())
    except FreshFlowError as error:
        watch.failures[url] = str(error)
        log.error("%s The page shows what was read before.", error)
    except Exception as error:
        watch.failures[url] = f"Reading {url} failed: {type(error).__name__}: {error}."
        log.exception("Reading %s failed; the page shows what was read before.", url)


async def _listen(watch: Watch, done: threading.Event, serving: Serving) -> None:
    with serving.broadcast.listening() as updates:
        while not done.is_set():
            try:
                watch.take(await asyncio.wait_for(updates.next(), PATIENCE_S))
            except TimeoutError:
                continue
