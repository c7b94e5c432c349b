"""The end of an output of the job, read on as it grows: metrics and dead letters, of which only the latest matter."""

import os
from pathlib import Path
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError, InputError
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import Outage, error_reason

__all__ = ["FileTail", "Tail", "TopicTail", "open_tail"]

MAX_BACKLOG_BYTES = 8 << 20  # of a file: some ten thousand reports of one partition
MAX_BACKLOG_RECORDS = 5_000  # of each partition of a topic
TAIL_BATCH_RECORDS = 500
TAIL_TIMEOUT_S = 0.1


class Tail(Protocol):
    """What is read: values of records, in order."""

    def read(self) -> list[bytes]:
        """What has come since the last call; the first one also gives what is there, or the end of it."""

    def close(self) -> None:
        """Let go of what is open."""


def open_tail(url: str, config: KafkaConfig) -> Tail:
    """The tail of a file or a topic. Raises a `FreshFlowError` if it cannot be read."""
    return TopicTail(url, config) if url.startswith("kafka://") else FileTail(url)


class FileTail:
    """Lines of a file, each once it has its end. A file that was cut back or replaced is read from its beginning, one
    that is not there yet is waited for.
    """

    def __init__(self, path: str) -> None:
        if not path.endswith(".jsonl"):
            raise InputError(f"{path} cannot be read as it grows: name a file that ends in .jsonl, or kafka://…/topic.")
        self._path = path
        self._offset = 0
        self._inode = 0

    def read(self) -> list[bytes]:
        """The lines that are new. Raises `InputError` if the file cannot be read."""
        try:
            with Path(self._path).open("rb") as file:
                return self._read(file.fileno())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self._path} cannot be read: {error.strerror}.") from None

    def close(self) -> None:
        """Nothing is open between two reads."""

    def _read(self, fd: int) -> list[bytes]:
        file_stat = os.fstat(fd)
        if file_stat.st_ino != self._inode or file_stat.st_size < self._offset:
            self._inode, self._offset = file_stat.st_ino, 0
        is_truncated = self._offset == 0 and file_stat.st_size > MAX_BACKLOG_BYTES
        if is_truncated:
            self._offset = file_stat.st_size - MAX_BACKLOG_BYTES
        chunk = os.pread(fd, min(MAX_BACKLOG_BYTES, file_stat.st_size - self._offset), self._offset)
        complete_lines = chunk[: chunk.rfind(b"\n") + 1]
        if not complete_lines and len(chunk) == MAX_BACKLOG_BYTES:  # no line of ours is as long
            complete_lines = chunk
        self._offset += len(complete_lines)
        return [line for line in complete_lines.split(b"\n")[is_truncated:] if line]


class TopicTail:
    """All partitions of a topic from near their ends, by a consumer that is in no group."""

    def __init__(self, url: str, config: KafkaConfig) -> None:
        servers, topic = parse_kafka_url(url)
        options = client_options(servers, config, "source") | {"auto.offset.reset": "latest"}
        partitions = list_partitions(options, topic, config.timeout_s)
        self._topic = topic
        self._outage = Outage(f"Kafka at {servers}, reading {topic}")
        self._consumer = create_client(Consumer, options, error_cb=self._outage.record_error)
        try:
            self._consumer.assign([self._start_position(partition, config.timeout_s) for partition in partitions])
        except KafkaException as error:
            self.close()
            raise self._read_error(error.args[0]) from None

    def read(self) -> list[bytes]:
        """The records that are new, after a moment. Raises `BrokerError` if they cannot be had."""
        try:
            messages = self._consumer.consume(TAIL_BATCH_RECORDS, timeout=TAIL_TIMEOUT_S)
        except KafkaException as error:
            raise self._read_error(error.args[0]) from None
        values: list[bytes] = []
        for message in messages:
            kafka_error, value = message.error(), message.value()
            if kafka_error is None:
                values += [value] if value is not None else []
            elif kafka_error.code() != KafkaError._PARTITION_EOF:
                self._outage.record_error(kafka_error)
        if values:
            self._outage.record_recovery()
        if self._outage.failure is not None:
            raise self._read_error(self._outage.failure)
        return values

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _start_position(self, partition: int, timeout_s: float) -> TopicPartition:
        topic_partition = TopicPartition(self._topic, partition)
        low, high = self._consumer.get_watermark_offsets(topic_partition, timeout=timeout_s)
        return TopicPartition(self._topic, partition, max(low, high - MAX_BACKLOG_RECORDS))

    def _read_error(self, error: KafkaError) -> BrokerError:
        return BrokerError(
            f"Kafka does not let us read {self._topic} on: {error_reason(error)}; check the topic, the rights of this user, "
            "and [kafka]."
        )
