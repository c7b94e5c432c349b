"""A world that changes at once: the partition notices, says so without delay, and recovers the sooner for it."""

from typing import NamedTuple

import pytest
from msgspec import structs

from freshflow.config import Config, EventsConfig
from freshflow.events.parse import EventParser
from freshflow.events.types import Event, RawBatch
from freshflow.quality.report import Report
from freshflow.quality.validation import HitRate
from freshflow.simulate.config import ShopConfig
from freshflow.simulate.write import shop_lines
from freshflow.users.bucket import UserBucket

from .streams import ORIGIN, batches, config, partition

EVENTS, SHIFT = 7_500, 5_000
SOON = 250  # events after the shift
SEEDS = (1, 2)


class Watched(NamedTuple):
    """Reports that were due, after how many events of the partition; how often it adapted; hits since the shift."""

    reports: list[tuple[int, Report]]
    adapted: int
    hr20_since: float


def shop(seed: int, shift: int | None) -> list[Event]:
    settings = ShopConfig(events=EVENTS, users=200, items=200, seed=seed, dirty=False, shift=shift)
    records = tuple((n, raw) for n, (_, _, raw) in enumerate(shop_lines(settings), start=1))
    return EventParser(EventsConfig()).parse(RawBatch(ORIGIN, records, 0))[0]


def keeping(share: float) -> Config:
    settings = config()
    return structs.replace(settings, items=structs.replace(settings.items, kept_on_drift=share))


def watched(events: list[Event], settings: Config | None = None) -> Watched:
    """What a partition makes of events, of which 10,000 would make a report due by themselves."""
    made, bucket, due = partition(settings), UserBucket(config().users, 1000), []
    for batch in batches(events, 64):
        if made.counts["events"] <= SHIFT:
            made.validation.ours = HitRate()
        made.take(ORIGIN, bucket.take(batch))
        report = made.report_if_due()
        if report is not None:
            due.append((made.counts["events"], report))
    assert made.counts["events"] == EVENTS
    assert made.report().counts["drifts"] == len(due)
    return Watched(due, made.counts["adapted"], made.validation.ours.figures()["hr20"])


@pytest.fixture(scope="module", params=SEEDS)
def shifting(request) -> list[Event]:
    return shop(request.param, SHIFT)


def test_a_shift_is_reported_soon_after_it_at_once_and_once(shifting):
    ((events, report),), adapted, _ = watched(shifting)
    assert SHIFT < events <= SHIFT + SOON
    assert report.counts["drifts"] == adapted == 1
    assert report.counts["events"] == events


def test_to_let_what_came_together_before_count_less_is_the_faster_recovery(shifting):
    adapted, unmoved = (watched(shifting, keeping(share)).hr20_since for share in (0.1, 1.0))
    assert adapted > unmoved + 0.015, (adapted, unmoved)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_forgotten_of_a_world_that_stays_as_it_is(seed):
    made, bucket = partition(), UserBucket(config().users, 1000)
    for batch in batches(shop(seed, None), 64):
        made.take(ORIGIN, bucket.take(batch))
    assert made.counts["adapted"] == 0
