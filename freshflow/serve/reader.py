"""A thread that reads one input into the store for as long as the server runs."""

import threading
from collections.abc import Callable
from logging import getLogger
from typing import Literal, Protocol

from freshflow.errors import FreshFlowError
from freshflow.serve.broadcast import Broadcast
from freshflow.serve.records import Batch
from freshflow.serve.store import Store
from freshflow.serve.types import InputHealth, Kind

__all__ = ["Input", "Reader"]

log = getLogger("freshflow")


class Input(Protocol):
    """What is read: `freshflow.serve.files`, `freshflow.serve.topics`."""

    kind: Kind
    unit: Literal["bytes", "records"]

    @property
    def behind(self) -> int:
        """How much is there and not read yet."""

    def read(self) -> Batch | None:
        """What has come since the last call; None if nothing has."""

    def close(self) -> None:
        """Let go of what is open."""


class Reader:
    """Reads batches, stores each with its position, and then tells who listens.

    Where reading fails for good, `failure` says why; what is stored goes on to be served.
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
        self._store = store
        self._broadcast = broadcast
        self._clock = clock
        self._poll_s = poll_s
        self._done = threading.Event()
        self._stored: bytes | None = None
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
                batch = self.input.read()
                if batch is not None:
                    self._take(batch)
                if batch is None or batch.at_end:
                    self._done.wait(self._poll_s)
        except FreshFlowError as error:
            self.failure = str(error)
            log.error("%s What was read before is still served.", error)
        except Exception as error:
            self.failure = f"Reading {self.place} failed: {type(error).__name__}: {error}."
            log.exception("Reading %s failed; what was read before is still served.", self.place)

    def _take(self, batch: Batch) -> None:
        if batch.anew and self._stored is not None:
            log.warning("%s is another than it was, and is read anew.", self.place)
        is_first_end = batch.at_end and not self.caught_up
        if batch.changes or batch.anew or is_first_end or batch.position != self._stored:
            changed = self._store.apply(self.input.kind, batch)
            self._stored = batch.position
            self._broadcast.send(self.input.kind, changed)
        if batch.skipped and not self.skipped:
            log.warning("%s holds records that are no %s; they are passed over.", self.place, self.input.kind)
        self.records += len(batch.changes)
        self.tombstones += sum(change.value is None for change in batch.changes)
        self.skipped += batch.skipped
        made = max((change.computed_at for change in batch.changes), default=0)
        if made:
            self.computed_at = max(made, self.computed_at or 0)
        self.caught_up = batch.at_end if batch.anew else self.caught_up or batch.at_end
