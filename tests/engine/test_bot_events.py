"""Noise in a partition: whoever makes it gets lists, and nobody else's list is any different for it."""

import msgspec
import numpy as np

from freshflow.config.schema import NoiseConfig
from freshflow.events.model import Interaction
from freshflow.outputs.records import RecommendationList
from freshflow.users.store import UserStore
from freshflow.users.updates import BotEvent, UserInteraction
from tests.builders.streams import ORIGIN, START_MS, config, encoded, partition, read, stream, view

SETTINGS = config()


def flood(position: int) -> list[Interaction]:
    """A bot looks at one item after the other, all at once; the first five it may."""
    return [view(position, "bot", f"i{n:02d}", 30_000 * position) for n in range(40)]


def taken(floods: bool):
    """What a partition publishes, and the partition, after a stream with a bot in it, or the bot's first events."""
    made, published = partition(SETTINGS), []
    bucket = UserStore(SETTINGS.users, 1000, bot_filter=NoiseConfig(events=5, window_s=60))
    for n, event in enumerate(stream(5, 300)):
        steps = bucket.process([event, *(flood(event.position) if n in (100, 200) else ())])
        learned = [step for step in steps if not isinstance(step, BotEvent)]
        published += made.process(ORIGIN, steps if floods else learned)
        made.update_user_counts(bucket.counts)
    return read(published), made


def test_noise_changes_no_list_of_anyone_else_and_nothing_that_is_known():
    published, made = taken(floods=True)
    expected, without = taken(floods=False)
    others = [[one for one in several if one.user_id != "bot"] for several in (published, expected)]
    assert encoded(others[0]) == encoded(others[1])
    for table, same in zip(
        made.item_statistics.tables.popularity, without.item_statistics.tables.popularity, strict=True
    ):
        assert np.array_equal(table, same)
    assert (made.ranker.n_updates, made.metrics.counts["events"]) == (
        without.ranker.n_updates,
        without.metrics.counts["events"],
    )
    assert made.metrics.prequential.fresh.values() == without.metrics.prequential.fresh.values()


def test_who_makes_noise_is_sent_the_lists_that_follow_from_it():
    published, made = taken(floods=True)
    lists = [one for one in published if one.user_id == "bot" and isinstance(one, RecommendationList)]
    assert len(lists) > 20
    assert all(one.items for one in lists)
    assert sum(one.cause == "interaction" for one in lists) > 20
    assert made.report().counts["noise_rate"] == 70


def test_what_the_user_stage_counts_is_in_the_report_as_of_the_last_word_of_it():
    made = partition(SETTINGS)
    for late in (1, 3):
        made.update_user_counts({"late": late})
    assert made.report().counts["late"] == 3


def test_items_that_only_a_bot_has_seen_are_not_known():
    made = partition(SETTINGS)
    bucket = UserStore(SETTINGS.users, 1000, bot_filter=NoiseConfig(events=1, window_s=60))
    steps = bucket.process([Interaction(n, "view", "bot", f"i{n}", START_MS) for n in range(9)])
    assert [type(step) for step in steps] == [UserInteraction] + [BotEvent] * 8
    made.process(ORIGIN, steps)
    assert made.item_statistics.index.ids == ["i0"]
    assert msgspec.structs.asdict(made.report())["counts"]["items"] == 1
