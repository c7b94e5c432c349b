"""The commands of the README on Kafka, on topics of the test's own."""

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, blocks, commands

from .brokers import drain, fill

pytestmark = pytest.mark.kafka

README = ROOT / "README.md"
Finished = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]
LIMIT_S = 120


def test_the_commands_make_topics_and_run_a_job_that_publishes_a_list_and_ends_in_order(
    broker: str,
    tmp_path: Path,
    freshflow: Callable[..., Finished],
    start: Callable[..., Running],
    finish: Callable[[Running], Finished],
) -> None:
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    (create,) = (of for of in commands(README) if of[0] == "topics")
    run = next(of for of in commands(README) if of[0] == "run" and "--recovery" in of)
    done = freshflow(*[word.replace("localhost:9092", broker) for word in create], "--prefix", prefix)
    assert done.returncode == 0, done.stderr
    event = blocks(README, "json")[0].text.strip()
    fill(broker, prefix + "events", [(0, b"u7", event.encode())])
    job = start("freshflow.cli.main", *[word.replace("localhost:9092/", f"{broker}/{prefix}") for word in run])
    end_s = time.monotonic() + LIMIT_S
    while not (lists := drain(broker, prefix + "recommendations")):
        assert job.poll() is None and time.monotonic() < end_s, job.communicate()
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    assert finish(job).returncode == 0
    ((_, key, value),) = lists
    found: dict[str, Any] = json.loads(value or b"")
    assert (key, found["cause"], found["source"]["topic"]) == (b"u7", "interaction", prefix + "events")
    assert (tmp_path / "state").is_dir()
