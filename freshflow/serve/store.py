"""What is kept: the latest list of every key, and how far the inputs have been read, in one SQLite file.

Lists and position change in one transaction, so that whoever starts again goes on from the very lists that it had. A
file in WAL mode is read while it is written, by as many connections as there are.
"""

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from freshflow.errors import OutputError
from freshflow.serve.records import Batch, Change
from freshflow.serve.types import Kind

__all__ = ["Reading", "Store", "open_store"]

VERSION = 1
KINDS: tuple[Kind, ...] = ("recommendations", "related")
BUSY_S = 10.0
LISTS = "CREATE TABLE {} (key TEXT PRIMARY KEY, value BLOB NOT NULL, generation INTEGER NOT NULL)"
INPUTS = "CREATE TABLE inputs (kind TEXT PRIMARY KEY, position BLOB, generation INTEGER, swept INTEGER, made INTEGER)"


class Reading:
    """A connection for one thread to look lists up; it sees every transaction that has ended."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)

    def value(self, kind: Kind, key: str) -> bytes | None:
        """The latest list of a key, as it was published."""
        try:
            found = self._connection.execute(f"SELECT value FROM {kind} WHERE key = ?", (key,)).fetchone()
        except UnicodeEncodeError:  # half of a surrogate pair, which no id is
            return None
        return None if found is None else bytes(found[0])

    def counts(self) -> tuple[int, int]:
        """How many users and items have lists."""
        users, items = (self._connection.execute(f"SELECT count(*) FROM {kind}").fetchone()[0] for kind in KINDS)
        return users, items

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Store:
    """The one writer. Lists of an input that is read anew take the place of the old ones key by key; what is left of
    the old ones goes when its end is first reached, so that meanwhile nobody is without a list.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may take the last lists, with the position
        self._begin()

    def _begin(self) -> None:
        connection = self._connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in (*(LISTS.format(kind) for kind in KINDS), INPUTS, f"PRAGMA user_version = {VERSION}"):
                connection.execute(statement)
            connection.execute("COMMIT")
        elif version != VERSION:
            raise OutputError(
                f"The store {self.path} is of another version or another program; give another --store, or delete it, "
                "and everything is read anew."
            )

    def position(self, kind: Kind) -> bytes | None:
        """How far the input of a kind has been read."""
        found = self._connection.execute("SELECT position FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return None if found is None else found[0]

    def made(self, kind: Kind) -> int | None:
        """When the latest record of a kind was made (epoch milliseconds), as it says itself."""
        found = self._connection.execute("SELECT made FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return found[0] or None if found is not None else None

    def apply(self, kind: Kind, batch: Batch) -> list[Change]:
        """Take over a batch and its position; what has changed for readers, in order.

        Raises `OutputError` if it cannot be written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    gone = self._apply(kind, batch)
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise OutputError(f"The store {self.path} cannot be written: {error}; make room or mend it.") from None
        return [*batch.changes, *gone]

    def _apply(self, kind: Kind, batch: Batch) -> list[Change]:
        execute, many = self._connection.execute, self._connection.executemany
        found = execute("SELECT generation, swept, made FROM inputs WHERE kind = ?", (kind,)).fetchone()
        generation, swept, made = found or (0, 0, 0)
        if batch.anew:
            generation += 1
        latest = {change.key: change for change in batch.changes}
        many(f"DELETE FROM {kind} WHERE key = ?", [(one.key,) for one in latest.values() if one.value is None])
        many(
            f"INSERT INTO {kind} VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value, generation = excluded.generation",
            [(one.key, one.value, generation) for one in latest.values() if one.value is not None],
        )
        gone: Iterable[tuple[str]] = ()
        if batch.at_end and swept < generation:
            gone = execute(f"DELETE FROM {kind} WHERE generation < ? RETURNING key", (generation,)).fetchall()
            swept = generation
        made = max([made, *(change.computed_at for change in batch.changes)])
        execute("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)", (kind, batch.position, generation, swept, made))
        return [Change(key, None) for (key,) in gone]

    def reading(self) -> Reading:
        """A connection to read with."""
        return Reading(self.path)

    def close(self) -> None:
        """Write what is in the log into the file, and close it."""
        with self._lock, closing(self._connection):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def open_store(path: str) -> Store:
    """The store in a file, made if there is none. Raises `OutputError` if it cannot be used."""
    if "://" in path:
        raise OutputError(f"{path} is no store: give the path of an SQLite file.")
    if not Path(path).parent.is_dir():
        raise OutputError(f"The folder of the store {path} does not exist: create {Path(path).parent}.")
    try:
        return Store(path)
    except sqlite3.Error as error:
        raise OutputError(
            f"The store {path} cannot be used: {error}; give another --store, or delete it to have all read anew."
        ) from None
