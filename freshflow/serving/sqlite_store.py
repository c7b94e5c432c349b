"""The store in one SQLite file. In WAL mode it is read while it is written, by as many connections as there are.

What is deleted is overwritten with zeros (`secure_delete`), and the log is emptied after it, so that no byte of a
forgotten user stays in the folder.
"""

import os
import sqlite3
import stat
import threading
from contextlib import closing, suppress
from pathlib import Path

from freshflow.errors import OutputError
from freshflow.serving.records import Batch, Change
from freshflow.serving.responses import KINDS, Kind

__all__ = ["SqliteReading", "SqliteStore", "open_sqlite"]

VERSION = 1
BUSY_S = 10.0
FILES = ("", "-wal", "-shm")  # SQLite reads what it finds in any of them
LISTS = "CREATE TABLE {} (key TEXT PRIMARY KEY, value BLOB NOT NULL, generation INTEGER NOT NULL)"
INPUTS = (
    "CREATE TABLE inputs (kind TEXT PRIMARY KEY, position BLOB, generation INTEGER NOT NULL, swept INTEGER NOT NULL, "
    "made INTEGER NOT NULL, lists INTEGER NOT NULL)"
)
SCHEMA = (*(LISTS.format(kind) for kind in KINDS), INPUTS)
UPDATE = "UPDATE {} SET value = ?2, generation = ?3 WHERE key = ?1"
INSERT = "INSERT OR IGNORE INTO {} VALUES (?1, ?2, ?3)"
Row = tuple[str, bytes, int]


class SqliteReading:
    """A connection for one thread to look lists up; it sees every transaction that has ended."""

    waits = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = _connected(path)

    def value(self, kind: Kind, key: str) -> bytes | None:
        """The latest list of a key, as it was published."""
        try:
            found = self._connection.execute(f"SELECT value FROM {kind} WHERE key = ?", (key,)).fetchone()
        except UnicodeEncodeError:  # half of a surrogate pair, which no id is
            return None
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        return None if found is None else bytes(found[0])

    def counts(self) -> tuple[int, int]:
        """How many users and items have lists."""
        try:
            found = dict(self._connection.execute("SELECT kind, lists FROM inputs").fetchall())
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        users, items = (found.get(kind, 0) for kind in KINDS)
        return users, items

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _unreadable(self, error: sqlite3.Error) -> OutputError:
        return OutputError(f"The store {self._path} cannot be read: {error}; mend it, or delete it to read all anew.")


class SqliteStore:
    """The writer (`freshflow.serving.store.Store`)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = _connected(path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may take the last lists, with the position
        self._connection.execute("PRAGMA secure_delete = ON")
        self._begin()
        self._positions = {kind: self.position(kind) for kind in KINDS}

    def position(self, kind: Kind) -> bytes | None:
        """How far the input of a kind has been read."""
        found = self._connection.execute("SELECT position FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return None if found is None else bytes(found[0])

    def made(self, kind: Kind) -> int | None:
        """When the latest record of a kind was made (epoch milliseconds), as it says itself."""
        found = self._connection.execute("SELECT made FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return found[0] or None if found is not None else None

    def apply(self, kind: Kind, batch: Batch) -> list[Change]:
        """Take over a batch and its position; what has changed for readers, in order. Raises `OutputError`."""
        with self._lock:
            try:
                gone = self._in_a_transaction(kind, batch)
                self._positions[kind] = batch.position
                if batch.at_end and (gone or any(change.value is None for change in batch.changes)):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise OutputError(f"The store {self._path} cannot be written: {error}; make room or mend it.") from None
        return [*batch.changes, *gone]

    def reading(self) -> SqliteReading:
        """A connection to read with."""
        return SqliteReading(self._path)

    def close(self) -> None:
        """Write what is in the log into the file, and close it."""
        with self._lock, closing(self._connection), suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _begin(self) -> None:
        """Make the tables of a new file, or refuse what has others: a trigger would run at every list."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            version = execute("PRAGMA user_version").fetchone()[0]
            found = {sql for (sql,) in execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if version == 0 and not found:
                for statement in (*SCHEMA, f"PRAGMA user_version = {VERSION}"):
                    execute(statement)
            elif version != VERSION or found != set(SCHEMA):
                raise OutputError(
                    f"The store {self._path} is of another version or another program; give another --store, or delete "
                    "it, and everything is read anew."
                )
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def _in_a_transaction(self, kind: Kind, batch: Batch) -> list[Change]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            gone = self._apply(kind, batch)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors have ended it already
                self._connection.execute("ROLLBACK")
            raise
        return gone

    def _apply(self, kind: Kind, batch: Batch) -> list[Change]:
        execute = self._connection.execute
        found = execute(
            "SELECT position, generation, swept, made, lists FROM inputs WHERE kind = ?", (kind,)
        ).fetchone()
        position, generation, swept, made, lists = found or (None, 0, 0, 0, 0)
        if position != self._positions[kind]:
            raise OutputError(
                f"The store {self._path} is written by another server; give each a --store of its own, and start this "
                "one again."
            )
        generation += batch.anew
        latest = {change.key: change for change in batch.changes}.values()
        kept = [(one.key, one.value, generation) for one in latest if one.value is not None]
        lists -= self._each(f"DELETE FROM {kind} WHERE key = ?", [(one.key,) for one in latest if one.value is None])
        self._each(UPDATE.format(kind), kept)
        lists += self._each(INSERT.format(kind), kept)  # those that were not there to be updated
        gone: list[tuple[str]] = []
        if batch.at_end and swept < generation:
            gone = execute(f"DELETE FROM {kind} WHERE generation < ? RETURNING key", (generation,)).fetchall()
            swept = generation
        made = max([made, *(change.computed_at for change in batch.changes)])
        row = (kind, batch.position, generation, swept, made, lists - len(gone))
        execute("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?, ?)", row)
        return [Change(key, None) for (key,) in gone]

    def _each(self, statement: str, rows: list[Row] | list[tuple[str]]) -> int:
        """Run a statement for each row; how many rows of the table it touched."""
        return self._connection.executemany(statement, rows).rowcount if rows else 0


def open_sqlite(path: str) -> SqliteStore:
    """The store in a file, made for its owner alone if there is none. Raises `OutputError` if it cannot be used."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise OutputError(f"The folder of the store {path} does not exist: create {folder}.")
    try:
        for name in (f"{path}{ending}" for ending in FILES):
            _refuse_open_to_all(name)
        if not Path(path).exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return SqliteStore(path)
    except OSError as error:
        raise OutputError(
            f"The store {path} cannot be written: {error.strerror}; mend that, or give another --store."
        ) from None
    except sqlite3.Error as error:
        raise OutputError(
            f"The store {path} cannot be used: {error}; give another --store, or delete it to have all read anew."
        ) from None


def _refuse_open_to_all(path: str) -> None:
    """Whoever can write there decides what is served. A group may: volumes of containers are often given to one."""
    if Path(path).exists() and Path(path).stat().st_mode & stat.S_IWOTH:
        raise OutputError(
            f"Anybody may write to the store {path}, and so to what is served: take that away (chmod o-w {path}), or "
            "delete it, and everything is read anew."
        )


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    connection.execute("PRAGMA trusted_schema = OFF")  # a file may come from elsewhere
    return connection
