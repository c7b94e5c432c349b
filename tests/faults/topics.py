"""Topics that are not as a job expects: missing, cut short by retention, with records that are no events, or grown."""

import json
import signal
from pathlib import Path

import msgspec
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from freshflow.config.schema import Config
from tests.kafka.brokers import make_topic

from .jobs import Job, until
from .kafka import Broker, Watch, new_topics, produce
from .outcomes import Outcome
from .published import lists_in_topic, values
from .states import positions, states, totals
from .streams import shop

__all__ = ["partition_added", "poison", "retention_gap", "topic_missing"]

EVENTS, GAP = 20_000, 500
MEGABYTES = 1 << 20


def topic_missing(folder: Path, broker: Broker) -> list[Outcome]:
    """Each topic in turn is not there."""
    topics, wrong, tried = new_topics(broker.address), (), 0
    for missing in ("events", "lists", "dead_letters", "metrics"):
        for options in (("--recovery", f"state-{missing}"), ("--processes", 2)):
            with Job(folder, *topics._replace(**{missing: f"no-{missing}"}).options(), *options) as job:
                job.wait()
                wrong += job.ended_badly(1, f"The topic no-{missing} does not exist", "`freshflow topics create`")
                tried += 1
    return [Outcome("topic missing", tried, wrong=wrong, note="sentence, exit 1")]


def retention_gap(folder: Path, broker: Broker) -> list[Outcome]:
    """What comes next was deleted: refused, and left out where the job is told so, with the number in the log."""
    topics, wrong = new_topics(broker.address), ()
    lines = shop(EVENTS)
    produce(broker.address, topics.events, lines)
    options = (*topics.options(), "--until-end", "--recovery", "told", "--quiet")
    with Watch(broker.address, topics.lists) as watch, Job(folder, *options) as job:
        until(lambda: watch.count)
        job.signal(signal.SIGTERM)
        wrong += job.ended_badly(0)
    (reached,) = positions(folder / "told").values()
    low = reached + GAP
    admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
    next(iter(admin.delete_records([TopicPartition(topics.events, 0, low)]).values())).result(30)
    gap = f"Offsets {reached} to {low - 1} of {topics.events}/0 were deleted before they were read"
    with Job(folder, *options) as job:
        job.wait()
        wrong += job.ended_badly(1, gap, 'set kafka.on_lost = "earliest"')
    with Job(folder, *options, kafka_on_lost="earliest") as job:
        job.wait()
        wrong += job.ended_badly(0)
        if f"{gap}, {GAP} at most; the job goes on at offset {low}, as kafka.on_lost says." not in job.said:
            wrong += ("the gap is not in the log",)
    asked = requests([*lines[:reached], *lines[low:]])
    lists = lists_in_topic(broker.address, topics.lists)
    return [
        Outcome("retention gap", 2, len(asked - lists.requests), lists.repeated, None, wrong, "refused, then gone on")
    ]


def poison(folder: Path, broker: Broker) -> list[Outcome]:
    """Records that are no events, and very large: each becomes a dead letter, and the stream goes on."""
    large = {"max.message.bytes": str(10 * MEGABYTES)}
    topics = new_topics(broker.address)
    topics = topics._replace(events=make_topic(broker.address, f"{topics.events}-large", settings=large))
    records: list[bytes | None] = [b"x" * 5 * MEGABYTES, b"\1" * 5 * MEGABYTES, b"\xff" * 5 * MEGABYTES]
    records += [b'"' * 1_000_000, None, b"", b"[" * 100_000, b"\0", b'{"type":"view"}']
    lines = [line for line in shop(2000) if _is_request(line) or b'"view"' in line]
    between = len(lines) // (len(records) + 1)
    mixed: list[bytes | None] = []
    for n, record in enumerate(records):
        mixed += [*lines[n * between : (n + 1) * between], record]
    mixed += lines[len(records) * between :]
    produce(broker.address, topics.events, mixed, **{"message.max.bytes": 10 * MEGABYTES})
    options = (*topics.options(), "--until-end", "--recovery", "told", "--quiet")
    with Job(folder, *options) as job:
        job.wait()
        wrong = job.ended_badly(0)
    letters = [json.loads(value or b"") for value in values(broker.address, topics.dead_letters)]
    missing = {n for n, record in enumerate(mixed) if record in records} - {one["source"]["offset"] for one in letters}
    if missing:
        wrong += (f"no dead letters of offsets {sorted(missing)}",)
    if sum(one.get("raw_bytes") == 5 * MEGABYTES for one in letters) != 3:
        wrong += ("records of 5 MB do not say how long they were",)
    lists = lists_in_topic(broker.address, topics.lists)
    lost = len(requests(lines) - lists.requests)
    note = "5 MB, tombstone, no text, broken JSON"
    return [Outcome("poison records", len(records), lost, lists.repeated, None, wrong, note)]


def partition_added(folder: Path, broker: Broker) -> list[Outcome]:
    """A partition that is added while a job runs is read from its next start on, and from its beginning."""
    topics, lines = new_topics(broker.address), shop(2000)
    options = (*topics.options(), "--recovery", "told", "--quiet")
    produce(broker.address, topics.events, lines)
    with Watch(broker.address, topics.lists) as watch, Job(folder, *options) as job:
        until(lambda: watch.count)
        until(watch.is_idle)
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        admin.create_partitions([NewPartitions(topics.events, 2)])[topics.events].result(30)
        later = _asked_later(lines)
        until(lambda: len(admin.list_topics(topics.events, timeout=10).topics[topics.events].partitions) == 2)
        produce(broker.address, topics.events, later, partition=1)
        job.signal(signal.SIGTERM)
        wrong = job.ended_badly(0)
    with Job(folder, *options, "--until-end", kafka_start="latest") as job:
        job.wait()
        wrong += job.ended_badly(0)
    lists = lists_in_topic(broker.address, topics.lists)
    lost = len(requests([*lines, *later]) - lists.requests)
    if totals(states(folder / "told", Config()), "answers")["answers"] != len(requests([*lines, *later])):
        wrong += ("requests were not answered once each",)
    return [Outcome("partition added", 1, lost, lists.repeated, None, wrong, "read from the next start on")]


def requests(lines: list[bytes] | tuple[bytes, ...]) -> set[str]:
    """The ids of requests among lines."""
    return {json.loads(line)["request_id"] for line in lines if _is_request(line)}


def _asked_later(lines: tuple[bytes, ...]) -> list[bytes]:
    asked = [json.loads(line) for line in lines if _is_request(line)]
    return [msgspec.json.encode(one | {"request_id": f"later {n}"}) for n, one in enumerate(asked)]


def _is_request(line: bytes) -> bool:
    return line.startswith(b'{"type":"request"')
