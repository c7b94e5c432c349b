"""The end of a topic of metrics or dead letters, as the live page reads it."""

import time

import pytest

from freshflow.config.schema import Config, KafkaConfig
from freshflow.errors import BrokerError, InputError
from freshflow.io.kafka import tail
from freshflow.io.registry import open_tail
from freshflow.io.scheme import Tail

from .brokers import NewTopicFn, fill

pytestmark = pytest.mark.kafka


def read(tail: Tail, count: int) -> list[bytes]:
    values: list[bytes] = []
    end_s = time.monotonic() + 60
    while len(values) < count:
        assert time.monotonic() < end_s, values
        values += tail.read()
    return values


def test_the_latest_records_of_each_partition_are_read_and_then_those_that_come(
    broker: str, new_topic: NewTopicFn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "MAX_BACKLOG_RECORDS", 2)
    topic = new_topic(2)
    fill(broker, topic, [(0, None, b"%d" % n) for n in range(5)])
    fill(broker, topic, [(1, None, b"other"), (1, None, None)])
    records = open_tail(f"kafka://{broker}/{topic}", Config())
    try:
        assert sorted(read(records, 3)) == [b"3", b"4", b"other"]
        fill(broker, topic, [(0, None, b"5")])
        assert read(records, 1) == [b"5"]
    finally:
        records.close()


def test_a_topic_that_is_not_there_and_a_broker_that_is_not_are_told(broker: str, closed_port: str) -> None:
    with pytest.raises(InputError, match="The topic nowhere does not exist at"):
        open_tail(f"kafka://{broker}/nowhere", Config())
    with pytest.raises(BrokerError, match="No Kafka broker answered at"):
        open_tail(f"kafka://{closed_port}/metrics", Config(kafka=KafkaConfig(timeout_s=1)))
