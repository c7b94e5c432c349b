"""How far a job is behind: `python deploy/lag.py HOST:PORT TOPIC RECOVERY`, for each partition of the topic it reads.

How far it has read is in its recovery folder: there it would go on now. With `kafka.group` the job also publishes that
to a consumer group, for tools that watch those.
"""

import sys
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from freshflow.state.offset_publisher import read_stored_offsets


def main(servers: str, topic: str, recovery: str) -> None:
    """Print offsets, and what is between them."""
    read = read_stored_offsets(Path(recovery))
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "freshflow-lag"})
    print("partition       read        end     behind")  # noqa: T201
    for partition in sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions):
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        at = read.get(f"{topic}/{partition:05d}", low)
        print(f"{partition:9d} {at:10d} {end:10d} {end - at:10d}", "" if at >= low else "a gap!")  # noqa: T201
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
