"""Item knowledge: its tables grow together, stay bounded together, and forget together."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import ItemsConfig, RankingConfig
from freshflow.events.model import ItemUpdate
from freshflow.items.covisitation import TOGETHER
from freshflow.items.index import NO_ROW
from freshflow.items.popularity import EVENTS, IN_WINDOW, LAST_MS, WINDOWS
from freshflow.items.revisits import VISITS
from freshflow.items.statistics import ItemKnowledge
from freshflow.items.tables import LEADERS, fold
from freshflow.items.visit import Visit

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def visits(*items: str, context: tuple[str, ...] = (), at_ms: int = 0, opens: bool = False) -> list[Visit]:
    """Visits of `items`, a second apart."""
    return [Visit(n, item, context, START_MS + at_ms + 1000 * n, opens) for n, item in enumerate(items)]


def learn(made: ItemKnowledge, several: list[Visit]) -> None:
    """Admit and fold in one visit after the other."""
    for visit in several:
        made.admit(visit.item_id, visit.ts_ms)
        known = made.rows.rows_or_none(visit.context[: made.config.context])
        rows = np.array(known + [NO_ROW] * (made.config.context - len(known)), np.int32)
        item = np.int32(made.rows.get(visit.item_id))
        fold(made.tables, item, rows, np.int64(visit.ts_ms), np.bool_(visit.opens), np.float64(visit.weight))


def knowledge(*batches: list[Visit], ranking: RankingConfig | None = None, **config: int) -> ItemKnowledge:
    """Knowledge that has learned `batches`."""
    made = ItemKnowledge(ItemsConfig(**config), ranking or RankingConfig())
    for batch in batches:
        learn(made, batch)
    return made


def company(made: ItemKnowledge, item: str) -> dict[str, float]:
    """Ids of an item's neighbours and how often they came together."""
    row, covisits = made.rows.get(item), made.tables.covisits
    slots = covisits.neighbours[row]
    return {made.rows.ids[slots[n]]: float(covisits.weights[row, n, TOGETHER]) for n in np.flatnonzero(slots >= 0)}


def events_of(made: ItemKnowledge, item: str) -> int:
    return int(made.tables.popularity.memories[made.rows.get(item), IN_WINDOW + 1])


def leading(made: ItemKnowledge, n: int) -> list[str]:
    """Ids of leaders: 0 and 1 of the last 200 and 2,000 visits, 2 and 3 of as many openings."""
    rows, sizes, _ = made.tables.leading
    return [made.rows.ids[row] for row in rows[n, : sizes[n]].tolist() if row != NO_ROW]


def test_admitted_items_have_rows_and_nothing_else():
    made = knowledge()
    for item in "aba":
        made.admit(item, START_MS)
    assert [made.rows.get(item) for item in "ab"] == [0, 1]
    tables = made.tables
    for table in (tables.popularity.memories, tables.popularity.clock, tables.covisits.sums, tables.returns.counts):
        assert not table.any()


def test_folding_learns_company_and_popularity():
    made = knowledge(visits("a"), visits("b", "b", context=("a",)))
    assert (company(made, "a"), company(made, "b")) == ({"b": 2}, {"a": 2})
    assert (events_of(made, "a"), events_of(made, "b")) == (1, 2)


def test_folding_learns_how_often_people_go_back():
    made = knowledge(visits("a"), visits("a", context=("a",)))
    assert made.tables.returns.counts[made.rows.get("a")].tolist() == [2, 1, 1, 1]


def test_the_weight_of_a_visit_is_that_of_its_company_and_not_of_its_popularity():
    made = knowledge(visits("a"), [Visit(1, "b", ("a",), START_MS, weight=3.0)])
    assert (company(made, "a"), events_of(made, "b")) == ({"b": 3}, 1)


def test_only_the_configured_end_of_a_context_is_learned():
    made = knowledge(visits("a", "b", "c"), visits("d", context=("c", "b", "a")), context=2)
    assert company(made, "d") == {"c": 1, "b": 1}


def test_an_item_of_a_context_that_nobody_visited_is_left_out():
    made = knowledge(visits("a"), visits("b", context=("x", "a")))
    assert company(made, "b") == {"a": 1}
    assert made.rows.get("x") == NO_ROW


def test_only_a_visit_that_opens_a_session_counts_as_an_opening():
    made = knowledge(visits("a"), visits("b", "b", opens=True))
    openings, popularity = made.tables.openings, made.tables.popularity
    assert (openings.clock[EVENTS], popularity.clock[EVENTS]) == (2, 3)
    assert openings.memories[[made.rows.get("a"), made.rows.get("b")], IN_WINDOW].tolist() == [0, 2]


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
    for n, (window, every) in enumerate(LEADERS):
        counted = [visit.item_id for visit in several if n < 2 or visit.opens]
        looked = len(counted) if len(counted) < every else len(counted) // every * every
        last = counted[max(0, looked - WINDOWS[window]) : looked][::-1]
        counts = Counter(last)
        assert leading(made, n) == sorted(counts, key=lambda item: (-counts[item], last.index(item)))


def test_knowledge_grows_with_its_items_and_keeps_what_it_knew():
    made = knowledge(visits("a"), visits("b", context=("a",)), visits(*(f"i{n}" for n in range(3_000))))
    assert (len(made.rows), made.evicted) == (3_002, 0)
    assert company(made, "a") == {"b": 1}
    learn(made, visits("i2999", context=("a",)))
    assert company(made, "i2999") == {"a": 1}


def test_tables_grow_to_their_bound_and_all_to_the_same_length():
    made = knowledge(visits(*(f"i{n}" for n in range(1_500))), max=1_300)
    tables = made.tables
    lengths = {
        len(rows)
        for rows in (*tables.covisits, tables.returns.counts, tables.popularity.memories, tables.openings.memories)
    }
    assert lengths | {len(tables.available), made.capacity} == {1_300}
    assert tables.available is made.catalogue.available


@pytest.mark.parametrize(("held", "new", "expected"), [("ab", "a", False), ("ab", "c", False), ("abcd", "e", True)])
def test_an_item_without_a_row_is_in_the_way_of_others_once_the_table_is_full(held, new, expected):
    assert knowledge(visits(*held), max=4).is_in_the_way(new) == expected


def test_an_item_that_was_dropped_is_in_the_way_even_where_there_is_room():
    made = knowledge(visits("a", "b", "c", "d"), visits("e"), max=4)
    made.rows.drop(np.array([made.rows.get("e")]))
    assert made.evicted and not made.rows.full
    assert made.is_in_the_way("e")


def test_the_bound_holds_and_the_least_popular_of_the_week_go_first():
    seen_twice = visits("old", "old", "fresh", "fresh")
    made = knowledge(seen_twice, visits(*(f"i{n}" for n in range(8))), *(visits(f"x{n}") for n in range(3)), max=10)
    assert len(made.rows) <= 10
    assert made.evicted > 0
    assert min(made.rows.get("old"), made.rows.get("fresh")) != NO_ROW


def test_among_equally_often_visited_items_the_one_visited_longest_ago_goes_first():
    week_ms = 168 * HOUR_MS
    items = [visits(f"i{n}", at_ms=(9 - n) * week_ms) for n in range(10)]  # i9 is the oldest
    made = knowledge(*sorted(items, key=lambda batch: batch[0].ts_ms), visits("new", at_ms=10 * week_ms), max=10)
    assert made.rows.get("i9") == NO_ROW
    assert made.rows.get("i0") != NO_ROW
    assert made.rows.get("new") != NO_ROW


def test_an_evicted_item_leaves_every_table():
    made = knowledge(visits("gone"), visits("a", "a", "a", context=("gone",)), max=10)
    made.update_catalogue(ItemUpdate(1, "gone", START_MS, available=False))
    for n in range(9):
        learn(made, visits(f"i{n}", f"i{n}"))
    assert made.rows.get("gone") == NO_ROW
    assert company(made, "a") == {}
    assert all("gone" not in leading(made, n) for n in range(4))
    made.admit("gone", START_MS + HOUR_MS)
    row, tables = made.rows.get("gone"), made.tables
    assert made.catalogue.available[row]
    assert row not in made.catalogue.entries
    for table in (tables.popularity.memories, tables.openings.memories, tables.returns.counts, tables.covisits.sums):
        assert not table[row].any()


def test_an_evicted_item_s_row_brings_none_of_its_past_to_the_next():
    made = knowledge(visits("gone", opens=True), visits("a", "a", context=("gone",), opens=True), max=3)
    learn(made, visits("b", "b"))
    learn(made, visits("new"))  # takes the row of "gone"
    assert (made.rows.get("gone"), made.rows.get("new")) == (NO_ROW, 0)
    assert (company(made, "a"), company(made, "new"), events_of(made, "new")) == ({}, {}, 1)
    assert made.tables.returns.counts[0, VISITS] == 1
    assert made.tables.openings.memories[0, IN_WINDOW] == 0


def test_as_many_new_items_as_the_table_holds_are_learned_within_the_bound():
    made = knowledge(visits("old"), visits(*(f"i{n}" for n in range(64))), visits("a"), max=64)
    assert len(made.rows) <= 64
    assert events_of(made, "a") == 1


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80))
def test_the_bound_holds_always_and_neighbours_are_known_items(pairs):
    made = ItemKnowledge(ItemsConfig(max=10, neighbours=3), RankingConfig())
    for n, (item, other) in enumerate(pairs):
        learn(made, visits(f"i{item}", context=(f"i{other}",), at_ms=n * HOUR_MS))
        assert len(made.rows) <= 10
        assert made.rows.get(f"i{item}") != NO_ROW
    free = [row for row, item in enumerate(made.rows.ids) if not item]
    tables = made.tables
    assert not np.isin(tables.covisits.neighbours, free).any()
    assert not np.isin(tables.leading.rows, free).any()
    assert not tables.popularity.memories[free, LAST_MS].any()
    assert len({*made.rows.ids} - {""}) == len(made.rows)


def test_visits_of_known_items_evict_nothing():
    known = [f"i{n}" for n in range(40)]
    made = knowledge(visits(*known), visits(*known, *known[:24]), visits(*known), max=100)
    assert (made.evicted, len(made.rows)) == (0, 40)
    assert events_of(made, "i0") == 4


def test_an_item_event_gives_a_row_and_no_popularity():
    made = knowledge()
    made.update_catalogue(ItemUpdate(1, "a", START_MS, title="A", available=False))
    row = made.rows.get("a")
    assert not made.catalogue.available[row]
    assert made.catalogue.entries[row].title == "A"
    assert made.tables.popularity.clock[EVENTS] == 0


def test_what_an_item_event_leaves_out_stays():
    made = knowledge(visits("a"))
    made.update_catalogue(ItemUpdate(1, "a", START_MS, title="A", price=9.5, available=False))
    made.update_catalogue(ItemUpdate(2, "a", START_MS + 5, price=0.0, categories=()))
    row = made.rows.get("a")
    expected = ItemUpdate(2, "a", START_MS + 5, title="A", price=0.0, categories=(), available=False)
    assert made.catalogue.entries[row] == expected
    assert not made.catalogue.available[row]


def test_an_item_comes_back_when_it_is_available_again():
    made = knowledge(visits("a", "b"))
    for available in (False, None, True):
        made.update_catalogue(ItemUpdate(1, "a", START_MS, available=available))
        assert made.catalogue.available[made.rows.get("a")] == (available is True)
    assert made.catalogue.available[made.rows.get("b")]


def test_item_events_alone_stay_within_the_bound():
    made = knowledge(visits("a"), max=10)
    for n in range(30):
        made.update_catalogue(ItemUpdate(n, f"i{n}", START_MS + n, title=str(n)))
    assert len(made.rows) <= 10
    assert len(made.catalogue.entries) <= 10
    assert made.rows.get("a") != NO_ROW


IDLE = ItemsConfig(max=1000, idle_s=3600.0)


def idle(config: ItemsConfig, *batches: list[Visit]) -> ItemKnowledge:
    made = ItemKnowledge(config, RankingConfig())
    for batch in batches:
        learn(made, batch)
    made.drop_idle()
    return made


@pytest.mark.parametrize(("after_ms", "gone"), [(HOUR_MS, False), (HOUR_MS + 1, True)])
def test_an_item_goes_when_nothing_was_heard_of_it_for_longer_than_allowed(after_ms, gone):
    latest = [Visit(n, "new", ("old",), START_MS + after_ms) for n in range(63)]
    made = idle(IDLE, visits("old"), latest)
    assert (made.rows.get("old") == NO_ROW) == gone
    assert (made.evicted, made.idle) == ((1, 1) if gone else (0, 0))
    assert ("old" in company(made, "new")) != gone
    assert made.take_dropped().tolist() == [0] * gone


def test_no_item_goes_where_no_time_is_set():
    assert idle(ItemsConfig(), visits("old"), visits("new", at_ms=10_000 * HOUR_MS)).evicted == 0


def test_an_item_that_the_catalogue_spoke_of_stays_as_long_as_one_that_was_visited():
    made = ItemKnowledge(IDLE, RankingConfig())
    made.update_catalogue(ItemUpdate(1, "never visited", START_MS))
    made.update_catalogue(ItemUpdate(2, "spoken of", START_MS + 2 * HOUR_MS))
    learn(made, visits("spoken of", "visited"))
    learn(made, visits(*["new"] * 63, at_ms=2 * HOUR_MS))
    made.drop_idle()
    assert sorted(filter(None, made.rows.ids)) == ["new", "spoken of"]


def test_one_visit_from_the_future_makes_no_item_go():
    made = idle(IDLE, visits("a", "b", "c"), visits("d", at_ms=10_000 * HOUR_MS))
    assert made.evicted == 0


def test_idle_items_go_a_bounded_number_at_a_time_the_longest_gone_first():
    made = idle(
        ItemsConfig(max=160, idle_s=3600.0),
        visits(*(f"i{n}" for n in range(25))),
        visits(*["new"] * 63, at_ms=2 * HOUR_MS),
    )
    assert sorted(filter(None, made.rows.ids)) == sorted(["new", *(f"i{n}" for n in range(10, 25))])
    made.drop_idle()
    made.drop_idle()
    assert [item for item in made.rows.ids if item] == ["new"]


def test_nothing_is_known_and_nothing_goes():
    assert idle(IDLE).evicted == 0
