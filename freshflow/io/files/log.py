"""A growing file of records, read on from a stored position in bytes."""

import os
from logging import getLogger
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from freshflow.errors import InputError
from freshflow.io.files.tail import check_growing_file
from freshflow.io.record import OutRecord
from freshflow.io.scheme import LogBatch

FILE_CHUNK_BYTES = 1 << 20  # a longer line is read whole, with a growing chunk
FINGERPRINT_BYTES = 4096  # bytes before the position by which a file is recognised: longer than a list
TOMBSTONE_PREFIX = b'{"key":'  # as `freshflow.io.files.sink` writes it

_log = getLogger("freshflow")


class _FilePosition(msgspec.Struct, frozen=True):
    """Position in a file: the bytes read, and the CRC-32 of the last bytes before that."""

    path: str
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    check: int = 0


class _Tombstone(msgspec.Struct, frozen=True):
    """A tombstone as a line."""

    key: str | None
    value: None = None


class FileLog:
    """Reader of complete lines of a file; tombstones have the key that their line names.

    A file that was truncated or replaced is read again from its beginning. The bytes before the position tell: every
    job writes them at another time, and so with another `computed_at`. A missing file is waited for: a job creates it
    with its first list.
    """

    unit: Literal["bytes", "records"] = "bytes"

    def __init__(self, path: str, position: bytes | None) -> None:
        check_growing_file(path)
        if not Path(path).parent.is_dir():
            raise InputError(f"The folder of {path} does not exist: create {Path(path).parent}, or correct the path.")
        self.lag = 0
        self._path = path
        stored_position = _decode_position(position)
        absolute_path = str(Path(path).absolute())
        self._position = (
            stored_position
            if stored_position is not None and stored_position.path == absolute_path
            else _FilePosition(absolute_path)
        )
        self._is_full_reload = position is not None and self._position is not stored_position
        self._chunk_bytes = FILE_CHUNK_BYTES
        self._is_present = True

    def read(self) -> LogBatch | None:
        """Return the new records, None without a file; raises `InputError` if it cannot be read."""
        try:
            with Path(self._path).open("rb") as file:
                self._is_present = True
                return self._read(file.fileno())
        except FileNotFoundError:
            if self._is_present:
                _log.warning("There is no file %s; it is waited for.", self._path)
            self._is_present = False
            return None
        except OSError as error:
            raise InputError(f"The lists in {self._path} cannot be read: {error.strerror}; mend that.") from None

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""

    def _read(self, fd: int) -> LogBatch:
        size = os.fstat(fd).st_size
        file_position, is_full_reload = self._position, self._is_full_reload
        if size < file_position.offset or _fingerprint_crc(fd, file_position.offset) != file_position.check:
            file_position, is_full_reload = _FilePosition(file_position.path), True
        chunk = os.pread(fd, self._chunk_bytes, file_position.offset)
        end, is_at_end = chunk.rfind(b"\n") + 1, len(chunk) < self._chunk_bytes
        self._chunk_bytes = FILE_CHUNK_BYTES if end or is_at_end else 2 * self._chunk_bytes
        records = [_decode_record(line) for line in chunk[:end].split(b"\n") if line]
        offset = file_position.offset + end
        self.lag = size - offset
        self._position = _FilePosition(file_position.path, offset, _fingerprint_crc(fd, offset))
        self._is_full_reload = False
        return LogBatch(records, msgspec.json.encode(self._position), is_full_reload, is_at_end)


def _decode_record(line: bytes) -> OutRecord:
    if line.startswith(TOMBSTONE_PREFIX):
        try:
            tombstone = msgspec.json.decode(line, type=_Tombstone)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None, line
        return None if tombstone.key is None else tombstone.key.encode(), None
    return None, line


def _decode_position(position: bytes | None) -> _FilePosition | None:
    """Return a stored position; None if there is none, or it is one of another kind of log."""
    try:
        return None if position is None else msgspec.json.decode(position, type=_FilePosition)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _fingerprint_crc(fd: int, offset: int) -> int:
    start = max(0, offset - FINGERPRINT_BYTES)
    return crc32(os.pread(fd, offset - start, start))
