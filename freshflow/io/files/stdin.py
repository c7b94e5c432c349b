"""Events from standard input: JSON lines, as they arrive, until whoever writes them is done."""

import os
import select
from collections import deque
from collections.abc import Callable

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from freshflow.errors import InputError
from freshflow.events.model import Origin, RawBatch
from freshflow.io.files.line_reader import MAX_LINE_BYTES, LineSplitter

__all__ = ["STDIN_NAME", "StdinSource"]

STDIN_NAME = "-"  # the path that stands for standard input
READ_BYTES = 256 * 1024


class StdinSource(FixedPartitionedSource[RawBatch, None]):  # type: ignore[misc]
    """The lines of standard input as one part, which only one worker reads.

    What cannot be read twice cannot be resumed: a job that is started again goes on with what arrives then,
    and counts lines from 1. Parameters as for `FileSource`; `fd` is the descriptor to read.
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
        """The one part."""
        return [STDIN_NAME]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "StdinPartition":
        """The part, at whatever arrives next."""
        splitter = LineSplitter(max(MAX_LINE_BYTES, self._max_bytes + 1))
        return StdinPartition(self._fd, splitter, self._batch_size, self._clock, self._should_stop)


class StdinPartition(StatefulSourcePartition[RawBatch, None]):  # type: ignore[misc]
    """Hands on what lines are complete and never waits for more."""

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
        self._origin = Origin("file", STDIN_NAME)
        self._pending_lines: deque[bytes] = deque()
        self._line_number = 0
        self._is_at_end = False

    def next_batch(self) -> list[RawBatch]:
        """What has arrived as one batch, or none; `StopIteration` at the end of input."""
        if self._should_stop():
            raise StopIteration
        if not self._pending_lines and not self._is_at_end:
            self._read_available()
        if not self._pending_lines and self._is_at_end:
            raise StopIteration
        records = self._drain_batch()
        return [RawBatch(self._origin, records, self._clock())] if records else []

    def snapshot(self) -> None:
        """Nothing: standard input cannot be resumed."""

    def _drain_batch(self) -> tuple[tuple[int, bytes], ...]:
        """Up to a batch of lines with their numbers, without the blank ones."""
        records: list[tuple[int, bytes]] = []
        while self._pending_lines and len(records) < self._batch_size:
            raw = self._pending_lines.popleft()
            self._line_number += 1
            if raw and not raw.isspace():
                records.append((self._line_number, raw))
        return tuple(records)

    def _read_available(self) -> None:
        """Take in what is there, if anything is."""
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
