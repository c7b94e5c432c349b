"""Items that are not available any more: no list shows them, also none of a user who does nothing."""

import msgspec
import numpy as np
import pytest

from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Event, ItemUpdate, Request
from freshflow.outputs.records import RecommendationList
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    SIZES,
    availability,
    batches,
    config,
    encoded,
    items,
    partition,
    read,
    request,
    stream,
    take,
)
from tests.refresh.test_scheduler import news, refreshing

SETTINGS = [config(k=5), refreshing()]
IDS = ["without refreshes", "with refreshes"]


def latest(published) -> dict[str, list[str]]:
    return {one.user_id: items(one) for one in published if isinstance(one, RecommendationList) and not one.request_id}


@pytest.mark.parametrize("settings", SETTINGS, ids=IDS)
def test_every_list_that_shows_it_is_published_anew_at_once(settings):
    events, made = news(1, 400), partition(settings)
    before = latest(take(made, events))
    showing = {user for user, shown in before.items() if "i02" in shown}
    assert 5 < len(showing) < len(before)
    several = take(made, [availability(401, "i02", False)])
    assert {one.user_id for one in several} == showing
    for one in several:
        assert "i02" not in items(one)
        assert len(items(one)) == 5
        assert (one.cause, one.source) == ("refresh", ORIGIN.source_ref(401))
    assert len({one.list_id for one in several}) == len(several)
    assert made.report().counts["withdrawn"] == len(several)


@pytest.mark.parametrize("settings", SETTINGS, ids=IDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_list_that_stands_shows_what_is_not_available(settings, seed):
    random, gone, made = np.random.default_rng(seed), set(), partition(settings)
    shown: dict[str, list[str]] = {}
    withdrawn = 0
    for event in news(seed, 600):
        events: list[Event] = [event]
        if random.random() < 0.1:
            item, back = f"i{random.integers(1, 12):02d}", random.random() < 0.4
            (gone.discard if back else gone.add)(item)
            events.append(ItemUpdate(event.position, item, event.ts_ms, available=back))
        published = take(made, events)
        withdrawn += sum(one.cause == "refresh" for one in published)
        shown |= latest(published)
        assert not gone & {item for of_user in shown.values() for item in of_user}
    assert withdrawn > 50


def test_who_is_ranked_anew_gets_what_a_request_at_that_moment_gets():
    events, made = news(4, 400), partition(refreshing())
    bucket = UserStore(made.config.users, 1000)
    made.process(ORIGIN, bucket.process(events))
    several = read(made.process(ORIGIN, [availability(401, "i02", False)]))
    asked = [Request(402 + n, one.user_id, events[-1].ts_ms) for n, one in enumerate(several)]
    answers = read(made.process(ORIGIN, bucket.process(asked)))
    assert [items(one) for one in several] == [items(one) for one in answers] != []


def test_an_item_that_nobody_is_shown_or_that_is_available_changes_no_list():
    made = partition(refreshing())
    take(made, news(5, 300))
    assert take(made, [availability(301, "unheard of", False), availability(302, "i02", True)]) == []


def test_an_item_that_comes_back_is_shown_again():
    made = partition()
    take(made, news(6, 300))
    take(made, [availability(301, "i02", False)])
    assert "i02" not in items(take(made, [request(302, "u1")])[0])
    assert "i02" in items(take(made, [availability(303, "i02", True), request(304, "u1")])[0])


def test_lists_made_anew_explain_themselves():
    settings = msgspec.structs.replace(refreshing(), lists=config(k=5, contributions=True).lists)
    made = partition(settings)
    take(made, news(7, 300))
    several = take(made, [availability(301, "i02", False)])
    assert several
    for one in several:
        for item in one.items:
            assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-8)


@pytest.mark.parametrize("settings", SETTINGS, ids=IDS)
def test_a_partition_that_is_resumed_knows_who_is_shown_what(settings):
    made = partition(settings)
    take(made, news(8, 400))
    resumed = load(dump(made), settings, lambda: COMPUTED_AT)
    update = availability(401, "i02", False)
    several = made.process(ORIGIN, [update])
    assert len(several) > 5
    assert encoded(resumed.process(ORIGIN, [update])) == encoded(several)


def test_batches_change_nothing():
    events = stream(9, 300)
    outputs = {size: encoded(take_in_batches(events, size)) for size in SIZES}
    assert outputs[1] == outputs[7] == outputs[256]
    assert any(b'"cause":"refresh"' in (value or b"") for _, value in outputs[1])


def take_in_batches(events: list[Event], size: int):
    made, bucket = partition(), UserStore(config().users, 1000)
    return [one for batch in batches(events, size) for one in made.process(ORIGIN, bucket.process(batch))]
