"""The same graph, started by Bytewax itself: in one process, and in two that send each other what they have to."""

import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

Json = dict[str, Any]
COUNTED = ("events", "answers", "noise_rate", "duplicate", "reordered")
Start = Callable[..., Popen[str]]
Finish = Callable[[Popen[str]], CompletedProcess[str]]
Read = Callable[[str], list[Json]]


def free_addresses() -> str:
    """Two addresses nobody listens at."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ";".join(f"127.0.0.1:{port}" for port in ports)


def totals(read: Read, name: str) -> Counter[str]:
    """Counts over all partitions, each by its last report."""
    last = {report["partition"]: report["counts"] for report in read(f"{name}-metrics.jsonl")}
    sums = Counter({key: sum(counts.get(key, 0) for counts in last.values()) for key in COUNTED})
    sums["lists or unchanged"] = sum(counts["lists"] + counts["unchanged"] for counts in last.values())
    sums["partitions"] = len(last)
    return sums


def owners(read: Read, name: str) -> dict[str, int]:
    """Which partition each user's lists are from; there is but one."""
    pairs = {(one["user_id"], one["model"]["partition"]) for one in read(f"{name}.jsonl")}
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.fixture
def replay(start: Start) -> Callable[..., Popen[str]]:
    """Start `python -m bytewax.run flows.replay` over events.jsonl, with outputs that begin with `name`."""

    def replay(name: str, *arguments: str) -> Popen[str]:
        return start(
            "bytewax.run",
            "flows.replay",
            *arguments,
            input="events.jsonl",
            output=f"{name}.jsonl",
            metrics=f"{name}-metrics.jsonl",
            job_partitions=4,
        )

    return replay


def test_two_processes_do_the_work_of_one(
    simulate: Callable[..., Counter[str]], replay: Callable[..., Popen[str]], finish: Finish, read: Read
) -> None:
    kinds = simulate("events.jsonl", events=800, users=80, items=60, requests=0.3)
    addresses = free_addresses()
    both = [replay("two", "-i", number, "-a", addresses) for number in ("0", "1")]
    alone = replay("one")
    for process in (*both, alone):
        done = finish(process)
        assert done.returncode == 0, done.stderr
    for name in ("one", "two"):
        lists = read(f"{name}.jsonl")
        answered = Counter(one["request_id"] for one in lists if one["cause"] == "request")
        assert len(answered) == kinds["request"]
        assert set(answered.values()) == {1}
        assert len({one["list_id"] for one in lists}) == len(lists)
        assert len(read(f"{name}.dead-letters.jsonl")) == kinds["broken"]
    assert totals(read, "two") == totals(read, "one")
    assert owners(read, "two") == owners(read, "one")
    of_all = totals(read, "two")
    assert of_all["events"] + of_all["noise_rate"] == kinds["behaviour"] + kinds["late"] + kinds["bot"]
    assert totals(read, "two")["partitions"] == 4


def test_both_processes_end_well_when_both_are_told_to_stop(
    tmp_path: Path, simulate: Callable[..., Counter[str]], replay: Callable[..., Popen[str]], finish: Finish, read: Read
) -> None:
    simulate("events.jsonl", events=12_000, users=400, items=200, requests=0.2)
    addresses = free_addresses()
    both = [replay("two", "-i", number, "-a", addresses) for number in ("0", "1")]
    out = tmp_path / "two.jsonl"
    while not (out.exists() and out.stat().st_size) and all(process.poll() is None for process in both):
        time.sleep(0.005)
    for process in both:
        process.send_signal(SIGTERM)
    assert [finish(process).returncode for process in both] == [0, 0]
    lists = read("two.jsonl")  # whole lines, each once
    assert 0 < len({one["list_id"] for one in lists}) == len(lists) < 13_000


def test_a_flow_without_its_input_says_which_variable_is_missing(start: Start, finish: Finish) -> None:
    done = finish(start("bytewax.run", "flows.replay", output="out.jsonl"))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("FRESHFLOW_INPUT is not set; give it a path, - or kafka://host:port/topic.")


def test_a_module_of_the_job_ends_with_one_sentence_where_a_setting_is_missing(start: Start, finish: Finish) -> None:
    done = finish(start("bytewax.run", "flows.replay"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "freshflow: FRESHFLOW_INPUT is not set; give it a path, - or kafka://host:port/topic.\n"
