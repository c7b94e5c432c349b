import contextlib
import os

import pytest

from freshflow.errors import InputError
from freshflow.io.files.stdin import StdinSource


@pytest.fixture
def pipe():
    read_fd, write_fd = os.pipe()
    ends = {"read": read_fd, "write": write_fd}
    yield ends
    for fd in ends.values():
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(fd)


def build(fd, batch_size=10, stop=lambda: False):
    made = StdinSource(batch_size, max_bytes=1000, clock=lambda: 123, should_stop=stop, fd=fd)
    assert made.list_parts() == ["-"]
    return made.build_part("step", "-", None)


def records(part):
    return [record for batch in part.next_batch() for record in batch.records]


def test_complete_lines_are_emitted_at_once_and_a_begun_one_waits(pipe):
    part = build(pipe["read"])
    os.write(pipe["write"], b"a\nb\nhalf")
    assert records(part) == [(1, b"a"), (2, b"b")]
    assert part.next_batch() == []
    os.write(pipe["write"], b" done\n")
    assert records(part) == [(3, b"half done")]


def test_nothing_to_read_is_no_wait(pipe):
    assert build(pipe["read"]).next_batch() == []


def test_the_end_of_input_emits_the_last_line_and_ends(pipe):
    part = build(pipe["read"])
    os.write(pipe["write"], b"a\nlast")
    os.close(pipe["write"])
    assert records(part) == [(1, b"a")]
    assert records(part) == [(2, b"last")]
    with pytest.raises(StopIteration):
        part.next_batch()


def test_input_that_is_empty_ends_at_once(pipe):
    os.close(pipe["write"])
    with pytest.raises(StopIteration):
        build(pipe["read"]).next_batch()


def test_more_lines_than_a_batch_holds_come_in_several(pipe):
    part = build(pipe["read"], batch_size=2)
    os.write(pipe["write"], b"a\n\nb\nc\n")
    assert records(part) == [(1, b"a"), (3, b"b")]
    assert records(part) == [(4, b"c")]


def test_the_origin_is_named_as_the_path_on_the_command_line(pipe):
    os.write(pipe["write"], b"\xef\xbb\xbfa\r\n")
    (batch,) = build(pipe["read"]).next_batch()
    assert (batch.origin.kind, batch.origin.name, batch.read_ms, batch.columns) == ("file", "-", 123, None)
    assert batch.records == ((1, b"a"),)


def test_a_file_can_be_redirected_to_it(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(b"a\nb")
    with path.open("rb") as file:
        part = build(file.fileno())
        assert records(part) + records(part) == [(1, b"a"), (2, b"b")]


def test_it_ends_when_told_to_stop_although_more_may_come(pipe):
    with pytest.raises(StopIteration):
        build(pipe["read"], stop=lambda: True).next_batch()


def test_input_that_is_closed_is_one_sentence(pipe):
    os.close(pipe["read"])
    with pytest.raises(InputError, match="Standard input cannot be read: Bad file descriptor"):
        build(pipe["read"]).next_batch()


def test_there_is_nothing_to_resume_from(pipe):
    assert build(pipe["read"]).snapshot() is None
