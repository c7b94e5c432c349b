"""The adapter to Bytewax's internals: the SQLite tables of its recovery store, and the hash by which it routes keys.

Neither is public in Bytewax, so the version is checked: another one may have other tables or another hash. A recovery
folder holds several databases, named part-N.sqlite3, with these tables:

    parts (part_index, part_count)                        which part of how many this is
    snaps (step_id, state_key, snap_epoch, ser_change)    a pickled snapshot of a key; NULL where the key was discarded
    fronts (ex_num, worker_index, worker_frontier)        the first epoch that a worker of an execution had not ended
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from freshflow.errors import FreshFlowError

SUPPORTED_VERSION = "0.21."
PART_PATTERN = "part-*.sqlite3"
MASK_64_BITS = (1 << 64) - 1


class StoredSnapshot(NamedTuple):
    """A snapshot of one key of one step at the end of an epoch, `pickled` as Bytewax stores it."""

    epoch: int
    step_id: str
    key: str
    pickled: bytes


class PartNumber(NamedTuple):
    """The number of a part, and of how many; of a damaged store these are values of any type."""

    index: Any
    n_parts: Any


@cache
def check_bytewax_version() -> None:
    """Raise `FreshFlowError` if Bytewax is of a version whose tables and hash this module does not know."""
    installed = version("bytewax")
    if not installed.startswith(SUPPORTED_VERSION):
        raise FreshFlowError(
            f"Bytewax {installed} is installed, and FreshFlow reads the recovery store of Bytewax {SUPPORTED_VERSION}x "
            "alone; install that version."
        )


def part_paths(folder: Path) -> list[Path]:
    """Return the databases of a recovery folder."""
    return sorted(folder.glob(PART_PATTERN))


def read_part_numbers(path: Path) -> list[PartNumber]:
    """Return the parts that a database says it is, which is one. Raises `sqlite3.Error`."""
    return [PartNumber(*row) for row in _query(path, "SELECT part_index, part_count FROM parts")]


def read_snapshots(folder: Path) -> list[StoredSnapshot]:
    """Return the snapshots of a recovery folder by rising epoch. Raises `sqlite3.Error`."""
    return _select_snapshots(folder, None)


def read_latest_snapshots(folder: Path) -> dict[tuple[str, str], StoredSnapshot]:
    """Return the latest snapshot of each step and key of a recovery folder. Raises `sqlite3.Error`."""
    return {(snapshot.step_id, snapshot.key): snapshot for snapshot in read_snapshots(folder)}


def read_resume_snapshots(folder: Path, step_id: str) -> dict[str, StoredSnapshot]:
    """Return by key the snapshots of a step from which a job would resume, while one may be running.

    A job resumes at the earliest epoch that a worker of the last execution had not ended; snapshots before it count.
    Raises `sqlite3.Error`.
    """
    snapshots = _select_snapshots(folder, step_id, mode="ro")
    query = "SELECT ex_num, worker_frontier FROM fronts"
    frontiers = [row for path in part_paths(folder) for row in _query(path, query, mode="ro")]
    if not frontiers:
        return {}
    latest_execution = max(execution for execution, _ in frontiers)
    resume_epoch = min(frontier for execution, frontier in frontiers if execution == latest_execution)
    return {snapshot.key: snapshot for snapshot in snapshots if snapshot.epoch < resume_epoch}


def _select_snapshots(folder: Path, step_id: str | None, *, mode: str = "rw") -> list[StoredSnapshot]:
    query = (
        "SELECT snap_epoch, step_id, state_key, ser_change FROM snaps "
        "WHERE ser_change IS NOT NULL AND step_id = ifnull(?, step_id)"
    )
    rows = [row for path in part_paths(folder) for row in _query(path, query, step_id, mode=mode)]
    return sorted((StoredSnapshot(*row) for row in rows), key=lambda snapshot: snapshot.epoch)


def _query(path: Path, query: str, *parameters: object, mode: str = "rw") -> Sequence[tuple[Any, ...]]:
    """Run a query. Mode "rw" lets SQLite remove its helper files afterwards; "ro" never disturbs a running job."""
    check_bytewax_version()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as database:
        return database.execute(query, parameters).fetchall()


def worker_of(key: str, n_workers: int) -> int:
    """Return the worker that Bytewax routes a key to: SipHash-1-3 of the key modulo the workers."""
    check_bytewax_version()
    return _siphash13(key.encode() + b"\xff") % n_workers


def _siphash13(message: bytes) -> int:
    """Compute SipHash-1-3 with a zero key (Aumasson and Bernstein, 2012), as Rust's default hasher does."""
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for offset in range(0, len(padded), 8):
        word = int.from_bytes(padded[offset : offset + 8], "little")
        v[3] ^= word
        _sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _sip_round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & MASK_64_BITS
    v[1] = _rotate_left(v[1], 13) ^ v[0]
    v[0] = _rotate_left(v[0], 32)
    v[2] = (v[2] + v[3]) & MASK_64_BITS
    v[3] = _rotate_left(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & MASK_64_BITS
    v[3] = _rotate_left(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & MASK_64_BITS
    v[1] = _rotate_left(v[1], 17) ^ v[2]
    v[2] = _rotate_left(v[2], 32)


def _rotate_left(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (64 - bits))) & MASK_64_BITS
