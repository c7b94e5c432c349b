"""How long it takes until no list holds an item that cannot be had any more.

    python -m tests.bench.withdrawal [EVENTS]

A partition takes a simulated shop. Then the items on the most lists of active users, and on fewer, are called
unavailable, one after the other; the time is from the `item` event to the last list made again, without reading,
encoding and writing.
"""

import sys
import time

import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.events.model import ItemUpdate, Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.users.store import UserStore

from .machine import described

BATCH = 256
RANKS = (0, 10, 100, 500)  # of items by how many lists hold them


def main(events: int) -> None:
    config, origin = Config(), Origin("file", "shop.jsonl")
    parser, bucket = EventParser(config.events), UserStore.for_partition(config)
    partition = Partition(0, config, lambda: time.time_ns() // 1_000_000)
    lines = [line for _, _, line in shop_lines(ShopConfig(events=events, users=max(10, events // 10), dirty=False))]
    for start in range(0, len(lines), BATCH):
        records = tuple(enumerate(lines[start : start + BATCH], start + 1))
        partition.process(origin, bucket.process(parser.parse(RawBatch(origin, records, 0))[0]))
    active, known = partition.active_users, partition.item_statistics.index
    print(described())
    print(f"{len(active.ids):,} active users")
    for position, rank in enumerate(RANKS, len(lines) + 1):
        rows, held = np.unique(active.baselines.list_rows[: len(active.ids)], return_counts=True)
        row = int(rows[rows >= 0][np.argsort(-held[rows >= 0])][min(rank, int((rows >= 0).sum()) - 1)])
        update = ItemUpdate(position, known.ids[row], partition.event_ts, available=False)
        begun = time.perf_counter()
        made = partition.process(origin, [update])
        took_ms = 1000 * (time.perf_counter() - begun)
        each_us = 1000 * took_ms / max(1, len(made))
        print(f"on {len(made):6,} lists: gone after {took_ms:7.1f} ms, {each_us:6.0f} us a list")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
