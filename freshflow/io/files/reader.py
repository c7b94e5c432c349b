"""Reader of a file of events: JSON lines or CSV, plain or gzip; every failure is one sentence.

The file's name selects the format; the first line tells whether CSV has a header.
"""

import csv
import gzip
import io
import stat
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

from freshflow.errors import InputError
from freshflow.events.formats.mapping import Layout
from freshflow.events.model import Origin
from freshflow.io.files.line_reader import BOM, MAX_LINE_BYTES, LineReader, read_row

# Endings of names; true for CSV.
FILE_ENDINGS = {
    ".jsonl": False,
    ".json": False,
    ".ndjson": False,
    ".jsonl.gz": False,
    ".csv": True,
    ".csv.gz": True,
    ".dat": True,
    ".dat.gz": True,
    ".data": True,
    ".data.gz": True,
}
HEADERLESS_ENDINGS = (".dat", ".data")  # files without a header, which need a known layout
MAX_FIRST_LINE_BYTES = 1024  # more than any first line of a known layout
BATCH_BYTES = 16 * 1024 * 1024  # a batch of long lines ends here, so that memory does not grow with batch_size
BUFFER_BYTES = 256 * 1024
MAX_NAMES_CHARS = 200  # of duplicate column names in an error
READ_ERRORS = (OSError, EOFError, zlib.error)  # errors of a damaged gzip file and of the disk


FindLayout = Callable[[str], Layout | None]  # the layout that the first line of a file without a header shows


def _no_layout(first_line: str) -> None:
    return None


class EventFile:
    """An open file of events, positioned after its header; its errors are `InputError` with one sentence.

    Args:
        path: The file.
        max_bytes: Largest record in bytes.
        find_layout: Returns the columns of a file without a header by its first line.
    """

    def __init__(self, path: str, max_bytes: int, find_layout: FindLayout = _no_layout) -> None:
        ending = _file_ending(path)
        self._is_csv = FILE_ENDINGS[ending]
        self.origin = Origin("file", path)
        self.columns: tuple[str, ...] | None = None
        self.separator = ","
        self._max_bytes = max_bytes
        self._stream = _open_stream(path)
        self.reader = LineReader(self._stream, max(MAX_LINE_BYTES, max_bytes + 1))
        try:
            first_line = _peek_first_line(self._stream)  # raises if a file named .gz is not gzip
            layout = find_layout(first_line) if self._is_csv else None
            if layout is not None:
                self.columns, self.separator = layout.columns, layout.separator
            elif ending.startswith(HEADERLESS_ENDINGS):
                raise InputError(
                    f"The first line of {path} is that of no known format: name the format with --format, "
                    "or give CSV with a header, as .csv."
                )
            elif self._is_csv:
                self.columns = _parse_header(path, read_row(self.reader, max_bytes), max_bytes)
        except READ_ERRORS as error:
            raise self._read_error(error) from None
        except InputError:
            self.close()
            raise

    def read(self, max_records: int) -> list[tuple[int, bytes]] | None:
        """Return up to `max_records` records with their line numbers, without blank ones; None at the end."""
        records: list[tuple[int, bytes]] = []
        reader, is_row_based, max_bytes = self.reader, self._is_csv and self.separator == ",", self._max_bytes
        end_offset = reader.offset + BATCH_BYTES
        try:
            for _ in range(max_records):
                line = reader.line + 1
                raw = read_row(reader, max_bytes) if is_row_based else reader.read()
                if raw is None:
                    return records or None
                if raw and not raw.isspace():
                    records.append((line, raw))
                if reader.offset >= end_offset:
                    break
        except READ_ERRORS as error:
            raise self._read_error(error) from None
        return records

    def resume(self, line: int, offset: int) -> None:
        """Continue at `offset` (in decompressed bytes), the end of line number `line`."""
        try:
            is_reached = self._seek_position(line, offset)
        except READ_ERRORS as error:
            raise self._read_error(error) from None
        if not is_reached:
            raise InputError(
                f"{self.origin.name} has become shorter than the {offset} bytes that the job to be resumed "
                f"had read: give it the same file again, or start without its recovery store."
            )

    def _seek_position(self, line: int, offset: int) -> bool:
        if isinstance(self._stream.raw, io.FileIO):
            if Path(self.origin.name).stat().st_size < offset:
                return False
            self._stream.seek(offset)
            self.reader.offset = offset
        return self.reader.skip_to(line, offset)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read_error(self, error: Exception) -> InputError:
        if isinstance(error, OSError) and error.strerror:
            cause = error.strerror
        else:
            cause = f"the gzip stream is damaged or incomplete ({error})"
        self.close()
        return InputError(f"{self.origin.name} cannot be read on after line {self.reader.line}: {cause}.")


def _file_ending(path: str) -> str:
    for ending in FILE_ENDINGS:
        if path.lower().endswith(ending):
            return ending
    known_endings = ", ".join(FILE_ENDINGS)
    raise InputError(
        f"The format of the input {path} is not known from its name: known are {known_endings}, and - for stdin."
    )


def _open_stream(path: str) -> io.BufferedReader:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"The input {path} is a folder: give a file.")
        if not stat.S_ISREG(mode):
            raise InputError(f"The input {path} is a pipe or a device: give a file, or - for stdin.")
        is_gzip = path.lower().endswith(".gz")
        raw = cast(io.RawIOBase, gzip.GzipFile(path, "rb")) if is_gzip else io.FileIO(path)
    except FileNotFoundError:
        raise InputError(f"The input {path} does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"The input {path} cannot be opened: {cause}.") from None
    return io.BufferedReader(raw, BUFFER_BYTES)


def _peek_first_line(stream: io.BufferedReader) -> str:
    line, _, _ = stream.peek(MAX_FIRST_LINE_BYTES)[:MAX_FIRST_LINE_BYTES].removeprefix(BOM).partition(b"\n")
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _parse_header(path: str, raw: bytes | None, max_bytes: int) -> tuple[str, ...]:
    """Return the names of the first row; names may be empty (an index column), but not occur twice."""
    if raw is not None and len(raw) > max_bytes:
        raise InputError(f"The header of {path}, its first line, is longer than events.max_bytes = {max_bytes} bytes.")
    try:
        names = tuple(next(csv.reader([(raw or b"").decode()], strict=True), []))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"The header of {path}, its first line, is not CSV in UTF-8: {error}.") from None
    column_names = [name for name in names if name.strip()]
    if not column_names:
        raise InputError(f"{path} has no header: its first line must name the columns.")
    duplicates = sorted(name for name, count in Counter(column_names).items() if count > 1)
    if duplicates:
        duplicate_names = ", ".join(name if name.isprintable() else repr(name) for name in duplicates)[:MAX_NAMES_CHARS]
        raise InputError(f"The header of {path} names {duplicate_names} more than once: a column needs its own name.")
    return names
