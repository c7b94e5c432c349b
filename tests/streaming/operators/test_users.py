"""Events that wait in the user stage: for others, for the end of the stream, or for nothing more to come."""

from datetime import UTC, datetime

import msgspec
from msgspec import structs

from freshflow.config.schema import Config, JobConfig
from freshflow.engine.messages import EventBatch, StepBatch
from freshflow.engine.routing import partition_of
from freshflow.events.model import Forget, Interaction, ItemUpdate, Origin, Search
from freshflow.state.backend import StateBackend
from freshflow.streaming.messages import BatchGroup, PartitionMessage
from freshflow.streaming.operators.base import IDLE_TIMEOUT_S
from freshflow.streaming.operators.users import UserOperator, user_operator
from freshflow.streaming.partitioning import partition_key
from freshflow.users.profile import NEW_USER
from freshflow.users.updates import BotEvent, UserEvicted

START_MS = 1_700_000_000_000
CLOCK_MS = 1_800_000_000_000
ORIGIN = Origin("topic", "events")
OWN = partition_of("u", 4)


def stage(snapshot: bytes | None = None) -> UserOperator:
    return user_operator(Config(job=JobConfig(partitions=4)), lambda: CLOCK_MS, StateBackend(is_enabled=True))(snapshot)


def batch(*days: float, first: int = 1) -> EventBatch:
    events = [
        Interaction(n, "view", "u", f"i{n}", START_MS + int(86_400_000 * day)) for n, day in enumerate(days, first)
    ]
    return EventBatch(OWN, ORIGIN, CLOCK_MS, list(events), first + len(days) - 1)


def steps(routed) -> list[int]:
    """The positions of the steps for the own partition."""
    return [
        step.position for key, one in routed for step in (one.steps if isinstance(one, StepBatch) else ()) if key == KEY
    ]


KEY = partition_key(OWN)


def test_without_an_event_that_waits_there_is_nothing_to_wait_for():
    made = stage()
    assert steps(made.on_batch([batch(0, 0.5)])[0]) == [1, 2]
    assert made.notify_at() is None


def test_an_event_ahead_waits_and_its_partition_hears_of_no_more_than_was_taken():
    made = stage()
    routed = list(made.on_batch([batch(0, 9)])[0])
    assert steps(routed) == [1]
    assert [one.end_position for _, one in routed if isinstance(one, StepBatch)] == [1]
    assert 0 < (made.notify_at() - datetime.now(UTC)).total_seconds() <= IDLE_TIMEOUT_S


def test_when_nothing_more_is_read_it_is_taken():
    made = stage()
    made.on_batch([batch(0, 9)])
    assert steps(made.on_notify()[0]) == []  # too early
    made._idle_deadline = datetime.now(UTC)
    assert steps(made.on_notify()[0]) == [2]
    assert made.notify_at() is None


def test_a_stage_that_is_resumed_takes_what_waited_before():
    made = stage()
    made.on_batch([batch(0, 9)])
    resumed = stage(made.snapshot())
    assert resumed.notify_at() is not None
    assert steps(resumed.on_eof()[0]) == [2]
    assert steps(stage(resumed.snapshot()).on_eof()[0]) == []


def test_events_of_one_record_are_resumed_from_a_journal_as_those_they_were(tmp_path):
    days = (0, 9, 9.1, 9.2)
    single = [Interaction(n, "view", "u", f"i{n}", START_MS + int(86_400_000 * day)) for n, day in enumerate(days, 1)]
    first, *record = [structs.replace(one, event_id="r") for one in single]
    waiting = [structs.replace(one, position=2, nth=n) for n, one in enumerate(record)]
    search = Search(2, "u", START_MS, "q", ("i1",), nth=3)
    forget, update = Forget(3, "other", START_MS), ItemUpdate(4, "i1", START_MS)
    keeping = StateBackend(is_enabled=True, folder=tmp_path / "states")
    build = user_operator(Config(job=JobConfig(partitions=4)), lambda: CLOCK_MS, keeping)
    made = build(None)
    taken = EventBatch(OWN, ORIGIN, CLOCK_MS, [structs.replace(first, event_id=None), *waiting, search, update], 4)
    made.on_batch([taken])
    resumed = build(made.snapshot())
    for one in (made, resumed):
        own = [step for key, out in one.on_eof()[0] if key == KEY for step in out.steps]
        assert [(step.position, step.nth) for step in own] == [(2, 0), (2, 1), (2, 2), (2, 3), (4, 0)]
        assert one.stage.store.counts == {}
    batch_ = BatchGroup(
        [StepBatch(OWN, ORIGIN, 0, [*own, forget, BotEvent(waiting[1], NEW_USER), UserEvicted(2, "u", True, 1)], 4, {})]
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(batch_), type=PartitionMessage) == batch_
