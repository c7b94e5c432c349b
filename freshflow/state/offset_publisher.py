"""Publishes the offsets of a job's stored snapshots to a consumer group, for tools that watch the lag of groups.

The offsets are those at the epoch from which a job that is killed now would resume. A thread of the process that
started the job reads them from the recovery folder; the job itself does no work for it, and never reads the group.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freshflow._safe_pickle import load_plain
from freshflow.config.schema import Config
from freshflow.io.kafka.errors import LOG
from freshflow.io.registry import open_offset_group
from freshflow.io.scheme import OffsetGroup
from freshflow.state.bytewax_store import read_resume_snapshots

PUBLISH_INTERVAL_S = 5.0  # lag is watched by the minute
SOURCE_STEP_ID = "freshflow.source"


@contextmanager
def publish_offsets(url: str, config: Config, recovery: Path | None) -> Iterator[None]:
    """Publish offsets while the body runs, and the last ones after it has succeeded.

    Args:
        url: The input of the job; only some schemes have offsets to publish.
        config: The configuration, with the consumer group in `kafka.group`.
        recovery: The recovery folder, if the job has one.
    """
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
    except (sqlite3.Error, ValueError):  # if the folder is damaged, the job reports it
        return {}


def read_stored_offsets(recovery: Path) -> dict[str, int]:
    """Return the next offset to read of each partition of the source, where a job would resume from this folder."""
    snapshots = read_resume_snapshots(recovery, SOURCE_STEP_ID)
    offsets = {key: load_plain(snapshot.pickled) for key, snapshot in snapshots.items()}
    return {key: offset for key, offset in offsets.items() if isinstance(offset, int)}
