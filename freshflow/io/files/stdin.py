"""Source that reads JSON lines from standard input as they arrive, until it is closed."""

import os
import select
from collections import deque
from collections.abc import Callable

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from freshflow.errors import InputError
from freshflow.events.model import Origin, RawBatch
from freshflow.io.files.line_reader import MAX_LINE_BYTES, LineSplitter
from freshflow.io.url import STDIN

READ_BYTES = 256 * 1024


class StdinSource(FixedPartitionedSource[RawBatch, None]):  # type: ignore[misc]
    """Source of the lines of standard input as one part, which one worker reads.

    Standard input cannot be read twice, so it has no position: a job that is started again reads the lines that arrive
    then, and counts them from 1.

    Args:
        batch_size: Largest number of records in a batch.
        max_bytes: Largest record in bytes.
        clock: Processing time in epoch milliseconds.
        should_stop: Once it returns true, the source ends.
        fd: The file descriptor to read.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        max_bytes: int,
        clock: Callable[[], int],
        should_stop: Callable[[], bool],
        fd: int = 0,
    ) -> None:
        self._batch_size = batch_size
        self._max_bytes = max_bytes
        self._clock = clock
        self._should_stop = should_stop
        self._fd = fd

    def list_parts(self) -> list[str]:
        """Return the only part."""
        return [STDIN]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "StdinPartition":
        """Open the part at the next line.

        Args:
            step_id: The step of the source.
            for_part: The name of the part.
            resume_state: None; standard input has no position.
        """
        splitter = LineSplitter(max(MAX_LINE_BYTES, self._max_bytes + 1))
        return StdinPartition(self._fd, splitter, self._batch_size, self._clock, self._should_stop)


class StdinPartition(StatefulSourcePartition[RawBatch, None]):  # type: ignore[misc]
    """Standard input, read without waiting: only complete lines are returned."""

    def __init__(
        self,
        fd: int,
        splitter: LineSplitter,
        batch_size: int,
        clock: Callable[[], int],
        should_stop: Callable[[], bool],
    ) -> None:
        self._fd = fd
        self._splitter = splitter
        self._batch_size = batch_size
        self._clock = clock
        self._should_stop = should_stop
        self._origin = Origin("file", STDIN)
        self._pending_lines: deque[bytes] = deque()
        self._line_number = 0
        self._is_at_end = False

    def next_batch(self) -> list[RawBatch]:
        """Return the arrived lines as one batch, or nothing; raises `StopIteration` at the end of input."""
        if self._should_stop():
            raise StopIteration
        if not self._pending_lines and not self._is_at_end:
            self._read_available()
        if not self._pending_lines and self._is_at_end:
            raise StopIteration
        records = self._drain_batch()
        return [RawBatch(self._origin, records, self._clock())] if records else []

    def snapshot(self) -> None:
        """Return nothing: standard input has no position."""

    def _drain_batch(self) -> tuple[tuple[int, bytes], ...]:
        """Return up to a batch of lines with their numbers, without blank ones."""
        records: list[tuple[int, bytes]] = []
        while self._pending_lines and len(records) < self._batch_size:
            raw = self._pending_lines.popleft()
            self._line_number += 1
            if raw and not raw.isspace():
                records.append((self._line_number, raw))
        return tuple(records)

    def _read_available(self) -> None:
        """Read the bytes that are available, if any."""
        poll = select.poll()  # unlike select, it takes descriptors above 1,023
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(0):
            return
        try:
            chunk = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise InputError(f"Standard input cannot be read: {error.strerror}.") from None
        self._is_at_end = not chunk
        self._pending_lines.extend(self._splitter.feed(chunk) if chunk else self._splitter.finish())
