"""Searches: the engine's results, in its order until people's choices say otherwise."""

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import SearchConfig
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Forget, Interaction, Search
from freshflow.search.feature import SearchFeature
from freshflow.search.reranker import DEMOTION_CONTRIBUTION, MAX_TRAINING_RESULTS
from freshflow.users.store import UserStore
from freshflow.users.updates import UserInteraction
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    SIZES,
    START_MS,
    availability,
    config,
    encoded,
    feature,
    items,
    outputs,
    partition,
    read,
    take,
    view,
)

RESULTS = tuple(f"r{n}" for n in range(8))
SETTINGS = config(contributions=True)


def search(position: int, user: str, query: str = "Red shoes", found=RESULTS, after_ms=None, **fields) -> Search:
    ts_ms = START_MS + (1000 * position if after_ms is None else after_ms)
    return Search(position, user, ts_ms, query, tuple(found), **fields)


def chosen(item: str, times: int, query: str = "Red shoes", first: int = 1) -> list:
    """So many users who search and take one item of what is found."""
    pairs = [(search(first + 2 * n, f"v{n}", query), view(first + 2 * n + 1, f"v{n}", item)) for n in range(times)]
    return [event for pair in pairs for event in pair]


def stream(seed: int, count: int = 300) -> list:
    """Searches, views and forgotten users at random."""
    random = np.random.default_rng(seed)
    events = []
    for position in range(1, count + 1):
        user, kind = f"u{random.integers(8)}", random.random()
        if kind < 0.4:
            found = random.permutation(RESULTS)[: random.integers(0, 8)].tolist()
            events.append(search(position, user, random.choice(["red shoes", "red", "blue hat", "?"]), found))
        elif kind < 0.42:
            events.append(Forget(position, user, START_MS + 1000 * position))
        else:
            events.append(view(position, user, str(random.choice(RESULTS))))
    return events


@pytest.mark.parametrize("size", SIZES)
def test_an_unknown_query_is_answered_in_the_engine_s_order_whatever_is_known_of_items_and_users(size):
    found = ("new", *RESULTS[::-1], "newer")
    answer = outputs([*chosen("r3", 30), search(100, "v1", "hat", found)], SETTINGS, size=size)[-1]
    assert items(answer) == list(found)
    assert all(item.contributions.keys() <= {"engine"} for item in answer.items)
    assert {item.reason for item in answer.items} <= {"engine", "unknown"}


@pytest.mark.parametrize("query", ["red shoes", " SHOES red", "shoes"])
def test_what_people_choose_after_a_query_moves_up_for_others_however_they_spell_it(query):
    answer = outputs([*chosen("r6", 12), search(100, "new", query)], SETTINGS)[-1]
    assert items(answer)[0] == "r6"
    assert (answer.items[0].reason, answer.items[0].because) == ("searched", ())
    assert sorted(items(answer)) == sorted(RESULTS)
    assert items(answer)[1:] == [item for item in RESULTS if item != "r6"]


@pytest.mark.parametrize("size", SIZES)
def test_contributions_add_up_to_the_score_exactly_and_scores_are_in_order(size):
    answers = [one for one in outputs(stream(1), SETTINGS, size=size) if getattr(one, "surface", "") == "search"]
    for one in answers:
        assert [(-item.score, item.item_id) for item in one.items] == sorted(
            (-item.score, item.item_id) for item in one.items
        )
        for item in one.items:
            assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-9)
    assert len(answers) > 50


def test_no_more_than_what_was_asked_for_is_added_to_an_answer_and_only_what_may_be_shown():
    wanted = msgspec.structs.replace(SETTINGS, search=SearchConfig(max_added_items=2))
    often = [*chosen("r6", 9), *chosen("r5", 8, first=100), *chosen("r4", 7, first=200), *chosen("r3", 6, first=300)]
    asked = search(900, "new", found=["r0", "r6"])
    assert sorted(items(outputs([*often, asked], wanted)[-1])) == ["r0", "r4", "r5", "r6"]
    assert sorted(items(outputs([*often, asked], SETTINGS)[-1])) == ["r0", "r6"]
    gone = [*often, availability(800, "r5", available=False), asked]
    assert "r5" not in items(outputs(gone, wanted)[-1])
    made = partition(wanted)
    take(made, [*often, asked])
    before = made.report().counts["searches_reordered"]
    take(made, [search(901, "newer", found=["r6"])])
    assert made.report().counts["searches_reordered"] == before  # what is added is in nobody's order
    unknown = search(900, "new", "hat", ["r0"])
    assert items(outputs([*often, unknown], wanted)[-1]) == ["r0"]


@pytest.mark.parametrize("size", [1, 7])
def test_where_batches_end_changes_no_answer_that_is_added_to(size):
    wanted = msgspec.structs.replace(SETTINGS, search=SearchConfig(max_added_items=3))
    assert encoded(outputs(stream(2), wanted, size=size)) == encoded(outputs(stream(2), wanted))


def last_feed(events: list):
    return [one for one in outputs(events, config(k=100)) if one.surface == "feed"][-1]


def test_the_feed_after_a_search_holds_what_people_choose_after_it_and_says_so():
    known, crowd = chosen("r6", 12), [view(100 + n, f"w{n}", f"p{n % 300:03d}") for n in range(3_000)]
    there = [*known, *crowd, search(4_000, "u", found=["r1"])]
    asked = last_feed([*there, view(4_001, "u", "p000")])
    item = next(item for item in asked.items if item.item_id == "r6")
    assert (item.reason, item.because) == ("searched", ())
    assert "r6" not in items(last_feed([*known, *crowd, view(4_001, "u", "p000")]))
    later = 4_001_000 + 31 * 60_000  # the session is over
    assert "r6" not in items(last_feed([*there, view(4_001, "u", "p000", after_ms=later)]))


@pytest.mark.parametrize("size", [1, 7])
def test_where_batches_end_changes_no_answer(size):
    assert encoded(outputs(stream(2), SETTINGS, size=size)) == encoded(outputs(stream(2), SETTINGS))


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_holds_the_engine_s_items_and_no_others(seed):
    events = stream(seed, 150)
    asked = {event.position: list(event.items) for event in events if isinstance(event, Search)}
    answers = {one.source["line"]: one for one in outputs(events) if getattr(one, "surface", "") == "search"}
    assert {line: sorted(items(one)) for line, one in answers.items()} == {
        line: sorted(found) for line, found in asked.items()
    }


def test_a_snapshot_between_a_search_and_its_choice_changes_nothing():
    events, made, bucket, published = stream(3), partition(SETTINGS), UserStore(SETTINGS.users, 1000), []
    for n, event in enumerate(events):
        published += made.process(ORIGIN, bucket.process([event]))
        if n % 50 == 0:
            made = load(dump(made), SETTINGS, lambda: COMPUTED_AT)
            kept, bucket = bucket.snapshot(), UserStore(SETTINGS.users, 1000)
            bucket.load_snapshot(kept)
    whole = partition(SETTINGS)
    assert encoded(read(published)) == encoded(take(whole, events, size=1))
    assert made.report() == whole.report()
    assert made.report().quality["search_mrr20"] > 0


def test_the_rank_of_what_was_chosen_is_reported_beside_the_engine_s():
    made = partition()
    take(made, chosen("r4", 40))
    quality = made.report().quality
    assert quality["engine_mrr20"] == pytest.approx(1 / 5)
    assert quality["search_mrr20"] > 0.8
    made = partition()
    take(made, [view(1, "u", "a")])
    assert "search_mrr20" not in made.report().quality


def test_a_choice_counts_once_and_only_among_the_results_and_in_time():
    made = partition()
    late = view(4, "u", "r2", after_ms=10_000_000)
    take(made, [search(1, "u"), view(2, "u", "other"), view(3, "u", "r1"), view(3, "u", "r1", 3500), late])
    assert feature(made, SearchFeature).reranker.reranked_metrics.events == 1


def test_a_search_sent_twice_is_answered_twice_and_counts_once():
    once, twice = partition(), partition()
    first = [search(1, "u"), view(3, "u", "r1")]
    again = msgspec.structs.replace(first[0], position=2)
    assert len(take(twice, [first[0], again, first[1], msgspec.structs.replace(again, position=4)])) == 4
    take(once, first)
    assert (
        feature(twice, SearchFeature).reranker.reranked_metrics.events
        == feature(once, SearchFeature).reranker.reranked_metrics.events
        == 1
    )
    view_again = [msgspec.structs.replace(again, position=5), view(6, "u", "r1")]
    take(twice, view_again)
    assert feature(twice, SearchFeature).reranker.reranked_metrics.events == 1


def test_a_search_that_arrives_behind_a_later_one_is_answered_and_takes_nothing_from_it():
    made = partition()
    for n in range(5):
        user, at = f"u{n}", 3 * n + 2
        late = search(at + 1, user, "shoes", after_ms=1000 * at - 1)
        lists = take(made, [search(at, user, "hat"), late, view(at + 2, user, "r5")])
        assert [one.cause for one in lists] == ["search", "search", "interaction"]
    assert items(take(made, [search(20, "w", "hat")])[0])[0] == "r5"
    assert items(take(made, [search(21, "w", "shoes")])[0]) == list(RESULTS)


def test_queries_without_words_a_thousand_results_and_items_of_which_nothing_is_known():
    found = tuple(f"x{n:04d}" for n in range(1000))
    made = partition()
    known = chosen("x0999", 3, "thing")
    known = [msgspec.structs.replace(one, items=found) if isinstance(one, Search) else one for one in known]
    nothing, many, none = take(made, [*known, search(50, "u", "?!", found), search(51, "u", "thing", found),
                                      search(52, "u", "thing", ())])[-3:]  # fmt: skip
    assert items(nothing) == list(found)
    assert sorted(items(many)) == list(found)
    assert items(many).index("x0999") < 999
    assert items(none) == []
    assert all(
        len(answer.items) <= MAX_TRAINING_RESULTS
        for answer in feature(made, SearchFeature).reranker.pending_answers.values()
    )


def test_unavailable_and_dismissed_results_stand_last_or_are_left_out_where_that_is_asked_for():
    gone = Interaction(2, "dismiss", "u", "r1", START_MS + 2000, -1.0)
    events = [availability(1, "r0", False), gone, search(3, "u")]
    kept = outputs(events, SETTINGS)[-1]
    assert items(kept) == [*RESULTS[2:], "r0", "r1"]
    assert all((DEMOTION_CONTRIBUTION in item.contributions) == (item.item_id in ("r0", "r1")) for item in kept.items)
    dropping = msgspec.structs.replace(SETTINGS, search=SearchConfig(drop_unavailable=True, drop_dismissed=True))
    assert items(outputs(events, dropping)[-1]) == list(RESULTS[2:])


def test_k_cuts_the_answer_and_exclude_seen_leaves_out_what_the_user_knows():
    events = [view(1, "u", "r0"), search(2, "u", k=2), search(3, "u", exclude_seen=True)]
    short, unseen = outputs(events)[-2:]
    assert items(short) == ["r0", "r1"]
    assert items(unseen) == list(RESULTS[1:])


def test_who_is_forgotten_or_leaves_has_no_answer_waiting():
    made = partition()
    take(made, [search(1, "u"), search(2, "v")])
    assert feature(made, SearchFeature).reranker.pending_answers.keys() == {"u", "v"}
    take(made, [Forget(3, "u", START_MS + 3000)])
    assert feature(made, SearchFeature).reranker.pending_answers.keys() == {"v"}
    assert feature(made, SearchFeature).reranker.state().pending_answers.keys() == {"v"}
    one = UserStore(SETTINGS.users, 1)
    for n, user in enumerate(("a", "b", "c")):
        made.process(ORIGIN, one.process([search(10 + n, user)]))
    assert feature(made, SearchFeature).reranker.pending_answers.keys() == {"v", "c"}


def test_no_text_of_a_query_is_in_a_signal_a_snapshot_or_an_answer():
    bucket, made = UserStore(SETTINGS.users, 1000), partition(SETTINGS)
    steps = bucket.process([search(1, "u", "Zebrafink"), view(2, "u", "r1")])
    signals = [step.remote_event for step in steps if isinstance(step, UserInteraction)]
    assert signals[0].query_keys
    lists = made.process(ORIGIN, steps)
    for stored in (bucket.snapshot(), dump(made), msgspec.msgpack.encode(signals), *(v for _, v in encoded(lists))):
        assert b"zebrafink" not in stored.lower()


@pytest.mark.parametrize("for_all", [0, 100])
def test_other_partitions_learn_what_is_chosen_after_a_query_from_signals(for_all):
    own, other = partition(config(2)), partition(config(2), 1)
    steps = UserStore(SETTINGS.users, 1000, for_all).process(chosen("r6", 12))
    own.process(ORIGIN, steps)
    other.buffer_remote_events(ORIGIN, [step.remote_event for step in steps if isinstance(step, UserInteraction)])
    other.finish(ORIGIN)
    assert (
        feature(other, SearchFeature).reranker.query_clicks.state()
        == feature(own, SearchFeature).reranker.query_clicks.state()
    )
    assert items(take(other, [search(100, "new")])[0])[0] == "r6"


def test_with_no_room_for_queries_nothing_is_learned_and_answers_are_the_engine_s():
    settings = msgspec.structs.replace(config(), search=SearchConfig(max_queries=0))
    bucket, made = UserStore.for_partition(settings), partition(settings)
    lists = read(made.process(ORIGIN, bucket.process([*chosen("r6", 12), search(100, "new")])))
    assert items(lists[-1]) == list(RESULTS)
    assert not feature(made, SearchFeature).reranker.pending_answers


def test_a_stream_without_searches_costs_no_state():
    made = partition()
    take(made, [view(n, f"u{n % 3}", f"r{n % 5}") for n in range(100)])
    assert not feature(made, SearchFeature).reranker.pending_answers
    assert not feature(made, SearchFeature).reranker.query_clicks.counts_by_key
