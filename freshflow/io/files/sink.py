"""Sink that writes a file of JSON lines, plain or gzip, or standard output.

A file is exact: a job that resumes after a crash truncates it to the last snapshot and continues there, so that no line
is duplicated or missing. Standard output cannot be truncated, so lines may be repeated there.
"""

import contextlib
import errno
import os
import select
import stat
import zlib
from pathlib import Path

import msgspec
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from freshflow.errors import OutputError
from freshflow.io.record import OutBatch, OutRecord
from freshflow.io.url import STDOUT

OUTPUT_ENDINGS = (".jsonl", ".jsonl.gz")
GZIP_WBITS = (
    16 + zlib.MAX_WBITS
)  # zlib's value for gzip; it writes neither name nor time, so the bytes are reproducible
GZIP_LEVEL = 6
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileSink(FixedPartitionedSink[OutBatch, int]):  # type: ignore[misc]
    """Sink with one line for each record: its value, or `{"key":…,"value":null}` for a tombstone.

    A new job replaces the file. (Bytewax builds the part at the first record: a job that writes none leaves the file as
    it was.) The snapshot is the length of the file in bytes, synced to disk; in a gzip file a member ends there, as
    several members in a row are one gzip file.

    Raises:
        OutputError: The path cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        if path != STDOUT:
            _check_writable(path)

    def list_parts(self) -> list[str]:
        """Return the only part, named as the file."""
        return [self._path]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "FileSinkPartition":
        """Open the file, emptied or truncated to the snapshot.

        Args:
            step_id: The step of the sink.
            for_part: The name of the part.
            resume_state: Length of the file at the snapshot, in bytes.

        Raises:
            OutputError: The file cannot be written, or is shorter than the snapshot.
        """
        if self._path == STDOUT:
            return FileSinkPartition("standard output", 1, 0)
        position = resume_state or 0
        fd = _open_truncated(self._path) if resume_state is None else _open_resumed(self._path, position)
        return FileSinkPartition(self._path, fd, position)


class FileSinkPartition(StatefulSinkPartition[OutBatch, int]):  # type: ignore[misc]
    """An open file of `position` bytes; records are written at once, and synced to disk at a snapshot."""

    def __init__(self, name: str, fd: int, position: int) -> None:
        self._name = name
        self._fd = fd
        self._position = position
        self._is_gzip = name.endswith(".gz")
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)
        self._has_open_member = False
        self._is_closed = False

    def write_batch(self, values: list[OutBatch]) -> None:
        """Append the records, a line each."""
        lines = [_encode_line(record) for batch in values for record in batch]
        if not lines:
            return
        lines.append(b"")
        content = b"\n".join(lines)
        if self._is_gzip:
            self._has_open_member = True
            content = self._compressor.compress(content)
        self._append(content)

    def snapshot(self) -> int:
        """Sync the file to disk and return its length in bytes."""
        self._end_member()
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fsync(self._fd)
        except OSError as error:
            raise _write_error(self._name, error) from None
        return self._position

    def close(self) -> None:
        """Close the file; never raises.

        Bytewax also calls this while it unwinds from an error, where a second error would abort the process. Nothing is
        lost: everything that a snapshot covers is on disk.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OutputError):
            self._end_member()
        if self._fd > 2:  # the standard streams stay open
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def _end_member(self) -> None:
        """Finish an open gzip member, so that the file can be truncated here."""
        if not self._has_open_member:
            return
        content = self._compressor.flush()
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)
        self._has_open_member = False
        self._append(content)

    def _append(self, content: bytes) -> None:
        remaining = memoryview(content)
        while remaining:
            try:
                n_written = os.write(self._fd, remaining)
            except BlockingIOError:  # a terminal that another program has set to non-blocking
                select.select([], [self._fd], [])
                continue
            except OSError as error:
                raise _write_error(self._name, error) from None
            self._position += n_written
            remaining = remaining[n_written:]


def _encode_line(record: OutRecord) -> bytes:
    key, value = record
    if value is not None:
        return value
    return msgspec.json.encode({"key": None if key is None else key.decode("utf-8", "replace"), "value": None})


def _check_writable(path: str) -> None:
    """Raise `OutputError` if the path shows that it cannot be written, without touching the file."""
    if not path.lower().endswith(OUTPUT_ENDINGS):
        known_endings = ", ".join(OUTPUT_ENDINGS)
        raise OutputError(f"The output {path} must end in one of {known_endings}, or be - for standard output.")
    target = Path(path)
    if not target.parent.is_dir():
        raise OutputError(f"The folder of the output {path} does not exist: create {target.parent}.")
    if target.is_dir():
        raise OutputError(f"The output {path} is a folder: give a file.")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise OutputError(f"The output {path} cannot be written: permission denied.")


def _open_truncated(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _write_error(path, error) from None


def _open_resumed(path: str, position: int) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        if os.fstat(fd).st_size >= position:
            os.ftruncate(fd, position)
            os.lseek(fd, position, os.SEEK_SET)
            return fd
        os.close(fd)
    except OSError as error:
        raise _write_error(path, error) from None
    raise OutputError(
        f"The output {path} is shorter than the {position} bytes that the job to be resumed had written: "
        f"put the file back, or start without the job's recovery store."
    )


def _write_error(name: str, error: OSError) -> OutputError:
    advice = "make room there" if error.errno in DISK_FULL_ERRNOS else "mend that, or give another place"
    return OutputError(f"The output {name} cannot be written: {error.strerror or error}; {advice}.")
