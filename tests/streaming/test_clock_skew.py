"""Events with wrong clocks in a whole job: they end as dead letters, and nothing else is any different for them."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from freshflow.config.schema import JobConfig, MetricsConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
CLOCK_MS = 1_800_000_000_000
AHEAD = (200, 300, 301, 420)  # lines dated 100 days after their neighbours, and yet before they are read
FUTURE = 350  # the line dated a day after it is read


def line(number: int, ts_ms: int) -> bytes:
    event = {"type": "view", "user_id": f"wrong{number % 2}", "item_id": "i1", "ts": ts_ms}
    return json.dumps(event).encode()


@pytest.fixture
def run(
    tmp_path: Path, simulate: Callable[..., object], run_here: Callable[..., JobStats]
) -> Callable[[str, bool, int], JobStats]:
    """Run a job over events among which some have wrong clocks, or, for comparison, are blank lines."""
    simulate("clean.jsonl", events=700, users=40, items=40, dirty=False, requests=0.2)

    def run(name: str, wrong: bool, partitions: int = 1) -> JobStats:
        lines = (tmp_path / "clean.jsonl").read_bytes().splitlines()
        months_later = json.loads(lines[-1])["ts"] + 100 * 86_400_000
        assert months_later < CLOCK_MS
        for number in sorted((*AHEAD, FUTURE)):
            ts_ms = CLOCK_MS + 86_400_000 if number == FUTURE else months_later
            lines.insert(number - 1, line(number, ts_ms) if wrong else b"")
        (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        events, lists, reports = (str(tmp_path / file) for file in ("events.jsonl", f"{name}.jsonl", "m.jsonl"))
        places = JobUrls(events, lists, metrics=reports)
        job, metrics = JobConfig(partitions=partitions, batch_size=50), MetricsConfig(report_every_events=200)
        return run_here(places, clock=lambda: CLOCK_MS, job=job, metrics=metrics)

    return run


def test_lists_and_reports_are_those_without_the_wrong_clocks(run: Any, tmp_path: Path) -> None:
    made = {}
    for name, wrong in (("wrong", True), ("blank", False)):
        progress = run(name, wrong)
        made[name] = (tmp_path / f"{name}.jsonl").read_bytes(), (tmp_path / "m.jsonl").read_bytes().splitlines()[-1]
        assert progress.n_rejected == ({"ahead": len(AHEAD), "future": 1} if wrong else {})
    assert made["wrong"] == made["blank"]


@pytest.mark.parametrize("partitions", [1, 3])
def test_they_are_dead_letters_with_event_place_and_reason(
    run: Any, read: Callable[[str], list[Json]], partitions: int
) -> None:
    run("wrong", True, partitions)
    letters = {letter["source"]["line"]: letter for letter in read("wrong.dead-letters.jsonl")}
    assert letters.keys() == {*AHEAD, FUTURE}
    for number, letter in letters.items():
        assert letter["code"] == ("future" if number == FUTURE else "ahead")
        assert json.loads(letter["raw"])["user_id"] == f"wrong{number % 2}"
        assert "correct the clock of the sender" in letter["reason"]
    assert not any(one["user_id"].startswith("wrong") for one in read("wrong.jsonl"))


def test_they_are_refused_across_processes(
    run: Any, read: Callable[[str], list[Json]], freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    run("wrong", True)  # writes the events
    done = freshflow("run", "--input", "events.jsonl", "--output", "lists.jsonl", "--processes", 2)
    assert done.returncode == 0, done.stderr
    letters = read("lists.dead-letters.jsonl")
    assert {letter["source"]["line"] for letter in letters if letter["code"] == "ahead"} == {*AHEAD}


def test_without_a_place_for_dead_letters_they_are_logged(
    tmp_path: Path, freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    days = (0, 900, 0, 0)
    views = (
        json.dumps({"type": "view", "user_id": f"u{n}", "item_id": "i", "ts": 1_600_000_000 + 86_400 * day})
        for n, day in enumerate(days)
    )
    (tmp_path / "events.jsonl").write_text("\n".join(views))
    done = freshflow("run", "--input", "events.jsonl", "--output", "-")
    assert done.returncode == 0, done.stderr
    assert "is 900 days ahead" in done.stderr
    assert {json.loads(one)["user_id"] for one in done.stdout.splitlines()} == {"u0", "u2", "u3"}


def test_a_pause_at_the_end_of_a_file_loses_no_event(
    tmp_path: Path, read: Callable[[str], list[Json]], freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    days = (0, 30, 60)
    views = (
        json.dumps({"type": "view", "user_id": "u", "item_id": f"i{n}", "ts": 1_600_000_000 + 86_400 * day})
        for n, day in enumerate(days)
    )
    asked = json.dumps({"type": "request", "user_id": "u", "ts": 1_600_000_000 + 86_400 * 60, "request_id": "r"})
    (tmp_path / "events.jsonl").write_text("\n".join([*views, asked]))
    done = freshflow("run", "--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state")
    assert done.returncode == 0, done.stderr
    (answer,) = (one for one in read("lists.jsonl") if one.get("request_id") == "r")
    assert {item["item_id"] for item in answer["items"]} == {"i0", "i1", "i2"}
