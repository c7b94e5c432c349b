"""Input that is no event: each line becomes a dead letter that says what, where and why, and the job goes on."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
Freshflow = Callable[..., CompletedProcess[str]]
Read = Callable[[str], list[Json]]

TS = 1_750_000_000
VIEW = b'{"type":"view","user_id":"u1","item_id":"i1","ts":%d}' % TS

BAD_LINES: list[tuple[bytes, str, str]] = [
    (b"GET /health HTTP/1.1", "not_json", "The record is not JSON: "),
    (VIEW[:-10], "not_json", "The record is not JSON: "),
    (b"[" * 100_000, "not_json", "The record is nested too deeply."),
    (b"[1, 2]", "not_an_object", "The record is a list, not an object: "),
    (b"null", "not_an_object", "The record is "),
    (b'{"type":"view","user_id":"u1","ts":%d}' % TS, "missing_field", "item_id is missing"),
    (b'{"user_id":"u1","item_id":"i1","ts":%d}' % TS, "missing_field", "type is missing"),
    (VIEW.replace(b'"u1"', b'{"id":1}'), "wrong_type", "user_id = "),
    (VIEW.replace(b'"i1"', b"true"), "wrong_type", "item_id = "),
    (VIEW.replace(b"}", b',"value":NaN}'), "not_finite", "value"),
    (VIEW.replace(b"}", b',"value":1e999}'), "not_finite", "value"),
    (VIEW.replace(b"%d" % TS, b"99999999999999999"), "bad_time", "ts = "),
    (VIEW.replace(b"%d" % TS, b"-1"), "bad_time", "ts = "),
    (VIEW.replace(b"%d" % TS, b'"yesterday"'), "bad_time", "ts = "),
    (VIEW.replace(b"view", b"teleport"), "unknown_type", "type = 'teleport' is unknown: "),
    (
        VIEW.replace(b"i1", b"x" * 10_000_000),
        "too_large",
        "The record is longer than events.max_bytes = 1048576 bytes.",
    ),
    (VIEW.replace(b"i1", b"\xff\xfe"), "not_utf8", "The record is not UTF-8: byte "),
    (b"\x00\x01\x02", "not_json", "The record is not JSON: "),
]


def visit(n: int) -> bytes:
    """A view and the request that follows it: each user has looked at one item of their own."""
    view = {"type": "view", "user_id": f"u{n}", "item_id": f"i{n}", "ts": TS + 60 * n}
    request = {"type": "request", "user_id": f"u{n}", "ts": TS + 60 * n, "request_id": f"r{n}"}
    return json.dumps(view).encode() + b"\n" + json.dumps(request).encode()


def raw_bytes(letter: Json) -> bytes:
    return base64.b64decode(letter["raw_base64"]) if "raw_base64" in letter else letter["raw"].encode()


def every_visit_is_answered(lists: list[Json], visits: int) -> None:
    answers = {one["request_id"]: one for one in lists if one["cause"] == "request"}
    assert answers.keys() == {f"r{n}" for n in range(visits)}
    for n in range(visits):
        assert f"i{n}" in {item["item_id"] for item in answers[f"r{n}"]["items"]}


def test_each_kind_of_bad_line_is_a_dead_letter_and_good_lines_around_it_are_answered(
    tmp_path: Path, freshflow: Freshflow, read: Read
) -> None:
    lines = [visit(0)]
    for n, (bad, _, _) in enumerate(BAD_LINES, start=1):
        lines += [bad, visit(n)]
    content = b"\n".join(lines)
    (tmp_path / "events.jsonl").write_bytes(content)
    done = freshflow("run", "--input", "events.jsonl", "--output", "lists.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    letters = read("lists.dead-letters.jsonl")
    assert len(letters) == len(BAD_LINES)
    for n, (letter, (bad, code, reason)) in enumerate(zip(letters, BAD_LINES, strict=True), start=1):
        assert raw_bytes(letter) == bad
        assert letter["code"] == code
        assert letter["reason"].startswith(reason)
        assert len(letter["reason"]) < 500
        assert letter["source"] == {"file": "events.jsonl", "line": 3 * n}
    every_visit_is_answered(read("lists.jsonl"), 1 + len(BAD_LINES))


def test_rows_that_do_not_fit_their_header_are_dead_letters_too(
    tmp_path: Path, run_here: Callable[..., JobStats], read: Read
) -> None:
    bad_rows = [b"view,u1", b"view,u1,i1,%d,,too,many" % TS, b"view,u1,\xff,%d," % TS, b'view,"u1"x,i1,%d,' % TS]
    rows = [b"type,user_id,item_id,ts,request_id", b"view,u0,i0,%d," % TS, b"request,u0,,%d,r0" % TS]
    for n, bad in enumerate(bad_rows, start=1):
        rows += [bad, b"view,u%d,i%d,%d," % (n, n, TS + n), b"request,u%d,,%d,r%d" % (n, TS + n, n)]
    (tmp_path / "events.csv").write_bytes(b"\n".join(rows))
    run_here(JobUrls(str(tmp_path / "events.csv"), str(tmp_path / "lists.jsonl.gz"), str(tmp_path / "letters.jsonl")))
    letters = read("letters.jsonl")
    assert [raw_bytes(letter) for letter in letters] == bad_rows
    assert [letter["code"] for letter in letters] == ["bad_row", "bad_row", "not_utf8", "bad_row"]
    assert letters[0]["reason"] == "The row has 2 cells, but the header names 5 columns."
    assert [letter["source"]["line"] for letter in letters] == [4, 7, 10, 13]
    with gzip.open(tmp_path / "lists.jsonl.gz") as lists:
        every_visit_is_answered([json.loads(line) for line in lists], 1 + len(bad_rows))
