"""A job that reads events as they happen: lists are refreshed while none comes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen
from typing import Any

from tests.refresh.test_scheduler import news

LAST = 767  # an event after which lists have aged; 15 events after those that made the partition look
LINE = f'"line":{LAST}'.encode()


def write_events(path: Path) -> bytes:
    lines = [
        {"type": "view", "user_id": event.user_id, "item_id": event.item_id, "ts": event.ts_ms}
        for event in news(21, LAST)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path.read_bytes()


def after_the_last(lists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in lists if one["source"]["line"] == LAST and one["cause"] == "refresh"]


def test_a_live_job_refreshes_lists_while_no_event_comes_and_a_replay_does_not(
    tmp_path: Path,
    start: Callable[..., Popen[str]],
    freshflow: Callable[..., CompletedProcess[str]],
    finish: Callable[[Popen[str]], CompletedProcess[str]],
    read: Callable[[str], list[dict[str, Any]]],
) -> None:
    events = write_events(tmp_path / "events.jsonl")
    settings = {"FRESHFLOW_LISTS_K": 5, "FRESHFLOW_ITEMS_MAX": 1000}
    replayed = freshflow("run", "--input", "events.jsonl", "--output", "replayed.jsonl", **settings)
    assert replayed.returncode == 0, replayed.stderr
    assert after_the_last(read("replayed.jsonl")) == []

    job = start("freshflow.cli.main", "run", "--input", "-", "--output", "live.jsonl", stdin=PIPE, **settings)
    assert job.stdin is not None
    job.stdin.write(events.decode())
    job.stdin.flush()
    live = tmp_path / "live.jsonl"
    while job.poll() is None and not (live.exists() and b'"refresh"' in last_line(live) and LINE in last_line(live)):
        time.sleep(0.05)
    done = finish(job)
    assert done.returncode == 0, done.stderr
    assert len(after_the_last(read("live.jsonl"))) > 5


def last_line(path: Path) -> bytes:
    return path.read_bytes().rstrip().rpartition(b"\n")[2]
