"""Return rejected records to the job once their cause is fixed: `python deploy/drain.py DEAD_LETTERS EVENTS CODE`.

DEAD_LETTERS and EVENTS are topics, `kafka://HOST:PORT/TOPIC`; CODE is the reject code of the dead letters to return.
A record is returned once: a consumer group for each code, freshflow-drain-CODE, holds the offsets. Options of Kafka's
client come from the environment, as those of the job (FRESHFLOW_KAFKA_OPTIONS_...).
"""

import base64
import os
import sys
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from freshflow.config.schema import load_config
from freshflow.errors import FreshFlowError, OutputError
from freshflow.io.kafka.client import client_options, create_client, list_partitions, parse_kafka_url

WAIT_S = 30.0


def main(dead_letters: str, events: str, code: str) -> None:
    """Return the records with a code to the topic of events and print their number.

    Args:
        dead_letters: The topic of dead letters.
        events: The topic that the job reads.
        code: The reject code.
    """
    config = load_config(None, os.environ).kafka
    servers, topic = parse_kafka_url(dead_letters)
    options = client_options(servers, config, "source") | {"group.id": f"freshflow-drain-{code}"}
    places = [TopicPartition(topic, partition) for partition in list_partitions(options, topic, config.timeout_s)]
    target_servers, target = parse_kafka_url(events)
    list_partitions(client_options(target_servers, config, "source"), target, config.timeout_s)
    consumer = create_client(Consumer, options)
    producer = create_client(Producer, client_options(target_servers, config, "sink"))
    refused: list[KafkaError] = []
    given = kept = 0
    for place in consumer.committed(places, timeout=WAIT_S):
        low, end = consumer.get_watermark_offsets(place, timeout=WAIT_S)
        place.offset = max(low, place.offset)  # below 0: no offset was committed
        consumer.assign([place])
        while place.offset < end:
            message = consumer.poll(WAIT_S)
            if message is None:
                raise OutputError(f"{dead_letters} did not answer within {WAIT_S:.0f} s; try again.")
            if message.error() is not None:
                if message.error().code() == KafkaError._PARTITION_EOF:  # before `end`, behind markers of transactions
                    break
                raise KafkaException(message.error())
            place.offset = message.offset() + 1
            letter = msgspec.json.decode(message.value())
            if letter.get("code") == code:
                raw = _original_record(letter)
                given, kept = (given, kept + 1) if raw is None else (given + 1, kept)
                if raw is not None:
                    producer.produce(target, raw, on_delivery=lambda error, _: error and refused.append(error))
                    producer.poll(0)
        if producer.flush(WAIT_S) or refused:
            why = refused[0].str() if refused else f"no answer within {WAIT_S:.0f} s"
            raise OutputError(f"{events} did not take everything: {why}; what it took will be given to it again.")
        consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()
    print(f"{given} records given back; of {kept} others the letters do not hold the whole record")  # noqa: T201


def _original_record(letter: dict[str, Any]) -> bytes | None:
    """Return the original record; None if the dead letter does not hold all of it."""
    if letter.get("truncated"):
        return None
    if isinstance(raw := letter.get("raw"), str):
        return raw.encode()
    return base64.b64decode(letter["raw_base64"]) if "raw_base64" in letter else None


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python deploy/drain.py kafka://HOST:PORT/dead-letters kafka://HOST:PORT/events CODE")
    try:
        main(*sys.argv[1:])
    except FreshFlowError as error:
        sys.exit(f"freshflow: {error}")
