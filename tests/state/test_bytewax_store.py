"""The adapter to Bytewax's tables and hash: what it reads is what Bytewax wrote, of the version that it knows."""

import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from freshflow.errors import FreshFlowError
from freshflow.state import bytewax_store
from freshflow.state.bytewax_store import (
    part_paths,
    read_latest_snapshots,
    read_part_numbers,
    read_resume_snapshots,
    read_snapshots,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recovery folder of two parts, whose job was resumed once."""
    init_db_dir(tmp_path, 2)
    snaps = [
        [("f.source", "a", 1, 10), ("f.source", "a", 3, 30), ("f.users", "u", 1, 1), ("f.users", "gone", 2, None)],
        [("f.source", "b", 2, 20), ("f.source", "a", 2, 25), ("f.source", "a", 5, 50)],
    ]
    frontiers = [[(0, 0, 9), (1, 0, 5)], [(0, 1, 9), (1, 1, 4)]]
    for path, rows, fronts in zip(part_paths(tmp_path), snaps, frontiers, strict=True):
        with closing(sqlite3.connect(path)) as part, part:
            for step, key, epoch, value in rows:
                part.execute(
                    "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)",
                    (step, key, epoch, None if value is None else pickle.dumps(value)),
                )
            part.executemany("INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, ?, ?)", fronts)
    return tmp_path


def test_part_numbers_are_read(folder):
    assert [read_part_numbers(path) for path in part_paths(folder)] == [[(0, 2)], [(1, 2)]]


def test_snapshots_are_read_by_epoch_without_discarded_keys(folder):
    stored = [(one.epoch, one.step_id, one.key, pickle.loads(one.pickled)) for one in read_snapshots(folder)]
    assert sorted(stored) == [
        (1, "f.source", "a", 10),
        (1, "f.users", "u", 1),
        (2, "f.source", "a", 25),
        (2, "f.source", "b", 20),
        (3, "f.source", "a", 30),
        (5, "f.source", "a", 50),
    ]
    assert [one.epoch for one in read_snapshots(folder)] == [1, 1, 2, 2, 3, 5]


def test_latest_snapshots_are_those_of_the_highest_epoch(folder):
    latest = {name: pickle.loads(one.pickled) for name, one in read_latest_snapshots(folder).items()}
    assert latest == {("f.source", "a"): 50, ("f.source", "b"): 20, ("f.users", "u"): 1}


def test_resume_snapshots_are_before_the_slowest_frontier_of_the_last_execution(folder):
    resumed = {key: pickle.loads(one.pickled) for key, one in read_resume_snapshots(folder, "f.source").items()}
    assert resumed == {"a": 30, "b": 20}


def test_folder_without_an_execution_has_nothing_to_resume(tmp_path):
    init_db_dir(tmp_path, 1)
    assert read_resume_snapshots(tmp_path, "f.source") == {}


def test_reading_leaves_no_file(folder):
    before = {path.name for path in folder.iterdir()}
    read_snapshots(folder)
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.parametrize("installed", ["0.20.1", "0.22.0", "1.21.1"])
def test_other_version_of_bytewax_is_refused(monkeypatch, folder, installed):
    monkeypatch.setattr(bytewax_store, "version", lambda _: installed)
    bytewax_store.check_bytewax_version.cache_clear()
    with pytest.raises(FreshFlowError, match=rf"Bytewax {installed} is installed, .* Bytewax 0\.21\.x alone; install"):
        read_snapshots(folder)
    monkeypatch.undo()
    bytewax_store.check_bytewax_version.cache_clear()
    assert read_snapshots(folder)
