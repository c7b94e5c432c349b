"""Look up the latest record of a key in a topic."""

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freshflow.config.schema import Config
from freshflow.errors import BrokerError
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import Outage, error_reason

_POLL_TIMEOUT_S = 1.0


def look_up_key(url: str, key: str, config: Config) -> bytes | None:
    """Read a topic to its end and return the latest record of a key.

    Args:
        url: The topic.
        key: The key of the record.
        config: The configuration, with the connection.

    Returns:
        The value of the latest record; None if there is none, or it is a tombstone.

    Raises:
        FreshFlowError: The topic cannot be read.
    """
    latest_value = None
    for value in _read_values(url, key.encode(), config):
        latest_value = value
    return latest_value


def _read_values(url: str, key: bytes, config: Config) -> Iterator[bytes | None]:
    servers, topic = parse_kafka_url(url)
    options = client_options(servers, config.kafka, "source")
    partitions = list_partitions(options, topic, config.kafka.timeout_s)
    outage = Outage(f"Kafka at {servers}, reading {topic}")
    consumer = create_client(Consumer, options, error_cb=outage.record_error)
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        n_remaining = len(partitions)
        while n_remaining:
            message = consumer.poll(_POLL_TIMEOUT_S)
            if outage.failure is not None:
                raise BrokerError(
                    f"Kafka does not let us read {topic}: {error_reason(outage.failure)}; check the rights."
                )
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.key() == key:
                    yield message.value()
            elif error.code() == KafkaError._PARTITION_EOF:
                n_remaining -= 1
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                low, _ = consumer.get_watermark_offsets(
                    TopicPartition(topic, message.partition()), timeout=config.kafka.timeout_s
                )
                consumer.seek(TopicPartition(topic, message.partition(), low))
            else:
                outage.record_error(error)
    except KafkaException as error:
        raise BrokerError(
            f"Kafka does not let us read {topic}: {error_reason(error.args[0])}; check [kafka]."
        ) from None
    finally:
        consumer.close()
