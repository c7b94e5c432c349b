"""The recovery folder: Bytewax's store of snapshots, and the files of states beside it.

It is created once, held by one job at a time, and checked before Bytewax opens it in several processes.
"""

import fcntl
import os
import re
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from freshflow.state.backend import StateBackend
from freshflow.state.bytewax_store import PartNumber, part_paths, read_part_numbers, read_snapshots
from freshflow.state.manifest import MANIFEST_MAGIC, STATE_FILE_PATTERN, read_manifest

# Each recovery partition is a file that one worker writes; a handful serves from one process to eight.
N_RECOVERY_PARTITIONS = 8
LOCK_FILE_NAME = "in-use"  # the job holds a lock on it
LOCK_TIMEOUT_S = 5.0  # the processes of the last job may take a moment to end
MIN_FREE_BYTES = 1 << 20  # with less, the store cannot be opened or written
STATES_DIR_NAME = "states"  # the folder of our own files
# The exceptions that Bytewax raises if a recovery folder is incomplete or holds something else.
BYTEWAX_RECOVERY_ERRORS = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)
# The words of Bytewax's Rust code for a file that is damaged, or cannot be opened or written.
STORE_FAILURE_PATTERN = re.compile(r'(?:SqliteFailure.*Some\("|(?=Error opening recovery DB))([^"]*)')


def open_recovery_store(folder: Path) -> RecoveryConfig:
    """Return the store in a folder, which is created with access for this user alone if it does not exist.

    A snapshot decides the state of the job, so a folder that anyone may write to raises `OutputError`. A group may have
    access: volumes of containers are often given to one, and the operator says who is in it.
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
    """Return the backend for a job with this recovery folder, or for one without."""
    if folder is None:
        return StateBackend()
    return StateBackend(is_enabled=True, folder=folder / STATES_DIR_NAME, has_snapshots=bool(_read_pickles(folder)))


@contextmanager
def lock_recovery_dir(folder: Path, settings: dict[str, Any]) -> Iterator[int]:
    """Hold a recovery folder for one job, and delete unreferenced files before and after.

    Args:
        folder: The folder, which is created if it does not exist.
        settings: The settings of how users are split over partitions. With another number of partitions than the
            folder was written with, Bytewax would panic, if sinks have as many.

    Yields:
        The descriptor of the lock; the processes of the job inherit it, and the last one that ends releases it.

    Raises:
        OutputError: Another job holds the folder, or its disk is full.
        SnapshotError: The folder is damaged, incomplete, or of a job with other settings. In a cluster Bytewax would
            report this in no process.
    """
    open_recovery_store(folder)
    _check_parts_complete(folder)
    with (folder / LOCK_FILE_NAME).open("wb") as lock:
        _acquire_lock(folder, lock)
        _check_split(_delete_unreferenced_files(folder), settings)
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


def _check_split(pickles: list[bytes], settings: dict[str, Any]) -> None:
    for pickled in pickles:
        if MANIFEST_MAGIC in pickled:
            read_manifest(load_plain(pickled), settings)


def _delete_unreferenced_files(folder: Path) -> list[bytes]:
    """Delete state files that no snapshot names, left by a job that was killed, and return the pickled snapshots."""
    pickles = _read_pickles(folder)
    referenced_names = {name.decode() for pickled in pickles for name in re.findall(STATE_FILE_PATTERN, pickled)}
    for path in (folder / STATES_DIR_NAME).glob("*"):
        if re.fullmatch(STATE_FILE_PATTERN, path.name.encode()) and path.name not in referenced_names:
            path.unlink(missing_ok=True)
    return pickles


def _read_pickles(folder: Path) -> list[bytes]:
    """Return the pickled snapshots, once it is clear that they are plain values.

    Bytewax unpickles them without a check, and a planted one would execute any code.
    """
    try:
        pickles = [snapshot.pickled for snapshot in read_snapshots(folder)]
    except sqlite3.Error as error:
        raise _unusable_error(folder, str(error)) from None
    for pickled in pickles:
        try:
            load_plain(pickled)
        except Exception as error:  # a damaged pickle can raise anything
            raise _unusable_error(folder, f"a snapshot in it is damaged: {error}") from None
    return pickles


def _check_parts_complete(folder: Path) -> None:
    numbers = [number for path in part_paths(folder) for number in _read_part_numbers(folder, path)]
    if not numbers:
        raise _unusable_error(folder, "No recovery partitions found")
    n_expected = numbers[0].n_parts
    n_present = len({number.index for number in numbers if number.n_parts == n_expected})
    if n_present != n_expected:
        raise _unusable_error(folder, f"missing {n_expected - n_present} of {n_expected} files")


def _read_part_numbers(folder: Path, path: Path) -> list[PartNumber]:
    try:
        numbers = read_part_numbers(path)
    except sqlite3.Error as error:
        raise _unusable_error(folder, str(error)) from None
    if not all(isinstance(value, int) for number in numbers for value in number):
        raise _unusable_error(folder, f"{path.name} is damaged")
    return numbers


@contextmanager
def translate_store_errors(folder: Path | None) -> Iterator[None]:
    """Raise `SnapshotError` for errors of Bytewax's about its store, or `OutputError` if the disk is full."""
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
    """Return an error if the disk of a recovery folder is full, which Bytewax reports as a damaged file."""
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
