"""A topic of lists, read on from the offsets that were stored."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from freshflow.config.schema import KafkaConfig
from freshflow.errors import BrokerError
from freshflow.io.kafka.client import client_options, connect, parse_kafka_url, partitions_of
from freshflow.io.kafka.errors import LOG, Outage, reason
from freshflow.serving.records import Batch, Change, of_message, read_position
from freshflow.serving.responses import Kind

__all__ = ["TopicInput"]

AT_ONCE = 500
WAIT_S = 0.1  # for the first of them
MINUTE_MS = 60_000
NO_ID = "A" * 22  # zeros, in base64
GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class _Place(msgspec.Struct, frozen=True):
    """The next offset to read of each partition of a topic, by its id, and when it was read, to the minute."""

    topic: str
    offsets: dict[int, int]
    read_ms: int = 0


class TopicInput:
    """All partitions of a topic, by a consumer that is in no group: the offsets are kept with the lists.

    The topic is read anew where an offset is not in it any more, as it was cut or made anew, and where it was last read
    more than `away_s` ago: by then compaction may have dropped a tombstone that was never seen.
    """

    unit: Literal["bytes", "records"] = "records"

    def __init__(
        self,
        kind: Kind,
        url: str,
        config: KafkaConfig,
        position: bytes | None,
        *,
        clock: Callable[[], int],
        away_s: float,
    ) -> None:
        self.kind = kind
        self._clock = clock
        servers, self._topic = parse_kafka_url(url)
        self._timeout_s = config.timeout_s
        options = client_options(servers, config, "source")
        partitions = partitions_of(options, self._topic, config.timeout_s)
        self._outage = Outage(f"Kafka at {servers}, reading {self._topic}")
        self._consumer = connect(Consumer, options, error_cb=self._outage.note)
        self._id = _id_of(self._topic, servers, config)
        self._ended: set[int] = set()  # partitions of which all has been read that there was
        try:
            bounds = {partition: self._bounds(partition) for partition in partitions}
            lows = {partition: low for partition, (low, _) in bounds.items()}
            offsets = self._offsets(read_position(position, _Place), lows, away_s)
            self._anew = position is not None and not offsets
            self._next = lows | offsets
            self._highs = {partition: high for partition, (_, high) in bounds.items()}
            self._assign()
        except BaseException:
            self.close()
            raise

    @property
    def behind(self) -> int:
        """How many records there are yet, as far as the broker has said."""
        return sum(max(0, high - self._next[partition]) for partition, high in self._highs.items())

    def read(self) -> Batch | None:
        """What has come since the last call; None if nothing has, for a moment. Raises `BrokerError` if refused."""
        try:
            messages = self._consumer.consume(1, timeout=WAIT_S)
            messages += self._consumer.consume(AT_ONCE - 1, timeout=0)  # what has been fetched by now
        except KafkaException as error:
            raise self._refused(error.args[0]) from None
        changes: list[Change] = []
        skipped = records = 0
        for message in messages:
            if message.error() is not None:
                if self._note(message):
                    changes.clear()  # of what was there before
                    break
                continue
            records += 1
            self._ended.discard(message.partition())
            change = of_message(self.kind, message.key(), message.value())
            skipped += change is None
            changes += [change] if change is not None else []
            self._reach(message.partition(), message.offset() + 1)
        if self._outage.failure is not None:
            raise self._refused(self._outage.failure)
        at_end = len(self._ended) == len(self._next)
        if not records and not self._anew and not at_end:
            return None
        anew, self._anew = self._anew, False
        read_ms = self._clock() // MINUTE_MS * MINUTE_MS
        return Batch(changes, skipped, msgspec.json.encode(_Place(self._id, self._next, read_ms)), anew, at_end)

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _offsets(self, stored: _Place | None, lows: dict[int, int], away_s: float) -> dict[int, int]:
        """Where to go on; nothing, to read it all. Of an offset behind the end the broker will say that it is none."""
        if stored is None or stored.topic != self._id:
            return {}
        if self._clock() - stored.read_ms > away_s * 1000:
            LOG.warning(
                "%s was last read %.1f h ago, longer than serve.away_s; tombstones may be gone from it by now.",
                *(self._topic, (self._clock() - stored.read_ms) / 3_600_000),
            )
            return {}
        is_whole = all(partition in lows and lows[partition] <= at for partition, at in stored.offsets.items())
        return stored.offsets if is_whole else {}

    def _note(self, message: Message) -> bool:
        """Take in what is no record; whether all is read anew now."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended.add(message.partition())
            self._reach(message.partition(), message.offset())
        elif error.code() in GONE:
            self._anew = True
            self._next = {partition: self._bounds(partition)[0] for partition in self._next}
            self._assign()
            return True
        else:
            self._outage.note(error)
        return False

    def _reach(self, partition: int, offset: int) -> None:
        self._outage.over()
        self._next[partition] = max(self._next[partition], offset)
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        self._highs[partition] = max(high, self._next[partition])

    def _assign(self) -> None:
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in self._next.items()]
        self._ended.clear()
        self._consumer.assign(places)

    def _bounds(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic, partition)
        try:
            low, high = self._consumer.get_watermark_offsets(place, timeout=self._timeout_s)
        except KafkaException as error:
            raise self._refused(error.args[0]) from None
        return low, high

    def _refused(self, error: Any) -> BrokerError:
        return BrokerError(
            f"Kafka does not let us read {self._topic} on: {reason(error)}; check the topic, the rights of this user, "
            "and [kafka]."
        )


def _id_of(topic: str, servers: str, config: KafkaConfig) -> str:
    """What tells a topic from others, also from an earlier one of its name; its address where a cluster has no ids."""
    admin = connect(AdminClient, client_options(servers, config, "admin"))
    try:
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=config.timeout_s)
        found = str(asked[topic].result().topic_id)
    except KafkaException:
        found = NO_ID
    return f"{servers}/{topic}" if found in (NO_ID, "None") else found
