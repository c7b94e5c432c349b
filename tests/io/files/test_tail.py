"""The end of a file that grows."""

from pathlib import Path

import pytest

from freshflow.errors import InputError
from freshflow.io.files import tail
from freshflow.io.files.tail import FileTail


def test_a_line_is_read_once_and_when_it_has_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = FileTail(str(path))
    assert lines.read() == []
    path.write_bytes(b"one\ntw")
    assert lines.read() == [b"one"]
    assert lines.read() == []
    with path.open("ab") as file:
        file.write(b"o\n\nthree\n")
    assert lines.read() == [b"two", b"three"]


def test_a_file_that_is_cut_back_or_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"one\ntwo\n")
    lines = FileTail(str(path))
    assert len(lines.read()) == 2
    path.write_bytes(b"new\n")
    assert lines.read() == [b"new"]
    other = tmp_path / "other"
    other.write_bytes(b"another, and longer\n")
    other.replace(path)
    assert lines.read() == [b"another, and longer"]


def test_of_a_long_file_the_end_is_read_from_a_whole_line_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MAX_BACKLOG_BYTES", 25)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(b"line %04d\n" % n for n in range(100)))
    lines = FileTail(str(path))
    assert lines.read() == [b"line 0098", b"line 0099"]
    with path.open("ab") as file:
        file.write(b"x" * 60 + b"\nlast\n")
    pieces = [lines.read() for _ in range(5)]
    assert pieces == [[b"x" * 25], [b"x" * 25], [b"x" * 10, b"last"], [], []]


def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metrics\.csv cannot be read as it grows: name a file that ends in \.jsonl"):
        FileTail("metrics.csv")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"folder\.jsonl cannot be read: Is a directory\."):
        FileTail(str(tmp_path / "folder.jsonl")).read()
