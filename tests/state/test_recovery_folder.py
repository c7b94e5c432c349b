"""The recovery folder: who may write to it, and what is read of it without executing anything."""

import os
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from freshflow.errors import OutputError, SnapshotError
from freshflow.state.recovery_store import lock_recovery_dir, open_recovery_store
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Run = Callable[..., JobStats]
Simulate = Callable[..., object]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def stored(tmp_path: Path, run_here: Run, simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recovery folder of a short job."""
    monkeypatch.chdir(tmp_path)
    simulate("events.jsonl", events=300, users=20, items=20)
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=Path("state"))
    return Path("state")


def change(folder: Path, statement: str, *values: object) -> None:
    for path in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(path)) as part, part:
            part.execute(statement, values)


def test_a_folder_that_is_made_is_ours_alone_whatever_the_umask(stored: Path) -> None:
    assert mode(stored) == mode(stored / "states") == 0o700


def test_a_folder_that_is_there_keeps_its_mode_and_a_group_may_write_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    for allowed in (0o2770, 0o775, 0o755, 0o700):
        folder.chmod(allowed)
        open_recovery_store(folder)
        assert folder.stat().st_mode & 0o7777 == allowed


@pytest.mark.parametrize("open_to_all", [0o777, 0o1777, 0o702])
def test_a_folder_anybody_may_write_to_is_refused_and_one_in_it_is_not(tmp_path: Path, open_to_all: int) -> None:
    tmp_path.chmod(open_to_all)
    with pytest.raises(
        OutputError, match=r"^Anybody may write to the recovery folder .*chmod o-w .*state\)"
    ) as refusal:
        open_recovery_store(tmp_path)
    assert str(refusal.value).endswith(".")
    assert not any(tmp_path.iterdir())
    open_recovery_store(tmp_path / "state")
    assert mode(tmp_path / "state") == 0o700


class Touch:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch broken-in",)


@pytest.mark.parametrize("planted", [pickle.dumps(Touch()), b"", b"\x80\x04\x8e" + b"\xff" * 8, b"garbage"], ids=len)
def test_a_snapshot_that_was_planted_is_refused_before_bytewax_executes_it(stored: Path, planted: bytes) -> None:
    change(stored, "UPDATE snaps SET ser_change = ?", planted)
    with (
        pytest.raises(SnapshotError, match=r"cannot be used \(a snapshot in it is damaged: .*; restore it"),
        lock_recovery_dir(stored, {"job.partitions": 1}),
    ):
        pass
    assert not Path("broken-in").exists()


@pytest.mark.parametrize("count", [1 << 60, -1, "many", None])
def test_a_number_of_files_that_cannot_be_true_is_refused_at_once(stored: Path, count: object) -> None:
    change(stored, "ALTER TABLE parts RENAME TO checked")
    change(stored, "CREATE TABLE parts AS SELECT * FROM checked")  # anything may stand in this one
    change(stored, "UPDATE parts SET part_count = ?", count)
    with pytest.raises(SnapshotError, match="cannot be used"), lock_recovery_dir(stored, {"job.partitions": 1}):
        pass


def test_ids_that_look_like_paths_are_data(
    tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch, read: Callable[[str], list[dict[str, object]]]
) -> None:
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    ids = ["../../escaped", str(tmp_path / "escaped"), "..", ".", "~", "a/b", "a\\u0000b", "-", "kafka://localhost:1/t"]
    lines = [
        f'{{"type": "{type_}", "user_id": "{user}", "item_id": "{item}", "session_id": "{item}", '
        f'"event_id": "{item}-{n}", "request_id": "{item}", "ts": {1_714_564_800 + n}}}\n'
        for n, (user, item, type_) in enumerate((u, i, t) for u in ids for i in ids for t in ("view", "request"))
    ]
    Path("events.jsonl").write_text("".join(lines))
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=Path("state"))
    assert {path.name for path in home.iterdir()} == {"events.jsonl", "lists.jsonl", "state"}
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert {path.name for path in home.parent.iterdir()} == {"b"}
    users = {one["user_id"] for one in read("a/b/lists.jsonl")}
    assert users == {user.replace("\\u0000", "\0") for user in ids}
