"""A topic of lists, read on from the offsets that were stored."""

from typing import Any, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from freshflow.config import KafkaConfig
from freshflow.connectors.kafka_client import client_options, connect, parse_kafka_url, partitions_of
from freshflow.connectors.kafka_errors import LOG, Outage, reason
from freshflow.errors import BrokerError
from freshflow.serve.records import Batch, Change, of_message
from freshflow.serve.types import Kind

__all__ = ["TopicInput"]

AT_ONCE = 500
WAIT_S = 0.1  # for the first of them; what has been fetched comes at once
GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class _Place(msgspec.Struct, frozen=True):
    """The next offset to read of each partition of a topic."""

    topic: str
    offsets: dict[int, int]


class TopicInput:
    """All partitions of a topic, by a consumer that is in no group: the offsets are kept with the lists.

    Where an offset is gone because the topic was compacted or cut, reading goes on with what is left: a later record of
    the same keys is behind it. Where the topic ends before it, it was made anew, and so is read anew.
    """

    unit: Literal["bytes", "records"] = "records"

    def __init__(self, kind: Kind, url: str, config: KafkaConfig, position: bytes | None) -> None:
        self.kind = kind
        servers, self._topic = parse_kafka_url(url)
        self._timeout_s = config.timeout_s
        options = client_options(servers, config, "source")
        partitions = partitions_of(options, self._topic, config.timeout_s)
        self._outage = Outage(f"Kafka at {servers}, reading {self._topic}")
        self._consumer = connect(Consumer, options, error_cb=self._outage.note)
        name = f"{servers}/{self._topic}"
        stored = msgspec.json.decode(position, type=_Place) if position else None
        known = stored is not None and stored.topic == name
        self._ended: set[int] = set()  # partitions of which all has been read that there was
        self._name, self._anew = name, position is not None and not known
        offsets = stored.offsets if stored is not None and known else {}
        try:
            bounds = {partition: self._bounds(partition) for partition in partitions}
            self._next = {partition: max(offsets.get(partition, low), low) for partition, (low, _) in bounds.items()}
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
            messages = self._consumer.consume(AT_ONCE, timeout=WAIT_S)
        except KafkaException as error:
            raise self._refused(error.args[0]) from None
        changes: list[Change] = []
        skipped = records = 0
        for message in messages:
            if message.error() is not None:
                if self._note(message):
                    break  # what follows is read again
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
        return Batch(changes, skipped, msgspec.json.encode(_Place(self._name, self._next)), anew, at_end)

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _note(self, message: Message) -> bool:
        """Take in what is no record; whether reading begins elsewhere now."""
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended.add(message.partition())
            self._reach(message.partition(), message.offset())
        elif error.code() in GONE:
            self._lost(message.partition())
            return True
        else:
            self._outage.note(error)
        return False

    def _reach(self, partition: int, offset: int) -> None:
        self._outage.over()
        self._next[partition] = max(self._next[partition], offset)
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        self._highs[partition] = max(high, self._next[partition])

    def _lost(self, partition: int) -> None:
        """Go on with what is left of a partition, or read everything anew where it ends before the next offset."""
        low, _ = self._bounds(partition)
        if self._next[partition] < low:
            LOG.warning("Lists of %s/%d were deleted before they were read.", self._topic, partition)
            self._next[partition] = low
        else:
            self._anew = True
            self._next = {each: self._bounds(each)[0] for each in self._next}
        self._assign()

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
