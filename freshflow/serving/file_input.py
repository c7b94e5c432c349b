"""A file of lists that grows, read on from a position in bytes."""

import os
from logging import getLogger
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from freshflow.errors import InputError
from freshflow.serving.records import Batch, Change, of_line, read_position
from freshflow.serving.responses import Kind

__all__ = ["FileInput"]

AT_ONCE = 1 << 20  # bytes; a longer line is read whole, for as long as it takes
CHECKED = 4096  # bytes before the position, by which a file is recognised: more than a list is long

log = getLogger("freshflow")


class _Place(msgspec.Struct, frozen=True):
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

    def __init__(self, kind: Kind, path: str, position: bytes | None) -> None:
        if not path.endswith(".jsonl"):
            raise InputError(f"{path} cannot be read as it grows: name a file that ends in .jsonl, or kafka://…/topic.")
        if not Path(path).parent.is_dir():
            raise InputError(f"The folder of {path} does not exist: create {Path(path).parent}, or correct the path.")
        self.kind = kind
        self.behind = 0
        self._path = path
        stored = read_position(position, _Place)
        absolute = str(Path(path).absolute())
        self._place = stored if stored is not None and stored.path == absolute else _Place(absolute)
        self._anew = position is not None and self._place is not stored
        self._size = AT_ONCE
        self._is_there = True

    def read(self) -> Batch | None:
        """What has come since the last call; None while there is no file. Raises `InputError` if it cannot be read."""
        try:
            with Path(self._path).open("rb") as file:
                self._is_there = True
                return self._read(file.fileno())
        except FileNotFoundError:
            if self._is_there:
                log.warning("There is no file %s; it is waited for.", self._path)
            self._is_there = False
            return None
        except OSError as error:
            raise InputError(f"The lists in {self._path} cannot be read: {error.strerror}; mend that.") from None

    def close(self) -> None:
        """Nothing is open between two reads."""

    def _read(self, fd: int) -> Batch:
        size = os.fstat(fd).st_size
        place, anew = self._place, self._anew
        if size < place.offset or _check(fd, place.offset) != place.check:
            place, anew = _Place(place.path), True
        piece = os.pread(fd, self._size, place.offset)
        end, at_end = piece.rfind(b"\n") + 1, len(piece) < self._size
        self._size = AT_ONCE if end or at_end else 2 * self._size
        lines = [line for line in piece[:end].split(b"\n") if line]
        changes: list[Change] = [change for line in lines if (change := of_line(self.kind, line)) is not None]
        offset = place.offset + end
        self.behind = size - offset
        self._place, self._anew = _Place(place.path, offset, _check(fd, offset)), False
        return Batch(changes, len(lines) - len(changes), msgspec.json.encode(self._place), anew, at_end)


def _check(fd: int, offset: int) -> int:
    start = max(0, offset - CHECKED)
    return crc32(os.pread(fd, offset - start, start))
