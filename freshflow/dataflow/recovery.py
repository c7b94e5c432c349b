"""The recovery folder: Bytewax's store of snapshots, made once, and checked before several processes open it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from logging import getLogger
from pathlib import Path

from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
    init_db_dir,
)

from freshflow.errors import OutputError, SnapshotError

__all__ = ["check_store", "open_store", "scrub_store", "store_errors_as_sentences"]

log = getLogger("freshflow")

DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
# Recovery partitions: each is a file that one worker writes; a handful serves from one process to eight.
RECOVERY_PARTS = 8
# What Bytewax raises where a recovery folder holds something else, or not all of it.
UNUSABLE = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)
# How Bytewax says, in the words of its code, that a file there is damaged or cannot be opened or written.
STORE_FAILURE = re.compile(r'(?:SqliteFailure.*Some\("|(?=Error opening recovery DB))([^"]*)')


def open_store(folder: Path) -> RecoveryConfig:
    """The store in a folder, made if there is none yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            init_db_dir(folder, RECOVERY_PARTS)
    except OSError as error:
        raise OutputError(f"The recovery folder {folder} cannot be used: {error.strerror}.") from None
    return RecoveryConfig(folder)


def check_store(folder: Path) -> None:
    """Raise `SnapshotError` if the store is none, damaged or incomplete; in a cluster Bytewax says so in no process."""
    rows = [row for path in sorted(folder.glob("part-*.sqlite3")) for row in _rows(folder, path)]
    if not rows:
        raise _unusable(folder, "No recovery partitions found")
    missing = set(range(rows[0][1])) - {index for index, _ in rows}
    if missing:
        raise _unusable(folder, f"missing {len(missing)} of {rows[0][1]} files")


def scrub_store(folder: Path) -> None:
    """Write the files anew with what is current alone, so that no byte of an older snapshot is left in them.

    Bytewax deletes the rows of older snapshots, but SQLite leaves their bytes in the file, or in its log beside it,
    until it happens to need the room. To be called while nobody has the files open: Bytewax brings an SQLite of its
    own, and two of them in one process do not see each other's locks. What cannot be written anew, as when the disk is
    full, is logged; about a damaged file, Bytewax complains.
    """
    for path in sorted(folder.glob("part-*.sqlite3")):
        try:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=1)) as part:
                part.execute("PRAGMA secure_delete = ON")
                part.execute("VACUUM")
                part.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if error.sqlite_errorname not in DAMAGED:
                log.warning("%s was not written anew (%s): bytes of older snapshots may be left in it.", path, error)


def _rows(folder: Path, path: Path) -> list[tuple[int, int]]:
    try:
        with closing(sqlite3.connect(path)) as part:
            return part.execute("SELECT part_index, part_count FROM parts").fetchall()
    except sqlite3.Error as error:
        raise _unusable(folder, str(error)) from None


@contextmanager
def store_errors_as_sentences(folder: Path | None) -> Iterator[None]:
    """Turn what Bytewax raises about a store into a `SnapshotError`."""
    try:
        yield
    except UNUSABLE as error:
        raise _unusable(folder, str(error)) from None
    except RuntimeError as error:
        what = STORE_FAILURE.search(str(error))
        if what is None:
            raise
        raise _unusable(folder, what[1]) from None


def _unusable(folder: Path | None, what: str) -> SnapshotError:
    return SnapshotError(f"The recovery folder {folder} cannot be used ({what}); restore it, or give an empty one.")
