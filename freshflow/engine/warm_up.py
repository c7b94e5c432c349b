"""Before the first event: a few of nobody's, so that no list waits for machine code to be compiled or loaded."""

import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.events.model import Behaviour, Event, Origin, Request, Search
from freshflow.users.store import UserBucket

__all__ = ["warm_up"]

ORIGIN = Origin("file", "nothing")
EVENTS, USERS, ITEMS = 64, 5, 7
STEP_MS = 3_600_000  # longer than a session, so that lists are refreshed


def warm_up(config: Config, *, related: bool = False) -> None:
    """Take some events in a partition that is thrown away, by all ways that there are."""
    bucket, partition = UserBucket.of_partition(config), Partition(0, config, lambda: 0)
    events: list[Event] = [
        Behaviour(n, "view", f"user {n % USERS}", f"item {n % ITEMS}", n * STEP_MS) for n in range(EVENTS)
    ]
    events += [
        Request(EVENTS, "user 1", EVENTS * STEP_MS, exclude_seen=True),
        Search(EVENTS + 1, "user 2", EVENTS * STEP_MS, "anything", ("item 1", "item 2")),
        Behaviour(EVENTS + 1, "view", "user 2", "item 1", EVENTS * STEP_MS),
        Behaviour(EVENTS + 2, "dismiss", "user 1", "item 1", EVENTS * STEP_MS, -1.0),
    ]
    partition.publish_related(related)
    steps = bucket.take(events)
    partition.take(ORIGIN, steps[: EVENTS // 2], EVENTS // 2)
    partition.take(ORIGIN, steps[EVENTS // 2 :], EVENTS + 3)
    partition.finish(ORIGIN)
    partition.knowledge.tables.covisits.drop(np.zeros(1, np.int64))
