import gzip
import os
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from freshflow.errors import OutputError
from freshflow.io.files.sink import FileSink
from freshflow.io.files.source import FileSource


def build(path, state=None):
    sink = FileSink(str(path))
    (part,) = sink.list_parts()
    return sink.build_part("step", part, state)


def read(path):
    return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()


@pytest.fixture(params=["out.jsonl", "out.jsonl.gz"])
def out(request, tmp_path):
    return tmp_path / request.param


def test_values_are_written_as_lines_in_order(out):
    part = build(out)
    part.write_batch([[(b"u1", b"1"), (None, b"2")], [], [(b"u2", b"3")]])
    part.snapshot()
    part.close()
    assert read(out) == b"1\n2\n3\n"


def test_a_tombstone_is_written_with_its_key_as_nothing_else_says_whose_it_is(out):
    part = build(out)
    part.write_batch([[("Zoë".encode(), None), (None, None), (b"\xff", None)]])
    part.close()
    lines = read(out).decode().splitlines()
    assert lines == [
        '{"key":"Zoë","value":null}',
        '{"key":null,"value":null}',
        '{"key":"\ufffd","value":null}',
    ]


def test_a_fresh_start_replaces_what_the_file_held(out):
    out.write_bytes(b"old\n" * 100)
    part = build(out)
    part.write_batch([[(None, b"new")]])
    part.close()
    assert read(out) == b"new\n"


def test_making_the_sink_touches_nothing(out):
    out.write_bytes(b"old")
    FileSink(str(out))
    assert out.read_bytes() == b"old"


def test_what_a_snapshot_covers_is_in_the_file_before_it_is_closed(out):
    part = build(out)
    part.write_batch([[(None, b"1")]])
    assert part.snapshot() == out.stat().st_size
    assert read(out) == b"1\n"
    part.close()


def test_resuming_cuts_off_what_came_after_the_snapshot(out):
    part = build(out)
    part.write_batch([[(None, b"1")]])
    state = part.snapshot()
    part.write_batch([[(None, b"2")]])
    part.snapshot()
    part.write_batch([[(None, b"3 and a crash, so that no member is ended" * 100)]])
    resumed = build(out, state)
    resumed.write_batch([[(None, b"2 again")]])
    resumed.snapshot()
    resumed.close()
    assert read(out) == b"1\n2 again\n"


def test_snapshots_without_new_lines_add_nothing(out):
    part = build(out)
    part.write_batch([[(None, b"1")]])
    states = {part.snapshot() for _ in range(3)}
    part.write_batch([[]])
    states.add(part.snapshot())
    part.close()
    part.close()
    assert states == {out.stat().st_size}


def test_the_same_lines_give_the_same_bytes(out):
    contents = []
    for _ in range(2):
        part = build(out)
        part.write_batch([[(None, b"1"), (None, b"2")]])
        part.close()
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


class TestRefused:
    @pytest.mark.parametrize("name", ["out.csv", "out", "out.gz"])
    def test_an_unknown_ending(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"must end in one of \.jsonl, \.jsonl\.gz, or be -"):
            FileSink(str(tmp_path / name))

    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(OutputError, match=r"folder of the output .* does not exist"):
            FileSink(str(tmp_path / "none" / "out.jsonl"))

    def test_a_folder_in_place_of_the_file(self, tmp_path):
        (tmp_path / "out.jsonl").mkdir()
        with pytest.raises(OutputError, match="is a folder"):
            FileSink(str(tmp_path / "out.jsonl"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
    def test_a_folder_that_may_not_be_written(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="permission denied"):
            FileSink(str(tmp_path / "out.jsonl"))

    def test_resuming_a_file_that_has_become_shorter(self, out):
        out.write_bytes(b"1\n")
        with pytest.raises(OutputError, match="is shorter than the 20 bytes"):
            build(out, 20)

    def test_resuming_a_file_that_is_gone(self, out):
        with pytest.raises(OutputError, match="No such file"):
            build(out, 20)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_and_closing_after_it_is_quiet(out):
    out.symlink_to("/dev/full")
    part = build(out)
    with pytest.raises(OutputError, match="cannot be written: No space left on device; make room there"):
        for _ in range(100):
            part.write_batch([[(None, os.urandom(10_000))]])
            part.snapshot()
    part.close()


class TestStandardOutput:
    def test_lines_go_out_at_once_and_the_descriptor_stays_open(self, capfd):
        part = build("-")
        part.write_batch([[(None, b"1")]])
        assert capfd.readouterr().out == "1\n"
        part.snapshot()
        part.close()
        os.write(1, b"2\n")
        assert capfd.readouterr().out == "2\n"

    def test_nothing_is_cut_back_on_resuming(self, capfd):
        build("-", 1000).write_batch([[(None, b"1")]])
        assert capfd.readouterr().out == "1\n"


class CrashError(Exception):
    pass


def run(source, out, store, crash_at=None):
    """A flow that copies lines, one epoch a batch, and may crash when it meets a line."""

    def outgoing(batch):
        if any(raw == crash_at for _, raw in batch.records):
            raise CrashError
        return "0", [(None, raw) for _, raw in batch.records]

    flow = Dataflow("copy")
    batches = op.input("in", flow, FileSource(source, 3, max_bytes=1000, clock=lambda: 0, should_stop=lambda: False))
    op.output("out", op.map("outgoing", batches, outgoing), FileSink(str(out)))
    run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(store)))


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_a_job_that_crashes_and_resumes_writes_every_line_exactly_once(tmp_path, out, name):
    content = b"".join(b"line %d\n" % n for n in range(100))
    source = tmp_path / name
    source.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    store = tmp_path / "store"
    store.mkdir()
    init_db_dir(store, 1)
    for crash_at in (b"line 1", b"line 40", b"line 41", b"line 99"):
        with pytest.raises(BytewaxRuntimeError):
            run(str(source), out, store, crash_at)
    run(str(source), out, store)
    assert read(out) == content
