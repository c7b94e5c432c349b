"""Records of a growing file: values without keys, tombstones with theirs."""

from pathlib import Path

import pytest

from freshflow.io.files.log import FileLog
from freshflow.io.files.sink import FileSink


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"user_id":"u1","items":[]}', (None, b'{"user_id":"u1","items":[]}')),
        (b'{"key":"u1","value":null}', (b"u1", None)),
        (b'{"key": "\\u00fc", "value": null}', ("ü".encode(), None)),
        (b'{"key":null,"value":null}', (None, None)),
        (b'{"key":"u1","value":7}', (None, b'{"key":"u1","value":7}')),
        (b'{"key":"u1"', (None, b'{"key":"u1"')),
        (b'{"key":"\xff","value":null}', (None, b'{"key":"\xff","value":null}')),
    ],
)
def test_read_returns_values_and_tombstones(
    tmp_path: Path, line: bytes, record: tuple[bytes | None, bytes | None]
) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_bytes(line + b"\n")
    batch = FileLog(str(path), None).read()
    assert batch is not None
    assert batch.records == [record]


def test_read_returns_the_tombstone_that_a_sink_wrote(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    part = FileSink(str(path)).build_part("recommendations", str(path), None)
    part.write_batch([[(b'u"1', b"{}"), (b'u"1', None)]])
    part.close()
    batch = FileLog(str(path), None).read()
    assert batch is not None
    assert batch.records == [(None, b"{}"), (b'u"1', None)]
