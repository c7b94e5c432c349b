"""Young items in the last places of lists: the same on every replay, told with propensities, and kept in snapshots."""

import msgspec
import pytest

from freshflow.config.schema import Config, ExploreConfig, RulesConfig
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Forget, ItemUpdate
from freshflow.exploration.feature import ExplorationFeature
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    SIZES,
    START_MS,
    config,
    encoded,
    feature,
    outputs,
    partition,
    read,
    search,
    steps,
    stream,
    view,
)

EXPLORING = ExploreConfig(share=0.2, visits=5)


def exploring(*, contributions: bool = False) -> Config:
    return msgspec.structs.replace(config(k=10, contributions=contributions), explore=EXPLORING)


def test_wherever_batches_end_lists_are_the_same():
    events = stream(3, 250)
    first, *others = (encoded(outputs(events, exploring(), size=size)) for size in SIZES)
    assert all(other == first for other in others)
    assert any(b'"explore"' in value for _, value in first if value)


def test_an_explored_item_is_young_unknown_to_its_user_and_said_to_be_so():
    lists = [one for one in outputs(stream(3, 250, controls=False), exploring()) if one.cause == "interaction"]
    explored = [(one, place, item) for one in lists for place, item in enumerate(one.items) if item.reason == "explore"]
    assert len(explored) > 20
    for one, place, item in explored:
        assert 0 < item.propensity <= 0.5
        assert place >= len(one.items) // 2
        assert (item.score, item.because) == (0, ())
    for one in lists:
        told = [item.propensity for item in one.items if item.propensity is not None]
        assert (one.policy == "upper-bounds") == bool(told)
        assert len({item.item_id for item in one.items}) == len(one.items)
        assert all(item.propensity >= 0.5 for item in one.items if item.propensity and item.reason != "explore")


def test_what_rules_added_to_the_item_that_stood_there_is_not_said_of_an_explored_one():
    boosted = RulesConfig(boost_items={f"i{n}": 1.5 for n in range(40)})
    settings = msgspec.structs.replace(exploring(contributions=True), rules=boosted)
    items = [item for one in outputs(stream(3, 250, controls=False), settings) for item in one.items]
    assert any(item.contributions.get("boost") for item in items)
    assert any(item.reason == "explore" for item in items)
    for item in items:
        assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-6)


def test_the_answer_to_a_search_is_never_explored():
    events = [view(n, f"u{n % 3}", f"i{n % 7}") for n in range(1, 40)]
    *_, found = outputs([*events, search(50, "new", "i1", "i2", "i3", "i4")], exploring())
    assert found.policy is None
    assert all(item.propensity is None for item in found.items)


@pytest.mark.parametrize("contributions", [False, True])
def test_a_partition_that_is_resumed_goes_on_as_it_would_have(contributions: bool):
    settings = exploring(contributions=contributions)
    whole = steps(stream(4, 250), settings)
    made = partition(settings)
    made.process(ORIGIN, whole[:120])
    resumed = load(dump(made), settings, lambda: COMPUTED_AT)
    rest = [read(one.process(ORIGIN, whole[120:])) for one in (made, resumed)]
    assert rest[0] == rest[1]
    assert made.report() == resumed.report()
    assert made.report().counts["explored"] > 20


def test_without_a_share_nothing_of_it_is_there():
    plain = outputs(stream(3, 250), config(k=10))
    assert all(b"propensity" not in value and b"policy" not in value for _, value in encoded(plain) if value)


def test_a_user_who_is_forgotten_is_waited_for_no_longer():
    made = partition(exploring())
    made.process(ORIGIN, steps([view(n, f"u{n % 5}", f"i{n}") for n in range(1, 60)], exploring()))
    user = next(iter(feature(made, ExplorationFeature).exploration.pending_users))
    made.process(ORIGIN, [Forget(60, user, START_MS)])
    assert user not in feature(made, ExplorationFeature).exploration.pending_users


def test_an_item_of_the_catalogue_is_tried_before_anybody_has_come_for_it():
    events = [ItemUpdate(1, "launched", START_MS), *(view(n, f"u{n % 9}", f"i{n % 40}") for n in range(2, 200))]
    lists = outputs(events, exploring())
    assert any(item.item_id == "launched" and item.reason == "explore" for one in lists for item in one.items)
