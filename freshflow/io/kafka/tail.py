"""The tail of a topic: the last records of each partition, and new ones as they arrive."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freshflow.config.schema import KafkaConfig
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import Outage, read_on_error

MAX_BACKLOG_RECORDS = 5_000  # of each partition
TAIL_BATCH_RECORDS = 500
TAIL_TIMEOUT_S = 0.1


class TopicTail:
    """All partitions of a topic from near their ends, by a consumer without a group."""

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
            raise read_on_error(topic, error.args[0]) from None

    def read(self) -> list[bytes]:
        """Return the new values, after a short wait; raises `BrokerError` if the broker refuses them."""
        try:
            messages = self._consumer.consume(TAIL_BATCH_RECORDS, timeout=TAIL_TIMEOUT_S)
        except KafkaException as error:
            raise read_on_error(self._topic, error.args[0]) from None
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
            raise read_on_error(self._topic, self._outage.failure)
        return values

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _start_position(self, partition: int, timeout_s: float) -> TopicPartition:
        topic_partition = TopicPartition(self._topic, partition)
        low, high = self._consumer.get_watermark_offsets(topic_partition, timeout=timeout_s)
        return TopicPartition(self._topic, partition, max(low, high - MAX_BACKLOG_RECORDS))
