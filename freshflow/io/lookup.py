"""The latest record of a key in an output: what a consumer that reads all of it would be left with."""

import gzip
import zlib
from collections.abc import Iterator

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freshflow.config.schema import Config
from freshflow.errors import BrokerError, InputError
from freshflow.io.kafka.client import client_options, connect, parse_kafka_url, partitions_of
from freshflow.io.kafka.errors import Outage, reason
from freshflow.io.url import is_kafka

__all__ = ["latest_list"]

WAIT_S = 1.0


class _Owner(msgspec.Struct):
    """Whose list a line is; of a tombstone the key says it."""

    user_id: str | None = None
    key: str | None = None


def latest_list(url: str, user_id: str, config: Config) -> bytes | None:
    """The JSON of the user's latest list in a file or a topic; None if there is none, or a tombstone is later.

    Raises a `FreshFlowError` if it cannot be read.
    """
    records = _of_topic(url, user_id.encode(), config) if is_kafka(url) else _of_file(url, user_id)
    found = None
    for record in records:
        found = record
    return found


def _of_file(path: str, user_id: str) -> Iterator[bytes | None]:
    owner, quoted = msgspec.json.Decoder(_Owner).decode, msgspec.json.encode(user_id)
    opened = gzip.open if path.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            for line in file:
                if quoted not in line:
                    continue
                of = owner(line)
                if of.user_id == user_id:
                    yield line
                elif of.key == user_id:
                    yield None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"The lists in {path} cannot be read: {error}.") from None
    except msgspec.MsgspecError:
        raise InputError(f"{path} holds a line that is no list; name a file that a job has written.") from None


def _of_topic(url: str, key: bytes, config: Config) -> Iterator[bytes | None]:
    servers, topic = parse_kafka_url(url)
    options = client_options(servers, config.kafka, "source")
    partitions = partitions_of(options, topic, config.kafka.timeout_s)
    outage = Outage(f"Kafka at {servers}, reading {topic}")
    consumer = connect(Consumer, options, error_cb=outage.note)
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        left = len(partitions)
        while left:
            message = consumer.poll(WAIT_S)
            if outage.failure is not None:
                raise BrokerError(f"Kafka does not let us read {topic}: {reason(outage.failure)}; check the rights.")
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.key() == key:
                    yield message.value()
            elif error.code() == KafkaError._PARTITION_EOF:
                left -= 1
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                low, _ = consumer.get_watermark_offsets(
                    TopicPartition(topic, message.partition()), timeout=config.kafka.timeout_s
                )
                consumer.seek(TopicPartition(topic, message.partition(), low))
            else:
                outage.note(error)
    except KafkaException as error:
        raise BrokerError(f"Kafka does not let us read {topic}: {reason(error.args[0])}; check [kafka].") from None
    finally:
        consumer.close()
