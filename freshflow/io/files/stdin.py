"""Events from standard input: JSON lines, as they arrive, until whoever writes them is done."""

import os
import select
from collections import deque
from collections.abc import Callable

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from freshflow.errors import InputError
from freshflow.events.model import Origin, RawBatch
from freshflow.io.files.line_reader import MAX_LINE_BYTES, LineSplitter

__all__ = ["STDIN", "StdinSource"]

STDIN = "-"  # the path that stands for standard input
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
        stop: Callable[[], bool],
        fd: int = 0,
    ) -> None:
        self._batch_size = batch_size
        self._max_bytes = max_bytes
        self._clock = clock
        self._stop = stop
        self._fd = fd

    def list_parts(self) -> list[str]:
        """The one part."""
        return [STDIN]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "StdinPartition":
        """The part, at whatever arrives next."""
        splitter = LineSplitter(max(MAX_LINE_BYTES, self._max_bytes + 1))
        return StdinPartition(self._fd, splitter, self._batch_size, self._clock, self._stop)


class StdinPartition(StatefulSourcePartition[RawBatch, None]):  # type: ignore[misc]
    """Hands on what lines are complete and never waits for more."""

    def __init__(
        self,
        fd: int,
        splitter: LineSplitter,
        batch_size: int,
        clock: Callable[[], int],
        stop: Callable[[], bool],
    ) -> None:
        self._fd = fd
        self._splitter = splitter
        self._batch_size = batch_size
        self._clock = clock
        self._stop = stop
        self._origin = Origin("file", STDIN)
        self._waiting: deque[bytes] = deque()
        self._line = 0
        self._ended = False

    def next_batch(self) -> list[RawBatch]:
        """What has arrived as one batch, or none; `StopIteration` at the end of input."""
        if self._stop():
            raise StopIteration
        if not self._waiting and not self._ended:
            self._read()
        if not self._waiting and self._ended:
            raise StopIteration
        records = self._take()
        return [RawBatch(self._origin, records, self._clock())] if records else []

    def snapshot(self) -> None:
        """Nothing: standard input cannot be resumed."""

    def _take(self) -> tuple[tuple[int, bytes], ...]:
        """Up to a batch of lines with their numbers, without the blank ones."""
        records: list[tuple[int, bytes]] = []
        while self._waiting and len(records) < self._batch_size:
            raw = self._waiting.popleft()
            self._line += 1
            if raw and not raw.isspace():
                records.append((self._line, raw))
        return tuple(records)

    def _read(self) -> None:
        """Take in what is there, if anything is."""
        poll = select.poll()  # unlike select, it takes descriptors above 1,023
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(0):
            return
        try:
            piece = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise InputError(f"Standard input cannot be read: {error.strerror}.") from None
        self._ended = not piece
        self._waiting.extend(self._splitter.feed(piece) if piece else self._splitter.finish())
