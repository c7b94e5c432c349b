"""A file of lists that grows, read on from a position in bytes."""

import os
from logging import getLogger
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from freshflow.errors import InputError
from freshflow.serving.records import ChangeBatch, ListChange, decode_position, parse_line
from freshflow.serving.responses import ListKind

__all__ = ["FileInput"]

FILE_CHUNK_BYTES = 1 << 20  # bytes; a longer line is read whole, for as long as it takes
FINGERPRINT_BYTES = 4096  # bytes before the position, by which a file is recognised: more than a list is long

_log = getLogger("freshflow")


class _FilePosition(msgspec.Struct, frozen=True):
    """How far a file has been read, and the CRC-32 of the last bytes before that."""

    path: str
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    check: int = 0


class FileInput:
    """Lines of a file, each once it has its end. A file that was cut back or replaced is read anew.

    That is told by the bytes before the position: a job writes each of them at another time, and so with another
    `computed_at`. A file that is not there is waited for: a job makes it with its first list.
    """

    unit: Literal["bytes", "records"] = "bytes"

    def __init__(self, kind: ListKind, path: str, position: bytes | None) -> None:
        if not path.endswith(".jsonl"):
            raise InputError(f"{path} cannot be read as it grows: name a file that ends in .jsonl, or kafka://…/topic.")
        if not Path(path).parent.is_dir():
            raise InputError(f"The folder of {path} does not exist: create {Path(path).parent}, or correct the path.")
        self.kind = kind
        self.lag = 0
        self._path = path
        stored_position = decode_position(position, _FilePosition)
        absolute_path = str(Path(path).absolute())
        self._position = (
            stored_position
            if stored_position is not None and stored_position.path == absolute_path
            else _FilePosition(absolute_path)
        )
        self._is_full_reload = position is not None and self._position is not stored_position
        self._chunk_bytes = FILE_CHUNK_BYTES
        self._is_present = True

    def read(self) -> ChangeBatch | None:
        """What has come since the last call; None while there is no file. Raises `InputError` if it cannot be read."""
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
        """Nothing is open between two reads."""

    def _read(self, fd: int) -> ChangeBatch:
        size = os.fstat(fd).st_size
        file_position, is_full_reload = self._position, self._is_full_reload
        if size < file_position.offset or _fingerprint_crc(fd, file_position.offset) != file_position.check:
            file_position, is_full_reload = _FilePosition(file_position.path), True
        chunk = os.pread(fd, self._chunk_bytes, file_position.offset)
        end, is_at_end = chunk.rfind(b"\n") + 1, len(chunk) < self._chunk_bytes
        self._chunk_bytes = FILE_CHUNK_BYTES if end or is_at_end else 2 * self._chunk_bytes
        lines = [line for line in chunk[:end].split(b"\n") if line]
        changes: list[ListChange] = [change for line in lines if (change := parse_line(self.kind, line)) is not None]
        offset = file_position.offset + end
        self.lag = size - offset
        self._position, self._is_full_reload = (
            _FilePosition(file_position.path, offset, _fingerprint_crc(fd, offset)),
            False,
        )
        return ChangeBatch(
            changes, len(lines) - len(changes), msgspec.json.encode(self._position), is_full_reload, is_at_end
        )


def _fingerprint_crc(fd: int, offset: int) -> int:
    start = max(0, offset - FINGERPRINT_BYTES)
    return crc32(os.pread(fd, offset - start, start))
