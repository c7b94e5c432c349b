import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.io.files.line_reader import LineReader, LineSplitter, read_row


def read_all(content, max_bytes=100):
    reader = LineReader(io.BytesIO(content), max_bytes)
    return list(iter(reader.read, None)), reader


def rows(content, max_bytes=100):
    reader = LineReader(io.BytesIO(content))
    return list(iter(lambda: read_row(reader, max_bytes), None))


def split(pieces, max_bytes=100):
    splitter = LineSplitter(max_bytes)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()


def test_line_ends_of_both_kinds_are_taken_off_and_the_last_line_needs_none():
    lines, reader = read_all(b"a\nb\r\n\nc")
    assert lines == [b"a", b"b", b"", b"c"]
    assert (reader.line, reader.offset) == (4, 7)


def test_a_line_end_that_the_end_of_the_stream_has_cut_is_taken_off():
    assert read_all(b"a\r\nb\r")[0] == split([b"a\r\nb\r"]) == [b"a", b"b"]


def test_a_byte_order_mark_is_skipped_at_the_start_only():
    assert read_all(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")[0] == [b"a", b"\xef\xbb\xbfb"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("length", [9, 10, 11, 12, 13, 5000])
def test_a_line_is_cut_at_the_bound_and_the_next_one_is_whole(length, end):
    content = b"x" * length + end + (b"next\n" if end else b"")
    lines, reader = read_all(content, max_bytes=10)
    assert lines == [b"x" * min(length, 10)] + ([b"next"] if end else [])
    assert reader.offset == len(content)


def test_a_reader_that_skips_counts_on_from_there():
    reader = LineReader(io.BytesIO(b"a\nb\nc\n"))
    assert reader.skip_to(2, 4)
    assert (reader.read(), reader.line, reader.offset) == (b"c", 3, 6)
    assert not LineReader(io.BytesIO(b"a\n")).skip_to(2, 4)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_lines_do_not_depend_on_how_the_bytes_arrive(pieces, max_bytes):
    whole = b"".join(pieces)
    assert split(pieces, max_bytes) == split([whole], max_bytes)
    assert b"".join(split(pieces, 1000)).replace(b"\r", b"") == whole.removeprefix(b"\xef\xbb\xbf").replace(
        b"\n", b""
    ).replace(b"\r", b"")


def test_a_quoted_line_break_joins_two_lines_into_one_row():
    assert rows(b'1,"a\nb",2\n3,c,4\n') == [b'1,"a\nb",2', b"3,c,4"]


def test_a_doubled_quote_does_not_close_a_cell():
    assert rows(b'"a""\nb",2\nc\n') == [b'"a""\nb",2', b"c"]


def test_a_quote_inside_an_unquoted_cell_opens_nothing():
    assert rows(b'5" pipe,2\nc\n') == [b'5" pipe,2', b"c"]


def test_a_quote_that_is_never_closed_swallows_no_more_than_the_bound():
    swallowed, *after = rows(b'"a\n' + b"bbbb\n" * 40, max_bytes=20)
    assert 20 < len(swallowed) <= 25
    assert after == [b"bbbb"] * 36


def test_a_row_that_the_end_of_the_file_cuts_off_is_handed_on():
    assert rows(b'1,"a\nb') == [b'1,"a\nb']
