"""States in files: whatever epoch a job resumes from, and however it died, it has what it had taken by then."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshflow.errors import OutputError, SnapshotError
from freshflow.state import backend
from freshflow.state.backend import KeyedState, StateBackend
from freshflow.state.manifest import MANIFEST_MAGIC, read_manifest

SETTINGS = {"job.partitions": 1}


class Sum:
    """A stage whose state is the list of what it took."""

    def __init__(self, kept: KeyedState) -> None:
        self.kept = kept
        self.taken: list[int] = []
        if kept.snapshot is not None:
            self.taken = [int(line) for line in kept.snapshot.decode().splitlines()]
        self.taken += list(kept.replay_changelog())

    def take(self, *numbers: int) -> None:
        for number in numbers:
            self.kept.append_to_changelog(number, 1)
            self.taken.append(number)

    def drop(self, number: int) -> None:
        """Forget a number, and keep nothing of it."""
        self.take(0)
        self.taken = [0 for _ in self.taken]
        self.kept.compact_now()

    def mark(self) -> bytes:
        return self.kept.checkpoint(self._freeze)

    def _freeze(self) -> Callable[[], Iterator[bytes]]:
        taken = list(self.taken)
        return lambda: (f"{number}\n".encode() for number in taken)


def stage(folder: Path, stored: bytes | None = None, wanted: dict[str, Any] = SETTINGS) -> Sum:
    return Sum(StateBackend(is_enabled=True, folder=folder / "states").open_state(stored, int, wanted))


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "states").glob("*")}


def referred(stored: bytes) -> set[str]:
    return set(read_manifest(stored, SETTINGS).file_names)


def wait_for_snapshot(made: Sum) -> None:
    while made.kept._background_snapshot is not None and not made.kept._background_snapshot.is_done:
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a snapshot after every few events."""
    monkeypatch.setattr(backend, "MAX_CHANGELOG_EVENTS", 5)
    monkeypatch.setattr(backend, "MAX_SNAPSHOT_TIME_RATIO", 1e9)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_job_that_dies_at_any_moment_resumes_from_any_of_the_last_epochs(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    made, number, stored = stage(folder), 0, [(b"", [])]
    for _ in range(data.draw(st.integers(1, 25))):
        what = data.draw(st.sampled_from(["take", "take", "mark", "mark", "wait", "die"]))
        if what == "take":
            count = data.draw(st.integers(1, 7))
            made.take(*range(number, number + count))
            number += count
        elif what == "mark":
            stored.append((made.mark(), list(made.taken)))
        elif what == "wait":
            wait_for_snapshot(made)
        else:
            blob, taken = data.draw(st.sampled_from(stored[-backend.N_RETAINED_CHECKPOINTS :]))
            made, stored = stage(folder, blob or None), [(blob, taken)]
            assert made.taken == taken
    blob, taken = stored[-1]
    assert stage(folder, blob or None).taken == taken


def test_snapshot_replaces_the_changelog_before_it(tmp_path):
    made = stage(tmp_path)
    made.take(*range(100))
    first = made.mark()
    assert all(name.endswith("changelog") for name in referred(first))
    wait_for_snapshot(made)
    made.take(100)
    second = made.mark()
    assert sorted(name.partition(".")[2] for name in referred(second)) == ["changelog", "snapshot"]
    assert stage(tmp_path, second).taken == list(range(101))


def test_what_no_epoch_needs_any_more_is_deleted_and_what_one_may_need_is_not(tmp_path):
    made, stored = stage(tmp_path), []
    for number in range(200):
        made.take(number)
        stored.append(made.mark())
        wait_for_snapshot(made)
        for blob in stored[-backend.N_RETAINED_CHECKPOINTS :]:
            assert referred(blob) <= names(tmp_path)
        assert len(names(tmp_path)) < 12


def test_what_is_renewed_is_in_no_file_that_is_left_after_a_few_epochs(tmp_path):
    made = stage(tmp_path)
    made.take(4711)
    made.mark()
    made.drop(4711)
    blob = made.mark()
    assert stage(tmp_path, blob).taken == [0, 0]
    for _ in range(backend.N_RETAINED_CHECKPOINTS):
        made.take(1)
        made.mark()
    made.kept._changelog.sync()
    content = b"".join(path.read_bytes() for path in (tmp_path / "states").iterdir())
    assert b"4711" not in content
    assert (4711).to_bytes(2, "big") not in content


def test_a_state_that_was_stored_whole_goes_on_in_files(tmp_path):
    whole = StateBackend(is_enabled=True).open_state(None, int, SETTINGS)
    made = Sum(whole)
    made.take(1, 2, 3)
    stored = made.mark()
    assert stored == b"1\n2\n3\n"
    again = stage(tmp_path, stored)
    again.take(4)
    assert stage(tmp_path, again.mark()).taken == [1, 2, 3, 4]


def test_without_recovery_nothing_is_stored(tmp_path):
    made = Sum(StateBackend().open_state(None, int, SETTINGS))
    made.take(1, 2, 3)
    assert made.mark() == b""


def test_files_cannot_be_read_by_a_job_that_does_not_know_their_folder(tmp_path):
    made = stage(tmp_path)
    made.take(1)
    with pytest.raises(SnapshotError, match="only `freshflow run` can resume"):
        StateBackend(is_enabled=True).open_state(made.mark(), int, SETTINGS)


def test_other_settings_are_refused_though_there_is_no_whole_state_yet(tmp_path):
    made = stage(tmp_path)
    made.take(1)
    with pytest.raises(SnapshotError, match=r"job\.partitions = 1, and this job has 2"):
        stage(tmp_path, made.mark(), {"job.partitions": 2})


@pytest.mark.parametrize("damage", ["cut", "gone", "changed"])
@pytest.mark.parametrize("kind", ["snapshot", "changelog"])
def test_a_damaged_folder_is_refused_with_the_name_of_the_file(tmp_path, damage, kind):
    made = stage(tmp_path)
    made.take(*range(9))
    made.mark()
    wait_for_snapshot(made)
    made.take(9)
    stored = made.mark()
    (path,) = (tmp_path / "states" / name for name in referred(stored) if name.endswith(kind))
    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(b"\xff" * path.stat().st_size)
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SnapshotError, match=rf"damaged: of .*{path.name}.*restore the folder whole"):
        stage(tmp_path, stored)


def test_a_folder_that_cannot_be_written_ends_the_job_with_a_sentence(tmp_path):
    (tmp_path / "states").write_text("a file")
    with pytest.raises(OutputError, match=r"The state of the job cannot be written to .*states"):
        stage(tmp_path).take(1)


def test_failed_snapshot_ends_the_job_at_the_next_epoch(tmp_path):
    made = stage(tmp_path)
    made.take(*range(9))

    def broken() -> Iterator[bytes]:
        yield b"1\n"
        raise OSError(28, "No space left on device")

    made.kept.checkpoint(lambda: broken)
    wait_for_snapshot(made)
    with pytest.raises(OutputError, match="No space left on device"):
        made.mark()


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "",
        "a",
        f"{'a' * 16}-1.snapshot\n",
        f"../{'a' * 16}-1.snapshot",
        f"{'A' * 16}-1.snapshot",
    ],
)
@pytest.mark.parametrize("place", ["snapshot", "changelog"])
def test_a_reference_leads_nowhere_but_into_the_folder(tmp_path, name, place):
    (tmp_path / "outside").write_bytes(b"1\n")
    snapshot, changelogs = ((name, 2), []) if place == "snapshot" else (None, [(name, 2)])
    told = MANIFEST_MAGIC + msgspec.msgpack.encode(
        {"settings": SETTINGS, "snapshot": snapshot, "changelogs": changelogs}
    )
    with pytest.raises(SnapshotError, match="what it says of its files cannot be read"):
        stage(tmp_path, told)


@pytest.mark.parametrize("length", [-1, 3, 1 << 40, 1 << 62])
def test_a_length_that_is_not_there_is_refused_before_there_is_room_for_it(tmp_path, length):
    (tmp_path / "states").mkdir()
    name = f"{'a' * 16}-1.snapshot"
    (tmp_path / "states" / name).write_bytes(b"1\n")
    told = MANIFEST_MAGIC + msgspec.msgpack.encode({"settings": SETTINGS, "snapshot": (name, length), "changelogs": []})
    with pytest.raises(SnapshotError, match=r"^The recovery folder is damaged: "):
        stage(tmp_path, told)


def test_changed_byte_of_a_changelog_is_refused_by_name(tmp_path):
    made = stage(tmp_path)
    made.take(4711)
    stored = made.mark()
    (path,) = (tmp_path / "states").iterdir()
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(SnapshotError, match=rf"of .*{path.name} .*; restore the folder whole"):
            stage(tmp_path, stored)
