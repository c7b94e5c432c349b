import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from freshflow.config.schema import EventsConfig
from freshflow.errors import InputError, SnapshotError
from freshflow.events.parser import EventParser
from freshflow.io.files import reader as file_reader
from freshflow.io.files.line_reader import MAX_LINE_BYTES
from freshflow.io.files.source import FileSource

MAX_BYTES = 1000


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def source(path, batch_size=2, stop=lambda: False, max_bytes=MAX_BYTES):
    return FileSource(path, batch_size, max_bytes=max_bytes, clock=lambda: 123, should_stop=stop)


def build(path, state=None, **options):
    made = source(path, **options)
    (part,) = made.list_parts()
    return made.build_part("step", part, state)


def drain(part):
    batches = []
    while True:
        try:
            batches += part.next_batch()
        except StopIteration:
            return batches


def records(part):
    return [record for batch in drain(part) for record in batch.records]


def refused(path):
    with pytest.raises(InputError) as caught:
        source(path)
    assert str(caught.value).endswith(".")
    return str(caught.value)


@pytest.mark.parametrize("name", ["e.jsonl", "e.json", "e.ndjson", "e.JSONL", "e.jsonl.gz"])
def test_lines_arrive_in_batches_with_their_numbers(tmp_path, name):
    path = write(tmp_path, name, b"a\nb\nc\n")
    batches = drain(build(path))
    assert [batch.records for batch in batches] == [((1, b"a"), (2, b"b")), ((3, b"c"),)]
    assert {(batch.origin.kind, batch.origin.name, batch.columns, batch.read_ms) for batch in batches} == {
        ("file", path, None, 123)
    }


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
def test_a_csv_header_gives_the_columns_and_is_no_record(tmp_path, name):
    (batch,) = drain(build(write(tmp_path, name, b"\xef\xbb\xbftype,user_id\r\nview,1\r\n")))
    assert batch.columns == ("type", "user_id")
    assert batch.records == ((2, b"view,1"),)


def test_a_csv_row_with_a_quoted_line_break_stands_at_the_line_it_starts(tmp_path):
    path = write(tmp_path, "e.csv", b'a,b\n1,"x\ny"\n2,z\n')
    assert records(build(path)) == [(2, b'1,"x\ny"'), (4, b"2,z")]


def test_a_csv_row_whose_quote_is_never_closed_is_refused_and_the_rest_is_read(tmp_path):
    rows = b"".join(b"view,u%d\n" % n for n in range(300))
    path = write(tmp_path, "e.csv", b'type,user_id\nview,"u\n' + rows)
    batches = drain(build(path))
    rejected = [
        refusal for batch in batches for refusal in EventParser(EventsConfig(max_bytes=MAX_BYTES)).parse(batch)[1]
    ]
    assert (rejected[0].position, rejected[0].code) == (2, "too_large")
    assert batches[-1].records[-1] == (302, b"view,u299")


def test_blank_lines_are_skipped_but_counted(tmp_path):
    assert records(build(write(tmp_path, "e.jsonl", b"\n \t\na\n\r\nb"))) == [(3, b"a"), (5, b"b")]


def test_many_blank_lines_give_empty_batches_so_that_the_flow_goes_on(tmp_path):
    part = build(write(tmp_path, "e.jsonl", b"\n\n\na\n"))
    assert part.next_batch() == []
    assert [batch.records for batch in part.next_batch()] == [((4, b"a"),)]


def test_an_empty_file_has_no_records(tmp_path):
    assert records(build(write(tmp_path, "e.jsonl", b""))) == []
    assert records(build(write(tmp_path, "e.jsonl.gz", b""))) == []


def test_bytes_that_are_not_utf8_pass_through(tmp_path):
    assert records(build(write(tmp_path, "e.jsonl", b"\xff\xfe\n\x00\n"))) == [(1, b"\xff\xfe"), (2, b"\x00")]


def test_a_line_of_ten_megabytes_arrives_whole(tmp_path):
    long = b"x" * 10_000_000
    assert records(build(write(tmp_path, "e.jsonl", long + b"\nb\n"))) == [(1, long), (2, b"b")]


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz"])
def test_of_a_line_beyond_16_mib_only_the_beginning_is_kept(tmp_path, name):
    path = write(tmp_path, name, b"x" * (MAX_LINE_BYTES + 3_000_000) + b"\nb\n")
    (line, cut), after = records(build(path))
    assert (line, len(cut), after) == (1, MAX_LINE_BYTES, (2, b"b"))


def test_a_larger_max_bytes_raises_the_bound_with_it_so_that_no_cut_record_is_parsed(tmp_path):
    path = write(tmp_path, "e.jsonl", b"x" * (MAX_LINE_BYTES + 10))
    assert len(records(build(path, max_bytes=MAX_LINE_BYTES + 5))[0][1]) == MAX_LINE_BYTES + 6


def test_a_batch_of_long_lines_is_cut_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reader, "BATCH_BYTES", 10)
    batches = drain(build(write(tmp_path, "e.jsonl", b"12345678\n" * 4), batch_size=100))
    assert [len(batch.records) for batch in batches] == [2, 2]


class TestStop:
    def test_a_source_that_is_told_to_stop_ends_and_can_be_resumed_without_a_gap(self, tmp_path):
        path = write(tmp_path, "e.jsonl", b"a\nb\nc\n")
        stopping = False
        part = build(path, stop=lambda: stopping)
        part.next_batch()
        stopping = True
        with pytest.raises(StopIteration):
            part.next_batch()
        assert records(build(path, part.snapshot())) == [(3, b"c")]


class TestResume:
    @pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.csv", "e.csv.gz"])
    @pytest.mark.parametrize("batches", [0, 1, 2, 3])
    def test_after_a_crash_reading_goes_on_after_the_snapshot(self, tmp_path, name, batches):
        content = b'h,g\n1,2\n\n3,"a\nb"\r\n5,6\n7,8\n9,"c"'
        path = write(tmp_path, name, content)
        whole = build(path)
        first = [record for _ in range(batches) for batch in whole.next_batch() for record in batch.records]
        state = whole.snapshot()
        rest = records(whole)
        resumed = build(path, state)
        assert records(resumed) == rest
        assert first + rest == records(build(path))

    def test_columns_are_known_again_after_resuming(self, tmp_path):
        path = write(tmp_path, "e.csv", b"a,b\n1,2\n3,4\n")
        part = build(path, batch_size=1)
        part.next_batch()
        (batch,) = drain(build(path, part.snapshot()))
        assert batch.columns == ("a", "b")

    def test_lines_that_were_added_meanwhile_are_read(self, tmp_path):
        path = write(tmp_path, "e.jsonl", b"a\n")
        part = build(path)
        drain(part)
        write(tmp_path, "e.jsonl", b"a\nb\n")
        assert records(build(path, part.snapshot())) == [(2, b"b")]

    @pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz"])
    def test_a_file_that_has_become_shorter_is_refused(self, tmp_path, name):
        path = write(tmp_path, name, b"a\nb\n")
        part = build(path)
        drain(part)
        write(tmp_path, name, b"a\n")
        with pytest.raises(InputError, match="has become shorter than the 4 bytes"):
            build(path, part.snapshot())

    @pytest.mark.parametrize("state", [b"", b"12", b'{"line":1,"offset":2,"version":2}', 7])
    def test_a_snapshot_of_another_version_is_refused(self, tmp_path, state):
        with pytest.raises(SnapshotError, match="another version"):
            build(write(tmp_path, "e.jsonl", b"a\n"), state)


class TestBroken:
    def test_a_gzip_file_that_breaks_off_says_after_which_line(self, tmp_path):
        content = b"".join(b"%d %s\n" % (n, os.urandom(50).hex().encode()) for n in range(5000))
        path = tmp_path / "e.jsonl.gz"
        path.write_bytes(gzip.compress(content)[:-1000])
        with pytest.raises(InputError, match=r"after line \d{4}: the gzip stream is damaged or incomplete"):
            drain(build(str(path)))

    def test_a_damaged_gzip_file_is_an_input_error(self, tmp_path):
        packed = bytearray(gzip.compress(os.urandom(100_000).hex().encode()))
        packed[60_000:60_010] = bytes(10)
        path = tmp_path / "e.jsonl.gz"
        path.write_bytes(packed)
        with pytest.raises(InputError, match="damaged or incomplete"):
            drain(build(str(path)))

    def test_a_file_that_is_no_gzip_is_refused_before_the_flow_runs(self, tmp_path):
        path = tmp_path / "e.jsonl.gz"
        path.write_bytes(b'{"type": "view"}\n')
        assert "damaged or incomplete" in refused(str(path))


class TestRefusedBeforeTheFlowRuns:
    def test_a_file_that_is_missing(self, tmp_path):
        assert "does not exist" in refused(str(tmp_path / "none.jsonl"))

    def test_a_folder(self, tmp_path):
        (tmp_path / "e.jsonl").mkdir()
        assert "is a folder" in refused(str(tmp_path / "e.jsonl"))

    def test_a_pipe_which_would_wait_for_ever(self, tmp_path):
        os.mkfifo(tmp_path / "e.jsonl")
        assert "is a pipe" in refused(str(tmp_path / "e.jsonl"))

    def test_a_name_that_no_file_can_have(self):
        assert "cannot be opened" in refused("e\0.jsonl")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read(self, tmp_path):
        path = write(tmp_path, "e.jsonl", b"a\n")
        Path(path).chmod(0)
        assert "Permission denied" in refused(path)

    @pytest.mark.parametrize("name", ["e.parquet", "e.gz", "e", "e.jsonl.zst"])
    def test_an_unknown_format_with_those_that_are_known(self, tmp_path, name):
        assert ".jsonl.gz, .csv, .csv.gz" in refused(write(tmp_path, name, b""))

    @pytest.mark.parametrize("content", [b"", b"\n", b",,\n", b"  \na,b\n"])
    def test_a_csv_file_without_a_header(self, tmp_path, content):
        assert "has no header" in refused(write(tmp_path, "e.csv", content))

    def test_a_csv_header_that_names_a_column_twice(self, tmp_path):
        assert "names a, b more than once" in refused(write(tmp_path, "e.csv", b"b,a,a,b,c\n"))

    def test_a_csv_header_that_writes_to_the_terminal(self, tmp_path):
        assert r"names '\x1b[2J' more than once" in refused(write(tmp_path, "e.csv", b"\x1b[2J,\x1b[2J\n"))

    def test_a_csv_header_longer_than_an_event(self, tmp_path):
        assert "is longer than events.max_bytes = 1000 bytes" in refused(write(tmp_path, "e.csv", b"a" * 1001))

    @pytest.mark.timeout(20)  # it took hours
    def test_a_csv_header_of_a_hundred_thousand_columns_at_once(self, tmp_path):
        path = write(tmp_path, "e.csv", b",".join(b"c%d" % n for n in range(100_000)))
        source(path, max_bytes=1_000_000)

    @pytest.mark.parametrize("content", [b"\xff,b\n", b'"a,b\n'])
    def test_a_csv_header_that_cannot_be_read(self, tmp_path, content):
        assert "is not CSV in UTF-8" in refused(write(tmp_path, "e.csv", content))

    def test_a_csv_header_with_unnamed_columns_is_allowed(self, tmp_path):
        (batch,) = drain(build(write(tmp_path, "e.csv", b",a,\n0,1,2\n")))
        assert batch.columns == ("", "a", "")


@pytest.mark.parametrize(
    "state",
    [
        *(b'{"line":-1,"offset":0}', b'{"line":1,"offset":-1}', b'{"line":1,"offset":1e400}', b"", b"\xff"),
        *(b'{"line":1,"offset":9223372036854775808}', b'{"line":1,"offset":' + b"9" * 5000 + b"}", b"[" * 5000),
        *(b'{"\xfe":5,"line":1,"offset":1}', b'{"line":1,"offset":1,"version":2}'),
    ],
    ids=lambda state: state[:24],
)
def test_a_snapshot_that_names_no_place_is_refused(tmp_path, state):
    path = write(tmp_path, "e.jsonl", b"{}\n{}\n")
    with pytest.raises(SnapshotError, match="is damaged or of another version"):
        build(path, state)


@pytest.mark.parametrize(
    "filling", [b" " * 1024, b"\n" * 1024, b'"a\n' * 256], ids=["one-line", "blank-lines", "quotes"]
)
@pytest.mark.parametrize("name", ["e.jsonl.gz", "e.csv.gz"])
def test_a_small_file_that_unpacks_to_very_much_takes_little_memory(tmp_path, name, filling):
    path = tmp_path / name
    with gzip.open(path, "wb", 1) as bomb:
        bomb.write(b"type,ts\n")
        for _ in range(128):
            bomb.write(filling * 1024)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        for _ in (part := build(str(path))).next_batch():
            pass
        for _ in range(100):
            part.next_batch()
    except StopIteration:
        pass
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 4 * MAX_LINE_BYTES  # of 128 MiB
