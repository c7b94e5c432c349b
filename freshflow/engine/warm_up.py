"""Warm-up before the first event: a few artificial events compile or load all machine code."""

import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.events.model import Event, Interaction, Origin, Request, Search
from freshflow.users.store import UserStore

WARM_UP_ORIGIN = Origin("file", "nothing")
N_WARM_UP_EVENTS, N_WARM_UP_USERS, N_WARM_UP_ITEMS = 64, 5, 7
WARM_UP_STEP_MS = 3_600_000  # longer than a session, so that lists are refreshed


def warm_up(config: Config, *, related: bool = False) -> None:
    """Process artificial events of every kind in a partition that is discarded."""
    user_store = UserStore.for_partition(config)
    partition = Partition(0, config, lambda: 0, publishes_related=related)
    events: list[Event] = [
        Interaction(n, "view", f"user {n % N_WARM_UP_USERS}", f"item {n % N_WARM_UP_ITEMS}", n * WARM_UP_STEP_MS)
        for n in range(N_WARM_UP_EVENTS)
    ]
    events += [
        Request(N_WARM_UP_EVENTS, "user 1", N_WARM_UP_EVENTS * WARM_UP_STEP_MS, exclude_seen=True),
        Search(N_WARM_UP_EVENTS + 1, "user 2", N_WARM_UP_EVENTS * WARM_UP_STEP_MS, "anything", ("item 1", "item 2")),
        Interaction(N_WARM_UP_EVENTS + 1, "view", "user 2", "item 1", N_WARM_UP_EVENTS * WARM_UP_STEP_MS),
        Interaction(N_WARM_UP_EVENTS + 2, "dismiss", "user 1", "item 1", N_WARM_UP_EVENTS * WARM_UP_STEP_MS, -1.0),
    ]
    steps = user_store.process(events)
    partition.process(WARM_UP_ORIGIN, steps[: N_WARM_UP_EVENTS // 2], N_WARM_UP_EVENTS // 2)
    partition.process(WARM_UP_ORIGIN, steps[N_WARM_UP_EVENTS // 2 :], N_WARM_UP_EVENTS + 3)
    partition.finish(WARM_UP_ORIGIN)
    partition.item_statistics.tables.covisits.drop(np.zeros(1, np.int64))
