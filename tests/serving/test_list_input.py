"""Lists of a file: read as it grows, is truncated or replaced, and on from a stored position."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshflow.errors import InputError, OutputError
from freshflow.io.files.log import FileLog
from freshflow.serving.list_input import ListInput
from freshflow.serving.records import ListChange, parse_record
from freshflow.serving.store import Store, open_list_store


def line(user: str, number: int) -> bytes:
    return json.dumps({"user_id": user, "computed_at": number, "items": []}).encode() + b"\n"


def tombstone(user: str) -> bytes:
    return json.dumps({"key": user, "value": None}).encode() + b"\n"


def opened(store: Store, path: Path) -> ListInput:
    return ListInput("recommendations", FileLog(str(path), store.position("recommendations")))


def read_all(store: Store, input: ListInput) -> None:
    while True:
        batch = input.read()
        assert batch is not None
        store.apply("recommendations", batch)
        if batch.is_at_end:
            return


def kept(store: Store) -> dict[str, int]:
    rows = store._connection.execute("SELECT key, value FROM recommendations").fetchall()
    return {key: json.loads(value)["computed_at"] for key, value in rows}


@pytest.fixture
def store(tmp_path: Path):
    made = open_list_store(str(tmp_path / "store.sqlite"))
    yield made
    made.close()


def test_a_line_is_read_once_it_has_its_end(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "lists.jsonl"
    input = opened(store, path)
    assert input.read() is None  # there is no file yet
    path.write_bytes(line("u1", 1) + line("u2", 2)[:-5])
    read_all(store, input)
    assert kept(store) == {"u1": 1}
    assert input.lag == len(line("u2", 2)) - 5
    path.write_bytes(line("u1", 1) + line("u2", 2) + tombstone("u1"))
    read_all(store, input)
    assert kept(store) == {"u2": 2}
    assert input.lag == 0


def test_lines_longer_than_what_is_read_at_once_are_read_whole(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshflow.io.files.log.FILE_CHUNK_BYTES", 100)
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line("u" * 1000, 1) + line("u2", 2))
    read_all(store, opened(store, path))
    assert kept(store) == {"u" * 1000: 1, "u2": 2}


def test_a_server_that_is_started_again_reads_what_has_come_since_and_nothing_else(
    tmp_path: Path, store: Store
) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line("u1", 1))
    read_all(store, opened(store, path))
    path.write_bytes(line("u1", 1) + line("u2", 2))
    batch = opened(store, path).read()
    assert batch is not None
    assert ([change.key for change in batch.changes], batch.is_full_reload) == (["u2"], False)


@pytest.mark.parametrize("again", [False, True], ids=["while it runs", "while no server runs"])
def test_a_file_of_the_same_length_with_other_lists_is_read_anew(tmp_path: Path, store: Store, again: bool) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line("u1", 1) + line("u2", 2))
    input = opened(store, path)
    read_all(store, input)
    path.write_bytes(line("u1", 3) + line("u3", 4))
    read_all(store, opened(store, path) if again else input)
    assert kept(store) == {"u1": 3, "u3": 4}


def test_nobody_is_without_a_list_while_another_file_is_read(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freshflow.io.files.log.FILE_CHUNK_BYTES", len(line("u1", 1)))
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_bytes(line("u1", 1) + line("u2", 2))
    read_all(store, opened(store, first))
    second.write_bytes(line("u3", 3) + line("u1", 4))
    input = opened(store, second)
    batch = input.read()
    assert batch is not None
    assert batch.is_full_reload
    assert store.apply("recommendations", batch) == batch.changes
    assert kept(store) == {"u1": 1, "u2": 2, "u3": 3}
    rest = [input.read(), input.read()]
    changes = [change for batch in rest if batch is not None for change in store.apply("recommendations", batch)]
    assert kept(store) == {"u1": 4, "u3": 3}
    assert changes[-1] == ListChange("u2", None)


def test_a_store_keeps_its_position_with_its_lists_or_neither(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line("u1", 1))
    input = opened(store, path)
    read_all(store, input)
    before = store.position("recommendations")
    path.write_bytes(line("u1", 1) + line("u2", 2))
    batch = input.read()
    assert batch is not None
    store._connection.execute("CREATE TRIGGER full BEFORE INSERT ON inputs BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(OutputError, match="cannot be written: full"):
        store.apply("recommendations", batch)
    assert (kept(store), store.position("recommendations")) == ({"u1": 1}, before)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_becomes_of_a_file_the_store_ends_with_what_it_holds(data, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("file")
    path, store = folder / "lists.jsonl", open_list_store(str(folder / "store.sqlite"))
    lines: list[bytes] = []
    path.write_bytes(b"")
    input, number = opened(store, path), 0
    for _ in range(data.draw(st.integers(1, 20))):
        what = data.draw(st.sampled_from(["grow", "grow", "read", "cut", "replace", "restart"]))
        if what in ("grow", "replace"):
            users = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4))
            several = [
                tombstone(user) if data.draw(st.booleans()) else line(user, number + n) for n, user in enumerate(users)
            ]
            number += len(users)
            lines = several if what == "replace" else lines + several
        elif what == "cut" and lines:
            lines = lines[: data.draw(st.integers(0, len(lines) - 1))]
        elif what == "restart":
            store.close()
            store = open_list_store(str(folder / "store.sqlite"))
            input = opened(store, path)
        path.write_bytes(b"".join(lines))
        if what == "read":
            read_all(store, input)
    read_all(store, input)
    expected: dict[str, int] = {}
    for one in map(json.loads, lines):
        expected.pop(one.get("user_id") or one["key"], None)
        if "user_id" in one:
            expected[one["user_id"]] = one["computed_at"]
    assert kept(store) == expected
    store.close()


def test_what_is_no_list_is_no_change() -> None:
    for raw in (
        *(b"", b"no json", b"[]", b'{"user_id": 7}', b'{"item_id": "i1", "items": []}', b'{"user_id": "\xff"}'),
        *(
            b'{"user_id": "u1"}',
            b'{"user_id": "u1", "items": {}}',
            b'{"user_id": "u1", "items": [], "computed_at": "x"}',
        ),
    ):
        assert parse_record("recommendations", None, raw) is None
        assert parse_record("recommendations", b"u1", raw) is None
    assert parse_record("recommendations", None, None) is None
    assert parse_record("recommendations", b"\xff", None) is None
    assert parse_record("recommendations", b"u1", b'{"key": "u1", "value": null}') is None
    assert parse_record("related", b"i1", None) == ListChange("i1", None)


def test_an_answer_to_a_search_does_not_take_the_place_of_the_list() -> None:
    searched = b'{"user_id": "u1", "surface": "search", "items": []}'
    assert parse_record("recommendations", None, searched) is None
    feed = searched.replace(b"search", b"feed")
    assert parse_record("recommendations", None, feed) == ListChange("u1", feed)


def test_files_that_cannot_be_read_are_told(tmp_path: Path, store: Store) -> None:
    for place in ("lists.jsonl.gz", "-", "lists.csv"):
        with pytest.raises(InputError, match=r"name a file that ends in .jsonl"):
            FileLog(place, None)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        opened(store, tmp_path / "folder.jsonl").read()
    with pytest.raises(InputError, match=r"The folder of .*lists.jsonl does not exist: create"):
        opened(store, tmp_path / "nowhere" / "lists.jsonl")


@pytest.mark.parametrize(
    "position", [b"no json", b"\xff", b'{"topic":"h/t","offsets":{"0":7}}', b'{"path":"","offset":-9}']
)
def test_a_position_of_another_sort_of_input_has_all_read_anew(tmp_path: Path, position: bytes) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line("u1", 1))
    batch = FileLog(str(path), position).read()
    assert batch is not None
    assert (batch.records, batch.is_full_reload) == ([(None, line("u1", 1)[:-1])], True)


def test_a_file_that_is_waited_for_is_told_once(tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "lists.jsonl"
    input = opened(store, path)
    assert [input.read(), input.read()] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [f"There is no file {path}; it is waited for."]
    path.write_bytes(line("u1", 1))
    read_all(store, input)
    path.unlink()
    assert input.read() is None
    assert len(caplog.records) == 2
    assert kept(store) == {"u1": 1}
