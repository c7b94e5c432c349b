"""Background thread that reads one input into the store while the server runs."""

import threading
from collections.abc import Callable
from logging import getLogger

from freshflow.errors import FreshFlowError
from freshflow.serving.broadcast import Broadcast
from freshflow.serving.list_input import ListInput
from freshflow.serving.records import ChangeBatch
from freshflow.serving.responses import InputHealth
from freshflow.serving.store import Store

RETRY_S = 1.0  # seconds between a failure and the next attempt

_log = getLogger("freshflow")


class InputReader:
    """Reader of one input: stores each batch with its position, then broadcasts the changes.

    After a failed read or write, `failure` holds the reason and the operation is retried every `RETRY_S`; stored lists
    are still served.

    Args:
        input: The lists of one kind, read from a log.
        source_url: The URL of the log, for messages.
        store: The store to write to.
        broadcast: The receiver of the stored changes.
        clock: Returns the time in epoch milliseconds.
        poll_s: Seconds between two reads at the end of the input.
        record_list_age: Called with the age in seconds of each list as it is stored, except for the lists that were
            in the input at the start.
    """

    def __init__(
        self,
        input: ListInput,
        source_url: str,
        store: Store,
        broadcast: Broadcast,
        clock: Callable[[], int],
        poll_s: float,
        record_list_age: Callable[[float], None],
    ) -> None:
        self.input = input
        self.source_url = source_url
        self.failure: str | None = None
        self.is_caught_up = False
        self.n_records = self.n_tombstones = self.n_skipped = 0
        self.latest_computed_at = store.latest_computed_at(input.kind)
        self._record_list_age = record_list_age
        self._store = store
        self._broadcast = broadcast
        self._clock = clock
        self._poll_s = poll_s
        self._stop_event = threading.Event()
        self._stored_position = store.position(input.kind)
        self._pending_batch: ChangeBatch | None = None  # read, but not stored yet
        self._thread = threading.Thread(target=self._run, name=f"read {input.kind}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch, end the thread, and close the input."""
        self._stop_event.set()
        self._thread.join()
        self.input.close()

    def health(self) -> InputHealth:
        """Return the progress and the failure, if any, of this input."""
        latest_computed_at = self.latest_computed_at
        return InputHealth(
            kind=self.input.kind,
            input=self.source_url,
            records=self.n_records,
            tombstones=self.n_tombstones,
            skipped=self.n_skipped,
            behind=self.input.lag,
            behind_unit=self.input.unit,
            staleness_s=None if latest_computed_at is None else max(0, self._clock() - latest_computed_at) / 1000,
            failure=self.failure,
        )

    def _run(self) -> None:
        try:
            while not self._stop_event.is_set():
                try:
                    has_more = self._read_and_store()
                except FreshFlowError as error:
                    self._record_failure(str(error))
                    self._stop_event.wait(RETRY_S)
                    continue
                if self.failure is not None:
                    self.failure = None
                    _log.warning("%s can be read again.", self.source_url)
                if not has_more:
                    self._stop_event.wait(self._poll_s)
        except Exception as error:
            self.failure = f"Reading {self.source_url} failed: {type(error).__name__}: {error}."
            _log.exception("Reading %s failed; lists read before are still served.", self.source_url)

    def _read_and_store(self) -> bool:
        """Read and store a batch; return True if more may be available immediately."""
        batch = self._pending_batch = self._pending_batch or self.input.read()
        if batch is None:
            return False
        self._store_batch(batch)
        self._pending_batch = None
        return not batch.is_at_end

    def _record_failure(self, message: str) -> None:
        if message != self.failure:
            _log.error("%s Lists read before are still served; reading is retried.", message)
        self.failure = message

    def _store_batch(self, batch: ChangeBatch) -> None:
        is_first_end = batch.is_at_end and not self.is_caught_up
        if batch.changes or batch.is_full_reload or is_first_end or batch.position != self._stored_position:
            visible_changes = self._store.apply(self.input.kind, batch)
            self._stored_position = batch.position
            self._broadcast.send(self.input.kind, visible_changes)
            self._record_list_ages(batch)
        if batch.is_full_reload:
            _log.warning(
                "%s was replaced or truncated: it is read from its beginning, and lists missing from it are dropped.",
                self.source_url,
            )
        self.n_records += len(batch.changes)
        self.n_tombstones += sum(change.value is None for change in batch.changes)
        self.n_skipped += batch.n_skipped
        self.latest_computed_at = (
            max([change.computed_at for change in batch.changes] + [self.latest_computed_at or 0]) or None
        )
        self.is_caught_up = batch.is_at_end if batch.is_full_reload else self.is_caught_up or batch.is_at_end
        if is_first_end and self.n_skipped and not self.n_records:
            _log.warning("%s holds no %s; give the URL that the job writes them to.", self.source_url, self.input.kind)

    def _record_list_ages(self, batch: ChangeBatch) -> None:
        if self.is_caught_up and not batch.is_full_reload:
            now_ms = self._clock()
            for change in batch.changes:
                if change.value is not None:
                    self._record_list_age(max(0, now_ms - change.computed_at) / 1000)
