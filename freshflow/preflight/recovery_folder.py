"""The recovery folder, read without touching it."""

import fcntl
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from freshflow._safe_pickle import plain
from freshflow.engine import snapshot
from freshflow.errors import SnapshotError
from freshflow.preflight.findings import Finding, bad, good
from freshflow.state.backend import MAGIC, referred
from freshflow.state.recovery_store import LOCK, STATES
from freshflow.streaming.experiment import Variants
from freshflow.users import anonymous, store

__all__ = ["recovery"]

WHAT = "recovery"
SNAPSHOTS = "SELECT step_id, state_key, ser_change FROM snaps WHERE ser_change IS NOT NULL ORDER BY snap_epoch"
LEAST_ROOM, COPIES = 1 << 26, 3  # bytes; new states are written beside the old ones


def recovery(folder: Path | None, variants: Variants) -> Iterator[Finding]:
    """Whether a job could keep its state there, and go on from what is there."""
    if folder is None:
        yield good(WHAT, "none: a job that is started again begins anew (--recovery keeps its state)")
        return
    if not folder.exists():
        yield from _new(folder)
        return
    if not folder.is_dir():
        yield bad(WHAT, f"{folder} is a file: give a folder.")
        return
    if folder.stat().st_mode & stat.S_IWOTH:
        yield bad(WHAT, f"anybody may write to {folder}, and so to the state of the job: chmod o-w {folder}.")
        return
    if _is_held(folder):
        yield bad(WHAT, f"{folder} is in use by another job: stop that one, or give another folder.")
        return
    if not any(folder.iterdir()):
        yield from _room(folder, 0, "empty: the job begins anew")
        return
    kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield from _room(folder, kept, f"the job goes on from its snapshots, {_states(folder, variants)} of them")


def _new(folder: Path) -> Iterator[Finding]:
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    yield from _room(parent, 0, f"{folder} will be made: the job begins anew")


def _room(folder: Path, kept: int, says: str) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder):  # it has no name, so nothing is to be seen of it
            pass
    except OSError as error:
        yield bad(
            WHAT, f"{folder} cannot be written to: {error.strerror}; give this user the right, or another folder."
        )
        return
    free, wanted = shutil.disk_usage(folder).free, max(LEAST_ROOM, COPIES * kept)
    if free < wanted:
        yield bad(WHAT, f"{folder} has {free >> 20:,} MB left, and {wanted >> 20:,} MB may be needed: make room.")
    else:
        yield good(WHAT, f"{says}; {free >> 20:,} MB are free")


def _is_held(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _steps(variants: Variants) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """The steps that have states: with which version these begin, and the settings that shape them."""
    split = variants.settings()
    steps = {"guests": (anonymous.SNAPSHOT_VERSION, split), "users": (store.SNAPSHOT_VERSION, split)}
    for number, config in enumerate(variants.configs):
        steps[variants.step(number)] = (snapshot.VERSION, snapshot.settings_of(config) | split)
    return {f"freshflow.{step}": of for step, of in steps.items()}


def _states(folder: Path, variants: Variants) -> int:
    """How many states there are to go on from; raises `SnapshotError` if one is of another version or other settings.

    SQLite writes beside a database even to read it, so copies are read.
    """
    steps = _steps(variants)
    latest: dict[tuple[str, str], bytes] = {}
    with tempfile.TemporaryDirectory(prefix="freshflow-check-") as copies:
        for path in folder.glob("part-*.sqlite3*"):
            shutil.copy(path, copies)
        parts = sorted(Path(copies).glob("part-*.sqlite3"))
        if not parts:
            raise SnapshotError(f"The recovery folder {folder} holds something else; give an empty or a new one.")
        try:
            for part in parts:
                with closing(sqlite3.connect(part)) as database:
                    rows = database.execute(SNAPSHOTS).fetchall()
                    latest |= {(step, key): blob for step, key, blob in rows}
        except sqlite3.Error as error:
            raise SnapshotError(f"The recovery folder {folder} cannot be used ({error}); restore it whole.") from None
    states = [(*steps[step], plain(blob)) for (step, _), blob in latest.items() if step in steps]
    for version, settings, stored in states:
        if stored.startswith(MAGIC):
            reference = referred(stored, settings)
            if reference.base is None:
                continue
            with (folder / STATES / reference.base[0]).open("rb") as base:
                begins = base.read(len(version))
        else:
            begins = stored[: len(version)]
        if begins and begins != version:
            raise SnapshotError(
                f"The recovery folder {folder} is of another version of FreshFlow; resume with that version, or start "
                "anew with an empty folder."
            )
    return len(states)
