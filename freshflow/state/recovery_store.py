"""The recovery folder: Bytewax's store of snapshots, made once, and checked before several processes open it."""

import fcntl
import os
import re
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from bytewax.recovery import (
    InconsistentPartitionsError,
    MissingPartitionsError,
    NoPartitionsError,
    RecoveryConfig,
    init_db_dir,
)

from freshflow._safe_pickle import load_plain
from freshflow.errors import FreshFlowError, OutputError, SnapshotError
from freshflow.state.backend import MANIFEST_MAGIC, STATE_FILE_PATTERN, StateBackend, read_manifest

__all__ = [
    "LOCK_FILE_NAME",
    "STATES_DIR_NAME",
    "lock_recovery_dir",
    "open_state_backend",
    "disk_full_error",
    "open_recovery_store",
    "translate_store_errors",
]

# Recovery partitions: each is a file that one worker writes; a handful serves from one process to eight.
N_RECOVERY_PARTITIONS = 8
LOCK_FILE_NAME, LOCK_TIMEOUT_S = (
    "in-use",
    5.0,
)  # a file that the job holds locked; the last job's processes may take a moment to end
MIN_FREE_BYTES = 1 << 20  # bytes without which the store cannot be opened or written
STATES_DIR_NAME = "states"  # the folder in it for files of our own
# What Bytewax raises where a recovery folder holds something else, or not all of it.
BYTEWAX_RECOVERY_ERRORS = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)
# How Bytewax says, in the words of its code, that a file there is damaged or cannot be opened or written.
STORE_FAILURE_PATTERN = re.compile(r'(?:SqliteFailure.*Some\("|(?=Error opening recovery DB))([^"]*)')


def open_recovery_store(folder: Path) -> RecoveryConfig:
    """The store in a folder, made for us alone if there is none yet. Raises `OutputError` if anybody may write to it.

    Whoever can write there decides what the job reads as its own state. A group may: volumes of containers are often
    given to one, and it is for whoever runs the job to say who is in it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & stat.S_IWOTH:
            raise OutputError(
                f"Anybody may write to the recovery folder {folder}, and so to the state of the job: take that away "
                f"(chmod o-w {folder}), or give a new folder in it ({folder / 'state'}), which will be the job's alone."
            )
        if not any(folder.iterdir()):
            init_db_dir(folder, N_RECOVERY_PARTITIONS)
    except OSError as error:
        raise OutputError(f"The recovery folder {folder} cannot be used: {error.strerror}.") from None
    return RecoveryConfig(folder)


def open_state_backend(folder: Path | None) -> StateBackend:
    """Where states are kept by a job with this recovery folder, if it has one."""
    if folder is None:
        return StateBackend()
    has_snapshots = any(_read_snapshots(folder, path) for path in folder.glob("part-*.sqlite3"))
    return StateBackend(is_enabled=True, folder=folder / STATES_DIR_NAME, has_snapshots=has_snapshots)


@contextmanager
def lock_recovery_dir(folder: Path, settings: dict[str, Any]) -> Iterator[int]:
    """Hold a recovery folder, made if there is none yet, for one job alone, and tidy it up before and after.

    Gives the descriptor of its lock, for the processes of the job to hold, too, until the last one is gone. Raises
    `SnapshotError` if it is none, damaged or incomplete (in a cluster Bytewax says so in no process), and
    `OutputError` if another job holds it or its disk is full. Raises `SnapshotError`, too, if it is of a job with other
    `settings` of how users are split: of another number of partitions Bytewax makes a panic where sinks have as many
    parts.
    """
    open_recovery_store(folder)
    _check_parts_complete(folder)
    with (folder / LOCK_FILE_NAME).open("wb") as lock:
        _acquire_lock(folder, lock)
        snapshots = _delete_unreferenced_files(folder)
        _check_split(snapshots, settings)
        yield lock.fileno()
        _delete_unreferenced_files(folder)


def _acquire_lock(folder: Path, lock: BinaryIO) -> None:
    deadline_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise OutputError(
                    f"The recovery folder {folder} is in use by another job; stop that one, or give another folder."
                ) from None
            time.sleep(0.05)
        else:
            return


def _check_split(snapshots: list[bytes], settings: dict[str, Any]) -> None:
    for blob in snapshots:
        if MANIFEST_MAGIC in blob:
            read_manifest(load_plain(blob), settings)


def _delete_unreferenced_files(folder: Path) -> list[bytes]:
    """Delete files of states that no snapshot refers to, left by a job that was killed; the snapshots there are."""
    snapshots = [blob for path in sorted(folder.glob("part-*.sqlite3")) for blob in _read_snapshots(folder, path)]
    referenced_names = {name.decode() for blob in snapshots for name in re.findall(STATE_FILE_PATTERN, blob)}
    for path in (folder / STATES_DIR_NAME).glob("*"):
        if re.fullmatch(STATE_FILE_PATTERN, path.name.encode()) and path.name not in referenced_names:
            path.unlink(missing_ok=True)
    return snapshots


def _read_snapshots(folder: Path, path: Path) -> list[bytes]:
    try:
        with closing(sqlite3.connect(path)) as part:
            blobs = [blob for (blob,) in part.execute("SELECT ser_change FROM snaps") if blob is not None]
    except sqlite3.Error as error:
        raise _unusable_error(folder, str(error)) from None
    for blob in blobs:
        _check_plain_value(folder, blob)
    return blobs


def _check_plain_value(folder: Path, blob: bytes) -> None:
    """Refuse what is no plain value before Bytewax unpickles it, which would execute what it names."""
    try:
        load_plain(blob)
    except Exception as error:  # there is no end to what a damaged pickle can raise
        raise _unusable_error(folder, f"a snapshot in it is damaged: {error}") from None


def _check_parts_complete(folder: Path) -> None:
    rows = [row for path in sorted(folder.glob("part-*.sqlite3")) for row in _read_part_rows(folder, path)]
    if not rows:
        raise _unusable_error(folder, "No recovery partitions found")
    n_expected = rows[0][1]
    n_present = len({index for index, n_parts in rows if n_parts == n_expected})
    if n_present != n_expected:
        raise _unusable_error(folder, f"missing {n_expected - n_present} of {n_expected} files")


def _read_part_rows(folder: Path, path: Path) -> list[tuple[int, int]]:
    try:
        with closing(sqlite3.connect(path)) as part:
            rows = part.execute("SELECT part_index, part_count FROM parts").fetchall()
    except sqlite3.Error as error:
        raise _unusable_error(folder, str(error)) from None
    if not all(isinstance(number, int) for row in rows for number in row):
        raise _unusable_error(folder, f"{path.name} is damaged")
    return rows


@contextmanager
def translate_store_errors(folder: Path | None) -> Iterator[None]:
    """Turn what Bytewax raises about a store into a `SnapshotError`, or an `OutputError` where its disk is full."""
    try:
        yield
    except BYTEWAX_RECOVERY_ERRORS as error:
        raise _unusable_error(folder, str(error)) from None
    except RuntimeError as error:
        failure = STORE_FAILURE_PATTERN.search(str(error))
        if failure is None:
            raise
        raise _unusable_error(folder, failure[1]) from None


def disk_full_error(folder: Path) -> OutputError | None:
    """What is to be told if the disk of a recovery folder is full: the store then fails with a word on its files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(MIN_FREE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return OutputError(
            f"The recovery folder {folder} cannot be written: {error.strerror}; make room there, and start the "
            "job again."
        )
    return None


def _unusable_error(folder: Path | None, detail: str) -> FreshFlowError:
    return (folder and disk_full_error(folder)) or SnapshotError(
        f"The recovery folder {folder} cannot be used ({detail}); restore it, or give an empty one."
    )
