"""Store in one SQLite file; WAL mode lets any number of connections read during a write.

Deleted rows are overwritten with zeros (`secure_delete`), and the write-ahead log is truncated afterwards, so no byte
of a forgotten user stays in the folder.
"""

import os
import sqlite3
import stat
import threading
from contextlib import closing, suppress
from pathlib import Path

from freshflow.errors import OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.responses import LIST_KINDS, ListKind

SQLITE_SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10.0
FILE_SUFFIXES = ("", "-wal", "-shm")  # SQLite reads all three files, so all are checked
LIST_TABLE_SQL = "CREATE TABLE {} (key TEXT PRIMARY KEY, value BLOB NOT NULL, generation INTEGER NOT NULL)"
INPUTS_TABLE_SQL = (
    "CREATE TABLE inputs (kind TEXT PRIMARY KEY, position BLOB, generation INTEGER NOT NULL, swept INTEGER NOT NULL, "
    "made INTEGER NOT NULL, lists INTEGER NOT NULL)"
)
SCHEMA = (*(LIST_TABLE_SQL.format(kind) for kind in LIST_KINDS), INPUTS_TABLE_SQL)
UPDATE_LIST_SQL = "UPDATE {} SET value = ?2, generation = ?3 WHERE key = ?1"
INSERT_LIST_SQL = "INSERT OR IGNORE INTO {} VALUES (?1, ?2, ?3)"
ListRow = tuple[str, bytes, int]


class SqliteStoreReader:
    """Reader connection for one thread; sees every committed transaction."""

    is_blocking = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = _connect(path)

    def get_list(self, kind: ListKind, key: str) -> bytes | None:
        """Return the latest list of a key as published, or None if there is none."""
        try:
            row = self._connection.execute(f"SELECT value FROM {kind} WHERE key = ?", (key,)).fetchone()
        except UnicodeEncodeError:  # half of a surrogate pair, which no id contains
            return None
        except sqlite3.Error as error:
            raise self._read_error(error) from None
        return None if row is None else bytes(row[0])

    def count_lists(self) -> tuple[int, int]:
        """Return the numbers of users and of items with a list."""
        try:
            list_counts = dict(self._connection.execute("SELECT kind, lists FROM inputs").fetchall())
        except sqlite3.Error as error:
            raise self._read_error(error) from None
        users, items = (list_counts.get(kind, 0) for kind in LIST_KINDS)
        return users, items

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read_error(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"The store {self._path} cannot be read: {error}; repair it, or delete it to read all lists again."
        )


class SqliteStore:
    """Writer of the lists (`freshflow.serving.store.Store`)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = _connect(path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A power failure may lose the last transactions, but always the lists together with their position.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._open_schema()
        self._positions = {kind: self.position(kind) for kind in LIST_KINDS}

    def position(self, kind: ListKind) -> bytes | None:
        """Return the stored position of the input of a kind, or None before the first batch."""
        row = self._connection.execute("SELECT position FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return None if row is None else bytes(row[0])

    def latest_computed_at(self, kind: ListKind) -> int | None:
        """Return the latest `computed_at` of the stored records of a kind (epoch milliseconds), or None."""
        row = self._connection.execute("SELECT made FROM inputs WHERE kind = ?", (kind,)).fetchone()
        return row[0] or None if row is not None else None

    def apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        """Store a batch and its position in one transaction; return the changes that readers see, in order.

        Raises:
            OutputError: If SQLite fails, or another server has written to the store.
        """
        with self._lock:
            try:
                removals = self._apply_in_transaction(kind, batch)
                self._positions[kind] = batch.position
                if batch.is_at_end and (removals or any(change.value is None for change in batch.changes)):
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                raise OutputError(
                    f"The store {self._path} cannot be written: {error}; free disk space or repair it."
                ) from None
        return [*batch.changes, *removals]

    def open_reader(self) -> SqliteStoreReader:
        """Open a reader connection."""
        return SqliteStoreReader(self._path)

    def close(self) -> None:
        """Move the write-ahead log into the file, and close the connection."""
        with self._lock, closing(self._connection), suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _open_schema(self) -> None:
        """Create the tables of a new file; refuse any other schema, as its triggers would run at every write."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            version = execute("PRAGMA user_version").fetchone()[0]
            table_definitions = {sql for (sql,) in execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if version == 0 and not table_definitions:
                for statement in (*SCHEMA, f"PRAGMA user_version = {SQLITE_SCHEMA_VERSION}"):
                    execute(statement)
            elif version != SQLITE_SCHEMA_VERSION or table_definitions != set(SCHEMA):
                raise OutputError(
                    f"The store {self._path} was written by another version or another program; give another "
                    "--store, or delete it to read all lists again."
                )
        except BaseException:
            execute("ROLLBACK")
            raise
        execute("COMMIT")

    def _apply_in_transaction(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            removals = self._apply(kind, batch)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # some errors end the transaction themselves
                self._connection.execute("ROLLBACK")
            raise
        return removals

    def _apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        execute = self._connection.execute
        input_row = execute(
            "SELECT position, generation, swept, made, lists FROM inputs WHERE kind = ?", (kind,)
        ).fetchone()
        position, generation, swept_generation, latest_computed_at, n_lists = input_row or (None, 0, 0, 0, 0)
        if position != self._positions[kind]:
            raise OutputError(
                f"The store {self._path} was written by another server; give each server its own --store, and "
                "restart this one."
            )
        generation += batch.is_full_reload
        latest_changes = {change.key: change for change in batch.changes}.values()
        list_rows = [
            (latest_change.key, latest_change.value, generation)
            for latest_change in latest_changes
            if latest_change.value is not None
        ]
        n_lists -= self._execute_many(
            f"DELETE FROM {kind} WHERE key = ?",
            [(latest_change.key,) for latest_change in latest_changes if latest_change.value is None],
        )
        self._execute_many(UPDATE_LIST_SQL.format(kind), list_rows)
        n_lists += self._execute_many(INSERT_LIST_SQL.format(kind), list_rows)  # ignores the rows updated above
        swept_keys: list[tuple[str]] = []
        if batch.is_at_end and swept_generation < generation:
            swept_keys = execute(f"DELETE FROM {kind} WHERE generation < ? RETURNING key", (generation,)).fetchall()
            swept_generation = generation
        latest_computed_at = max([latest_computed_at, *(change.computed_at for change in batch.changes)])
        new_input_row = (
            kind,
            batch.position,
            generation,
            swept_generation,
            latest_computed_at,
            n_lists - len(swept_keys),
        )
        execute("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?, ?)", new_input_row)
        return [ListChange(key, None) for (key,) in swept_keys]

    def _execute_many(self, statement: str, rows: list[ListRow] | list[tuple[str]]) -> int:
        """Run a statement for each row; return the number of table rows affected."""
        return self._connection.executemany(statement, rows).rowcount if rows else 0


def open_sqlite(path: str) -> SqliteStore:
    """Open the store in a file; a new file is readable by its owner only.

    Raises:
        OutputError: If the file cannot be used.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise OutputError(f"The folder of the store {path} does not exist: create {folder}.")
    try:
        for name in (f"{path}{suffix}" for suffix in FILE_SUFFIXES):
            _reject_world_writable(name)
        if not Path(path).exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return SqliteStore(path)
    except OSError as error:
        raise OutputError(
            f"The store {path} cannot be written: {error.strerror}; fix this, or give another --store."
        ) from None
    except sqlite3.Error as error:
        raise OutputError(
            f"The store {path} cannot be used: {error}; give another --store, or delete it to read all lists again."
        ) from None


def _reject_world_writable(path: str) -> None:
    """Refuse a file that any user may write; group write is allowed, as container volumes often need it."""
    if Path(path).exists() and Path(path).stat().st_mode & stat.S_IWOTH:
        raise OutputError(
            f"Every user of this machine may write to the store {path}: remove the permission (chmod o-w {path}), or "
            "delete the file to read all lists again."
        )


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S)
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from an untrusted source
    return connection
