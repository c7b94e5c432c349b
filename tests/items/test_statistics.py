"""Item knowledge: its tables grow together, stay bounded together, and forget together."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.covisitation import COOCCURRENCE
from freshflow.items.index import NO_ROW
from freshflow.items.popularity import FIRST_WINDOW, LAST_MS, N_EVENTS, WINDOWS
from freshflow.items.revisits import VISITS
from freshflow.items.statistics import ItemStatistics
from freshflow.items.tables import TOP_ITEM_WINDOWS, update_tables
from freshflow.items.visit import ItemVisit

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def visits(*items: str, context: tuple[str, ...] = (), at_ms: int = 0, opens: bool = False) -> list[ItemVisit]:
    """Visits of `items`, a second apart."""
    return [ItemVisit(n, item, context, START_MS + at_ms + 1000 * n, opens) for n, item in enumerate(items)]


def learn(made: ItemStatistics, several: list[ItemVisit]) -> None:
    """Admit and fold in one visit after the other."""
    for visit in several:
        made.admit(visit.item_id, visit.ts_ms)
        known = made.index.lookup_rows(visit.context[: made.config.context])
        rows = np.array(known + [NO_ROW] * (made.config.context - len(known)), np.int32)
        item = np.int32(made.index.get(visit.item_id))
        update_tables(
            made.tables,
            item,
            rows,
            np.int64(visit.ts_ms),
            np.bool_(visit.is_session_start),
            np.float64(visit.sample_weight),
        )


def knowledge(*batches: list[ItemVisit], ranking: RankingConfig | None = None, **config: int) -> ItemStatistics:
    """Knowledge that has learned `batches`."""
    made = ItemStatistics(ItemsConfig(**config), ranking or RankingConfig())
    for batch in batches:
        learn(made, batch)
    return made


def company(made: ItemStatistics, item: str) -> dict[str, float]:
    """Ids of an item's neighbours and how often they came together."""
    row, covisits = made.index.get(item), made.tables.covisits
    slots = covisits.neighbours[row]
    return {made.index.ids[slots[n]]: float(covisits.weights[row, n, COOCCURRENCE]) for n in np.flatnonzero(slots >= 0)}


def events_of(made: ItemStatistics, item: str) -> int:
    return int(made.tables.popularity.counters[made.index.get(item), FIRST_WINDOW + 1])


def leading(made: ItemStatistics, n: int) -> list[str]:
    """Ids of leaders: 0 and 1 of the last 200 and 2,000 visits, 2 and 3 of as many openings."""
    rows, sizes, _ = made.tables.top_items
    return [made.index.ids[row] for row in rows[n, : sizes[n]].tolist() if row != NO_ROW]


def test_admitted_items_have_rows_and_nothing_else():
    made = knowledge()
    for item in "aba":
        made.admit(item, START_MS)
    assert [made.index.get(item) for item in "ab"] == [0, 1]
    tables = made.tables
    for table in (tables.popularity.counters, tables.popularity.clock, tables.covisits.sums, tables.revisits.counts):
        assert not table.any()


def test_folding_learns_company_and_popularity():
    made = knowledge(visits("a"), visits("b", "b", context=("a",)))
    assert (company(made, "a"), company(made, "b")) == ({"b": 2}, {"a": 2})
    assert (events_of(made, "a"), events_of(made, "b")) == (1, 2)


def test_folding_learns_how_often_people_go_back():
    made = knowledge(visits("a"), visits("a", context=("a",)))
    assert made.tables.revisits.counts[made.index.get("a")].tolist() == [2, 1, 1, 1]


def test_the_weight_of_a_visit_is_that_of_its_company_and_not_of_its_popularity():
    made = knowledge(visits("a"), [ItemVisit(1, "b", ("a",), START_MS, sample_weight=3.0)])
    assert (company(made, "a"), events_of(made, "b")) == ({"b": 3}, 1)


def test_only_the_configured_end_of_a_context_is_learned():
    made = knowledge(visits("a", "b", "c"), visits("d", context=("c", "b", "a")), context=2)
    assert company(made, "d") == {"c": 1, "b": 1}


def test_an_item_of_a_context_that_nobody_visited_is_left_out():
    made = knowledge(visits("a"), visits("b", context=("x", "a")))
    assert company(made, "b") == {"a": 1}
    assert made.index.get("x") == NO_ROW


def test_only_a_visit_that_opens_a_session_counts_as_an_opening():
    made = knowledge(visits("a"), visits("b", "b", opens=True))
    openings, popularity = made.tables.session_start_popularity, made.tables.popularity
    assert (openings.clock[N_EVENTS], popularity.clock[N_EVENTS]) == (2, 3)
    assert openings.counters[[made.index.get("a"), made.index.get("b")], FIRST_WINDOW].tolist() == [0, 2]


def test_leaders_are_there_from_the_first_visit_on():
    made = knowledge(visits("a", "a", "b"), visits("c", opens=True))
    assert [leading(made, n) for n in range(4)] == [["a", "c", "b"], ["a", "c", "b"], ["c"], ["c"]]


def test_there_are_at_most_as_many_leaders_as_wanted():
    ranking = RankingConfig(popular_recent=2, popular=1, opening_recent=1, opening=0)
    made = knowledge(visits("a", "a", "b", "c", "c", "c", opens=True), ranking=ranking)
    assert [leading(made, n) for n in range(4)] == [["c", "a"], ["c"], ["c"], []]


some = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), min_size=1, max_size=200)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.sampled_from([0, 190, 1_990]), some)
def test_leaders_are_those_of_the_window_when_it_was_last_looked_through(base, some):
    several = [*visits("x", *"yyz" * (base // 3)), *(v for item, opens in some for v in visits(item, opens=opens))]
    made = knowledge(several)
    for n, (window, every) in enumerate(TOP_ITEM_WINDOWS):
        counted = [visit.item_id for visit in several if n < 2 or visit.is_session_start]
        looked = len(counted) if len(counted) < every else len(counted) // every * every
        last = counted[max(0, looked - WINDOWS[window]) : looked][::-1]
        counts = Counter(last)
        assert leading(made, n) == sorted(counts, key=lambda item: (-counts[item], last.index(item)))


def test_knowledge_grows_with_its_items_and_keeps_what_it_knew():
    made = knowledge(visits("a"), visits("b", context=("a",)), visits(*(f"i{n}" for n in range(3_000))))
    assert (len(made.index), made.n_evicted) == (3_002, 0)
    assert company(made, "a") == {"b": 1}
    learn(made, visits("i2999", context=("a",)))
    assert company(made, "i2999") == {"a": 1}


def test_tables_grow_to_their_bound_and_all_to_the_same_length():
    made = knowledge(visits(*(f"i{n}" for n in range(1_500))), max=1_300)
    tables = made.tables
    lengths = {
        len(rows)
        for rows in (
            *tables.covisits,
            tables.revisits.counts,
            tables.popularity.counters,
            tables.session_start_popularity.counters,
        )
    }
    assert lengths | {len(tables.available), made.capacity} == {1_300}
    assert tables.available is made.catalogue.available


@pytest.mark.parametrize(("held", "new", "expected"), [("ab", "a", False), ("ab", "c", False), ("abcd", "e", True)])
def test_an_item_without_a_row_is_in_the_way_of_others_once_the_table_is_full(held, new, expected):
    assert knowledge(visits(*held), max=4).admission_affects_others(new) == expected


def test_an_item_that_was_dropped_is_in_the_way_even_where_there_is_room():
    made = knowledge(visits("a", "b", "c", "d"), visits("e"), max=4)
    made.index.drop(np.array([made.index.get("e")]))
    assert made.n_evicted and not made.index.is_full
    assert made.admission_affects_others("e")


def test_the_bound_holds_and_the_least_popular_of_the_week_go_first():
    seen_twice = visits("old", "old", "fresh", "fresh")
    made = knowledge(seen_twice, visits(*(f"i{n}" for n in range(8))), *(visits(f"x{n}") for n in range(3)), max=10)
    assert len(made.index) <= 10
    assert made.n_evicted > 0
    assert min(made.index.get("old"), made.index.get("fresh")) != NO_ROW


def test_among_equally_often_visited_items_the_one_visited_longest_ago_goes_first():
    week_ms = 168 * HOUR_MS
    items = [visits(f"i{n}", at_ms=(9 - n) * week_ms) for n in range(10)]  # i9 is the oldest
    made = knowledge(*sorted(items, key=lambda batch: batch[0].ts_ms), visits("new", at_ms=10 * week_ms), max=10)
    assert made.index.get("i9") == NO_ROW
    assert made.index.get("i0") != NO_ROW
    assert made.index.get("new") != NO_ROW


def test_an_evicted_item_leaves_every_table():
    made = knowledge(visits("gone"), visits("a", "a", "a", context=("gone",)), max=10)
    made.update_catalogue(ItemUpdate(1, "gone", START_MS, available=False))
    for n in range(9):
        learn(made, visits(f"i{n}", f"i{n}"))
    assert made.index.get("gone") == NO_ROW
    assert company(made, "a") == {}
    assert all("gone" not in leading(made, n) for n in range(4))
    made.admit("gone", START_MS + HOUR_MS)
    row, tables = made.index.get("gone"), made.tables
    assert made.catalogue.available[row]
    assert row not in made.catalogue.entries
    for table in (
        tables.popularity.counters,
        tables.session_start_popularity.counters,
        tables.revisits.counts,
        tables.covisits.sums,
    ):
        assert not table[row].any()


def test_an_evicted_item_s_row_brings_none_of_its_past_to_the_next():
    made = knowledge(visits("gone", opens=True), visits("a", "a", context=("gone",), opens=True), max=3)
    learn(made, visits("b", "b"))
    learn(made, visits("new"))  # takes the row of "gone"
    assert (made.index.get("gone"), made.index.get("new")) == (NO_ROW, 0)
    assert (company(made, "a"), company(made, "new"), events_of(made, "new")) == ({}, {}, 1)
    assert made.tables.revisits.counts[0, VISITS] == 1
    assert made.tables.session_start_popularity.counters[0, FIRST_WINDOW] == 0


def test_as_many_new_items_as_the_table_holds_are_learned_within_the_bound():
    made = knowledge(visits("old"), visits(*(f"i{n}" for n in range(64))), visits("a"), max=64)
    assert len(made.index) <= 64
    assert events_of(made, "a") == 1


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80))
def test_the_bound_holds_always_and_neighbours_are_known_items(pairs):
    made = ItemStatistics(ItemsConfig(max=10, neighbours=3), RankingConfig())
    for n, (item, other) in enumerate(pairs):
        learn(made, visits(f"i{item}", context=(f"i{other}",), at_ms=n * HOUR_MS))
        assert len(made.index) <= 10
        assert made.index.get(f"i{item}") != NO_ROW
    free = [row for row, item in enumerate(made.index.ids) if not item]
    tables = made.tables
    assert not np.isin(tables.covisits.neighbours, free).any()
    assert not np.isin(tables.top_items.rows, free).any()
    assert not tables.popularity.counters[free, LAST_MS].any()
    assert len({*made.index.ids} - {""}) == len(made.index)


def test_visits_of_known_items_evict_nothing():
    known = [f"i{n}" for n in range(40)]
    made = knowledge(visits(*known), visits(*known, *known[:24]), visits(*known), max=100)
    assert (made.n_evicted, len(made.index)) == (0, 40)
    assert events_of(made, "i0") == 4


def test_an_item_event_gives_a_row_and_no_popularity():
    made = knowledge()
    made.update_catalogue(ItemUpdate(1, "a", START_MS, title="A", available=False))
    row = made.index.get("a")
    assert not made.catalogue.available[row]
    assert made.catalogue.entries[row].title == "A"
    assert made.tables.popularity.clock[N_EVENTS] == 0


def test_what_an_item_event_leaves_out_stays():
    made = knowledge(visits("a"))
    made.update_catalogue(ItemUpdate(1, "a", START_MS, title="A", price=9.5, available=False))
    made.update_catalogue(ItemUpdate(2, "a", START_MS + 5, price=0.0, categories=()))
    row = made.index.get("a")
    expected = ItemUpdate(2, "a", START_MS + 5, title="A", price=0.0, categories=(), available=False)
    assert made.catalogue.entries[row] == expected
    assert not made.catalogue.available[row]


def test_an_item_comes_back_when_it_is_available_again():
    made = knowledge(visits("a", "b"))
    for available in (False, None, True):
        made.update_catalogue(ItemUpdate(1, "a", START_MS, available=available))
        assert made.catalogue.available[made.index.get("a")] == (available is True)
    assert made.catalogue.available[made.index.get("b")]


def test_item_events_alone_stay_within_the_bound():
    made = knowledge(visits("a"), max=10)
    for n in range(30):
        made.update_catalogue(ItemUpdate(n, f"i{n}", START_MS + n, title=str(n)))
    assert len(made.index) <= 10
    assert len(made.catalogue.entries) <= 10
    assert made.index.get("a") != NO_ROW


IDLE = ItemsConfig(max=1000, idle_s=3600.0)


def idle(config: ItemsConfig, *batches: list[ItemVisit]) -> ItemStatistics:
    made = ItemStatistics(config, RankingConfig())
    for batch in batches:
        learn(made, batch)
    made.evict_idle()
    return made


@pytest.mark.parametrize(("after_ms", "gone"), [(HOUR_MS, False), (HOUR_MS + 1, True)])
def test_an_item_goes_when_nothing_was_heard_of_it_for_longer_than_allowed(after_ms, gone):
    latest = [ItemVisit(n, "new", ("old",), START_MS + after_ms) for n in range(63)]
    made = idle(IDLE, visits("old"), latest)
    assert (made.index.get("old") == NO_ROW) == gone
    assert (made.n_evicted, made.n_idle_evicted) == ((1, 1) if gone else (0, 0))
    assert ("old" in company(made, "new")) != gone
    assert made.drain_evicted_rows().tolist() == [0] * gone


def test_no_item_goes_where_no_time_is_set():
    assert idle(ItemsConfig(), visits("old"), visits("new", at_ms=10_000 * HOUR_MS)).n_evicted == 0


def test_an_item_that_the_catalogue_spoke_of_stays_as_long_as_one_that_was_visited():
    made = ItemStatistics(IDLE, RankingConfig())
    made.update_catalogue(ItemUpdate(1, "never visited", START_MS))
    made.update_catalogue(ItemUpdate(2, "spoken of", START_MS + 2 * HOUR_MS))
    learn(made, visits("spoken of", "visited"))
    learn(made, visits(*["new"] * 63, at_ms=2 * HOUR_MS))
    made.evict_idle()
    assert sorted(filter(None, made.index.ids)) == ["new", "spoken of"]


def test_one_visit_from_the_future_makes_no_item_go():
    made = idle(IDLE, visits("a", "b", "c"), visits("d", at_ms=10_000 * HOUR_MS))
    assert made.n_evicted == 0


def test_idle_items_go_a_bounded_number_at_a_time_the_longest_gone_first():
    made = idle(
        ItemsConfig(max=160, idle_s=3600.0),
        visits(*(f"i{n}" for n in range(25))),
        visits(*["new"] * 63, at_ms=2 * HOUR_MS),
    )
    assert sorted(filter(None, made.index.ids)) == sorted(["new", *(f"i{n}" for n in range(10, 25))])
    made.evict_idle()
    made.evict_idle()
    assert [item for item in made.index.ids if item] == ["new"]


def test_nothing_is_known_and_nothing_goes():
    assert idle(IDLE).n_evicted == 0
