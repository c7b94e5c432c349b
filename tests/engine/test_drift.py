"""A world that changes at once: the partition notices, says so without delay, and recovers the sooner for it."""

from typing import NamedTuple

import pytest
from msgspec import structs

from freshflow.config.schema import Config, EventsConfig
from freshflow.events.model import Event, RawBatch
from freshflow.events.parser import EventParser
from freshflow.metrics.prequential import RankingMetrics
from freshflow.metrics.report import Report
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.users.store import UserStore
from tests.builders.streams import ORIGIN, batches, config, partition

EVENTS, SHIFT = 7_500, 5_000
SOON = 250  # events after the shift
SEEDS = (3, 8, 10, 12)
MOST = 3  # of the shops: whether a fall counts as one, or as steep, may hang on a single hit


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
    return structs.replace(settings, items=structs.replace(settings.items, drift_decay=share))


def watched(events: list[Event], settings: Config | None = None) -> Watched:
    """What a partition makes of events, of which 10,000 would make a report due by themselves."""
    made, bucket, due = partition(settings), UserStore(config().users, 1000), []
    for batch in batches(events, 64):
        if made.metrics.counts["events"] <= SHIFT:
            made.metrics.prequential.fresh = RankingMetrics()
        made.process(ORIGIN, bucket.process(batch))
        report = made.report_if_due()
        if report is not None:
            due.append((made.metrics.counts["events"], report))
    assert made.metrics.counts["events"] == EVENTS
    assert made.report().counts["drifts"] == len(due)
    return Watched(due, made.metrics.counts["drift_adaptations"], made.metrics.prequential.fresh.values()["hr20"])


@pytest.fixture(scope="module")
def shifted() -> list[tuple[Watched, Watched]]:
    """What is made of shops that shift, by partitions that let the past count less from then on, and that do not."""
    shops = [shop(seed, SHIFT) for seed in SEEDS]
    return [(watched(events, keeping(0.1)), watched(events, keeping(1.0))) for events in shops]


def test_a_shift_is_reported_soon_after_it_and_at_once(shifted):
    due = [of.reports for of, _ in shifted]
    assert sum(any(SHIFT < events <= SHIFT + SOON for events, _ in reports) for reports in due) >= MOST
    assert sum(events <= SHIFT for reports in due for events, _ in reports) <= 1
    for reports in due:
        assert [report.counts["drifts"] for _, report in reports] == [*range(1, len(reports) + 1)]
        assert [report.counts["events"] for _, report in reports] == [events for events, _ in reports]


def test_to_let_what_came_together_before_count_less_is_the_faster_recovery(shifted):
    gains = [adapts.hr20_since - stays.hr20_since for adapts, stays in shifted if adapts.adapted]
    assert len(gains) >= MOST
    assert sum(gains) / len(gains) > 0.01, gains


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_nothing_is_forgotten_of_a_world_that_stays_as_it_is(seed):
    made, bucket = partition(), UserStore(config().users, 1000)
    for batch in batches(shop(seed, None), 64):
        made.process(ORIGIN, bucket.process(batch))
    assert made.metrics.counts["drift_adaptations"] == 0
