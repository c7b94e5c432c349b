"""The store in a file: whose it is, what may stand in it, and that nothing stays in it of what was deleted."""

import sqlite3
from pathlib import Path

import pytest

from freshflow.errors import OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.store import open_list_store


def test_a_new_store_is_its_owners_alone(tmp_path: Path) -> None:
    store = open_list_store(str(tmp_path / "store.sqlite"))
    store.apply("recommendations", ChangeBatch([ListChange("a", b"1")], 0, b"p", False, True))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


@pytest.mark.parametrize("ending", ["", "-wal"])
def test_a_store_that_anybody_may_write_to_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "store.sqlite"
    open_list_store(str(path)).close()
    planted = Path(f"{path}{ending}")
    planted.touch()
    planted.chmod(0o666)
    with pytest.raises(OutputError, match=r"Every user of this machine may write to the store .*chmod o-w"):
        open_list_store(str(path))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER more AFTER INSERT ON recommendations BEGIN DELETE FROM related; END",
        "CREATE VIEW more AS SELECT 1",
        "DROP TABLE related",
        "PRAGMA user_version = 9",
    ],
)
def test_a_store_that_is_not_as_it_was_made_is_refused(tmp_path: Path, statement: str) -> None:
    path = str(tmp_path / "store.sqlite")
    open_list_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    with pytest.raises(OutputError, match="by another version or another program"):
        open_list_store(path)


def test_no_byte_of_a_deleted_list_is_left_in_the_folder_while_the_server_runs(tmp_path: Path) -> None:
    store = open_list_store(str(tmp_path / "store.sqlite"))
    reading = store.open_reader()
    for n in range(3):  # the earlier lists of the user, too
        changes = [ListChange("remembered", b"kept list" * 400), ListChange("forgotten user", b"secret %d" % n * 400)]
        store.apply("recommendations", ChangeBatch(changes, 0, b"p%d" % n, False, True))
    assert reading.get_list("recommendations", "forgotten user") is not None
    store.apply("recommendations", ChangeBatch([ListChange("forgotten user", None)], 0, b"q", False, True))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"kept list" in held
    assert b"secret" not in held
    assert b"forgotten" not in held
    reading.close()
    store.close()


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"The store .*folder cannot be used: unable to open database file"):
        open_list_store(str(tmp_path / "folder"))
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one " * 30)
    with pytest.raises(OutputError, match=r"The store .*text cannot be used: file is not a database"):
        open_list_store(str(tmp_path / "text"))
    with pytest.raises(OutputError, match=r"The folder of the store .* does not exist"):
        open_list_store(str(tmp_path / "nowhere" / "store.sqlite"))
    with pytest.raises(OutputError, match="mysql:// is not a store"):
        open_list_store("mysql://localhost/lists")
