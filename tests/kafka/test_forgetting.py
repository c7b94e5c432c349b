"""`freshflow forget` and a running job: what arrives in the topics, in which order and under which key."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freshflow.events.pseudonyms import Pseudonyms

from .brokers import NewTopicFn, Triple, drain, fill

pytestmark = pytest.mark.kafka

Json = dict[str, Any]
Finished = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]
WHO = "zz-visitor@example.org"
KEY = "0123456789abcdef0123456789abcdef"
START_MS = 1_750_000_000_000
PARTITIONS, USERS = 4, 20
LIMIT_S = 120


def visits(first: int, count: int, who: str | None = None) -> list[Triple]:
    """Views in the order of time, each user's in one partition: WHO's are every third."""
    records: list[Triple] = []
    for n in range(first, first + count):
        user = who if who is not None and n % 3 == 0 else f"u{n % USERS}"
        fields = {"type": "view", "user_id": user, "item_id": f"i{n * 7 % 40}", "ts": START_MS + n * 60_000}
        partition = 2 if user == who else n % USERS % PARTITIONS
        records.append((partition, user.encode(), json.dumps(fields).encode()))
    return records


def until(holds: Callable[[], object], job: Running) -> None:
    """Wait until something holds, as long as the job runs."""
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.1)


def files_hold(folder: Path, text: str) -> bool:
    """Whether any file of the recovery folder holds a text; files come and go."""
    found = False
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found |= path.is_file() and text.encode() in path.read_bytes()
    return found


def test_a_running_job_forgets_a_user_and_its_topic_holds_a_tombstone_behind_their_lists(
    broker: str,
    new_topic: NewTopicFn,
    tmp_path: Path,
    start: Callable[..., Running],
    finish: Callable[[Running], Finished],
    freshflow: Callable[..., Finished],
) -> None:
    events, lists, metrics = new_topic(PARTITIONS), new_topic(3), new_topic()
    at = f"kafka://{broker}/"
    options = f"--input {at}{events} --output {at}{lists} --metrics {at}{metrics} --recovery state".split()
    before = visits(0, 120, WHO)
    fill(broker, events, before)
    job = start("freshflow.cli.main", "run", *options, job_epoch_s=0.2)
    until(lambda: sum(key == WHO.encode() for _, key, _ in drain(broker, lists)) > 30, job)
    until(lambda: files_hold(tmp_path / "state", WHO), job)

    told = freshflow("forget", WHO, "--input", at + events, "--output", at + lists)
    assert told.returncode == 0, told.stderr
    said = told.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["forget"] * PARTITIONS + ["tombstone"]
    assert said[2] == f"forget event   {events}, partition 2, offset {sum(record[0] == 2 for record in before)}"
    until(lambda: len(receipts(broker, metrics)) == PARTITIONS, job)
    fill(broker, events, visits(120, 120))
    until(lambda: len({key for _, key, _ in drain(broker, lists)}) == USERS + 1, job)
    until(lambda: not files_hold(tmp_path / "state", WHO), job)
    job.send_signal(signal.SIGTERM)
    done = finish(job)
    assert done.returncode == 0, done.stderr

    theirs = [(partition, value) for partition, key, value in drain(broker, lists) if key == WHO.encode()]
    assert len({partition for partition, _ in theirs}) == 1  # or compaction would keep lists in the others
    values = [value for _, value in theirs]
    assert values[-PARTITIONS:] == [None] * PARTITIONS
    assert values.count(None) == PARTITIONS + 1
    assert compacted(drain(broker, lists)).keys() == {f"u{n}".encode() for n in range(USERS)}
    assert sorted(one["known"] for one in receipts(broker, metrics)) == [False, False, False, True]
    assert {one["source"]["partition"] for one in receipts(broker, metrics)} == set(range(PARTITIONS))
    assert not [value for _, _, value in drain(broker, metrics) if WHO.encode() in (value or b"")]
    assert WHO not in told.stdout + told.stderr + done.stdout + done.stderr
    assert not files_hold(tmp_path / "state", WHO)


def receipts(broker: str, metrics: str) -> list[Json]:
    reports = [json.loads(value or b"") for _, _, value in drain(broker, metrics)]
    return [report for report in reports if report["kind"] == "forget"]


def compacted(records: list[Triple]) -> dict[bytes | None, bytes]:
    """What compaction leaves of a topic in the end: of each partition and key the last value, unless it is none."""
    last = {(partition, key): value for partition, key, value in records}
    return {key: value for (_, key), value in last.items() if value is not None}


def test_with_pseudonyms_no_topic_of_the_job_holds_an_id_and_forgetting_takes_the_id(
    broker: str, new_topic: NewTopicFn, freshflow: Callable[..., Finished]
) -> None:
    events, lists, letters, metrics = new_topic(PARTITIONS), new_topic(3), new_topic(), new_topic()
    at = f"kafka://{broker}/"
    private = {"privacy_pseudonymise": "true", "privacy_key": KEY}
    broken = (2, WHO.encode(), json.dumps({"type": "view", "userId": WHO, "ts": START_MS}).encode())
    fill(broker, events, [broken, *visits(0, 90, WHO)])
    told = freshflow("forget", WHO, "--input", at + events, "--output", at + lists, **private)
    assert told.returncode == 0, told.stderr
    places = f"--input {at}{events} --output {at}{lists} --dead-letters {at}{letters} --metrics {at}{metrics}"
    done = freshflow("run", *places.split(), "--until-end", **private)
    assert done.returncode == 0, done.stderr

    name = Pseudonyms(KEY).pseudonymise
    records = drain(broker, lists)
    assert {key for _, key, _ in records} == {name(user).encode() for user in (WHO, *(f"u{n}" for n in range(USERS)))}
    assert all(json.loads(value)["user_id"].encode() == key for _, key, value in records if value is not None)
    assert compacted(records).keys() == {name(f"u{n}").encode() for n in range(USERS)}
    assert len({partition for partition, key, _ in records if key == name(WHO).encode()}) == 1
    assert len(receipts(broker, metrics)) == PARTITIONS
    ((_, _, letter),) = drain(broker, letters)
    assert json.loads(letter or b"")["code"] == "missing_field"
    for topic in (lists, letters, metrics):
        assert not [
            record for record in drain(broker, topic) if WHO.encode() in (record[1] or b"") + (record[2] or b"")
        ]
    assert WHO not in told.stdout + told.stderr + done.stdout + done.stderr
    assert KEY not in told.stdout + told.stderr + done.stdout + done.stderr


def test_a_tombstone_alone_says_that_the_job_was_not_told(
    broker: str, new_topic: NewTopicFn, freshflow: Callable[..., Finished]
) -> None:
    lists = new_topic(3)
    told = freshflow("forget", WHO, "--output", f"kafka://{broker}/{lists}")
    assert told.returncode == 0
    assert told.stderr == (
        "freshflow: The job was not told, so it knows the user and publishes lists again; give --input, too.\n"
    )
    assert [record[1:] for record in drain(broker, lists)] == [(WHO.encode(), None)]


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_topic_that_is_not_there_is_refused(option: str, broker: str, freshflow: Callable[..., Finished]) -> None:
    told = freshflow("forget", WHO, option, f"kafka://{broker}/nowhere")
    assert told.returncode == 1
    assert told.stderr.startswith("freshflow: The topic nowhere does not exist at ")


def test_a_broker_that_is_away_is_said_within_the_time_limit(
    closed_port: str, freshflow: Callable[..., Finished]
) -> None:
    told = freshflow("forget", WHO, "--input", f"kafka://{closed_port}/events", kafka_timeout_s=1)
    assert told.returncode == 1
    assert told.stderr.startswith(f"freshflow: No Kafka broker answered at {closed_port} within 1 s")
