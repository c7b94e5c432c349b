"""Streams of events for partitions: made by hand or at random, and taken as the job would take them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from freshflow.config.schema import Config, ItemsConfig, JobConfig, ListsConfig, RefreshConfig, UsersConfig
from freshflow.engine.partition import Partition
from freshflow.events.model import Event, Forget, Interaction, ItemUpdate, Origin, Request, Search
from freshflow.feature import Feature
from freshflow.outputs.records import ListDeletion, ListItem, Output, RecommendationList, RelatedItems, encode
from freshflow.users.store import UserStore
from freshflow.users.updates import Step

START_MS = 1_700_000_000_000
COMPUTED_AT = 1_800_000_000_000
ORIGIN = Origin("file", "events.jsonl")
OTHER = Origin("topic", "events", 3)
ReadList = RecommendationList[tuple[ListItem, ...]]
Read = ReadList | ListDeletion
FeatureT = TypeVar("FeatureT", bound=Feature)
SIZES = (1, 7, 256)  # of batches, in events: of the smallest, of none that is a round number, and of the default


def config(partitions: int = 1, *, refresh: bool = False, **lists: bool | int) -> Config:
    """The defaults, but for these; lists are refreshed only on demand."""
    return Config(
        refresh=RefreshConfig() if refresh else RefreshConfig(interval_s=0),
        job=JobConfig(partitions=partitions),
        lists=ListsConfig(**lists),
        items=ItemsConfig(max=1000),
        users=UsersConfig(max=1000),
    )


def view(position: int, user: str, item: str, after_ms: int | None = None) -> Interaction:
    return Interaction(position, "view", user, item, START_MS + (1000 * position if after_ms is None else after_ms))


def request(position: int, user: str, **fields) -> Request:
    return Request(position, user, START_MS + 1000 * position, **fields)


def search(position: int, user: str, *items: str, **fields) -> Search:
    return Search(position, user, START_MS + 1000 * position, "text", items, **fields)


def availability(position: int, item: str, available: bool) -> ItemUpdate:
    return ItemUpdate(position, item, START_MS + 1000 * position, available=available)


def partition(settings: Config | None = None, number: int = 0, *, publishes_related: bool = False) -> Partition:
    return Partition(number, settings or config(), lambda: COMPUTED_AT, publishes_related=publishes_related)


def feature(made: Partition, kind: type[FeatureT]) -> FeatureT:
    """Return the feature of a partition that is of this type."""
    (found,) = (one for one in made.features if isinstance(one, kind))
    return found


def steps(events: Iterable[Event], settings: Config | None = None, *, for_all: int = 0) -> list[Step]:
    """What a user stage that starts here makes of `events`; the first `for_all` are lessons."""
    return UserStore((settings or config()).users, 1000, for_all).process(events)


def outputs(
    events: Sequence[Event], settings: Config | None = None, *, size: int = 256, origin: Origin = ORIGIN
) -> list[Read]:
    """What a new partition publishes of `events`, taken in batches of `size`."""
    return take(partition(settings), events, size=size, origin=origin)


def take(made: Partition, events: Sequence[Event], *, size: int = 256, origin: Origin = ORIGIN) -> list[Read]:
    """What a partition publishes of `events` in batches of `size`, after a user stage that starts here."""
    bucket = UserStore(made.config.users, 1000)
    return [one for batch in batches(events, size) for one in read(made.process(origin, bucket.process(batch)))]


def read(published: Iterable[Output]) -> list[Read]:
    """Return the published lists and deletions as consumers read them."""
    return [
        one if isinstance(one, ListDeletion) else msgspec.json.decode(encode(one)[1], type=ReadList)
        for one in published
        if not isinstance(one, RelatedItems)
    ]


def related(published: Iterable[Output]) -> list[RelatedItems]:
    """Return the lists of related items that are published."""
    return [one for one in published if isinstance(one, RelatedItems)]


def items(one: Read) -> list[str]:
    assert isinstance(one, RecommendationList)
    return [item.item_id for item in one.items]


def encoded(several: Iterable[Output | Read]) -> list[tuple[bytes, bytes | None]]:
    return [encode(one) for one in several]


def batches(events: Sequence[Event], size: int) -> list[Sequence[Event]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


def stream(seed: int, count: int, *, controls: bool = True) -> list[Event]:
    """So many events of 12 users on 40 items, half a minute apart, some late; every fifth or so a question."""
    random = np.random.default_rng(seed)
    return [_event(random, position, controls) for position in range(1, count + 1)]


def _event(random: np.random.Generator, position: int, controls: bool) -> Event:
    user, item = f"u{random.integers(12)}", f"i{min(random.geometric(0.1), 40):02d}"
    ts_ms = START_MS + 30_000 * position - int(random.integers(0, 60_000))
    kind = random.random()
    if kind < 0.15:
        return Request(position, user, ts_ms, f"r{position}", 200, bool(random.integers(2)))
    if controls and kind < 0.20:
        found = tuple(f"i{n:02d}" for n in random.choice(60, 6, replace=False))
        return Search(position, user, ts_ms, "text", found)
    if controls and kind < 0.23:
        return ItemUpdate(position, item, ts_ms, available=bool(random.integers(2)))
    if controls and kind < 0.25:
        return Forget(position, user, ts_ms)
    return Interaction(position, "view", user, item, ts_ms)
