"""A topic of keyed records, read on from stored offsets."""

from collections.abc import Callable
from typing import Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import KafkaConfig
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import LOG, Outage, read_on_error
from freshflow.io.record import OutRecord
from freshflow.io.scheme import LogBatch

TOPIC_BATCH_RECORDS = 500
TOPIC_TIMEOUT_S = 0.1  # for the first record of a batch
MINUTE_MS = 60_000
NO_TOPIC_ID = "A" * 22  # zeros, in base64
OFFSET_LOST_ERRORS = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class _TopicPosition(msgspec.Struct, frozen=True):
    """Position in a topic: its id, the next offset to read of each partition, and the minute of the last read."""

    topic: str
    offsets: dict[int, int]
    read_ms: int = 0


class TopicLog:
    """Reader of all partitions of a topic, by a consumer without a group: the caller stores the offsets.

    The topic is read again from its beginning if an offset no longer exists (retention, a recreated topic), and if it
    was last read more than `resync_after_s` ago: by then compaction may have dropped a tombstone that was never read.
    """

    unit: Literal["bytes", "records"] = "records"

    def __init__(
        self,
        url: str,
        config: KafkaConfig,
        position: bytes | None,
        *,
        clock: Callable[[], int],
        resync_after_s: float,
    ) -> None:
        self._clock = clock
        servers, self._topic = parse_kafka_url(url)
        self._timeout_s = config.timeout_s
        options = client_options(servers, config, "source")
        partitions = list_partitions(options, self._topic, config.timeout_s)
        self._outage = Outage(f"Kafka at {servers}, reading {self._topic}")
        self._consumer = create_client(Consumer, options, error_cb=self._outage.record_error)
        self._topic_id = _fetch_topic_id(self._topic, servers, config)
        self._ended_partitions: set[int] = set()  # partitions that were read to their end
        try:
            watermarks = {partition: self._watermarks(partition) for partition in partitions}
            lows = {partition: low for partition, (low, _) in watermarks.items()}
            offsets = self._resume_offsets(_decode_position(position), lows, resync_after_s)
            self._is_full_reload = position is not None and not offsets
            self._next_offsets = lows | offsets
            self._high_offsets = {partition: high for partition, (_, high) in watermarks.items()}
            self._assign()
        except BaseException:
            self.close()
            raise

    @property
    def lag(self) -> int:
        """Number of records left to read, as of the broker's last answer."""
        return sum(max(0, high - self._next_offsets[partition]) for partition, high in self._high_offsets.items())

    def read(self) -> LogBatch | None:
        """Return the records since the last call, None after a short wait; raises `BrokerError` if refused."""
        try:
            messages = self._consumer.consume(1, timeout=TOPIC_TIMEOUT_S)
            messages += self._consumer.consume(TOPIC_BATCH_RECORDS - 1, timeout=0)  # already fetched
        except KafkaException as error:
            raise read_on_error(self._topic, error.args[0]) from None
        records: list[OutRecord] = []
        for message in messages:
            if message.error() is not None:
                if self._handle_error(message):
                    records.clear()  # they precede the reload
                    break
                continue
            self._ended_partitions.discard(message.partition())
            records.append((message.key(), message.value()))
            self._advance_offset(message.partition(), message.offset() + 1)
        if self._outage.failure is not None:
            raise read_on_error(self._topic, self._outage.failure)
        is_at_end = len(self._ended_partitions) == len(self._next_offsets)
        if not records and not self._is_full_reload and not is_at_end:
            return None
        is_full_reload, self._is_full_reload = self._is_full_reload, False
        read_ms = self._clock() // MINUTE_MS * MINUTE_MS
        position = msgspec.json.encode(_TopicPosition(self._topic_id, self._next_offsets, read_ms))
        return LogBatch(records, position, is_full_reload, is_at_end)

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _resume_offsets(
        self, stored_position: _TopicPosition | None, lows: dict[int, int], resync_after_s: float
    ) -> dict[int, int]:
        """Return the offsets to continue from, none to read everything. The broker refuses an offset behind the end."""
        if stored_position is None or stored_position.topic != self._topic_id:
            return {}
        if self._clock() - stored_position.read_ms > resync_after_s * 1000:
            LOG.warning(
                "%s was last read %.1f h ago, longer than serve.resync_after_s; tombstones may be gone from it by now.",
                *(self._topic, (self._clock() - stored_position.read_ms) / 3_600_000),
            )
            return {}
        is_available = all(
            partition in lows and lows[partition] <= offset for partition, offset in stored_position.offsets.items()
        )
        return stored_position.offsets if is_available else {}

    def _handle_error(self, message: Message) -> bool:
        """Handle a message that is not a record; return whether the topic is read again from its beginning."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended_partitions.add(message.partition())
            self._advance_offset(message.partition(), message.offset())
        elif error.code() in OFFSET_LOST_ERRORS:
            self._is_full_reload = True
            self._next_offsets = {partition: self._watermarks(partition)[0] for partition in self._next_offsets}
            self._assign()
            return True
        else:
            self._outage.record_error(error)
        return False

    def _advance_offset(self, partition: int, offset: int) -> None:
        self._outage.record_recovery()
        self._next_offsets[partition] = max(self._next_offsets[partition], offset)
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        self._high_offsets[partition] = max(high, self._next_offsets[partition])

    def _assign(self) -> None:
        topic_partitions = [
            TopicPartition(self._topic, partition, offset) for partition, offset in self._next_offsets.items()
        ]
        self._ended_partitions.clear()
        self._consumer.assign(topic_partitions)

    def _watermarks(self, partition: int) -> tuple[int, int]:
        topic_partition = TopicPartition(self._topic, partition)
        try:
            low, high = self._consumer.get_watermark_offsets(topic_partition, timeout=self._timeout_s)
        except KafkaException as error:
            raise read_on_error(self._topic, error.args[0]) from None
        return low, high


def _fetch_topic_id(topic: str, servers: str, config: KafkaConfig) -> str:
    """Return the id that also tells a topic from an earlier one of its name; its address if the cluster has no ids."""
    admin = create_client(AdminClient, client_options(servers, config, "admin"))
    try:
        topic_futures = admin.describe_topics(TopicCollection([topic]), request_timeout=config.timeout_s)
        topic_id = str(topic_futures[topic].result().topic_id)
    except KafkaException:
        topic_id = NO_TOPIC_ID
    return f"{servers}/{topic}" if topic_id in (NO_TOPIC_ID, "None") else topic_id


def _decode_position(position: bytes | None) -> _TopicPosition | None:
    """Return a stored position; None if there is none, or it is one of another kind of log."""
    try:
        return None if position is None else msgspec.json.decode(position, type=_TopicPosition)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
