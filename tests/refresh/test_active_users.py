"""The users whose lists are kept fresh: who they are, what they were shown, and how likely they are to act."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from freshflow.config.schema import RefreshConfig
from freshflow.refresh.active_users import MAX_ARRIVAL_WINDOW, MIN_ARRIVAL_WINDOW, ActiveUsers, ActivityResult
from freshflow.refresh.activity_table import (
    ARRIVAL_AVERAGE_EVENTS,
    EMPTY_ENTRY,
    LAST_EVENT,
    LIST_MS,
    N_HISTORY_CLASSES,
    N_IDLE_TIERS,
)
from freshflow.users.profile import UserProfile
from tests.builders.streams import START_MS

K = 3
BOUND = 20
SECOND_MS = 1000


def active(**fields: float) -> ActiveUsers:
    return ActiveUsers(RefreshConfig(**fields), K)


def user(items: int = 1) -> UserProfile:
    return UserProfile(items=tuple(f"i{n}" for n in range(items)))


def act(made: ActiveUsers, name: str, event: int, *, items: int = 1, rows: tuple[int, ...] = ()) -> int:
    """An event of a user, one a second, with the list that follows, as the partition notes it."""
    return int(acted(made, name, event, items=items, rows=rows).slots[0])


def acted(
    made: ActiveUsers, name: str, event: int, *, items: int = 1, rows: tuple[int, ...] = (), came: int = EMPTY_ENTRY
) -> ActivityResult:
    """The same, with what the event tells."""
    listed = [*rows, *[EMPTY_ENTRY] * (K - len(rows))]
    return made.record_activity(
        [(name, user(items))],
        np.array([event]),
        np.array([START_MS + SECOND_MS * event]),
        np.array([came], np.int32),
        np.array([listed], np.int32),
    )


def named(made: ActiveUsers, event: int, least: float = 0.0) -> dict[str, float]:
    """Who is to be looked at after event number `event`, with their chances."""
    slots, chances = made.due_for_refresh(event, START_MS + SECOND_MS * event, least)
    assert len(set(slots.tolist())) == len(slots)
    return {made.ids[slot]: chance for slot, chance in zip(slots.tolist(), chances.tolist(), strict=True)}


def kind(tier: int, class_: int) -> int:
    return tier * N_HISTORY_CLASSES + class_


@pytest.mark.parametrize(
    ("idle", "tier"),
    [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (1 << 23, 23), (1 << 30, 23)],
)
def test_arrivals_are_counted_by_how_many_events_ago_the_user_acted(idle, tier):
    made = active()
    act(made, "u", 1)
    assert not made.arrival_rates.any()  # a new user came from nowhere
    act(made, "u", 1 + idle)
    assert np.flatnonzero(made.arrival_rates).tolist() == [kind(tier, 0)]
    assert made.arrival_rates.sum() == pytest.approx(1 / ARRIVAL_AVERAGE_EVENTS)


@pytest.mark.parametrize(
    ("items", "class_"), [(0, 0), (1, 0), (3, 0), (4, 1), (15, 1), (16, 2), (63, 2), (64, 3), (1000, 3)]
)
def test_arrivals_are_counted_by_how_many_items_the_user_knew_before(items, class_):
    made = active()
    act(made, "u", 1, items=items)
    act(made, "u", 2, items=64)
    assert np.flatnonzero(made.arrival_rates).tolist() == [kind(0, class_)]


@pytest.mark.parametrize("idle", [1, 2, 3, 4, 7, 8, 1 << 23, 1 << 30])
def test_a_user_who_waits_is_of_the_kind_that_their_arrival_would_count_for(idle):
    made = active(horizon_s=1e10)
    act(made, "u", 1)
    named(made, 1 + idle)
    waiting = np.flatnonzero(made.group_sizes).tolist()
    act(made, "u", 1 + idle)
    assert waiting == np.flatnonzero(made.arrival_rates).tolist()


def test_arrivals_fade_with_every_event_of_the_partition():
    made = active()
    act(made, "u", 1)
    act(made, "u", 2)
    for n in range(3, 13):
        act(made, f"stranger{n}", n)
    assert made.arrival_rates[kind(0, 0)] == pytest.approx(
        (1 - 1 / ARRIVAL_AVERAGE_EVENTS) ** 10 / ARRIVAL_AVERAGE_EVENTS
    )


def test_a_chance_is_that_of_one_of_as_many_users_as_there_are_of_the_kind():
    made = active(interval_s=0.001)
    for n in range(1, 5):
        act(made, "u", n)  # three arrivals a moment after the last event
    act(made, "known", 8, items=64)
    for n in range(9, 13):
        act(made, f"v{n}", n)
    arrived = made.arrival_rates[kind(0, 0)]
    given = named(made, 13)
    assert given["v12"] == pytest.approx(1 - np.exp(-MIN_ARRIVAL_WINDOW * arrived))  # alone of its kind
    assert given["known"] == given["v11"] == given["u"] == 0  # of whose kinds nobody ever came
    made.arrival_rates[kind(1, 0)] = 0.01
    assert named(made, 13)["v11"] == pytest.approx(1 - np.exp(-MIN_ARRIVAL_WINDOW * 0.01 / 2))  # and v10


@pytest.mark.parametrize(
    "age", [1, 2 * MIN_ARRIVAL_WINDOW, 2 * MIN_ARRIVAL_WINDOW + 1, 500, 2 * MAX_ARRIVAL_WINDOW, 3 * MAX_ARRIVAL_WINDOW]
)
def test_the_chance_to_act_in_time_grows_with_the_time_since_the_list_was_made(age):
    made = active(interval_s=0.001, horizon_s=1e9)
    act(made, "u", 1)
    made.record_list(np.array([0], np.int32), made.baselines.list_rows[:1], 10_000, 2)
    made.arrival_rates[:] = 1e-4
    chance = named(made, 10_000 + age)["u"]
    assert chance == pytest.approx(1 - np.exp(-min(max(age / 2, MIN_ARRIVAL_WINDOW), MAX_ARRIVAL_WINDOW) * 1e-4))


def test_users_within_their_interval_count_though_they_are_not_looked_at():
    made = active(interval_s=2.0)
    for n in (1, 2, 3, 4):
        act(made, f"u{n}", n)
    made.arrival_rates[:] = 0.01
    assert named(made, 5).keys() == {"u1", "u2", "u3"}
    assert made.group_sizes.sum() == 4


@pytest.mark.parametrize("after", [59, 60, 61])
def test_a_user_is_looked_at_when_the_interval_has_passed(after):
    made = active(interval_s=60.0)
    act(made, "u", 0)
    assert ("u" in named(made, after)) == (after >= 60)


def test_the_interval_begins_anew_with_a_new_list():
    made = active(interval_s=60.0)
    slot = act(made, "u", 0)
    made.activity_table[slot, LIST_MS] = START_MS + 100 * SECOND_MS
    assert named(made, 159) == {}
    assert named(made, 160).keys() == {"u"}


@pytest.mark.parametrize("after", [99, 100, 101])
def test_a_user_beyond_the_horizon_is_neither_looked_at_nor_counted(after):
    made = active(interval_s=1.0, horizon_s=100.0)
    act(made, "u", 0)
    assert ("u" in named(made, after)) == (after <= 100)
    assert made.group_sizes.sum() == (after <= 100)


def test_users_less_likely_than_the_least_chance_are_left_out():
    made = active(interval_s=1.0)
    act(made, "early", 0)
    act(made, "late", 98)
    made.arrival_rates[kind(1, 0)], made.arrival_rates[kind(6, 0)] = 0.01, 0.001
    given = named(made, 100)
    assert given["late"] > given["early"] > 0
    assert named(made, 100, given["late"]).keys() == {"late"}
    assert named(made, 100, given["early"]).keys() == {"late", "early"}
    assert named(made, 100, 0.999) == {}


def test_nobody_is_looked_at_where_nobody_is_known():
    assert named(active(), 1) == {}


@pytest.mark.parametrize(
    ("rows", "is_new"), [((5, 6), False), ((6, 5), True), ((5,), True), ((5, 6, 7), True), ((), True)]
)
def test_a_list_is_new_unless_it_holds_the_same_items_in_the_same_order(rows, is_new):
    made = active()
    act(made, "u", 1, rows=(5, 6))
    assert acted(made, "u", 2, rows=rows).is_new.tolist() == [is_new]


@pytest.mark.parametrize("rows", [(), (4,)])
def test_a_new_user_has_been_shown_nothing(rows):
    assert acted(active(), "u", 1, rows=rows).is_new.tolist() == [bool(rows)]


def test_a_new_user_in_the_place_of_a_forgotten_one_has_been_shown_nothing():
    made = active()
    act(made, "before", 1, rows=(5, 6))
    made.forget("before")
    taken = acted(made, "after", 2, rows=(5, 6), came=5)
    assert (taken.slots.tolist(), taken.is_new.tolist(), taken.ranks.tolist()) == ([0], [True], [0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 6), st.lists(st.integers(0, 4), max_size=K, unique=True)), max_size=12))
def test_users_who_act_together_are_taken_one_after_the_other(acts):
    together, alone = active(users=4), active(users=4)
    rows = np.array([[*rows, *[EMPTY_ENTRY] * (K - len(rows))] for _, rows in acts], np.int32).reshape(len(acts), K)
    numbers, came = np.arange(len(acts)), np.arange(len(acts), dtype=np.int32) % 5
    named_acts = [(f"u{name}", user(1 + name)) for name, _ in acts]
    times_ms = START_MS + SECOND_MS * numbers
    all_at_once = together.record_activity(named_acts, numbers, times_ms, came, rows)
    for n in range(len(acts)):
        some = slice(n, n + 1)
        one = alone.record_activity(named_acts[some], numbers[some], times_ms[some], came[some], rows[some])
        assert [one.is_new[0], one.ranks[0]] == [all_at_once.is_new[n], all_at_once.ranks[n]]
    assert (together.ids, together.slots, together.n_evicted) == (alone.ids, alone.slots, alone.n_evicted)
    assert together.activity_table[: len(alone.ids)].tolist() == alone.activity_table[: len(alone.ids)].tolist()
    assert together.arrival_rates.tolist() == alone.arrival_rates.tolist()


def test_a_shorter_list_leaves_nothing_of_the_longer_one_before():
    made = active()
    slot = act(made, "u", 1, rows=(5, 6, 7))
    made.record_list(np.array([slot]), np.array([[8, EMPTY_ENTRY, EMPTY_ENTRY]], np.int32), 1, START_MS)
    assert made.baselines.list_rows[slot].tolist() == [8, EMPTY_ENTRY, EMPTY_ENTRY]
    assert acted(made, "u", 2, came=6).ranks.tolist() == [0]


@pytest.mark.parametrize(("came", "rank"), [(5, 1), (6, 2), (7, 3), (8, 0), (EMPTY_ENTRY, 0)])
def test_the_rank_on_the_last_list_counts_from_one(came, rank):
    made = active()
    act(made, "u", 1, rows=(5, 6, 7))
    assert acted(made, "u", 2, rows=(8,), came=came).ranks.tolist() == [rank]


def test_dropped_items_leave_lists_own_items_and_what_stands_behind_them():
    made = active()
    slot = act(made, "u", 1, rows=(5, 6, 7))
    made.baselines.item_rows[slot, :3] = 5, 6, 7
    made.baselines.reasons[slot, :3] = (6, 7), (0, 6), (6, 5)
    made.drop_items(np.array([6, 99]))
    assert made.baselines.list_rows[slot].tolist() == [5, EMPTY_ENTRY, 7]
    assert made.baselines.item_rows[slot, :3].tolist() == [5, EMPTY_ENTRY, 7]
    behind = made.baselines.reasons[slot, :3].tolist()
    assert behind == [[6, 7], [0, EMPTY_ENTRY], [6, 5]]  # the first column holds reasons, no rows


def test_the_least_recently_active_sixteenth_goes_first():
    made = active(users=32)
    for n in range(32):
        act(made, f"u{n}", n)
    act(made, "u0", 32)
    assert made.n_evicted == 0
    act(made, "new", 33)
    assert made.n_evicted == 2
    assert set(made.ids) == {f"u{n}" for n in range(32)} - {"u1", "u2"} | {"new"}


def test_one_user_at_most_means_the_latest():
    made = active(users=1)
    for n in range(5):
        slot = act(made, f"u{n}", n, rows=(n,))
        assert made.ids == [f"u{n}"]
        assert made.baselines.list_rows[slot].tolist() == [n, EMPTY_ENTRY, EMPTY_ENTRY]
    assert made.n_evicted == 4


def test_forgetting_a_user_nobody_knows_changes_nothing():
    made = active()
    act(made, "u", 1, rows=(5,))
    made.forget("nobody")
    assert (made.ids, made.slots) == (["u"], {"u": 0})


class ActiveUsersMachine(RuleBasedStateMachine):
    """Acts, lists, dropped items and forgotten users beside a plain dict from user to what is known of them."""

    def __init__(self) -> None:
        super().__init__()
        self.made = active(users=BOUND, interval_s=3.0, horizon_s=40.0)
        self.model: dict[str, dict] = {}
        self.event = 0

    names = st.integers(0, 2 * BOUND).map("u{}".format)
    lists = st.lists(st.integers(0, 30), max_size=K, unique=True)

    @rule(name=names, rows=lists, items=st.sampled_from([1, 4, 16, 64]), waits=st.integers(1, 9))
    def act(self, name, rows, items, waits):
        self.event += waits
        if name not in self.model and len(self.model) == BOUND:
            for other in sorted(self.model, key=lambda other: self.model[other]["event"])[: BOUND // 16]:
                del self.model[other]
        slot = act(self.made, name, self.event, items=items, rows=tuple(rows))
        own = [*rows[::-1], EMPTY_ENTRY, EMPTY_ENTRY, EMPTY_ENTRY][:K]
        self.made.baselines.item_rows[slot, :K] = own
        self.made.baselines.item_rows[slot, K:] = EMPTY_ENTRY
        self.made.baselines.levels[slot] = self.event
        self.made.baselines.reasons[slot, :K, 1] = own
        shown = {"rows": [*rows, EMPTY_ENTRY, EMPTY_ENTRY, EMPTY_ENTRY][:K], "own": own, "behind": own}
        self.model[name] = shown | {"event": self.event, "listed": self.event, "user": user(items), "level": self.event}

    @rule(name=names, rows=lists)
    def refresh(self, name, rows):
        if name in self.model:
            slot = self.made.slots[name]
            shown = [*rows, EMPTY_ENTRY, EMPTY_ENTRY, EMPTY_ENTRY][:K]
            self.made.record_list(
                np.array([slot]), np.array([shown], np.int32), self.event, START_MS + SECOND_MS * self.event
            )
            self.model[name] |= {"rows": shown, "listed": self.event}

    @rule(name=names)
    def forget(self, name):
        self.made.forget(name)
        self.model.pop(name, None)

    @rule(rows=st.sets(st.integers(0, 30), min_size=1, max_size=5))
    def drop(self, rows):
        self.made.drop_items(np.array(sorted(rows)))
        for known in self.model.values():
            for key in ("rows", "own", "behind"):
                known[key] = [EMPTY_ENTRY if row in rows else row for row in known[key]]

    @rule(waits=st.integers(0, 20))
    def who(self, waits):
        now = self.event + waits
        expected = {
            name for name, known in self.model.items() if now - known["event"] <= 40 and now - known["listed"] >= 3
        }
        assert named(self.made, now).keys() == expected
        assert self.made.group_sizes.sum() == sum(now - known["event"] <= 40 for known in self.model.values())

    @invariant()
    def every_slot_is_its_users(self):
        made = self.made
        assert made.slots.keys() == self.model.keys()
        assert len(made.ids) == len(made.users) == len(made.slots) <= BOUND
        for name, known in self.model.items():
            slot = made.slots[name]
            assert made.ids[slot] == name
            assert made.users[slot] == known["user"]
            assert made.baselines.list_rows[slot].tolist() == known["rows"]
            assert made.baselines.item_rows[slot, :K].tolist() == known["own"]
            assert made.baselines.reasons[slot, :K, 1].tolist() == known["behind"]
            assert made.baselines.levels[slot].tolist() == [known["level"]] * 2
            assert made.activity_table[slot, LAST_EVENT] == known["event"]


TestActiveUsers = ActiveUsersMachine.TestCase
TestActiveUsers.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_there_are_as_many_kinds_as_tiers_and_classes():
    assert len(active().arrival_rates) == N_IDLE_TIERS * N_HISTORY_CLASSES
