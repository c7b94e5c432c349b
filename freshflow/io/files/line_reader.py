"""Lines of bytes with a bound on their length, and rows of CSV, which may span several lines.

A line ends with LF or CRLF, neither of which belongs to it; nor does a CR at the end of the stream, nor a UTF-8 byte
order mark before the first line. Of a line longer than the bound only the beginning is kept, and the rest is never held
in memory.
"""

from typing import Protocol

__all__ = ["BOM", "MAX_LINE_BYTES", "LineReader", "LineSplitter", "read_row"]

MAX_LINE_BYTES = 16 * 1024 * 1024  # far beyond any event, and small enough to hold a few
SKIP_BYTES = 1024 * 1024  # read at once while the rest of an overlong line passes by
BOM = b"\xef\xbb\xbf"


class ByteStream(Protocol):
    """What is read from: a buffered binary file or an unpacked one."""

    def readline(self, size: int = -1, /) -> bytes:
        """At most `size` bytes up to and including the next LF."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""


class LineReader:
    """Reads a stream line by line and knows where it stands: `line` lines, `offset` bytes."""

    def __init__(self, stream: ByteStream, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.line = 0
        self.offset = 0

    def read(self) -> bytes | None:
        """The next line, cut to the bound; None at the end of the stream."""
        piece = self._stream.readline(self._max_bytes + 2)  # room for CRLF
        if not piece:
            return None
        first = self.offset == 0
        self.line += 1
        self.offset += len(piece)
        if len(piece) > self._max_bytes and not piece.endswith(b"\n"):
            self._skip_line()
        line = _without_end(piece)[: self._max_bytes]
        return line.removeprefix(BOM) if first else line

    def skip_to(self, line: int, offset: int) -> bool:
        """Pass over bytes until `offset`, which is the end of `line`; False if the stream ends before."""
        while self.offset < offset:
            piece = self._stream.read(min(SKIP_BYTES, offset - self.offset))
            if not piece:
                return False
            self.offset += len(piece)
        self.line = line
        return True

    def _skip_line(self) -> None:
        while piece := self._stream.readline(SKIP_BYTES):
            self.offset += len(piece)
            if piece.endswith(b"\n"):
                return


class LineSplitter:
    """Cuts bytes that arrive in arbitrary pieces into lines, cut to the bound."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        self._first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that `piece` completes, in order."""
        *ends, begun = piece.split(b"\n")
        lines = []
        for end in ends:
            self._append(end)
            lines.append(self._take())
        self._append(begun)
        return lines

    def finish(self) -> list[bytes]:
        """The last line, if it lacks its line end."""
        return [self._take()] if self._begun else []

    def _append(self, piece: bytes) -> None:
        self._begun += piece[: self._max_bytes - len(self._begun)]

    def _take(self) -> bytes:
        line = bytes(self._begun).removesuffix(b"\r")
        self._begun.clear()
        if self._first:
            self._first = False
            return line.removeprefix(BOM)
        return line


def read_row(reader: LineReader, max_bytes: int) -> bytes | None:
    """The next row of CSV, its lines joined by LF; None at the end.

    A row ends where no quote is open. One that has grown beyond `max_bytes`, as it does after a quote that is
    never closed, ends there too: it is too large to be an event, and reading goes on with the line after.
    """
    line = reader.read()
    if line is None or b'"' not in line or not _leaves_quote_open(line, inside=False):
        return line
    lines, size, inside = [line], len(line), True
    while inside and size <= max_bytes and (line := reader.read()) is not None:
        lines.append(line)
        size += len(line) + 1
        inside = _leaves_quote_open(line, inside=True)
    return b"\n".join(lines)


def _leaves_quote_open(line: bytes, *, inside: bool) -> bool:
    """Whether the line ends inside a quoted cell, if it begins `inside` one.

    A quote opens a cell only as its first character, and a doubled one inside a cell stands for itself.
    """
    at = 0
    while True:
        if inside:
            at = line.find(b'"', at) + 1
            if at == 0:
                return True
            if line[at : at + 1] == b'"':
                at += 1
                continue
            inside = False
        elif line[at : at + 1] == b'"' and (at == 0 or line[at - 1 : at] == b","):
            inside = True
            at += 1
        else:
            at = line.find(b",", at) + 1
            if at == 0:
                return False


def _without_end(piece: bytes) -> bytes:
    return piece.removesuffix(b"\n").removesuffix(b"\r")
