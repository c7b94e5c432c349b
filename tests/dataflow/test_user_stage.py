"""Events that wait in the user stage: for others, for the end of the stream, or for nothing more to come."""

from datetime import UTC, datetime

from freshflow.config import Config, JobConfig
from freshflow.dataflow.keeping import Keeping
from freshflow.dataflow.keys import partition_key, partition_of
from freshflow.dataflow.messages import EventBatch, StepBatch
from freshflow.dataflow.user_stage import IDLE_S, UserStage, user_stage
from freshflow.events.types import Behaviour, Origin

START_MS = 1_700_000_000_000
CLOCK_MS = 1_800_000_000_000
ORIGIN = Origin("topic", "events")
OWN = partition_of("u", 4)


def stage(snapshot: bytes | None = None) -> UserStage:
    return user_stage(Config(job=JobConfig(partitions=4)), lambda: CLOCK_MS, Keeping(any=True))(snapshot)


def batch(*days: float, first: int = 1) -> EventBatch:
    events = [Behaviour(n, "view", "u", f"i{n}", START_MS + int(86_400_000 * day)) for n, day in enumerate(days, first)]
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
    assert [one.upto for _, one in routed if isinstance(one, StepBatch)] == [1]
    assert 0 < (made.notify_at() - datetime.now(UTC)).total_seconds() <= IDLE_S


def test_when_nothing_more_is_read_it_is_taken():
    made = stage()
    made.on_batch([batch(0, 9)])
    assert steps(made.on_notify()[0]) == []  # too early
    made._idle_at = datetime.now(UTC)
    assert steps(made.on_notify()[0]) == [2]
    assert made.notify_at() is None


def test_a_stage_that_is_resumed_takes_what_waited_before():
    made = stage()
    made.on_batch([batch(0, 9)])
    resumed = stage(made.snapshot())
    assert resumed.notify_at() is not None
    assert steps(resumed.on_eof()[0]) == [2]
    assert steps(stage(resumed.snapshot()).on_eof()[0]) == []
