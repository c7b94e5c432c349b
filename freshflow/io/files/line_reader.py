"""Bounded lines of bytes, and rows of CSV, which may span several lines.

A line ends with LF or CRLF. The line end is not part of it, nor are a CR at the end of the stream and a UTF-8 byte
order mark before the first line. A line longer than the bound is cut; the rest of it is never held in memory.
"""

from typing import Protocol

MAX_LINE_BYTES = 16 * 1024 * 1024  # far beyond any event, and small enough to hold a few
SKIP_CHUNK_BYTES = 1024 * 1024  # read at once while the rest of an overlong line is skipped
BOM = b"\xef\xbb\xbf"


class ByteStream(Protocol):
    """A buffered binary file, or a decompressed one."""

    def readline(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes up to and including the next LF."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""


class LineReader:
    """Reader of a stream line by line; its position is `line` lines and `offset` bytes."""

    def __init__(self, stream: ByteStream, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.line = 0
        self.offset = 0

    def read(self) -> bytes | None:
        """Return the next line, cut to the bound; None at the end of the stream."""
        chunk = self._stream.readline(self._max_bytes + 2)  # room for CRLF
        if not chunk:
            return None
        is_first = self.offset == 0
        self.line += 1
        self.offset += len(chunk)
        if len(chunk) > self._max_bytes and not chunk.endswith(b"\n"):
            self._skip_line()
        line = _strip_line_end(chunk)[: self._max_bytes]
        return line.removeprefix(BOM) if is_first else line

    def skip_to(self, line: int, offset: int) -> bool:
        """Skip to `offset`, the end of line number `line`; return False if the stream ends before."""
        while self.offset < offset:
            chunk = self._stream.read(min(SKIP_CHUNK_BYTES, offset - self.offset))
            if not chunk:
                return False
            self.offset += len(chunk)
        self.line = line
        return True

    def _skip_line(self) -> None:
        while chunk := self._stream.readline(SKIP_CHUNK_BYTES):
            self.offset += len(chunk)
            if chunk.endswith(b"\n"):
                return


class LineSplitter:
    """Splitter of bytes that arrive in arbitrary pieces into lines, cut to the bound."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._partial_line = bytearray()
        self._is_first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, in order."""
        *line_ends, remainder = chunk.split(b"\n")
        lines = []
        for line_end in line_ends:
            self._append(line_end)
            lines.append(self._drain_line())
        self._append(remainder)
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line if it lacks a line end, in a list."""
        return [self._drain_line()] if self._partial_line else []

    def _append(self, chunk: bytes) -> None:
        self._partial_line += chunk[: self._max_bytes - len(self._partial_line)]

    def _drain_line(self) -> bytes:
        line = bytes(self._partial_line).removesuffix(b"\r")
        self._partial_line.clear()
        if self._is_first:
            self._is_first = False
            return line.removeprefix(BOM)
        return line


def read_row(reader: LineReader, max_bytes: int) -> bytes | None:
    """Return the next row of CSV, its lines joined by LF; None at the end.

    A row ends where no quote is open. A row that has grown beyond `max_bytes`, as after a quote that is never closed,
    ends there too: it is too large for an event, and reading continues with the next line.
    """
    line = reader.read()
    if line is None or b'"' not in line or not _leaves_quote_open(line, in_quotes=False):
        return line
    lines, size, in_quotes = [line], len(line), True
    while in_quotes and size <= max_bytes and (line := reader.read()) is not None:
        lines.append(line)
        size += len(line) + 1
        in_quotes = _leaves_quote_open(line, in_quotes=True)
    return b"\n".join(lines)


def _leaves_quote_open(line: bytes, *, in_quotes: bool) -> bool:
    """Return whether a line that begins inside a quoted cell (`in_quotes`) or outside ends inside one.

    A quote opens a cell only as its first character; a doubled quote inside a cell is a literal one.
    """
    index = 0
    while True:
        if in_quotes:
            index = line.find(b'"', index) + 1
            if index == 0:
                return True
            if line[index : index + 1] == b'"':
                index += 1
                continue
            in_quotes = False
        elif line[index : index + 1] == b'"' and (index == 0 or line[index - 1 : index] == b","):
            in_quotes = True
            index += 1
        else:
            index = line.find(b",", index) + 1
            if index == 0:
                return False


def _strip_line_end(chunk: bytes) -> bytes:
    return chunk.removesuffix(b"\n").removesuffix(b"\r")
