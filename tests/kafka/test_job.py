"""The whole job from topic to topic, as processes, over a real connection.

Apache Kafka gets 50,000 events, Tansu 5,000; FRESHFLOW_TEST_EVENTS says otherwise.
"""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from freshflow.config.schema import JobConfig
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

from .brokers import NewTopicFn, Triple, drain, fill

pytestmark = pytest.mark.kafka

Json = dict[str, Any]
Finished = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]
EVENTS = int(os.environ.get("FRESHFLOW_TEST_EVENTS") or (50_000 if "FRESHFLOW_TEST_KAFKA" in os.environ else 5_000))
EVENTS_PARTITIONS = 4
# How many records arrive at once differs from run to run; one at a time, nothing depends on it.
ONE_BY_ONE = JobConfig(batch_size=1)


class Topics(NamedTuple):
    """The topics of one job and where they are."""

    broker: str
    events: str
    lists: str
    dead_letters: str
    metrics: str

    def places(self) -> JobUrls:
        """Where the job reads and writes; it ends where the topic does."""
        events, lists, dead_letters, metrics = (f"kafka://{self.broker}/{topic}" for topic in self[1:])
        return JobUrls(events, lists, dead_letters, metrics, until_end=True)

    def options(self) -> list[str]:
        """The same on the command line, for a job that does not end by itself."""
        input, output, dead_letters, metrics = msgspec.structs.astuple(self.places())[:4]
        return [
            *f"--input {input} --output {output} --dead-letters {dead_letters} --metrics {metrics} --until-end".split()
        ]

    def values(self, topic: str) -> list[Json]:
        """All records of a topic, partition by partition."""
        return [json.loads(value or b"null") for _, _, value in drain(self.broker, topic)]


@pytest.fixture
def topics(broker: str, new_topic: NewTopicFn) -> Callable[[int], Topics]:
    """Make the topics of a job, that of the events with so many partitions."""
    return lambda partitions: Topics(broker, new_topic(partitions), new_topic(3), new_topic(), new_topic())


def shop(**options: Any) -> list[tuple[str, bytes]]:
    """The lines of a simulated shop with their kinds."""
    return [(kind, raw) for _, kind, raw in shop_lines(ShopConfig(**options))]


def produce(topics: Topics, lines: list[tuple[str, bytes]], partitions: int = 1) -> None:
    """Fill the topic of the events, each user's in one partition; a line that is no event goes with the first."""
    users = [json.loads(raw).get("user_id", "") if kind != "broken" else "" for kind, raw in lines]
    records: list[Triple] = [
        (len(user) and int(user[1:]) % partitions, user.encode() or None, raw)
        for user, (_, raw) in zip(users, lines, strict=True)
    ]
    fill(topics.broker, topics.events, records)


def test_nothing_is_lost_between_a_topic_of_events_and_a_topic_of_lists(
    topics: Callable[[int], Topics], freshflow: Callable[..., Finished]
) -> None:
    lines = shop(events=EVENTS, users=max(50, EVENTS // 25), items=300, requests=0.2)
    kinds = Counter(kind for kind, _ in lines)
    ours = topics(EVENTS_PARTITIONS)
    produce(ours, lines, EVENTS_PARTITIONS)
    done = freshflow("run", *ours.options(), "--until-end", "--partitions", 2)
    assert done.returncode == 0, done.stderr

    records = drain(ours.broker, ours.lists)
    lists = [json.loads(value or b"") for _, _, value in records]
    assert all((key or b"").decode() == one["user_id"] for (_, key, _), one in zip(records, lists, strict=True))
    assert len({one["list_id"] for one in lists}) == len(lists)
    answered = Counter(one["request_id"] for one in lists if one["cause"] == "request")
    asked = [json.loads(raw)["request_id"] for kind, raw in lines if kind == "request"]
    assert answered == Counter(asked)

    counts: Counter[str] = Counter()
    for last in {report["partition"]: report["counts"] for report in ours.values(ours.metrics)}.values():
        counts.update(last)
    assert counts["events"] + counts["noise_rate"] == kinds["behaviour"] + kinds["late"] + kinds["bot"]
    assert counts["lists"] + counts["unchanged"] == counts["events"] + counts["noise_rate"]
    assert counts["lists"] + counts["refreshed"] + counts["withdrawn"] + counts["answers"] == len(lists)
    active = {json.loads(raw)["user_id"] for kind, raw in lines if kind in ("behaviour", "late", "bot")}
    assert {one["user_id"] for one in lists if one["cause"] == "interaction"} == active

    letters = ours.values(ours.dead_letters)
    assert len(letters) == kinds["broken"]
    assert {letter["source"]["topic"] for letter in letters} == {ours.events}


def test_events_of_another_shape_are_read_from_a_topic(
    topics: Callable[[int], Topics], freshflow: Callable[..., Finished]
) -> None:
    order = {"type": "track", "event": "Order Completed", "userId": "u1", "timestamp": "2012-12-02T00:30:12.984Z"}
    order["properties"] = {"products": [{"product_id": f"p{n}"} for n in range(3)]}  # type: ignore[assignment]
    page = {"type": "page", "messageId": "m9", "userId": "u1", "timestamp": "2012-12-02T00:30:20Z"}
    ours = topics(1)
    # The second record is the first one, sent again.
    sent = [order | {"messageId": "m1"}, order | {"messageId": "m1"}, page]
    fill(ours.broker, ours.events, [(0, None, json.dumps(record).encode()) for record in sent])
    done = freshflow("run", *ours.options(), "--format", "segment", "--map", "user_id=userId")
    assert done.returncode == 0, done.stderr
    assert "passed over" in done.stderr
    lists = [one for one in ours.values(ours.lists) if one["cause"] == "interaction"]
    assert [(one["source"]["offset"], one["source"].get("event")) for one in lists] == [(0, None), (0, 1), (0, 2)]
    assert ours.values(ours.dead_letters) == []


def test_a_topic_gives_the_lists_that_a_file_gives(
    tmp_path: Path, topics: Callable[[int], Topics], run_here: Callable[..., JobStats]
) -> None:
    lines = shop(events=300, users=20, items=30, requests=0.3)
    ours = topics(1)
    produce(ours, lines)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(raw + b"\n" for _, raw in lines))
    run_here(ours.places(), job=ONE_BY_ONE)
    run_here(JobUrls(str(path), str(tmp_path / "lists.jsonl")), job=ONE_BY_ONE)
    from_file = sorted(map(json.loads, (tmp_path / "lists.jsonl").read_bytes().splitlines()), key=caused)
    from_topic = sorted(ours.values(ours.lists), key=caused)
    assert [place(one) + 1 for one in from_topic] == [one["source"]["line"] for one in from_file]
    assert [content(one) for one in from_topic] == [content(one) for one in from_file]


def place(record: Json) -> int:
    return int(record["source"]["offset"])


def caused(one: Json) -> tuple[int, str, str]:
    """Which list it is: one event may cause those of many users."""
    return one["source"].get("offset", one["source"].get("line")), one["cause"], one["user_id"]


def content(one: Json) -> Json:
    """A list without what differs from run to run and from source to source."""
    return {key: value for key, value in one.items() if key not in ("list_id", "computed_at", "source")}


def test_a_job_that_is_killed_and_one_that_is_told_to_stop_lose_no_list(
    tmp_path: Path,
    topics: Callable[[int], Topics],
    start: Callable[..., Running],
    finish: Callable[[Running], Finished],
    run_here: Callable[..., JobStats],
) -> None:
    lines = shop(events=3600, users=40, items=40, requests=0.3)
    disturbed = topics(1)
    calm = topics(1)._replace(events=disturbed.events)
    produce(disturbed, lines)
    seen = 0
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        options = [*disturbed.options(), "--batch-size", 1, "--recovery", tmp_path / "state"]
        job = start("freshflow.cli.main", "run", *options, job_epoch_s=0.2)
        while job.poll() is None and len(drain(disturbed.broker, disturbed.lists)) < seen + 100:
            time.sleep(0.1)
        job.send_signal(number)
        done = finish(job)
        assert done.returncode == code, done.stderr
        seen = len(drain(disturbed.broker, disturbed.lists))
    run_here(disturbed.places(), recovery=tmp_path / "state", job=ONE_BY_ONE)

    run_here(calm.places(), job=ONE_BY_ONE)
    expected = {one["list_id"]: content(one) for one in calm.values(calm.lists)}
    found = disturbed.values(disturbed.lists)
    assert {one["list_id"] for one in found} == expected.keys()
    assert all(content(one) == expected[one["list_id"]] for one in found)  # those that came twice, too
    letters, expected_letters = ({place(one) for one in its.values(its.dead_letters)} for its in (disturbed, calm))
    assert letters == expected_letters


@pytest.mark.parametrize("partitions", [1, 3])
def test_another_number_of_partitions_than_the_snapshots_have_is_refused_with_a_sentence(
    tmp_path: Path, topics: Callable[[int], Topics], freshflow: Callable[..., Finished], partitions: int
) -> None:
    ours = topics(1)
    produce(ours, shop(events=100, users=10, items=20))
    options = [*ours.options(), "--recovery", tmp_path / "state", "--quiet"]
    done = freshflow("run", *options, "--partitions", 2)
    assert done.returncode == 0, done.stderr
    refused = freshflow("run", *options, "--partitions", partitions)
    assert refused.returncode == 1
    assert refused.stderr.startswith("freshflow: The recovery folder was written with job.partitions = 2, and this job")


def test_the_deployed_flow_runs_from_topic_to_topic_until_it_is_told_to_stop(
    topics: Callable[[int], Topics], start: Callable[..., Running], finish: Callable[[Running], Finished]
) -> None:
    lines = shop(events=100, users=10, items=20, requests=0.5, dirty=False)
    ours = topics(1)
    produce(ours, lines)
    address = f"kafka://{ours.broker}"
    job = start("bytewax.run", "flows.recommend", input=f"{address}/{ours.events}", output=f"{address}/{ours.lists}")
    asked = sum(kind == "request" for kind, _ in lines)
    while job.poll() is None and sum(one["cause"] == "request" for one in ours.values(ours.lists)) < asked:
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    done = finish(job)
    assert done.returncode == 0, done.stderr
    assert len({one["request_id"] for one in ours.values(ours.lists) if one["cause"] == "request"}) == asked
