"""The latest record of a key in an output: what a consumer that reads all of it would be left with."""

import gzip
import zlib
from collections.abc import Iterator

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freshflow.config.schema import Config
from freshflow.errors import BrokerError, InputError
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import Outage, error_reason
from freshflow.io.url import is_kafka

__all__ = ["read_latest_list"]

_POLL_TIMEOUT_S = 1.0


class _ListOwner(msgspec.Struct):
    """Whose list a line is; of a tombstone the key says it."""

    user_id: str | None = None
    key: str | None = None


def read_latest_list(url: str, user_id: str, config: Config) -> bytes | None:
    """The JSON of the user's latest list in a file or a topic; None if there is none, or a tombstone is later.

    Raises a `FreshFlowError` if it cannot be read.
    """
    records = _read_topic(url, user_id.encode(), config) if is_kafka(url) else _read_file(url, user_id)
    latest_record = None
    for record in records:
        latest_record = record
    return latest_record


def _read_file(path: str, user_id: str) -> Iterator[bytes | None]:
    decode_owner, quoted_id = msgspec.json.Decoder(_ListOwner).decode, msgspec.json.encode(user_id)
    open_file = gzip.open if path.endswith(".gz") else open
    try:
        with open_file(path, "rb") as file:
            for line in file:
                if quoted_id not in line:
                    continue
                list_owner = decode_owner(line)
                if list_owner.user_id == user_id:
                    yield line
                elif list_owner.key == user_id:
                    yield None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"The lists in {path} cannot be read: {error}.") from None
    except msgspec.MsgspecError:
        raise InputError(f"{path} holds a line that is no list; name a file that a job has written.") from None


def _read_topic(url: str, key: bytes, config: Config) -> Iterator[bytes | None]:
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
