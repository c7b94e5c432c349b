"""The lists of a topic or a file: which there are, which are there twice, and each user's last one."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

__all__ = ["Compared", "Published", "compared", "lists_in_file", "lists_in_topic", "values"]

COMPUTED_AT = re.compile(rb'"computed_at":\d+')


class _List(msgspec.Struct):
    user_id: str
    list_id: str
    cause: str
    request_id: str | None = None


class Published:
    """The lists that were published, in order: by id what each says, but for the time at which it was made."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.content: dict[str, bytes] = {}
        self.last: dict[str, str] = {}  # by user
        self.requests: set[str] = set()
        self.repeated = 0
        self.changed: set[str] = set()  # there twice, with another content
        decode = msgspec.json.Decoder(_List).decode
        for value in values:
            one, content = decode(value), blake2b(COMPUTED_AT.sub(b"", value), digest_size=8).digest()
            self.repeated += one.list_id in self.content
            if self.content.setdefault(one.list_id, content) != content:
                self.changed.add(one.list_id)
            self.last[one.user_id] = one.list_id
            if one.request_id is not None:
                self.requests.add(one.request_id)


class Compared(NamedTuple):
    """What a disturbed job's lists are beside those of an undisturbed one."""

    lost: int
    duplicated: int
    wrong: tuple[str, ...]


def compared(found: Published, expected: Published) -> Compared:
    """Compare lists by id: all of them, those that came twice, and the last one of every user."""
    missing = expected.content.keys() - found.content.keys()
    more = found.content.keys() - expected.content.keys()
    other = sum(found.content[name] != content for name, content in expected.content.items() if name in found.content)
    last = sum(found.last.get(user) != name for user, name in expected.last.items())
    told = {
        "lists that an undisturbed job does not make": len(more),
        "lists with another content": other,
        "lists that came twice and differed": len(found.changed),
        "users whose last list is another": last,
    }
    return Compared(len(missing), found.repeated, tuple(f"{count} {what}" for what, count in told.items() if count))


def lists_in_file(path: Path) -> Published:
    """Of a file of lists."""
    return Published(path.read_bytes().splitlines())


def lists_in_topic(broker: str, topic: str) -> Published:
    """Of a topic of lists, partition by partition; a user's are in one."""
    return Published(value for value in values(broker, topic) if value is not None)


def values(broker: str, topic: str) -> Iterable[bytes | None]:
    """All records of a topic, partition by partition, without holding them all."""
    options = {"bootstrap.servers": broker, "group.id": "faults", "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer(options)
    for partition in sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions):
        consumer.assign([TopicPartition(topic, partition, 0)])
        ended = False
        while not ended:
            messages = consumer.consume(1000, timeout=10)
            assert messages, f"{topic} does not answer"
            for message in messages:
                error = message.error()
                if error is None:
                    yield message.value()
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended = True
    consumer.close()
