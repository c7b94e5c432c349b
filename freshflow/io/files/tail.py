"""The tail of a file: its last lines, and new ones as it grows."""

import os
from pathlib import Path

from freshflow.errors import InputError

MAX_BACKLOG_BYTES = 8 << 20  # some ten thousand reports of one partition


def check_growing_file(path: str) -> None:
    """Raise `InputError` unless a file's name says that it can be read while it grows."""
    if not path.endswith(".jsonl"):
        raise InputError(f"{path} cannot be read as it grows: name a file that ends in .jsonl, or kafka://…/topic.")


class FileTail:
    """Complete lines of a file.

    A file that was truncated or replaced is read from its beginning. A missing file is waited for.
    """

    def __init__(self, path: str) -> None:
        check_growing_file(path)
        self._path = path
        self._offset = 0
        self._inode = 0

    def read(self) -> list[bytes]:
        """Return the new lines; raises `InputError` if the file cannot be read."""
        try:
            with Path(self._path).open("rb") as file:
                return self._read(file.fileno())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}.") from None

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""

    def _read(self, fd: int) -> list[bytes]:
        file_stat = os.fstat(fd)
        if file_stat.st_ino != self._inode or file_stat.st_size < self._offset:
            self._inode, self._offset = file_stat.st_ino, 0
        is_truncated = self._offset == 0 and file_stat.st_size > MAX_BACKLOG_BYTES
        if is_truncated:
            self._offset = file_stat.st_size - MAX_BACKLOG_BYTES
        chunk = os.pread(fd, min(MAX_BACKLOG_BYTES, file_stat.st_size - self._offset), self._offset)
        complete_lines = chunk[: chunk.rfind(b"\n") + 1]
        if not complete_lines and len(chunk) == MAX_BACKLOG_BYTES:  # far longer than any record of the job
            complete_lines = chunk
        self._offset += len(complete_lines)
        return [line for line in complete_lines.split(b"\n")[is_truncated:] if line]
