"""Append an event to a file that a job reads."""

import csv
import gzip
import io
import os
from pathlib import Path

import msgspec

from freshflow.errors import InputError
from freshflow.io.files.reader import EventFile


def append_to_file(path: str, event: dict[str, str | int], max_bytes: int) -> list[str]:
    """Append a line, or a row under the file's header, to an existing file of events.

    Args:
        path: The file.
        event: The fields of the event; a CSV file needs a column for each.
        max_bytes: Largest record of the file, in bytes.

    Returns:
        Where the event was written.

    Raises:
        InputError: The file cannot be read or appended to, or lacks a column.
    """
    event_file = EventFile(path, max_bytes)
    columns = event_file.columns
    event_file.close()
    line = msgspec.json.encode(event) if columns is None else _csv_row(path, columns, event)
    is_gzip = path.lower().endswith(".gz")
    # The end of a compressed file is not looked at: a blank line is skipped by the job.
    content = (b"\n" if is_gzip or _lacks_line_end(path) else b"") + line + b"\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(fd, "wb") as file:
            file.write(gzip.compress(content, mtime=0) if is_gzip else content)
    except OSError as error:
        raise InputError(f"The input {path} cannot be appended to: {error.strerror}.") from None
    return [f"{path}, its last line"]


def _csv_row(path: str, columns: tuple[str, ...], event: dict[str, str | int]) -> bytes:
    missing_columns = [name for name in event if name not in columns]
    if missing_columns:
        raise InputError(f"The header of {path} names no {missing_columns[0]}, so that no forget event fits into it.")
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([event.get(name, "") for name in columns])
    return text.getvalue().encode()


def _lacks_line_end(path: str) -> bool:
    with Path(path).open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
