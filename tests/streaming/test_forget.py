"""Who is forgotten is gone from the whole job: from lists, snapshots, reports and logs, and comes back as a new user.

The job runs as a user runs it, with a recovery folder, whose files are searched for the id byte by byte.
"""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

Json = dict[str, Any]
Finished = CompletedProcess[str]
Freshflow = Callable[..., Finished]
Read = Callable[[str], list[Json]]

WHO = "zz-visitor@example.org"
START_MS, MINUTE_MS = 1_750_000_000_000, 60_000
USERS, ITEMS = 30, 40


def view(n: int, user: str) -> bytes:
    fields = {"type": "view", "user_id": user, "item_id": f"i{n * 7 % ITEMS}", "ts": START_MS + n * MINUTE_MS}
    return json.dumps(fields | {"session_id": f"{user}/{n // 50}", "event_id": f"{user}-{n}"}).encode() + b"\n"


def views(first: int, count: int, *, with_who: bool) -> bytes:
    """Views of `USERS` users in turn; WHO is every other one's neighbour, or not there."""
    return b"".join(view(n, WHO if with_who and n % 2 else f"u{n % USERS}") for n in range(first, first + count))


def request(n: int, user: str) -> bytes:
    fields = {"type": "request", "user_id": user, "ts": START_MS + n * MINUTE_MS, "request_id": f"r{n}", "k": 100}
    return json.dumps(fields).encode() + b"\n"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def holding(folder: Path) -> list[str]:
    """The names of files in a folder that hold the id."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in files if WHO.encode() in path.read_bytes()]


RUN = ["run", "--input", "events.jsonl", "--output", "lists.jsonl", "--metrics", "metrics.jsonl", "--recovery", "state"]


@pytest.mark.parametrize("cut", [(), ("--processes", 2)], ids=str)
def test_a_forgotten_user_is_nowhere_and_comes_back_as_a_new_one(
    cut: tuple[object, ...], tmp_path: Path, freshflow: Freshflow, read: Read
) -> None:
    events, state = tmp_path / "events.jsonl", tmp_path / "state"
    events.write_bytes(views(0, 300, with_who=True))
    first = freshflow(*RUN, *cut)
    assert first.returncode == 0, first.stderr
    assert holding(state)
    published, reported = len(read("lists.jsonl")), len(read("metrics.jsonl"))

    told = freshflow("forget", WHO, "--input", "events.jsonl")
    assert (told.returncode, told.stdout) == (0, "forget event   events.jsonl, its last line\n"), told.stderr
    append(events, events.read_bytes().splitlines(keepends=True)[-1])  # twice does no harm
    append(events, views(300, 300, with_who=False))
    second = freshflow(*RUN, *cut)
    assert second.returncode == 0, second.stderr

    assert holding(state) == []
    tombstone = {"key": WHO, "value": None}
    later = read("lists.jsonl")[published:]
    assert later.count(tombstone) == 2
    assert len(later) > 200
    assert WHO not in json.dumps([one for one in later if one != tombstone])
    reports = read("metrics.jsonl")[reported:]
    assert WHO not in json.dumps(reports)
    receipts = [one for one in reports if one["kind"] == "forget"]
    assert [(one["source"]["line"], one["known"], one["forgotten"]) for one in receipts] == [
        (301, True, 1),
        (302, False, 2),
    ]
    assert all(one["computed_at"] >= one["event_ts"] > START_MS for one in receipts)
    assert WHO not in first.stderr + second.stderr + second.stdout + told.stderr

    append(events, request(600, WHO) + view(601, WHO) + request(602, WHO))
    assert freshflow(*RUN, *cut).returncode == 0
    asked = {one["request_id"]: one for one in read("lists.jsonl")[published:] if one.get("request_id")}
    assert {item["reason"] for item in asked["r600"]["items"]} == {"popular"}
    seen = {item["item_id"] for item in asked["r602"]["items"] if item["reason"] == "again"}
    assert seen <= {f"i{601 * 7 % ITEMS}"}


def test_a_job_that_was_killed_leaves_the_id_in_no_file_once_it_has_run_on(
    tmp_path: Path,
    start: Callable[..., Popen[str]],
    stop_at: Callable[..., Finished],
    freshflow: Freshflow,
) -> None:
    events, state = tmp_path / "events.jsonl", tmp_path / "state"
    events.write_bytes(views(0, 3000, with_who=True))
    job = start("freshflow.cli.main", *RUN, "--batch-size", 8, job_epoch_s=0.05)
    stop_at(job, signal.SIGKILL, tmp_path / "lists.jsonl", 1_000_000)
    assert holding(state)
    assert freshflow("forget", WHO, "--input", "events.jsonl").returncode == 0
    done = freshflow(*RUN)
    assert done.returncode == 0, done.stderr
    assert holding(state) == []


def test_an_idle_user_leaves_the_whole_job_and_their_list_is_deleted(
    tmp_path: Path, freshflow: Freshflow, read: Read
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(view(0, WHO) + b"".join(view(n, f"u{n % USERS}") for n in range(1, 300)))
    done = freshflow(*RUN, users_idle_s=3600)
    assert done.returncode == 0, done.stderr
    lines = read("lists.jsonl")
    gone = lines.index({"key": WHO, "value": None})
    assert WHO in json.dumps(lines[:gone])
    assert WHO not in json.dumps(lines[gone + 1 :])
    (report,) = (one for one in read("metrics.jsonl") if one["kind"] == "partition")
    assert report["counts"]["users_idle"] == 1
