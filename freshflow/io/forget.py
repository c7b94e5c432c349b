"""What `freshflow forget` writes: the forget event to a job's input, and a tombstone to a topic of lists."""

import csv
import gzip
import io
import os
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from freshflow.config.schema import Config
from freshflow.errors import ConfigError, InputError, OutputError
from freshflow.io.files.reader import EventFile
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url
from freshflow.io.kafka.errors import LOG, error_reason
from freshflow.io.url import is_kafka

__all__ = ["write_forget_event", "write_tombstone"]

RecordOffset = tuple[int, int]  # Kafka partition and offset


def write_forget_event(url: str, user_id: str, ts_ms: int, config: Config, *, is_anonymous: bool = False) -> list[str]:
    """Append the event to a job's input, and say where it stands; a job that reads the input obeys it there.

    In a topic it is appended to every partition: whichever the user's events are in, they stand before it. More copies
    than one do no harm. With `is_anonymous`, the id is what names one (`freshflow.events.identity`). Raises a `FreshFlowError`.
    """
    event: dict[str, str | int] = {"type": "forget", "session_id" if is_anonymous else "user_id": user_id, "ts": ts_ms}
    if is_kafka(url):
        servers, topic = parse_kafka_url(url)
        options = _producer_options(servers, config)
        partitions = list_partitions(options, topic, config.kafka.timeout_s)
        value, key = msgspec.json.encode(event), user_id.encode()
        offsets = _produce(options, topic, [(key, value, partition) for partition in partitions], config)
        return [f"{topic}, partition {partition}, offset {offset}" for partition, offset in offsets]
    if url == "-" or "://" in url:
        raise ConfigError(f"{url} is no input that can be appended to; give a path or kafka://host:port/topic.")
    _append(url, event, config.events.max_bytes)
    return [f"{url}, its last line"]


def write_tombstone(url: str, key: str, config: Config) -> list[str]:
    """Append a tombstone to a topic of lists, behind all lists with the key. Raises a `FreshFlowError`."""
    if not is_kafka(url):
        raise ConfigError(
            f"The output {url} is no topic: leave --output out, and the job marks the user as forgotten in its output "
            "when it reads the event."
        )
    servers, topic = parse_kafka_url(url)
    options = _producer_options(servers, config)
    list_partitions(options, topic, config.kafka.timeout_s)
    # Without a partition, so that the key says which, as it does for the job.
    offsets = _produce(options, topic, [(key.encode(), None, None)], config)
    return [f"{topic}, partition {partition}, offset {offset}" for partition, offset in offsets]


def _producer_options(servers: str, config: Config) -> dict[str, Any]:
    return client_options(servers, config.kafka, "sink") | {"delivery.report.only.error": False}


def _produce(
    options: dict[str, Any], topic: str, records: list[tuple[bytes, bytes | None, int | None]], config: Config
) -> list[RecordOffset]:
    """Write (key, value, partition) each and return where they stand, when the broker has them all."""
    offsets: list[RecordOffset] = []
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
    return sorted(offsets)


def _append(path: str, event: dict[str, str | int], max_bytes: int) -> None:
    """Append a line, or a row, to a file of events that is there."""
    event_file = EventFile(path, max_bytes)
    columns = event_file.columns
    event_file.close()
    line = msgspec.json.encode(event) if columns is None else _csv_row(path, columns, event)
    is_gzip = path.lower().endswith(".gz")
    # In a packed file nobody knows how the last line ends; a blank one is passed over.
    content = (b"\n" if is_gzip or _lacks_line_end(path) else b"") + line + b"\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(fd, "wb") as file:
            file.write(gzip.compress(content, mtime=0) if is_gzip else content)
    except OSError as error:
        raise InputError(f"The input {path} cannot be appended to: {error.strerror}.") from None


def _csv_row(path: str, columns: tuple[str, ...], event: dict[str, str | int]) -> bytes:
    missing_columns = [name for name in event if name not in columns]
    if missing_columns:
        raise InputError(f"The header of {path} names no {missing_columns[0]}, so that no forget event fits into it.")
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([event.get(name, "") for name in columns])
    return text.getvalue().encode()


def _lacks_line_end(path: str) -> bool:
    with Path(path).open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
