"""Records to a file of JSON lines, plain or gzip, or to standard output.

A file is exact: a job that crashed and resumes cuts it back to the last snapshot and writes on from there,
so that no line is there twice or missing. Standard output cannot be cut back, so lines may come again
there.
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

__all__ = ["FileSink"]

OUTPUT_ENDINGS = (".jsonl", ".jsonl.gz")
GZIP_WBITS = 16 + zlib.MAX_WBITS  # zlib's way to ask for gzip; it writes no name and no time, so bytes repeat
GZIP_LEVEL = 6
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileSink(FixedPartitionedSink[OutBatch, int]):  # type: ignore[misc]
    """Writes each record's value as a line, a tombstone as `{"key":…,"value":null}`, and no other keys.

    A fresh start replaces what the file held. (Bytewax builds the part at the first record: a job that
    writes none leaves the file as it was.) The snapshot is the length of the file in bytes, by then safe on
    disk; in a gzip file a member ends there, and many members one after the other are one gzip file.

    Raises `OutputError`, one sentence, if the file cannot be written: here, before the flow runs, or when the
    disk is full.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        if path != STDOUT:
            _check_writable(path)

    def list_parts(self) -> list[str]:
        """One part, named as the file."""
        return [self._path]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "FileSinkPartition":
        """The part, with the file empty or cut back to the snapshot."""
        if self._path == STDOUT:
            return FileSinkPartition("standard output", 1, 0)
        position = resume_state or 0
        fd = _open_truncated(self._path) if resume_state is None else _open_resumed(self._path, position)
        return FileSinkPartition(self._path, fd, position)


class FileSinkPartition(StatefulSinkPartition[OutBatch, int]):  # type: ignore[misc]
    """An open file of `position` bytes. Records go to the system at once, to disk at a snapshot."""

    def __init__(self, name: str, fd: int, position: int) -> None:
        self._name = name
        self._fd = fd
        self._position = position
        self._is_gzip = name.endswith(".gz")
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WBITS)
        self._has_open_member = False
        self._is_closed = False

    def write_batch(self, values: list[OutBatch]) -> None:
        """Append the records of the batches, a line each."""
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
        """The length of the file in bytes, all of which is on disk."""
        self._end_member()
        try:
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fsync(self._fd)
        except OSError as error:
            raise _write_error(self._name, error) from None
        return self._position

    def close(self) -> None:
        """Close the file.

        Bytewax also calls this while a failed flow is torn down, where a second error would end the process
        without a word, so nothing is raised. Nothing is lost by that: what a snapshot covers is on disk
        already.
        """
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(OutputError):
            self._end_member()
        if self._fd > 2:  # the standard streams are not ours to close
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def _end_member(self) -> None:
        """Finish the gzip member, if one was begun, so that the file can be cut here."""
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
            except BlockingIOError:  # a terminal that another program has set not to wait
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
    """Refuse what can be known to be unwritable without touching the file."""
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
