"""Events from a file, read once from beginning to end.

A job that resumes goes on after the last record it had read when its snapshot was taken: by seeking in a
plain file, by reading through a packed one.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from msgspec import Meta

from freshflow.errors import SnapshotError
from freshflow.events.model import RawBatch
from freshflow.io.files.reader import EventFile, FindLayout

__all__ = ["FilePartition", "FileSource"]

FilePosition = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _FileState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a file has been read: `line` lines, `offset` bytes of it (of what it unpacks to)."""

    line: FilePosition
    offset: FilePosition
    version: Literal[1] = 1


class FileSource(FixedPartitionedSource[RawBatch, bytes]):  # type: ignore[misc]
    """The records of one file, in order, as one part.

    A position is the line a record starts at, from 1 (which in CSV is the header). Blank lines are skipped.
    Lines longer than 16 MiB arrive cut, and so does a CSV row that grows beyond `max_bytes`; as `max_bytes`
    is also what the parser takes, a cut record is never taken for a whole one. `clock` gives epoch
    milliseconds; once `stop` says True the source ends after the batch it is at, with its snapshot.

    Raises `InputError` here, before the flow runs, if the file cannot be read, and later if it turns out
    damaged or, on resuming, shorter than it was.
    """

    def __init__(
        self,
        path: str,
        batch_size: int,
        *,
        max_bytes: int,
        clock: Callable[[], int],
        should_stop: Callable[[], bool],
        find_layout: FindLayout = lambda _: None,
    ) -> None:
        self._path = path
        self._batch_size = batch_size
        self._max_bytes = max_bytes
        self._clock = clock
        self._should_stop = should_stop
        self._find_layout = find_layout
        EventFile(path, max_bytes, find_layout).close()

    def list_parts(self) -> list[str]:
        """One part, named as the file: a snapshot of another file is not resumed from."""
        return [self._path]

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> "FilePartition":
        """The part, at the start of the file or where the snapshot says."""
        event_file = EventFile(self._path, self._max_bytes, self._find_layout)
        if resume_state is not None:
            state = _decode_state(resume_state, self._path)
            event_file.resume(state.line, state.offset)
        return FilePartition(event_file, self._batch_size, self._clock, self._should_stop)


class FilePartition(StatefulSourcePartition[RawBatch, bytes]):  # type: ignore[misc]
    """Reads the file in batches of at most `batch_size` records or some 16 MiB."""

    def __init__(
        self, event_file: EventFile, batch_size: int, clock: Callable[[], int], should_stop: Callable[[], bool]
    ) -> None:
        self._file = event_file
        self._batch_size = batch_size
        self._clock = clock
        self._should_stop = should_stop

    def next_batch(self) -> list[RawBatch]:
        """The next records as one batch, none if there were only blank lines; `StopIteration` at the end."""
        if self._should_stop():
            raise StopIteration
        records = self._file.read(self._batch_size)
        if records is None:
            raise StopIteration
        if not records:
            return []
        file = self._file
        return [RawBatch(file.origin, tuple(records), self._clock(), file.columns, file.separator)]

    def snapshot(self) -> bytes:
        """How far the file has been read."""
        reader = self._file.reader
        return msgspec.json.encode(_FileState(reader.line, reader.offset))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _decode_state(snapshot: bytes, path: str) -> _FileState:
    try:
        return msgspec.json.decode(snapshot, type=_FileState)
    except (ValueError, TypeError):  # msgspec says so, or that a name is not UTF-8
        raise SnapshotError(
            f"The snapshot of {path} is damaged or of another version: resume with the version that wrote it, "
            f"or start without its recovery store."
        ) from None
