"""The last records of a topic: `python deploy/tail.py HOST:PORT TOPIC COUNT`, of each of its partitions."""

import sys

from confluent_kafka import Consumer, TopicPartition


def main(servers: str, topic: str, count: str) -> None:
    """Print them, a line each."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "freshflow-tail"})
    for number in sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions):
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
        consumer.assign([TopicPartition(topic, number, max(low, end - int(count)))])
        for message in consumer.consume(min(int(count), end - low), timeout=10):
            if message.error() is None:
                print((message.value() or b"a tombstone").decode("utf-8", "replace"))  # noqa: T201
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
