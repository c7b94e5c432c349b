"""The same file gives the same bytes: whatever Python's hash seed, with one partition and with several."""

import os
import re
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from freshflow.config.schema import JobConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

OUTPUTS = ("lists.jsonl", "lists.dead-letters.jsonl", "metrics.jsonl", "related.jsonl")
CLOCK = re.compile(rb'"(computed_at|rejected_at)":\d+')
ANOTHER_HASH_SEED = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"

partitions = pytest.mark.parametrize("partitions", [1, 4])


@pytest.fixture
def outputs(run_here: Callable[..., JobStats]) -> Callable[..., list[bytes]]:
    """What a job in this process writes into a folder."""

    def outputs(folder: str, partitions: int, clock: Callable[[], int]) -> list[bytes]:
        Path(folder).mkdir()
        places = JobUrls(
            "events.jsonl",
            f"{folder}/lists.jsonl",
            metrics=f"{folder}/metrics.jsonl",
            related=f"{folder}/related.jsonl",
        )
        run_here(places, clock=clock, job=JobConfig(partitions=partitions))
        return [Path(folder, name).read_bytes() for name in OUTPUTS]

    return outputs


@pytest.fixture(autouse=True)
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulate: Callable[..., Counter[str]]) -> None:
    monkeypatch.chdir(tmp_path)
    simulate("events.jsonl", events=700, users=50, items=50, requests=0.2)


@partitions
def test_another_process_with_another_hash_seed_writes_the_same_bytes_but_for_the_clock(
    partitions: int, outputs: Callable[..., list[bytes]], freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    here = outputs("here", partitions, clock=lambda: 0)
    Path("there").mkdir()
    places = ["--input", "events.jsonl", "--output", "there/lists.jsonl", "--metrics", "there/metrics.jsonl"]
    places += ["--related", "there/related.jsonl"]
    done = freshflow("run", *places, "--partitions", partitions, "--quiet", PYTHONHASHSEED=ANOTHER_HASH_SEED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    there = [Path("there", name).read_bytes() for name in OUTPUTS]
    assert [CLOCK.sub(b"", output) for output in there] == [CLOCK.sub(b"", output) for output in here]
    assert [output.count(b"\n") > minimum for output, minimum in zip(here, (500, 5, 0, 40), strict=True)] == [True] * 4


@partitions
def test_with_a_clock_of_its_own_a_job_writes_the_same_bytes(
    partitions: int, outputs: Callable[..., list[bytes]]
) -> None:
    first, second = (outputs(folder, partitions, count(1_800_000_000_000).__next__) for folder in ("first", "second"))
    assert first == second
