"""How far a job is behind: `python deploy/lag.py HOST:PORT TOPIC RECOVERY`, for each partition of the topic it reads.

How far it has read is in its recovery folder, as of its last snapshot; with `kafka.group` the job also publishes it
to a consumer group, for tools that watch those.
"""

import pickle
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition


def main(servers: str, topic: str, recovery: str) -> None:
    """Print offsets, and what is between them."""
    read = _read(Path(recovery))
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "freshflow-lag"})
    print("partition       read        end     behind")  # noqa: T201
    for partition in sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions):
        low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        at = read.get(f"{topic}/{partition:05d}", low)
        print(f"{partition:9d} {at:10d} {end:10d} {end - at:10d}", "" if at >= low else "a gap!")  # noqa: T201
    consumer.close()


def _read(recovery: Path) -> dict[str, int]:
    """The next offset of each partition, as the last snapshot has it."""
    rows = []
    for path in recovery.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as part:
            wanted = "SELECT snap_epoch, state_key, ser_change FROM snaps WHERE step_id = 'freshflow.source'"
            rows += part.execute(wanted).fetchall()
    return {key: pickle.loads(stored) for _, key, stored in sorted(rows) if stored}


if __name__ == "__main__":
    main(*sys.argv[1:])
