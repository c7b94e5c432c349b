"""Source that reads a file of events once from beginning to end.

A job that resumes continues after the last record of its snapshot: by seeking in a plain file, by decompressing up to
there in a gzip file.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from msgspec import Meta

from freshflow.errors import SnapshotError
from freshflow.events.model import RawBatch
from freshflow.io.files.reader import EventFile, FindLayout

FilePosition = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _FileState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Position in a file: `line` lines and `offset` decompressed bytes."""

    line: FilePosition
    offset: FilePosition
    version: Literal[1] = 1


class FileSource(FixedPartitionedSource[RawBatch, bytes]):  # type: ignore[misc]
    """Source of the records of one file, in order, as one part.

    A record's position is its first line, from 1 (the header in CSV). Blank lines are skipped. Lines longer than 16 MiB
    are cut, and so is a CSV row that grows beyond `max_bytes`; as the parser's limit is also `max_bytes`, it rejects
    both.

    Args:
        path: The file.
        batch_size: Largest number of records in a batch.
        max_bytes: Largest record in bytes.
        clock: Processing time in epoch milliseconds.
        should_stop: Once it returns true, the source ends after the current batch.
        find_layout: Returns the columns of a file without a header by its first line.

    Raises:
        InputError: The file cannot be read; while the job runs, it is damaged or shorter than at the snapshot.
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
        """Return the only part, named as the file, so that a snapshot of another file is not used."""
        return [self._path]

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> "FilePartition":
        """Open the file at its start or at the snapshot.

        Args:
            step_id: The step of the source.
            for_part: The name of the part.
            resume_state: The snapshot of a job to resume.

        Raises:
            FreshFlowError: The file cannot be read, or does not match the snapshot.
        """
        event_file = EventFile(self._path, self._max_bytes, self._find_layout)
        if resume_state is not None:
            state = _decode_state(resume_state, self._path)
            event_file.resume(state.line, state.offset)
        return FilePartition(event_file, self._batch_size, self._clock, self._should_stop)


class FilePartition(StatefulSourcePartition[RawBatch, bytes]):  # type: ignore[misc]
    """An open file, read in batches of at most `batch_size` records or some 16 MiB."""

    def __init__(
        self, event_file: EventFile, batch_size: int, clock: Callable[[], int], should_stop: Callable[[], bool]
    ) -> None:
        self._file = event_file
        self._batch_size = batch_size
        self._clock = clock
        self._should_stop = should_stop

    def next_batch(self) -> list[RawBatch]:
        """Return the next records as one batch, nothing after blank lines; raises `StopIteration` at the end."""
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
        """Return the position as JSON."""
        reader = self._file.reader
        return msgspec.json.encode(_FileState(reader.line, reader.offset))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _decode_state(snapshot: bytes, path: str) -> _FileState:
    try:
        return msgspec.json.decode(snapshot, type=_FileState)
    except (ValueError, TypeError):  # msgspec's error, or UnicodeDecodeError
        raise SnapshotError(
            f"The snapshot of {path} is damaged or of another version: resume with the version that wrote it, "
            f"or start without its recovery store."
        ) from None
