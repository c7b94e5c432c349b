"""Check of the recovery folder, which is read without changing it."""

import fcntl
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freshflow._safe_pickle import load_plain
from freshflow.engine.snapshot import PARTITION_SNAPSHOT, state_settings
from freshflow.errors import SnapshotError
from freshflow.io.findings import Finding, failed, passed
from freshflow.state.bytewax_store import PART_PATTERN, part_paths, read_latest_snapshots
from freshflow.state.manifest import MANIFEST_MAGIC, read_manifest
from freshflow.state.recovery_store import LOCK_FILE_NAME, STATES_DIR_NAME
from freshflow.streaming.experiment import Variants
from freshflow.users.anonymous import ANONYMOUS_SNAPSHOT
from freshflow.users.store import USER_SNAPSHOT

SUBJECT = "recovery"
MIN_FREE_BYTES, N_STATE_COPIES = 1 << 26, 3  # bytes; new states are written beside the old ones


def check_recovery_folder(folder: Path | None, variants: Variants) -> Iterator[Finding]:
    """Yield findings on the recovery folder: a job can write its state there and resume from it."""
    if folder is None:
        yield passed(SUBJECT, "none: a job that is started again begins anew (--recovery keeps its state)")
        return
    if not folder.exists():
        yield from _check_new_folder(folder)
        return
    if not folder.is_dir():
        yield failed(SUBJECT, f"{folder} is a file: give a folder.")
        return
    if folder.stat().st_mode & stat.S_IWOTH:
        yield failed(SUBJECT, f"anybody may write to {folder}, and so to the state of the job: chmod o-w {folder}.")
        return
    if _is_locked(folder):
        yield failed(SUBJECT, f"{folder} is in use by another job: stop that one, or give another folder.")
        return
    if not any(folder.iterdir()):
        yield from _check_free_space(folder, 0, "empty: the job begins anew")
        return
    used_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield from _check_free_space(
        folder, used_bytes, f"the job goes on from its snapshots, {_count_states(folder, variants)} of them"
    )


def _check_new_folder(folder: Path) -> Iterator[Finding]:
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    yield from _check_free_space(parent, 0, f"{folder} will be made: the job begins anew")


def _check_free_space(folder: Path, used_bytes: int, message: str) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder):  # it has no name, so the folder does not change
            pass
    except OSError as error:
        yield failed(
            SUBJECT, f"{folder} cannot be written to: {error.strerror}; give this user the right, or another folder."
        )
        return
    free_bytes, required_bytes = shutil.disk_usage(folder).free, max(MIN_FREE_BYTES, N_STATE_COPIES * used_bytes)
    if free_bytes < required_bytes:
        yield failed(
            SUBJECT,
            f"{folder} has {free_bytes >> 20:,} MB left, and {required_bytes >> 20:,} MB may be needed: make room.",
        )
    else:
        yield passed(SUBJECT, f"{message}; {free_bytes >> 20:,} MB are free")


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / LOCK_FILE_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _expected_states(variants: Variants) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Return the stateful steps with the version line of their states and the settings that shape them."""
    split_settings = variants.split_settings()
    steps = {
        "guests": (ANONYMOUS_SNAPSHOT.version_line, split_settings),
        "users": (USER_SNAPSHOT.version_line, split_settings),
    }
    for number, config in enumerate(variants.configs):
        steps[variants.step_id(number)] = (
            PARTITION_SNAPSHOT.version_line,
            state_settings(config) | split_settings,
        )
    return {f"freshflow.{step}": expected for step, expected in steps.items()}


def _count_states(folder: Path, variants: Variants) -> int:
    """Count the states to resume from; raises `SnapshotError` for another version or other settings.

    SQLite writes beside a database even to read it, so copies are read.
    """
    steps = _expected_states(variants)
    with tempfile.TemporaryDirectory(prefix="freshflow-check-") as copy_folder:
        for path in folder.glob(f"{PART_PATTERN}*"):
            shutil.copy(path, copy_folder)
        if not part_paths(Path(copy_folder)):
            raise SnapshotError(f"The recovery folder {folder} holds something else; give an empty or a new one.")
        try:
            latest = read_latest_snapshots(Path(copy_folder))
        except sqlite3.Error as error:
            raise SnapshotError(f"The recovery folder {folder} cannot be used ({error}); restore it whole.") from None
    states = [(*steps[step], load_plain(stored.pickled)) for (step, _), stored in latest.items() if step in steps]
    for version, settings, state in states:
        if state.startswith(MANIFEST_MAGIC):
            reference = read_manifest(state, settings)
            if reference.snapshot is None:
                continue
            with (folder / STATES_DIR_NAME / reference.snapshot[0]).open("rb") as snapshot_file:
                header = snapshot_file.read(len(version))
        else:
            header = state[: len(version)]
        if header and header != version:
            raise SnapshotError(
                f"The recovery folder {folder} is of another version of FreshFlow; resume with that version, or start "
                "anew with an empty folder."
            )
    return len(states)
