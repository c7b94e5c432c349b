"""Append single records to a topic: events for a job to read, tombstones for readers of its lists."""

from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from freshflow.config.schema import Config
from freshflow.errors import OutputError
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import LOG, error_reason

KeyedRecord = tuple[bytes, bytes | None, int | None]  # key, value, partition; without one the key chooses it


def produce_event(url: str, key: str, event: dict[str, str | int], config: Config) -> list[str]:
    """Append an event to every partition of a topic, so that it follows all events of its user.

    Args:
        url: The topic that a job reads.
        key: The record's key.
        event: The fields of the event; the job takes several copies as one.
        config: The configuration, with the connection.

    Returns:
        Where the copies were written.

    Raises:
        FreshFlowError: The topic cannot be written.
    """
    servers, topic = parse_kafka_url(url)
    options = _producer_options(servers, config)
    partitions = list_partitions(options, topic, config.kafka.timeout_s)
    value, encoded_key = msgspec.json.encode(event), key.encode()
    return _produce(options, topic, [(encoded_key, value, partition) for partition in partitions], config)


def produce_tombstone(url: str, key: str, config: Config) -> list[str]:
    """Append a tombstone to the partition of its key, behind all records of the key.

    Args:
        url: The topic of a job's lists.
        key: The key to delete.
        config: The configuration, with the connection.

    Returns:
        Where the tombstone was written.

    Raises:
        FreshFlowError: The topic cannot be written.
    """
    servers, topic = parse_kafka_url(url)
    options = _producer_options(servers, config)
    list_partitions(options, topic, config.kafka.timeout_s)  # raises, rather than create a missing topic
    return _produce(options, topic, [(key.encode(), None, None)], config)


def _producer_options(servers: str, config: Config) -> dict[str, Any]:
    return client_options(servers, config.kafka, "sink") | {"delivery.report.only.error": False}


def _produce(options: dict[str, Any], topic: str, records: list[KeyedRecord], config: Config) -> list[str]:
    """Write records, wait for the broker's acknowledgements, and return where the records are."""
    offsets: list[tuple[int, int]] = []
    failures: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)
        else:
            offsets.append((message.partition(), message.offset()))

    producer = create_client(Producer, options, on_delivery=on_delivery, error_cb=lambda error: LOG.debug("%s", error))
    try:
        for key, value, partition in records:
            partition_option = {} if partition is None else {"partition": partition}
            producer.produce(topic, key=key, value=value, **partition_option)
    except KafkaException as error:
        failures.append(error.args[0])
    n_undelivered = producer.flush(config.kafka.timeout_s)
    if failures or n_undelivered:
        producer.purge()
        cause = error_reason(failures[0]) if failures else f"no answer within {config.kafka.timeout_s:g} s"
        raise OutputError(f"The record could not be written to {topic}: {cause}; run the command again.")
    return [f"{topic}, partition {partition}, offset {offset}" for partition, offset in sorted(offsets)]
