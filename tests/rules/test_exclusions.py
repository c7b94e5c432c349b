"""Items that are taken off lists: what is blocked for everyone, and what a user has bought lately."""

import msgspec
import pytest

from freshflow.config.schema import Config, RulesConfig
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Interaction
from freshflow.users.profile import UserProfile
from freshflow.users.purchases import add_purchase, purchased_items
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    config,
    encoded,
    items,
    partition,
    read,
    request,
    search,
    view,
)

HOUR_S = 3600.0


def ruled(**rules) -> Config:
    return msgspec.structs.replace(config(k=8), rules=RulesConfig(**rules))


def purchase(position: int, user: str, item: str, after_ms: int | None = None) -> Interaction:
    return msgspec.structs.replace(view(position, user, item, after_ms), type="purchase")


def visits(count: int = 60) -> list[Interaction]:
    """Of nine items by seven users."""
    return [view(n, f"u{n % 7}", f"i{n % 9}") for n in range(1, count + 1)]


def answers(settings: Config, *events) -> list[list[str]]:
    made, bucket = partition(settings), UserStore.for_partition(settings)
    published = read(made.process(ORIGIN, bucket.process([*visits(), *events])))
    return [items(one) for one in published if one.cause in ("request", "search")]


def test_what_was_bought_is_hidden_until_the_time_is_over():
    settings = ruled(hide_bought_s=HOUR_S)
    hour = 61_000 + 3_600_000
    late = [msgspec.structs.replace(request(62, "u1", k=9), ts_ms=START_MS + hour + after) for after in (-1, 0)]
    before, hidden, back = answers(settings, request(61, "u1"), purchase(61, "u1", "i1", 61_000), *late)
    assert "i1" in before and "i1" not in hidden and "i1" in back
    assert len(hidden) == 8


def test_without_the_rule_what_was_bought_stays():
    assert "i1" in answers(ruled(), purchase(61, "u1", "i1"), request(62, "u1", k=9))[0]


def test_what_others_bought_is_shown():
    settings = ruled(hide_bought_s=HOUR_S)
    assert "i3" in answers(settings, purchase(61, "u1", "i3"), request(62, "u2"))[0]


def test_a_purchase_that_comes_late_hides_from_its_own_time_on():
    settings = ruled(hide_bought_s=HOUR_S)
    assert "i3" not in answers(settings, view(61, "u1", "i1"), purchase(62, "u1", "i3", 5_000), request(63, "u1"))[0]


def test_what_is_blocked_is_shown_to_nobody_and_lists_stay_full():
    settings = ruled(blocked=("i3", "i4", "never heard of"))
    for user in ("u1", "u2", "new"):
        (shown,) = answers(settings, request(61, user))
        assert len(shown) == 7 and not {"i3", "i4"} & set(shown)


def test_what_rules_take_off_is_counted_by_rule():
    settings = ruled(blocked=("i3",), hide_bought_s=HOUR_S)
    made, bucket = partition(settings), UserStore.for_partition(settings)
    made.process(ORIGIN, bucket.process([*visits(), purchase(61, "u1", "i4")]))
    before = made.report().counts
    made.process(ORIGIN, bucket.process([request(62, "u1")]))
    after = made.report().counts
    assert (after["rule_blocked"] - before["rule_blocked"], after["rule_bought"] - before["rule_bought"]) == (1, 1)


@pytest.mark.parametrize(("setting", "gone"), [(False, set()), (True, {"i3", "i4", "x"})])
def test_what_a_search_engine_found_is_only_left_out_where_that_is_asked_for(setting, gone):
    settings = ruled(blocked=("i3", "x"), hide_bought_s=HOUR_S, hide_in_search=setting)
    found = ("i3", "i4", "i5", "x", "y")
    (shown,) = answers(settings, purchase(61, "u1", "i4"), search(62, "u1", *found))
    assert set(shown) == set(found) - gone


def test_a_job_that_is_resumed_still_hides_what_was_bought():
    settings = ruled(hide_bought_s=HOUR_S, blocked=("i5",))
    made, bucket = partition(settings), UserStore.for_partition(settings)
    made.process(ORIGIN, bucket.process([*visits(), purchase(61, "u1", "i3")]))
    resumed, users = load(dump(made), settings, lambda: COMPUTED_AT), UserStore.for_partition(settings)
    users.load_snapshot(bucket.snapshot())
    asked = [request(62, "u1", k=9), view(63, "u1", "i2"), request(64, "u1")]
    answered = made.process(ORIGIN, bucket.process(asked))
    assert encoded(resumed.process(ORIGIN, users.process(asked))) == encoded(answered)
    assert not {"i3", "i5"} & {item for one in read(answered) for item in items(one)}
    assert resumed.report() == made.report()


class TestBought:
    def bought(self, *purchases: tuple[str, int]) -> UserProfile:
        state = UserProfile()
        for n, (item, ts_ms) in enumerate(purchases):
            state = add_purchase(
                state, Interaction(n, "purchase", "u", item, ts_ms), retention_ms=1000, max_purchases=3
            )
        return state

    def test_the_latest_purchase_of_an_item_counts_whenever_it_arrives(self):
        assert self.bought(("a", 500), ("b", 600), ("a", 100)).purchases == (("a", 500), ("b", 600))

    def test_purchases_exactly_as_old_as_they_are_kept_go(self):
        assert self.bought(("a", 1), ("b", 2), ("c", 1001)).purchases == (("b", 2), ("c", 1001))

    def test_of_too_many_the_longest_ago_go(self):
        assert self.bought(*((item, n) for n, item in enumerate("abcde"))).purchases == (("c", 2), ("d", 3), ("e", 4))

    def test_bought_exactly_then_is_not_since_then(self):
        assert purchased_items(self.bought(("a", 500), ("b", 501)), 500) == ["b"]
