"""The two stages, killed after any epoch and resumed from files: they go on as if nothing had happened."""

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import Config, RankerConfig
from freshflow.engine.messages import EventBatch, RemoteEventBatch, StepBatch
from freshflow.events.model import Event
from freshflow.items.visit import ItemVisit
from freshflow.state import backend as keeping
from freshflow.state.backend import StateBackend
from freshflow.streaming.operators.partitions import PartitionOperator, partition_operator
from freshflow.streaming.operators.users import UserOperator, user_operator
from tests.builders.streams import COMPUTED_AT, ORIGIN, batches, config, stream, view
from tests.refresh.test_scheduler import news

Outputs = list[list[tuple[bytes | None, bytes | None]]]


class Job:
    """One partition's two stages; `clock_ms` is what they take the time to be."""

    def __init__(
        self, settings: Config, keeping: StateBackend, stored: tuple[bytes, bytes] = (b"", b""), *, related: bool = True
    ) -> None:
        self.clock_ms = COMPUTED_AT
        users, partition = (blob or None for blob in stored)
        self.users: UserOperator = user_operator(settings, lambda: self.clock_ms, keeping)(users)
        build = partition_operator(settings, lambda: self.clock_ms, keeping, live=True, has_related=related)
        self.partition: PartitionOperator = build(partition)

    def take(self, events: list[Event]) -> Outputs:
        """What is published after a batch of events, with signals of another partition among them."""
        batch = EventBatch(0, ORIGIN, COMPUTED_AT, events, events[-1].position)
        routed, _ = self.users.on_batch([batch])
        steps = [message for _, message in routed if isinstance(message, StepBatch)]
        signals = [
            ItemVisit(event.position, f"far-{event.position % 7}", ("i01",), event.ts_ms) for event in events[::5]
        ]
        outputs, _ = self.partition.on_batch([*steps, RemoteEventBatch(0, ORIGIN, signals)])
        return [[*output.lists, *output.related_lists] for output in outputs]

    def wait(self) -> Outputs:
        """What is published when no event comes for a while."""
        self.clock_ms += 60_000
        outputs, _ = self.partition.on_notify()
        return [[*output.lists, *output.related_lists] for output in outputs]

    def mark(self) -> tuple[bytes, bytes]:
        for stage in (self.users, self.partition):
            making = getattr(stage.keyed_state, "_snapshot_writer", None)
            while making is not None and not making.is_done:
                time.sleep(0.001)
        return self.users.snapshot(), self.partition.snapshot()


def run(
    events: list[Event], settings: Config, kept: StateBackend, dies_after: tuple[int, ...] = ()
) -> tuple[Outputs, Job]:
    job, published = Job(settings, kept), []
    for n, batch in enumerate(batches(events, 20)):
        published += job.take(list(batch))
        if n % 4 == 3:
            published += job.wait()
        stored = job.mark()
        if n in dies_after:
            clock_ms = job.clock_ms
            job.take([view(900 + n, "u1", "lost", 0)])  # of an epoch that did not end
            job = Job(settings, kept, stored)
            job.clock_ms = clock_ms
            if job.partition.event_clock is not None:
                job.partition.event_clock.record_check(clock_ms - 30_000)
    return published, job


@pytest.mark.parametrize("model", ["adam", "sgd", "scaled", "tree"])
@pytest.mark.parametrize("dies_after", [(5,), (0, 1, 2, 7, 14, 20)], ids=str)
def test_they_go_on_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, dies_after) -> None:
    monkeypatch.setattr(keeping, "MAX_CHANGELOG_EVENTS", 50)
    monkeypatch.setattr(keeping, "MAX_SNAPSHOT_TIME_RATIO", 1e9)
    refreshed = model != "tree"
    settings = msgspec.structs.replace(
        config(refresh=refreshed, k=5), ranker=RankerConfig(f"freshflow.ranking.model_factories:{model}")
    )
    events = news(3, 420) if refreshed else stream(3, 420)
    expected, uninterrupted = run(events, settings, StateBackend())
    published, resumed = run(events, settings, StateBackend(is_enabled=True, folder=tmp_path / "states"), dies_after)
    assert published == expected
    assert any(b'"refresh"' in value for lists in published for _, value in lists if value) == refreshed
    assert any(value.startswith(b'{"item_id"') for lists in published for _, value in lists if value)
    assert resumed.partition.partition.report() == uninterrupted.partition.partition.report()
    assert resumed.users.stage.store.users == uninterrupted.users.stage.store.users
    weights = [job.partition.partition.ranker.weights for job in (resumed, uninterrupted)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
    assert any((tmp_path / "states").glob("*.snapshot"))


def related_of(published: Outputs) -> list[tuple[bytes | None, bytes | None]]:
    return [one for records in published for one in records if (one[1] or b"").startswith(b'{"item_id"')]


def test_related_items_that_are_wanted_only_after_a_resume_are_all_published_then(tmp_path: Path) -> None:
    settings, kept = config(), StateBackend(is_enabled=True, folder=tmp_path / "states")
    job = Job(settings, kept, related=False)
    assert related_of([*job.take(news(1, 300)), *job.wait()]) == []
    job = Job(settings, kept, job.mark())
    published = related_of([*job.take([view(301, "u1", "i01", 301 * 60_000)]), *job.wait()])
    job = Job(settings, kept, job.mark(), related=False)
    assert len(published) > 20
    assert related_of([*job.take(news(2, 300)), *job.wait()]) == []
    assert not job.partition.partition.publishes_related
