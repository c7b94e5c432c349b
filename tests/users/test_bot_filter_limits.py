"""What is no person's behaviour: how fast, how often the same, how long, how implausible is too much."""

from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import NoiseConfig, UsersConfig
from freshflow.events.model import Interaction
from freshflow.users.store import UserStore
from freshflow.users.updates import BotEvent, Dismissal, UserInteraction

START_MS = 1_700_000_000_000
OFF = {"events": 0, "repeats": 0, "session_events": 0, "unseen": 0}


def event(n: int, item: str, at_ms: int, type_: str = "view", weight: float = 1.0) -> Interaction:
    return Interaction(n, type_, "user", item, START_MS + at_ms, weight)


def bucket(**limits) -> UserStore:
    """A bucket with these limits and no others."""
    return UserStore(UsersConfig(), 9, bot_filter=NoiseConfig(**OFF | limits))


def noisy(made: UserStore, events) -> list[int]:
    """The positions of the events that are noise."""
    return [step.position for step in made.process(events) if isinstance(step, BotEvent)]


def at_pace(pause_ms: int, count: int, start: int = 0, start_ms: int = 0) -> list[Interaction]:
    return [event(start + n, f"i{n}", start_ms + n * pause_ms) for n in range(count)]


def test_as_many_events_at_once_as_a_window_allows_are_no_noise_and_one_more_is():
    assert noisy(bucket(events=5, window_s=10), at_pace(0, 6)) == [5]


def test_an_even_pace_at_the_limit_is_no_noise_for_however_long():
    assert noisy(bucket(events=5, window_s=10), at_pace(2000, 500)) == []


def test_a_pace_above_the_limit_is_noise_once_it_has_gone_on():
    found = noisy(bucket(events=5, window_s=10), at_pace(1000, 100))
    assert found == list(range(9, 100))


def test_a_bot_that_stops_for_two_windows_is_a_user_again():
    made = bucket(events=5, window_s=10)
    noisy(made, at_pace(10, 1000))
    assert noisy(made, at_pace(2000, 20, 1000, start_ms=10_000 + 20_000)) == []


def test_a_bot_that_goes_on_at_a_pace_that_is_allowed_remains_one():
    made = bucket(events=5, window_s=10)
    noisy(made, at_pace(10, 1000))
    assert len(noisy(made, at_pace(2000, 20, 1000, start_ms=12_000))) == 20


def test_what_a_phone_sends_at_once_is_paced_by_when_it_happened():
    events = at_pace(60_000, 200)
    assert noisy(bucket(events=5, window_s=10), [*events[100:], *events[:100]]) == []
    dismissals = [event(n, "a", 1000 * n, "dismiss", -1.0) for n in range(50)]
    assert noisy(bucket(events=5, window_s=10), [events[1], *dismissals]) == []


def test_an_item_may_come_so_many_times_in_a_row_and_not_once_more():
    made = bucket(repeats=3)
    assert noisy(made, [event(n, "a", 10_000 * n) for n in range(5)]) == [3, 4]
    assert noisy(made, [event(5, "b", 60_000), event(6, "a", 70_000)]) == []
    assert made.counts == {"noise_repeats": 2}


def test_a_session_is_noise_from_the_event_after_its_last_plausible_one_until_it_ends():
    made = bucket(session_events=10)
    assert noisy(made, at_pace(10_000, 12)) == [10, 11]
    assert noisy(made, [event(12, "a", 10**8)]) == []
    assert made.counts == {"noise_sequence": 2}


def test_purchases_of_items_never_looked_at_are_implausible_from_one_too_many_on():
    bought = [event(n, f"i{n}", 60_000 * n, "purchase", 5.0) for n in range(4)]
    made = bucket(unseen=2)
    assert noisy(made, bought) == [2, 3]
    assert noisy(made, [event(4, "a", 300_000), event(5, "a", 310_000, "purchase", 5.0)]) == []
    assert made.counts == {"noise_sequence": 2}


def test_looks_between_purchases_make_them_plausible():
    events = [
        one
        for n in range(9)
        for one in (event(2 * n, f"i{n}", 60_000 * n, "cart", 3.0), event(2 * n + 1, "x", 60_000 * n + 1))
    ]
    assert noisy(bucket(unseen=2), events) == []


def test_a_user_who_is_noise_is_known_and_gets_a_list_and_teaches_nothing():
    made = bucket(events=2, window_s=10)
    made.n_broadcast = 9
    *_, noise = made.process(at_pace(0, 3))
    assert isinstance(noise, BotEvent)
    assert noise.profile_after.items == ("i0", "i1", "i2")
    assert (made.n_interactions, made.counts) == (2, {"noise_rate": 1})


def test_dismissals_at_a_bots_pace_are_noise_and_take_the_items_off_all_the_same():
    made = bucket(events=2, window_s=10)
    *_, step = made.process([event(n, f"i{n}", 0, "dismiss", -1.0) for n in range(3)])
    assert isinstance(step, BotEvent)
    assert (step.profile_after.dismissed_items, made.counts) == (("i0", "i1", "i2"), {"noise_rate": 1})


def test_a_loop_that_is_turned_down_at_last_teaches_so():
    *_, step = bucket(repeats=2).process([*(event(n, "a", n) for n in range(4)), event(4, "b", 9, "dismiss", -1.0)])
    assert isinstance(step, Dismissal)


def test_without_limits_nothing_is_noise():
    assert noisy(bucket(), [*at_pace(0, 2000), *(event(n, "a", 0, f"t{n}") for n in range(100))]) == []


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 6), st.integers(1, 20))
def test_the_pace_is_that_of_a_bucket_that_leaks_evenly(pauses_ms, allowed, window_s):
    """With room for N events, of which W / N seconds take one out."""
    made = bucket(events=allowed, window_s=window_s)
    pause_ms = max(1, round(window_s * 1000 / allowed))
    level_ms, at_ms, expected, events = 0, 0, [], []
    for n, pause in enumerate(pauses_ms):
        at_ms += pause
        level_ms = max(0, level_ms - (pause if n else 10**9)) + pause_ms
        level_ms = min(level_ms, 2000 * window_s + pause_ms)
        events.append(event(n, f"i{n}", at_ms))
        if level_ms > 1000 * window_s:
            expected.append(n)
    assert noisy(made, events) == expected


def test_interactions_stay_interactions():
    steps = bucket(events=5, repeats=2).process(at_pace(20_000, 3))
    assert all(isinstance(step, UserInteraction) for step in steps)
