"""A thread that reads one input into the store for as long as the server runs."""

import threading
from collections.abc import Callable
from logging import getLogger
from typing import Literal, Protocol

from freshflow.errors import FreshFlowError
from freshflow.serving.broadcast import Broadcast
from freshflow.serving.metrics import AGES_S, Histogram
from freshflow.serving.records import Batch
from freshflow.serving.responses import InputHealth, Kind
from freshflow.serving.store import Store

__all__ = ["Input", "Reader"]

RETRY_S = 1.0  # after a failure, to the next attempt

log = getLogger("freshflow")


class Input(Protocol):
    """What is read: `freshflow.serving.file_input`, `freshflow.serving.kafka_input`."""

    kind: Kind
    unit: Literal["bytes", "records"]

    @property
    def behind(self) -> int:
        """How much is there and not read yet."""

    def read(self) -> Batch | None:
        """What has come since the last call; None if nothing has. Raises a `FreshFlowError` if it cannot be read."""

    def close(self) -> None:
        """Let go of what is open."""


class Reader:
    """Reads batches, stores each with its position, and then tells who listens.

    While an input cannot be read or a batch not be stored, `failure` says why, and it is tried again; what is stored
    goes on to be served. `ages` is how old lists were when they were stored, of those that came once all that there was
    at the start had been read.
    """

    def __init__(
        self, input: Input, place: str, store: Store, broadcast: Broadcast, clock: Callable[[], int], poll_s: float
    ) -> None:
        self.input = input
        self.place = place
        self.failure: str | None = None
        self.caught_up = False
        self.records = self.tombstones = self.skipped = 0
        self.computed_at = store.made(input.kind)
        self.ages = Histogram(AGES_S)
        self._store = store
        self._broadcast = broadcast
        self._clock = clock
        self._poll_s = poll_s
        self._done = threading.Event()
        self._stored = store.position(input.kind)
        self._batch: Batch | None = None  # what has been read and is not stored yet
        self._thread = threading.Thread(target=self._run, name=f"read {input.kind}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Store what is being read, and end."""
        self._done.set()
        self._thread.join()
        self.input.close()

    def health(self) -> InputHealth:
        """How far this input has been read."""
        made = self.computed_at
        return InputHealth(
            kind=self.input.kind,
            input=self.place,
            records=self.records,
            tombstones=self.tombstones,
            skipped=self.skipped,
            behind=self.input.behind,
            behind_unit=self.input.unit,
            staleness_s=None if made is None else max(0, self._clock() - made) / 1000,
            failure=self.failure,
        )

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                try:
                    has_more = self._step()
                except FreshFlowError as error:
                    self._fail(str(error))
                    self._done.wait(RETRY_S)
                    continue
                if self.failure is not None:
                    self.failure = None
                    log.warning("%s is read on.", self.place)
                if not has_more:
                    self._done.wait(self._poll_s)
        except Exception as error:
            self.failure = f"Reading {self.place} failed: {type(error).__name__}: {error}."
            log.exception("Reading %s failed; what was read before is still served.", self.place)

    def _step(self) -> bool:
        """Read and store a batch; whether there may be more at once."""
        batch = self._batch = self._batch or self.input.read()
        if batch is None:
            return False
        self._take(batch)
        self._batch = None
        return not batch.at_end

    def _fail(self, sentence: str) -> None:
        if sentence != self.failure:
            log.error("%s What was read before is still served, and it is tried again.", sentence)
        self.failure = sentence

    def _take(self, batch: Batch) -> None:
        is_first_end = batch.at_end and not self.caught_up
        if batch.changes or batch.anew or is_first_end or batch.position != self._stored:
            changed = self._store.apply(self.input.kind, batch)
            self._stored = batch.position
            self._broadcast.send(self.input.kind, changed)
            self._note_ages(batch)
        if batch.anew:
            log.warning("%s is not what it was: it is read anew, and lists that it lacks are dropped.", self.place)
        self.records += len(batch.changes)
        self.tombstones += sum(change.value is None for change in batch.changes)
        self.skipped += batch.skipped
        self.computed_at = max([change.computed_at for change in batch.changes] + [self.computed_at or 0]) or None
        self.caught_up = batch.at_end if batch.anew else self.caught_up or batch.at_end
        if is_first_end and self.skipped and not self.records:
            log.warning("%s holds no %s; name what a job writes them to.", self.place, self.input.kind)

    def _note_ages(self, batch: Batch) -> None:
        if self.caught_up and not batch.anew:
            now_ms = self._clock()
            for change in batch.changes:
                if change.value is not None:
                    self.ages.note(max(0, now_ms - change.computed_at) / 1000)
