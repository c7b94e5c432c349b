"""What an event is worth: more than a view, a part of one, or the opposite of one."""

import json

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import EventsConfig, RankerConfig
from freshflow.engine.partition import Partition
from freshflow.events.model import Event, Interaction, RawBatch
from freshflow.events.parser import EventParser
from freshflow.items.covisitation import COOCCURRENCE, FORWARD, NEXT_VISIT
from freshflow.items.popularity import N_EVENTS
from freshflow.outputs.records import RecommendationList
from freshflow.users.store import UserStore
from tests.builders.streams import (
    ORIGIN,
    START_MS,
    config,
    items,
    outputs,
    partition,
    read,
    request,
    steps,
    stream,
    take,
    view,
)

WARM_UP = 204  # events that are learned first


def weighted(event: Interaction, weight: float) -> Interaction:
    return msgspec.structs.replace(event, type="dismiss" if weight < 0 else "purchase", weight=weight)


def parsed(*lines: dict, full: dict[str, float] | None = None) -> list[Event]:
    """The events of these fields, the n-th as line n."""
    settings = EventsConfig() if full is None else EventsConfig(full_value=full)
    common = {"user_id": "u", "item_id": "a", "ts": START_MS}
    records = tuple((n, json.dumps(common | line).encode()) for n, line in enumerate(lines, start=1))
    events, rejected = EventParser(settings).parse(RawBatch(ORIGIN, records, 0))
    assert rejected == []
    return events


def company(made: Partition, item: str) -> np.ndarray:
    return made.item_statistics.tables.covisits.sums[made.item_statistics.index.get(item)]


def chances(made: Partition, user: str) -> dict[str, float]:
    """The probability that the ranker gives to each item, as it scores with all it has learned."""
    made.ranker.apply_updates()
    (answer,) = read(made.process(ORIGIN, steps([request(WARM_UP + 1, user, k=200)])))
    scores = np.array([item.score for item in answer.items])
    shares = np.exp(scores - scores.max())
    return dict(zip(items(answer), (shares / shares.sum()).tolist(), strict=True))


def warm(model: str = "sgd", units: int = 0) -> tuple[Partition, UserStore]:
    """A partition, and its user stage, that know a dozen users and have learned to rank a little."""
    settings = msgspec.structs.replace(
        config(), ranker=RankerConfig(f"freshflow.ranking.model_factories:{model}", units)
    )
    made, bucket = partition(settings), UserStore(settings.users, 1000)
    made.process(ORIGIN, bucket.process(view(n, f"u{n % 12}", f"i{n * n % 17:02d}") for n in range(1, WARM_UP)))
    made.ranker.apply_updates()
    return made, bucket


def move(weight: float, model: str = "sgd") -> np.ndarray:
    """How far one event of this weight moves the weights of the ranker."""
    made, bucket = warm(model)
    before = made.ranker.weights.linear.copy()
    made.process(ORIGIN, bucket.process([weighted(view(WARM_UP, "u3", "i04"), weight)]))
    made.ranker.apply_updates()
    return made.ranker.weights.linear - before


@pytest.mark.parametrize("weight", [1.0, 2.0, 5.0, 0.5])
def test_company_counts_as_the_root_of_the_weight(weight):
    plain, other = partition(), partition()
    for made, event in ((plain, view(2, "u", "b")), (other, weighted(view(2, "u", "b"), weight))):
        take(made, [view(1, "u", "a"), event])
    for item in ("a", "b"):
        np.testing.assert_allclose(company(other, item), company(plain, item) * weight**0.5)
    assert company(plain, "a")[[FORWARD, COOCCURRENCE, NEXT_VISIT]].tolist() == [1, 1, 1]


def test_a_purchase_is_one_visit():
    made = partition()
    take(made, [view(1, "u", "a"), weighted(view(2, "u", "b"), 5.0)])
    assert made.item_statistics.tables.popularity.clock[N_EVENTS] == 2
    assert made.report().counts["events"] == 2


def test_what_was_bought_together_stands_before_what_was_seen_together():
    """From `a` one user went on to buy `z`, and one to see `b`, which is otherwise in the better place."""
    warm_up = stream(3, 200, controls=False)
    after = [view(301, "x", "a"), weighted(view(302, "x", "z"), 5.0), view(303, "y", "a"), view(304, "y", "b")]
    asked = [view(305, "w", "a"), request(306, "w", k=200)]
    given = items(outputs([*warm_up, *after, *asked])[-1])
    assert given.index("z") < given.index("b")
    swapped = [view(301, "x", "a"), view(302, "x", "z"), view(303, "y", "a"), weighted(view(304, "y", "b"), 5.0)]
    given = items(outputs([*warm_up, *swapped, *asked])[-1])
    assert given.index("b") < given.index("z")


@pytest.mark.parametrize("weight", [0.25, 2.0, 5.0])
def test_the_ranker_learns_the_root_of_the_weight(weight):
    one = move(1.0)
    assert np.abs(one).max() > 1e-4
    np.testing.assert_allclose(move(weight), one * weight**0.5, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("line", "weight"),
    [
        ({"type": "rate", "value": 5}, 1.0),
        ({"type": "rate", "value": 3}, 0.6),
        ({"type": "rate", "value": 0.4}, 0.1),
        ({"type": "rate", "value": -2}, 0.1),
        ({"type": "rate", "value": 9}, 1.0),
        ({"type": "rate"}, 1.0),
        ({"type": "watch", "value": 0.25}, 0.25),
        ({"type": "watch", "value": 0}, 0.1),
        ({"type": "purchase", "value": 3}, 5.0),
        ({"type": "view", "value": 0.01}, 1.0),
    ],
    ids=str,
)
def test_a_value_counts_as_its_share_of_the_full_one_and_at_least_a_tenth(line, weight):
    for careful in ({}, {"user_id": "\u00fc"}, {"ts": str(START_MS)}):  # read by the fast and by the careful reader
        (event,) = parsed(line | careful)
        assert event.weight == pytest.approx(weight)
        assert event.value == line.get("value")


def test_full_values_can_be_set_for_any_type():
    full = {"rate": 10.0, "purchase": 100.0}
    given = parsed(*({"type": type_, "value": 5} for type_ in ("rate", "purchase", "watch")), full=full)
    assert [event.weight for event in given] == pytest.approx([0.5, 0.5, 1.0])


@pytest.mark.parametrize(("stars", "share"), [(5, 1.0), (2, 0.4), (0, 0.1)])
def test_stars_scale_what_items_learn(stars, share):
    made = partition()
    rated = {"type": "rate", "item_id": "b", "ts": START_MS + 1000, "value": stars}
    take(made, parsed({"type": "view"}, rated))
    np.testing.assert_allclose(company(made, "a"), share**0.5, rtol=1e-6)


def test_a_dismissed_item_leaves_the_next_list_of_its_user_and_no_other():
    made, bucket = warm()
    (before,) = read(made.process(ORIGIN, bucket.process([view(WARM_UP, "u3", "i04")])))
    gone = items(before)[0]
    (after,) = read(made.process(ORIGIN, bucket.process([weighted(view(WARM_UP + 1, "u3", gone), -1.0)])))
    assert isinstance(after, RecommendationList)
    assert (after.user_id, after.cause, after.source) == ("u3", "interaction", ORIGIN.source_ref(WARM_UP + 1))
    assert gone not in items(after)
    assert len(items(after)) >= len(items(before)) - 1
    mine, other = read(made.process(ORIGIN, bucket.process([request(WARM_UP + 2, "u3"), request(WARM_UP + 2, "u4")])))
    assert gone not in items(mine)
    assert gone in items(other)


def test_an_event_with_a_dismissed_item_takes_it_back():
    made, bucket = warm()
    events = [weighted(view(WARM_UP, "u3", "i04"), -1.0), view(WARM_UP + 1, "u3", "i04"), request(WARM_UP + 2, "u3")]
    given = read(made.process(ORIGIN, bucket.process(events)))
    assert ["i04" in items(one) for one in given] == [False, True, True]


@pytest.mark.parametrize("model", ["sgd", "adam"])
def test_a_dismissal_lowers_the_probability_of_the_item_that_was_turned_down(model):
    """Asked for a stranger before and after, and nothing else has been learned between."""
    made, bucket = warm(model)
    before = chances(made, "stranger")
    item = max(before, key=before.get)
    for n in range(20):
        user = f"new{n}"  # nothing is known of them, as of the stranger
        made.process(ORIGIN, bucket.process([weighted(view(WARM_UP + n, user, item), -1.0)]))
    after = chances(made, "stranger")
    assert after.keys() == before.keys()
    assert after[item] < before[item]
    assert made.ranker.n_updates > 20


def test_one_dismissal_moves_the_ranker_the_other_way_than_a_view():
    one, other = move(1.0), move(-1.0)
    assert float((one * other).sum()) < 0
    cosine = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert cosine == pytest.approx(-1, abs=1e-6)


def test_a_dismissal_is_no_visit():
    made, bucket = warm()
    tables = made.item_statistics.tables
    arrays = (
        *tables.covisits,
        tables.revisits.counts,
        *tables.popularity,
        *tables.session_start_popularity,
        tables.top_items.rows,
    )
    before, counts, quality = [part.copy() for part in arrays], made.report().counts, made.report().quality
    made.process(ORIGIN, bucket.process([weighted(view(WARM_UP, "u3", "i04"), -1.0)]))
    made.process(ORIGIN, bucket.process([weighted(view(WARM_UP + 1, "u3", "unheard of"), -1.0)]))
    for part, earlier in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(part, earlier)
    assert "unheard of" not in made.item_statistics.index.ids
    assert made.report().quality == quality
    assert made.report().counts["events"] == counts["events"]
    assert made.report().counts["items"] == counts["items"]


def test_an_event_without_weight_is_ignored():
    made, bucket = warm()
    assert made.process(ORIGIN, bucket.process([weighted(view(WARM_UP, "u3", "new"), 0.0)])) == []
    assert bucket.counts["ignored"] == 1
    assert "new" not in made.item_statistics.index.ids
