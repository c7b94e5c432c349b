"""A job as several processes: started, watched and stopped by one command."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from freshflow.cluster.supervisor import count_idle_processes

Json = dict[str, Any]
Start = Callable[..., Popen[str]]
Finish = Callable[[Popen[str]], CompletedProcess[str]]
Read = Callable[[str], list[Json]]
Run = Callable[..., Popen[str]]


@pytest.fixture
def run(start: Start) -> Run:
    """Start `freshflow run` over events.jsonl, with outputs that begin with `name`."""

    def run(name: str, *arguments: object, input: str = "events.jsonl", **settings: object) -> Popen[str]:
        places = ("--input", input, "--output", f"{name}.jsonl", "--metrics", f"{name}-metrics.jsonl")
        return start("freshflow.cli.main", "run", *places, *arguments, **settings)

    return run


def last_reports(read: Read, name: str) -> dict[int, Json]:
    return {report["partition"]: report for report in read(f"{name}-metrics.jsonl")}


def learned(read: Read, name: str) -> tuple[int, int]:
    """How many events were learned and how many requests answered, over all partitions."""
    reports = last_reports(read, name).values()
    return sum(r["counts"]["events"] for r in reports), sum(r["counts"].get("answers", 0) for r in reports)


def members(of: Popen[str]) -> list[int]:
    """The processes that a job has started."""
    return [int(pid) for pid in Path(f"/proc/{of.pid}/task/{of.pid}/children").read_text().split()]


def until(happened: Callable[[], Any], job: Popen[str]) -> None:
    while not happened() and job.poll() is None:
        time.sleep(0.01)


def test_two_processes_publish_for_the_users_and_count_the_events_of_one(
    simulate: Callable[..., Counter[str]], run: Run, finish: Finish, read: Read
) -> None:
    kinds = simulate("events.jsonl", events=1500, users=100, items=60, requests=0.3)
    for name, processes in (("one", 1), ("two", 2)):
        done = finish(run(name, "--processes", processes, "--partitions", 4))
        assert done.returncode == 0, done.stderr
        told = next(line for line in done.stderr.splitlines() if line.startswith("events in "))  # of all processes
        assert f"{sum(kinds.values()):,}" in told
    assert learned(read, "two") == learned(read, "one")
    one, two = ({(r["user_id"], r["model"]["partition"]) for r in read(f"{name}.jsonl")} for name in ("one", "two"))
    assert two == one
    assert len({pid for _, pid in two}) == 4
    answers = Counter(r["request_id"] for r in read("two.jsonl") if r["cause"] == "request")
    assert len(answers) == kinds["request"]
    assert set(answers.values()) == {1}


def test_told_to_stop_all_processes_end_well_and_more_or_fewer_of_them_do_the_rest(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run: Run, finish: Finish, read: Read
) -> None:
    simulate("events.jsonl", events=9000, users=200, items=100, requests=0.1)
    done = finish(run("calm", "--partitions", 4))
    assert done.returncode == 0, done.stderr
    at = tmp_path / "told.jsonl"
    for processes, number in ((2, signal.SIGTERM), (4, signal.SIGINT), (1, None)):
        job = run("told", "--partitions", 4, "--processes", processes, "--recovery", "state", job_epoch_s=0.2)
        if number is not None:
            size = at.stat().st_size if at.exists() else 0
            until(lambda size=size: at.exists() and at.stat().st_size > size + 500_000, job)
            job.send_signal(number)
        done = finish(job)
        assert done.returncode == 0, done.stderr
    assert learned(read, "told") == learned(read, "calm")
    ids = Counter(r["list_id"] for r in read("told.jsonl"))
    assert set(ids.values()) == {1}


def test_processes_that_have_just_begun_are_told_to_stop_at_once(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run: Run, finish: Finish, read: Read
) -> None:
    events = sum(simulate("events.jsonl", events=9000, users=200, items=100).values())
    at = tmp_path / "out.jsonl"
    job = run("out", "--processes", 2, "--batch-size", 4)
    until(lambda: at.exists() and at.stat().st_size > 0, job)
    job.send_signal(signal.SIGTERM)
    done = finish(job)
    assert done.returncode == 0, done.stderr
    assert learned(read, "out")[0] < events / 2


def test_a_process_that_is_killed_ends_the_job_with_a_sentence_that_says_what_to_do(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run: Run, finish: Finish, read: Read
) -> None:
    simulate("events.jsonl", events=9000, users=200, items=100)
    job = run("out", "--processes", 2, "--quiet", "--recovery", "state", job_epoch_s=0.2)
    until((tmp_path / "out.jsonl").exists, job)
    victim = members(job)[1]
    os.kill(victim, signal.SIGKILL)
    done = finish(job)
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"freshflow: Process 2 of 2 (pid {victim}) was killed by SIGKILL; ")
    assert "--recovery state" in sentence
    done = finish(run("out", "--processes", 2, "--recovery", "state"))
    assert done.returncode == 0, done.stderr
    assert set(Counter(r["list_id"] for r in read("out.jsonl")).values()) == {1}


def test_processes_do_not_outlive_the_one_that_started_them(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run: Run
) -> None:
    simulate("events.jsonl", events=9000, users=200, items=100)
    job = run("out", "--processes", 2, "--quiet")
    until((tmp_path / "out.jsonl").exists, job)
    orphans = members(job)
    assert len(orphans) == 2
    job.kill()
    job.wait()
    end_s = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in orphans) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in orphans)


def test_what_a_user_can_cause_in_one_process_is_told_once_and_in_one_sentence(
    tmp_path: Path, simulate: Callable[..., Counter[str]], run: Run, finish: Finish
) -> None:
    simulate("events.jsonl.gz", events=4000, users=50, items=50)
    whole = (tmp_path / "events.jsonl.gz").read_bytes()
    (tmp_path / "events.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    done = finish(run("out", "--processes", 2, "--quiet", input="events.jsonl.gz"))
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if "events.jsonl.gz" in line)
    assert line.startswith("freshflow: ")
    assert "Traceback" not in done.stderr


def test_more_processes_than_partitions_are_refused(
    simulate: Callable[..., Counter[str]], run: Run, finish: Finish
) -> None:
    simulate("events.jsonl", events=10, users=20, items=20)
    done = finish(run("out", "--processes", 3, "--partitions", 2))
    assert done.returncode == 1
    assert "--processes 3 needs at least as many partitions" in done.stderr


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_powers_of_two_leave_no_process_without_a_partition(processes: int) -> None:
    assert count_idle_processes(processes, processes) == 0
    assert count_idle_processes(8, processes) == 0
