"""Item knowledge: its tables grow together, stay bounded together, and forget together."""

import numpy as np

from freshflow.config import ItemsConfig
from freshflow.events.types import ItemUpdate
from freshflow.items.knowledge import ItemKnowledge
from freshflow.items.rows import NO_ROW
from freshflow.items.visits import Visit

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def visits(*items: str, context: tuple[str, ...] = (), at_ms: int = 0) -> list[Visit]:
    """Visits of `items`, a second apart."""
    return [Visit(n, item, context, START_MS + at_ms + 1000 * n) for n, item in enumerate(items)]


def knowledge(*chunks: list[Visit], **config: int) -> ItemKnowledge:
    """Knowledge that has learned `chunks`."""
    made = ItemKnowledge(ItemsConfig(**config))
    for chunk in chunks:
        made.fold(made.admit(chunk))
    return made


def company(made: ItemKnowledge, item: str) -> dict[str, float]:
    """Ids of an item's neighbours and how often they came together."""
    row = made.rows.get(item)
    slots = made.covisits.neighbours[row]
    return {made.rows.ids[slots[n]]: float(made.covisits.together[row, n]) for n in np.flatnonzero(slots >= 0)}


def events_of(made: ItemKnowledge, item: str) -> int:
    return int(made.popularity.in_window[0, made.rows.get(item)])


def test_admitted_items_have_rows_and_nothing_else():
    made = knowledge()
    chunk = made.admit(visits("a", "b", "a"))
    assert chunk.items.tolist() == [made.rows.get(item) for item in "aba"]
    assert made.popularity.events == made.popularity.in_window.sum() == made.covisits.together_sum.sum() == 0


def test_folding_learns_company_and_popularity():
    made = knowledge(visits("a"), visits("b", "b", context=("a",)))
    assert (company(made, "a"), company(made, "b")) == ({"b": 2}, {"a": 2})
    assert (events_of(made, "a"), events_of(made, "b")) == (1, 2)


def test_a_context_may_hold_items_of_its_own_chunk():
    made = knowledge([*visits("a"), *visits("b", context=("a",))])
    assert company(made, "b") == {"a": 1}


def test_only_the_configured_end_of_a_context_is_learned():
    made = knowledge(visits("a", "b", "c"), visits("d", context=("c", "b", "a")), context=2)
    assert company(made, "d") == {"c": 1, "b": 1}


def test_an_item_of_a_context_that_nobody_visited_is_left_out():
    made = knowledge(visits("a"), visits("b", context=("x", "a")))
    assert company(made, "b") == {"a": 1}
    assert made.rows.get("x") == NO_ROW


def test_a_chunk_without_visits_teaches_nothing():
    made = knowledge([], visits("a"), [])
    assert (made.popularity.events, len(made.rows)) == (1, 1)


def test_knowledge_grows_with_its_items_and_keeps_what_it_knew():
    chunks = [visits(*(f"i{n}" for n in range(start, start + 50))) for start in range(0, 3_000, 50)]
    made = knowledge(visits("a"), visits("b", context=("a",)), *chunks)
    assert (len(made.rows), made.evicted) == (3_002, 0)
    assert company(made, "a") == {"b": 1}
    made.fold(made.admit(visits("i2999", context=("a",))))
    assert company(made, "i2999") == {"a": 1}


def test_the_bound_holds_and_the_least_popular_of_the_week_go_first():
    seen_twice = visits("old", "old", "fresh", "fresh")
    made = knowledge(seen_twice, visits(*(f"i{n}" for n in range(8))), *(visits(f"x{n}") for n in range(3)), max=10)
    assert len(made.rows) <= 10
    assert made.evicted > 0
    assert min(made.rows.get("old"), made.rows.get("fresh")) != NO_ROW


def test_among_equally_often_visited_items_the_one_visited_longest_ago_goes_first():
    week_ms = 168 * HOUR_MS
    items = [visits(f"i{n}", at_ms=(9 - n) * week_ms) for n in range(10)]  # i9 is the oldest
    made = knowledge(*sorted(items, key=lambda chunk: chunk[0].ts_ms), visits("new", at_ms=10 * week_ms), max=10)
    assert made.rows.get("i9") == NO_ROW
    assert made.rows.get("i0") != NO_ROW
    assert made.rows.get("new") != NO_ROW


def test_an_evicted_item_leaves_every_table():
    made = knowledge(visits("gone"), visits("a", "a", "a", context=("gone",)), max=10)
    made.update_catalogue(ItemUpdate(1, "gone", START_MS, available=False))
    for n in range(9):
        made.fold(made.admit(visits(f"i{n}", f"i{n}")))
    assert made.rows.get("gone") == NO_ROW
    assert company(made, "a") == {}
    row = made.admit(visits("gone", at_ms=HOUR_MS)).items[0]
    assert made.catalogue.available[row]
    assert not made.popularity.decayed[row].any()


def test_a_chunk_of_as_many_new_items_as_the_table_holds_is_learned_within_the_bound():
    made = knowledge(visits("old"), visits(*(f"i{n}" for n in range(64))), visits("a"), max=64)
    assert len(made.rows) <= 64
    assert events_of(made, "a") == 1


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
    assert made.popularity.events == 0


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
