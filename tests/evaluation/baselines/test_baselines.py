"""Baselines on streams made by hand, with the lists that follow from them, and none that looks ahead."""

import pytest

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.evaluation.baselines.built_in import create_baselines
from freshflow.evaluation.baselines.popularity import PopularityBaseline
from freshflow.evaluation.baselines.recent import RecentItemsBaseline
from freshflow.evaluation.baselines.rules import SequentialRules
from freshflow.evaluation.baselines.stacked import StackedBaseline
from freshflow.evaluation.baselines.vsknn import VSKNN
from freshflow.events.model import Interaction
from freshflow.users.profile import NEW_USER, UserProfile, add_event, context_at

GAP_MS = 1_800_000
START_MS = 1_700_000_000_000


class Site:
    """Users and the moments they come, a second apart; after a `pause` everybody's session is over."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.users: dict[str, UserProfile] = {}
        self.now_ms = START_MS

    def visit(self, user: str, *items: str) -> "Site":
        for item in items:
            self.now_ms += 1000
            event = Interaction(1, "view", user, item, self.now_ms)
            before = self.users.get(user, NEW_USER)
            self.baseline.learn(event, context_at(before, self.now_ms, gap_ms=GAP_MS, max_items=20))
            self.users[user] = add_event(before, event, gap_ms=GAP_MS, max_context=20, max_history=100)
        return self

    def pause(self) -> "Site":
        self.now_ms += GAP_MS + 1
        return self

    def list_for(self, user: str, k: int = 20) -> list[str]:
        state = self.users.get(user, NEW_USER)
        context = context_at(state, self.now_ms, gap_ms=GAP_MS, max_items=20)
        return self.baseline.recommend(user, state, context, k)


def test_popularity_counts_its_window_and_puts_the_latest_of_equals_first():
    site = Site(PopularityBaseline(5)).visit("u", "a", "b", "c", "b")
    assert site.list_for("anyone") == ["b", "c", "a"]
    site.visit("v", "a")
    assert site.list_for("anyone") == ["a", "b", "c"]
    site.visit("v", "d")  # and the first a is no longer counted
    assert site.list_for("anyone") == ["b", "d", "a", "c"]
    assert site.list_for("anyone", k=2) == ["b", "d"]


def test_popularity_forgets_what_left_its_window():
    assert Site(PopularityBaseline(2)).visit("u", "a", "b", "c").list_for("u") == ["c", "b"]


def test_recent_items_are_the_users_own_the_latest_first():
    site = Site(RecentItemsBaseline()).visit("u", "a", "b", "a", "c").visit("v", "x")
    assert site.list_for("u") == ["c", "a", "b"]
    assert site.list_for("u", k=2) == ["c", "a"]
    assert site.list_for("new") == []
    assert RecentItemsBaseline(1).recommend(
        "u", site.users["u"], context_at(NEW_USER, 0, gap_ms=1, max_items=1), 20
    ) == ["c"]


def test_rules_weigh_steps_on_both_sides():
    rules = SequentialRules()
    site = Site(rules).visit("u", "a", "b", "c")
    assert rules.rules == {"a": {"b": 1, "c": 1 / 2}, "b": {"c": 1}}
    assert site.visit("v", "a").list_for("v") == ["b", "c"]
    site.visit("w", "a", "b")  # a -> b again; now asks b, one step back, and a, two
    assert rules.rules["a"] == {"b": 2, "c": 1 / 2}
    assert site.list_for("w") == ["c", "b"]  # 1 + 1/2 · 1/2 against 2 · 1/2
    assert site.list_for("new") == []


def test_rules_reach_five_steps_and_never_from_an_item_to_itself():
    rules = SequentialRules()
    Site(rules).visit("u", "a", "b", "c", "d", "e", "f", "g", "g")
    assert rules.rules["a"] == {"b": 1, "c": 1 / 2, "d": 1 / 3, "e": 1 / 4, "f": 1 / 5}
    assert "g" not in rules.rules


def test_a_stack_goes_on_where_the_first_list_ends():
    site = Site(StackedBaseline([RecentItemsBaseline(2), SequentialRules(), PopularityBaseline(10)]))
    site.visit("u", "a", "b").visit("v", "x", "x2").visit("w", "a")
    assert site.list_for("w") == ["a", "b", "x2", "x"]  # own; a -> b; what is popular: a, x2, x, b
    assert site.list_for("w", k=2) == ["a", "b"]


def test_vsknn_adds_up_the_votes_of_like_sessions():
    site = Site(VSKNN()).visit("s1", "a", "b", "x").visit("s2", "b", "y").visit("s3", "a", "z").visit("me", "a", "b")
    # Weights of the context: b 1/2, a 1/4. s1 has both: 3/4; s2 has b: 1/2; s3 has a only: 1/4, a step back: 1/8.
    # b 3/4 + 1/2, a 3/4 + 1/8, x 3/4, y 1/2, z 1/8.
    assert site.list_for("me") == ["b", "a", "x", "y", "z"]
    assert site.list_for("me", k=3) == ["b", "a", "x"]


def test_vsknn_leaves_out_the_running_session_and_takes_in_the_users_earlier_ones():
    site = Site(VSKNN()).visit("me", "a", "b")
    assert site.list_for("me") == []
    site.pause()
    assert site.list_for("me") == ["a", "b"]  # a new session has not begun yet, what was is past
    site.visit("me", "a")
    assert site.list_for("me") == ["a", "b"]


def test_vsknn_asks_the_nearest_of_the_latest_sessions_only():
    near = Site(VSKNN(n_neighbours=1)).visit("s1", "a", "b", "x").visit("s2", "b", "y").visit("me", "a", "b")
    assert near.list_for("me") == ["a", "b", "x"]
    late = Site(VSKNN(sample_size=1)).visit("s1", "a", "x").visit("s2", "a", "y").visit("me", "b", "a")
    assert late.list_for("me") == ["a", "y"]


def test_vsknn_keeps_to_its_bound_and_drops_what_was_touched_longest_ago():
    vsknn = VSKNN(max_sessions=2)
    site = Site(vsknn).visit("s1", "a", "x").visit("s2", "a", "y").visit("s1", "z").visit("s3", "a", "v")
    assert [session.user_id for session in vsknn.sessions.values()] == ["s1", "s3"]
    assert vsknn.sessions_by_item.keys() == {"a", "x", "z", "v"}
    assert vsknn.latest_session.keys() == {"s1", "s3"}
    assert site.visit("s2", "a").list_for("s2") == ["a", "v"]


@pytest.mark.parametrize("name", create_baselines())
def test_a_list_is_the_same_whether_or_not_others_were_asked_for_before(name):
    """Recommending changes nothing, so a list made after a cut of the stream needs only what stands above it."""
    asked, silent = Site(create_baselines()[name]), Site(create_baselines()[name])
    lists = []
    for n in range(120):
        user, item = f"u{n * n % 7}", f"i{n * 5 % 11}"
        asked.list_for(user)
        asked.visit(user, item)
        silent.visit(user, item)
        if n % 10 == 9:
            lists.append(asked.list_for(user))
            assert lists[-1] == silent.list_for(user)
            asked.pause()
            silent.pause()
    assert any(lists)


@pytest.mark.parametrize("name", create_baselines())
def test_lists_are_distinct_items_that_came_before_and_never_more_than_asked_for(name):
    site, met = Site(create_baselines()[name]), set()
    for n in range(80):
        user, item = f"u{n * n % 5}", f"i{n * 3 % 13}"
        for k in (1, 4, 20):
            items = site.list_for(user, k)
            assert len(items) == len(set(items)) <= k
            assert met.issuperset(items)
        site.visit(user, item)
        met.add(item)
