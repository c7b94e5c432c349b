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

from freshflow._safe_pickle import plain
from freshflow.errors import FreshFlowError, OutputError, SnapshotError
from freshflow.state.backend import FILE_NAME, MAGIC, Keeping, referred

__all__ = ["LOCK", "STATES", "held", "keeping_in", "no_room", "open_store", "store_errors_as_sentences"]

# Recovery partitions: each is a file that one worker writes; a handful serves from one process to eight.
RECOVERY_PARTS = 8
LOCK, LOCK_S = "in-use", 5.0  # a file that the job holds locked; the last job's processes may take a moment to end
ROOM = 1 << 20  # bytes without which the store cannot be opened or written
STATES = "states"  # the folder in it for files of our own
# What Bytewax raises where a recovery folder holds something else, or not all of it.
UNUSABLE = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)
# How Bytewax says, in the words of its code, that a file there is damaged or cannot be opened or written.
STORE_FAILURE = re.compile(r'(?:SqliteFailure.*Some\("|(?=Error opening recovery DB))([^"]*)')


def open_store(folder: Path) -> RecoveryConfig:
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
            init_db_dir(folder, RECOVERY_PARTS)
    except OSError as error:
        raise OutputError(f"The recovery folder {folder} cannot be used: {error.strerror}.") from None
    return RecoveryConfig(folder)


def keeping_in(folder: Path | None) -> Keeping:
    """Where states are kept by a job with this recovery folder, if it has one."""
    if folder is None:
        return Keeping()
    resumes = any(_snapshots(folder, path) for path in folder.glob("part-*.sqlite3"))
    return Keeping(any=True, folder=folder / STATES, resumes=resumes)


@contextmanager
def held(folder: Path, settings: dict[str, Any]) -> Iterator[int]:
    """Hold a recovery folder, made if there is none yet, for one job alone, and tidy it up before and after.

    Gives the descriptor of its lock, for the processes of the job to hold, too, until the last one is gone. Raises
    `SnapshotError` if it is none, damaged or incomplete (in a cluster Bytewax says so in no process), and
    `OutputError` if another job holds it or its disk is full. Raises `SnapshotError`, too, if it is of a job with other
    `settings` of how users are split: of another number of partitions Bytewax makes a panic where sinks have as many
    parts.
    """
    open_store(folder)
    _check(folder)
    with (folder / LOCK).open("wb") as lock:
        _lock(folder, lock)
        stored = _sweep(folder)
        _check_split(stored, settings)
        yield lock.fileno()
        _sweep(folder)


def _lock(folder: Path, lock: BinaryIO) -> None:
    end_s = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise OutputError(
                    f"The recovery folder {folder} is in use by another job; stop that one, or give another folder."
                ) from None
            time.sleep(0.05)
        else:
            return


def _check_split(stored: list[bytes], settings: dict[str, Any]) -> None:
    for blob in stored:
        if MAGIC in blob:
            referred(plain(blob), settings)


def _sweep(folder: Path) -> list[bytes]:
    """Delete files of states that no snapshot refers to, left by a job that was killed; the snapshots there are."""
    stored = [blob for path in sorted(folder.glob("part-*.sqlite3")) for blob in _snapshots(folder, path)]
    wanted = {name.decode() for blob in stored for name in re.findall(FILE_NAME, blob)}
    for path in (folder / STATES).glob("*"):
        if re.fullmatch(FILE_NAME, path.name.encode()) and path.name not in wanted:
            path.unlink(missing_ok=True)
    return stored


def _snapshots(folder: Path, path: Path) -> list[bytes]:
    try:
        with closing(sqlite3.connect(path)) as part:
            blobs = [blob for (blob,) in part.execute("SELECT ser_change FROM snaps") if blob is not None]
    except sqlite3.Error as error:
        raise _unusable(folder, str(error)) from None
    for blob in blobs:
        _check_plain(folder, blob)
    return blobs


def _check_plain(folder: Path, blob: bytes) -> None:
    """Refuse what is no plain value before Bytewax unpickles it, which would execute what it names."""
    try:
        plain(blob)
    except Exception as error:  # there is no end to what a damaged pickle can raise
        raise _unusable(folder, f"a snapshot in it is damaged: {error}") from None


def _check(folder: Path) -> None:
    rows = [row for path in sorted(folder.glob("part-*.sqlite3")) for row in _rows(folder, path)]
    if not rows:
        raise _unusable(folder, "No recovery partitions found")
    count = rows[0][1]
    there = len({index for index, of in rows if of == count})
    if there != count:
        raise _unusable(folder, f"missing {count - there} of {count} files")


def _rows(folder: Path, path: Path) -> list[tuple[int, int]]:
    try:
        with closing(sqlite3.connect(path)) as part:
            rows = part.execute("SELECT part_index, part_count FROM parts").fetchall()
    except sqlite3.Error as error:
        raise _unusable(folder, str(error)) from None
    if not all(isinstance(number, int) for row in rows for number in row):
        raise _unusable(folder, f"{path.name} is damaged")
    return rows


@contextmanager
def store_errors_as_sentences(folder: Path | None) -> Iterator[None]:
    """Turn what Bytewax raises about a store into a `SnapshotError`, or an `OutputError` where its disk is full."""
    try:
        yield
    except UNUSABLE as error:
        raise _unusable(folder, str(error)) from None
    except RuntimeError as error:
        what = STORE_FAILURE.search(str(error))
        if what is None:
            raise
        raise _unusable(folder, what[1]) from None


def no_room(folder: Path) -> OutputError | None:
    """What is to be told if the disk of a recovery folder is full: the store then fails with a word on its files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(ROOM))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return OutputError(
            f"The recovery folder {folder} cannot be written: {error.strerror}; make room there, and start the "
            "job again."
        )
    return None


def _unusable(folder: Path | None, what: str) -> FreshFlowError:
    return (folder and no_room(folder)) or SnapshotError(
        f"The recovery folder {folder} cannot be used ({what}); restore it, or give an empty one."
    )
