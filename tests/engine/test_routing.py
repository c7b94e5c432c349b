"""Into however many partitions a stream of guests and users is cut, everybody's history is the same."""

from collections import defaultdict

import numpy as np
import pytest

from freshflow.config.schema import Config, JobConfig, RankerConfig, UsersConfig
from freshflow.engine.routing import Topology, partition_of, route_events, route_forwarded_events
from freshflow.events.model import Event, Forget, Identify, Interaction, ItemUpdate, Origin, Request
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.resequencer import Resequencer
from freshflow.users.store import UserStore
from freshflow.users.updates import Step, UserEvicted

ORIGIN = Origin("file", "events.jsonl")
START_MS = 1_700_000_000_000


def stream(seed: int, count: int) -> list[Event]:
    """So many events of 6 users and 9 guests, who are identified and forgotten now and then."""
    random = np.random.default_rng(seed)
    return [_event(random, position) for position in range(1, count + 1)]


def _event(random: np.random.Generator, position: int) -> Event:
    ts_ms = START_MS + 120_000 * position - int(random.integers(0, 300_000))
    guest, user, kind = f"guest:{random.integers(9)}", f"u{random.integers(6)}", random.random()
    who = user if random.random() < 0.4 else guest
    if kind < 0.08:
        return Identify(position, user, guest, ts_ms)
    if kind < 0.12:
        return Forget(position, who, ts_ms)
    if kind < 0.2:
        return Request(position, who, ts_ms)
    return Interaction(position, "view", who, f"i{random.integers(20)}", ts_ms, session_id=guest)


def steps(events: list[Event], partitions: int, size: int, seed: int = 0) -> dict[str, list[Step]]:
    """What becomes of everybody in a job with so many partitions, whose batches meet in any order."""
    config = Config(
        job=JobConfig(partitions=partitions), users=UsersConfig(guests=True), ranker=RankerConfig(broadcast_examples=0)
    )
    guests = [AnonymousStore.for_partition(config) for _ in range(partitions)]
    users, handovers = [UserStore.for_partition(config) for _ in guests], [Resequencer() for _ in guests]
    queues, topology = defaultdict(list), Topology.of_partitions(partitions)
    for start in range(0, len(events), size):
        batch = events[start : start + size]
        for sender, part in enumerate(route_events(batch, topology, has_anonymous_users=True)):
            handed, _, upto = guests[sender].process_batch(ORIGIN, part, 0, batch[-1].position)
            for to, several in enumerate(route_forwarded_events(handed, sender, topology)):
                queues[sender, to].append((several, upto))
    made, random = defaultdict(list), np.random.default_rng(seed)
    while waiting := [pair for pair, queue in queues.items() if queue]:
        sender, to = waiting[random.integers(len(waiting))]
        found = handovers[to].process(sender, partitions, ORIGIN, *queues[sender, to].pop(0))
        for step in users[to].process(found[0]) if found else []:
            if not getattr(step, "is_in_other_bucket", False):
                who = step.user_id if isinstance(step, Forget | UserEvicted) else step.event.user_id
                assert partition_of(who, partitions) == to
                made[who].append(step)
    return made


@pytest.mark.parametrize("seed", range(5))
def test_everybody_has_the_same_steps_whatever_the_partitions_batches_and_ways(seed):
    events = stream(seed, 400)
    whole = steps(events, 1, 400)
    assert {type(step).__name__ for several in whole.values() for step in several} == {
        *("UserInteraction", "ListRequested", "UserEvicted", "ProfileMerged", "Forget")
    }
    for partitions, size in ((1, 7), (2, 1), (3, 16), (8, 50)):
        assert steps(events, partitions, size, seed) == whole


def test_catalogue_events_go_everywhere_and_who_is_forgotten_only_where_guests_are_known():
    item, forget = ItemUpdate(1, "i", START_MS), Forget(2, "u", START_MS)
    own = partition_of("u", 3)
    assert route_events([item, forget], Topology.of_partitions(3)) == [
        [item, forget] if n == own else [item] for n in range(3)
    ]
    told = route_events([item, forget], Topology.of_partitions(3), has_anonymous_users=True)
    assert [part[1].is_in_other_bucket for part in told] == [n != own for n in range(3)]
