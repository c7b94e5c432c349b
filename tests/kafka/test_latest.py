"""The latest list of a user in a topic."""

import uuid

import pytest

from freshflow.config.schema import Config, KafkaConfig
from freshflow.errors import BrokerError, InputError
from freshflow.io.registry import look_up

from .brokers import NewTopicFn, fill

pytestmark = pytest.mark.kafka


def test_the_last_record_of_the_key_counts_and_a_tombstone_leaves_none(broker: str, new_topic: NewTopicFn) -> None:
    topic = new_topic(3)
    records = [(n % 3, f"u{n % 3}".encode(), f"list {n}".encode()) for n in range(9)]
    fill(broker, topic, [*records, (1, b"u1", None), (2, b"u1x", b"another")])
    url = f"kafka://{broker}/{topic}"
    assert look_up(url, "u0", Config()) == b"list 6"
    assert look_up(url, "u2", Config()) == b"list 8"
    assert look_up(url, "u1", Config()) is None
    assert look_up(url, "u9", Config()) is None


def test_a_missing_topic_and_a_closed_port_are_told(broker: str, closed_port: str) -> None:
    with pytest.raises(InputError, match="topics create"):
        look_up(f"kafka://{broker}/none-{uuid.uuid4().hex[:8]}", "u1", Config())
    with pytest.raises(BrokerError, match="No Kafka broker answered"):
        look_up(f"kafka://{closed_port}/lists", "u1", Config(kafka=KafkaConfig(timeout_s=1)))
