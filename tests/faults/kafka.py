"""The broker, which may be killed, held and brought back; topics of a job; and who watches its lists."""

import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.kafka.brokers import make_topic

__all__ = ["Broker", "Topics", "Watch", "new_topics", "produce"]

SCRIPT = Path(__file__).parents[1] / "kafka" / "apache_kafka.sh"
IDLE_S = 1.0


class Broker(NamedTuple):
    """Apache Kafka, started by `tests/kafka/apache_kafka.sh`."""

    address: str

    def __call__(self, command: str) -> None:
        """`kill`, `restart`, `pause` or `resume` it."""
        subprocess.run([SCRIPT, command], check=True, stdout=subprocess.DEVNULL)


class Topics(NamedTuple):
    """The topics of one job and where they are."""

    broker: str
    events: str
    lists: str
    dead_letters: str
    metrics: str

    def options(self) -> list[str]:
        """The same on the command line."""
        names = ("--input", "--output", "--dead-letters", "--metrics")
        pairs = zip(names, self[1:], strict=True)
        return [word for name, topic in pairs for word in (name, f"kafka://{self.broker}/{topic}")]


def new_topics(broker: str, events: str | None = None, partitions: int = 1) -> Topics:
    """Topics that no other job has, but for that of the `events` if it is given."""
    stem = uuid.uuid4().hex[:8]
    events = events or make_topic(broker, f"{stem}-events", partitions)
    return Topics(broker, events, *(make_topic(broker, f"{stem}-{name}") for name in ("lists", "dead", "metrics")))


def produce(broker: str, topic: str, lines: Sequence[bytes | None], partition: int = 0, **options: object) -> None:
    """Append to a partition of a topic."""
    more = {"linger.ms": 5, "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000, "log_level": 0}
    producer = Producer({"bootstrap.servers": broker, **more, **options})
    for n, line in enumerate(lines):
        producer.produce(topic, line, partition=partition)
        if n % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


class Watch(threading.Thread):
    """Reads the lists of a topic as they come: how many there are, and when the last one came."""

    def __init__(self, broker: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.last_s = 0.0
        self._ended = threading.Event()
        options = {"bootstrap.servers": broker, "group.id": "watch", "fetch.wait.max.ms": 10, "log_level": 0}
        self._consumer = Consumer(options, error_cb=lambda error: None)
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def run(self) -> None:
        while not self._ended.is_set():
            lists = sum(message.error() is None for message in self._consumer.consume(500, timeout=0.05))
            if lists:
                self.count += lists
                self.last_s = time.monotonic()
        self._consumer.close()

    def is_idle(self) -> bool:
        """Whether nothing has come for a while."""
        return self.count > 0 and time.monotonic() - self.last_s > IDLE_S

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join()
