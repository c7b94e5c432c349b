"""Publishes to a consumer group how far a job's stored snapshots have come, for tools that watch the lag of groups.

Only what the recovery folder holds is published: the offsets at the epoch from which a job that is killed now would go
on. They are read from the folder by a thread of the process that started the job, so the job itself does nothing for
it, and never goes by what the group says.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from freshflow._safe_pickle import load_plain
from freshflow.config.schema import Config
from freshflow.io.kafka.errors import LOG
from freshflow.io.registry import open_offset_group
from freshflow.io.scheme import OffsetGroup

__all__ = ["publish_offsets", "read_stored_offsets"]

PUBLISH_INTERVAL_S = 5.0  # lag is looked at by the minute
SOURCE_STEP_ID = "freshflow.source"


@contextmanager
def publish_offsets(url: str, config: Config, recovery: Path | None) -> Iterator[None]:
    """Publish the offsets meanwhile, and the last ones when the job has ended well. Never raises for want of that."""
    group = open_offset_group(url, config)
    if group is None:
        yield
        return
    if recovery is None:
        LOG.warning("kafka.group needs --recovery: without, nothing is stored that could be published.")
        yield
        return
    stop_event = threading.Event()
    thread = threading.Thread(target=_publish_periodically, args=(group, recovery, stop_event), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop_event.set()
        thread.join()
    group.publish_offsets(_try_read_offsets(recovery))


def _publish_periodically(group: OffsetGroup, recovery: Path, stop_event: threading.Event) -> None:
    while not stop_event.wait(PUBLISH_INTERVAL_S):
        group.publish_offsets(_try_read_offsets(recovery))


def _try_read_offsets(recovery: Path) -> dict[str, int]:
    try:
        return read_stored_offsets(recovery)
    except (sqlite3.Error, ValueError):  # the job says so, if it matters
        return {}


def read_stored_offsets(recovery: Path) -> dict[str, int]:
    """The next offset to read of each part of the source, where a job would go on from this folder.

    That is at the earliest epoch that a worker of the last execution had not ended; snapshots before it count.
    """
    rows: list[tuple[int, str, bytes]] = []
    frontiers: list[tuple[int, int]] = []
    for path in recovery.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as part:
            snapshot_query = (
                "SELECT snap_epoch, state_key, ser_change FROM snaps WHERE step_id = ? AND ser_change IS NOT NULL"
            )
            rows += part.execute(snapshot_query, (SOURCE_STEP_ID,)).fetchall()
            frontiers += part.execute("SELECT ex_num, worker_frontier FROM fronts").fetchall()
    if not frontiers:
        return {}
    latest_execution = max(execution for execution, _ in frontiers)
    resume_epoch = min(frontier for execution, frontier in frontiers if execution == latest_execution)
    offsets = {key: load_plain(blob) for epoch, key, blob in sorted(rows) if epoch < resume_epoch}
    return {key: offset for key, offset in offsets.items() if isinstance(offset, int)}
