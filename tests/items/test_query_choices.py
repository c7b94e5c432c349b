"""What people choose after a query: shares, doubt, forgetting."""

import pytest

from freshflow.items.query_choices import CLICK_HALF_LIFE_MS, MAX_ITEMS_PER_QUERY, SMOOTHING, QueryClicks

NOW_MS = 1_700_000_000_000


def choices(*chosen: str, keys=("q",), bound: int = 10) -> QueryClicks:
    made = QueryClicks(bound)
    for item in chosen:
        made.add_click(keys, item, NOW_MS, 1.0)
    return made


def test_shares_follow_what_was_chosen_with_doubt():
    made = choices("a", "a", "a", "b")
    assert made.click_shares(("q",), ["a", "b", "c", "d"]).tolist() == pytest.approx(
        [(count + SMOOTHING / 4) / (4 + SMOOTHING) for count in (3, 1, 0, 0)]
    )


def test_an_unknown_query_shares_evenly_or_as_its_words_do():
    made = choices("a", "a", keys=("other", "word"))
    assert made.click_shares(("q", "unknown"), ["a", "b"]).tolist() == [0.5, 0.5]
    assert not made.has_clicks(("q", "unknown"))
    first, second = made.click_shares(("q", "word"), ["a", "b"])
    assert made.has_clicks(("q", "word"))
    assert first > second


def test_what_is_chosen_most_is_said_with_its_share_the_best_first():
    made = choices("a", "b", "b")
    most = made.top_items(("q",), 1, n_visits_since_query=2)
    assert most == (("b",), ((pytest.approx(2 / (3 + SMOOTHING)), 2.0),), 2)
    assert made.top_items(("q",), 5, n_visits_since_query=0).items == ("b", "a")
    assert made.top_items(("other",), 5, n_visits_since_query=0) is None
    assert made.top_items((), 5, n_visits_since_query=0) is None


@pytest.mark.parametrize("known", [("q", "w"), ("w", "v"), ("q", "w", "v")])
def test_most_chosen_is_what_shares_say_of_open_results(known):
    made = QueryClicks(10)
    for n, key in enumerate(known):
        for item in ("a", "b", "c")[n:]:
            made.add_click((key,), item, NOW_MS, 1.0 + n)
    most = made.top_items(("q", "w", "v"), 9, n_visits_since_query=0)
    words = [made.counts_by_key[key] for key in ("w", "v") if key in made.counts_by_key]
    whole = made.counts_by_key.get("q")
    for item, (share, _) in zip(most.items, most.share_counts, strict=True):
        expected = sum(word.item_counts.get(item, 0) / (word.total + SMOOTHING) for word in words) / len(words)
        if whole is not None:
            expected = (whole.item_counts.get(item, 0) + SMOOTHING * expected) / (whole.total + SMOOTHING)
        assert share == pytest.approx(expected)
    assert list(most.share_counts) == sorted(most.share_counts, key=lambda one: -one[0])


def test_a_choice_counts_half_after_its_half_life_wherever_it_comes():
    later = NOW_MS + round(CLICK_HALF_LIFE_MS)
    in_order, out_of_order = QueryClicks(10), QueryClicks(10)
    in_order.add_click(("q",), "a", NOW_MS, 1.0)
    in_order.add_click(("q",), "b", later, 1.0)
    out_of_order.add_click(("q",), "b", later, 1.0)
    out_of_order.add_click(("q",), "a", NOW_MS, 1.0)
    for made in (in_order, out_of_order):
        assert made.counts_by_key["q"].item_counts == pytest.approx({"a": 0.5, "b": 1.0})
        assert made.counts_by_key["q"].total == pytest.approx(1.5)


def test_keys_and_items_are_bounded_and_the_idle_and_the_weak_go_first():
    made = choices(bound=2)
    for key in ("q1", "q2", "q1", "q3"):
        made.add_click((key,), "a", NOW_MS, 1.0)
    assert list(made.counts_by_key) == ["q1", "q3"]
    made = choices("strong", "strong", *(f"i{n:03d}" for n in range(MAX_ITEMS_PER_QUERY + 5)))
    assert len(made.counts_by_key["q"].item_counts) == MAX_ITEMS_PER_QUERY
    assert "strong" in made.counts_by_key["q"].item_counts


def test_a_bound_of_none_learns_nothing():
    assert not choices("a", bound=0).counts_by_key


def test_a_snapshot_goes_on_and_a_smaller_bound_keeps_the_latest():
    made = choices("a", "b", keys=("q", "w", "v"))
    same, smaller = QueryClicks(10), QueryClicks(1)
    same.restore(dict(made.state()))
    smaller.restore(dict(made.state()))
    assert same.click_shares(("q", "w"), ["a", "b"]).tolist() == made.click_shares(("q", "w"), ["a", "b"]).tolist()
    assert list(smaller.counts_by_key) == ["v"]
