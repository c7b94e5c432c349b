"""A job that is killed, or told to stop, goes on where it was: its output is that of a job nothing happened to."""

import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from freshflow.config.schema import JobConfig
from freshflow.errors import OutputError, SnapshotError
from freshflow.state.recovery_store import open_state_backend, translate_store_errors
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
Finished = CompletedProcess[str]
Read = Callable[[str], list[Json]]

BATCH_SIZE = 8  # small batches are slow, so that there is a middle to be stopped in
SHOP = {"events": 1_200, "users": 60, "items": 60, "requests": 0.2}
MIDDLE = 500_000  # of about 2,500,000 bytes of lists
OUTPUTS = ("lists.jsonl", "lists.dead-letters.jsonl")
STATE = Path("state/of/the/job")


@pytest.fixture(autouse=True)
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulate: Callable[..., Counter[str]]) -> None:
    monkeypatch.chdir(tmp_path)  # list ids follow from the file's name as it is given
    simulate("events.jsonl", **SHOP)


@pytest.fixture
def start_job(start: Callable[..., Popen[str]]) -> Callable[[int], Popen[str]]:
    """Start the job as a process, its snapshots close together."""

    def start_job(partitions: int) -> Popen[str]:
        places = ["--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", STATE]
        options = ["--batch-size", BATCH_SIZE, "--partitions", partitions]
        return start("freshflow.cli.main", "run", *places, *options, job_epoch_s=0.2)

    return start_job


@pytest.fixture
def job(run_here: Callable[..., JobStats], read: Read) -> Callable[..., list[list[Json]]]:
    """Run the same job in this process to its end; without a recovery folder, into a folder of its own."""

    def job(partitions: int, recovery: Path | None) -> list[list[Json]]:
        folder = "" if recovery else "undisturbed/"
        Path(folder).mkdir(exist_ok=True)
        settings = JobConfig(partitions=partitions, batch_size=BATCH_SIZE)
        run_here(JobUrls("events.jsonl", f"{folder}lists.jsonl"), recovery=recovery, job=settings)
        return [timeless(read(f"{folder}{name}")) for name in OUTPUTS]

    return job


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may grow beyond a few bytes, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("no_room")
def test_a_store_that_fails_on_a_full_disk_is_told_to_need_room(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"The recovery folder .* cannot be written: .*; make room there"),
        translate_store_errors(tmp_path),
    ):
        raise RuntimeError('SqliteFailure(Error { code: SystemIoFailure }, Some("disk I/O error"))')


def test_a_store_that_fails_on_a_disk_with_room_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="disk I/O error"), translate_store_errors(tmp_path):
        raise RuntimeError('SqliteFailure(Error { code: SystemIoFailure }, Some("disk I/O error"))')


def timeless(records: list[Json]) -> list[Json]:
    return [{k: v for k, v in record.items() if k not in ("computed_at", "rejected_at")} for record in records]


def test_a_job_that_is_killed_writes_what_it_would_have_written(
    start_job: Callable[[int], Popen[str]],
    job: Callable[..., list[list[Json]]],
    stop_at: Callable[..., Finished],
) -> None:
    killed = stop_at(start_job(3), signal.SIGKILL, Path("lists.jsonl"), MIDDLE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert job(3, recovery=STATE) == job(3, recovery=None)


def test_a_job_that_is_told_to_stop_ends_well_and_the_next_run_does_the_rest(
    start_job: Callable[[int], Popen[str]],
    job: Callable[..., list[list[Json]]],
    stop_at: Callable[..., Finished],
    read: Read,
) -> None:
    so_far: list[list[Json]] = [[]]
    for number, size in ((signal.SIGTERM, MIDDLE // 2), (signal.SIGINT, MIDDLE)):
        stopped = stop_at(start_job(1), number, Path("lists.jsonl"), size)
        assert stopped.returncode == 0, stopped.stderr
        assert "lists out" in stopped.stderr
        so_far.append(timeless(read("lists.jsonl")))  # whole lines
    whole = job(1, recovery=None)
    assert len(so_far[0]) < len(so_far[1]) < len(so_far[2]) < len(whole[0])
    assert so_far[2] == whole[0][: len(so_far[2])]
    assert job(1, recovery=STATE) == whole


def test_a_job_that_was_done_goes_on_with_what_was_added_and_only_with_the_same_partitions(
    start_job: Callable[[int], Popen[str]],
    job: Callable[..., list[list[Json]]],
    finish: Callable[[Popen[str]], Finished],
) -> None:
    lines = Path("events.jsonl").read_bytes().splitlines(keepends=True)
    Path("events.jsonl").write_bytes(b"".join(lines[:200]))
    assert not open_state_backend(STATE).has_snapshots
    early, _ = job(1, recovery=STATE)
    assert any(STATE.iterdir())

    with Path("events.jsonl").open("ab") as file:
        file.writelines(lines[200:300])
    assert open_state_backend(STATE).has_snapshots
    refused = finish(start_job(2))
    assert refused.returncode == 1
    assert refused.stderr == (
        "freshflow: The recovery folder was written with job.partitions = 1, and this job has 2; "
        "go back to the old value, or start anew with an empty --recovery folder.\n"
    )

    lists, _ = job(1, recovery=STATE)
    assert lists[: len(early)] == early
    asked = [n for n, line in enumerate(lines[:300], start=1) if line.startswith(b'{"type":"request"')]
    assert [one["source"]["line"] for one in lists if one["cause"] == "request"] == asked
