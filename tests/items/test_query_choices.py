"""What people choose after a query: shares, doubt, forgetting."""

import pytest

from freshflow.items.query_choices import DOUBT, HALF_LIFE_MS, ITEMS, Choices

NOW_MS = 1_700_000_000_000


def choices(*chosen: str, keys=("q",), bound: int = 10) -> Choices:
    made = Choices(bound)
    for item in chosen:
        made.learn(keys, item, NOW_MS, 1.0)
    return made


def test_shares_follow_what_was_chosen_with_doubt():
    made = choices("a", "a", "a", "b")
    assert made.shares(("q",), ["a", "b", "c", "d"]).tolist() == pytest.approx(
        [(count + DOUBT / 4) / (4 + DOUBT) for count in (3, 1, 0, 0)]
    )


def test_an_unknown_query_shares_evenly_or_as_its_words_do():
    made = choices("a", "a", keys=("other", "word"))
    assert made.shares(("q", "unknown"), ["a", "b"]).tolist() == [0.5, 0.5]
    assert not made.knows(("q", "unknown"))
    first, second = made.shares(("q", "word"), ["a", "b"])
    assert made.knows(("q", "word"))
    assert first > second


def test_what_is_chosen_most_is_said_with_its_share_the_best_first():
    made = choices("a", "b", "b")
    most = made.most(("q",), 1, age=2)
    assert most == (("b",), ((pytest.approx(2 / (3 + DOUBT)), 2.0),), 2)
    assert made.most(("q",), 5, age=0).items == ("b", "a")
    assert made.most(("other",), 5, age=0) is None
    assert made.most((), 5, age=0) is None


@pytest.mark.parametrize("known", [("q", "w"), ("w", "v"), ("q", "w", "v")])
def test_most_chosen_is_what_shares_say_of_open_results(known):
    made = Choices(10)
    for n, key in enumerate(known):
        for item in ("a", "b", "c")[n:]:
            made.learn((key,), item, NOW_MS, 1.0 + n)
    most = made.most(("q", "w", "v"), 9, age=0)
    words = [made.after[key] for key in ("w", "v") if key in made.after]
    whole = made.after.get("q")
    for item, (share, _) in zip(most.items, most.shares, strict=True):
        expected = sum(word.items.get(item, 0) / (word.total + DOUBT) for word in words) / len(words)
        if whole is not None:
            expected = (whole.items.get(item, 0) + DOUBT * expected) / (whole.total + DOUBT)
        assert share == pytest.approx(expected)
    assert list(most.shares) == sorted(most.shares, key=lambda one: -one[0])


def test_a_choice_counts_half_after_its_half_life_wherever_it_comes():
    later = NOW_MS + round(HALF_LIFE_MS)
    in_order, out_of_order = Choices(10), Choices(10)
    in_order.learn(("q",), "a", NOW_MS, 1.0)
    in_order.learn(("q",), "b", later, 1.0)
    out_of_order.learn(("q",), "b", later, 1.0)
    out_of_order.learn(("q",), "a", NOW_MS, 1.0)
    for made in (in_order, out_of_order):
        assert made.after["q"].items == pytest.approx({"a": 0.5, "b": 1.0})
        assert made.after["q"].total == pytest.approx(1.5)


def test_keys_and_items_are_bounded_and_the_idle_and_the_weak_go_first():
    made = choices(bound=2)
    for key in ("q1", "q2", "q1", "q3"):
        made.learn((key,), "a", NOW_MS, 1.0)
    assert list(made.after) == ["q1", "q3"]
    made = choices("strong", "strong", *(f"i{n:03d}" for n in range(ITEMS + 5)))
    assert len(made.after["q"].items) == ITEMS
    assert "strong" in made.after["q"].items


def test_a_bound_of_none_learns_nothing():
    assert not choices("a", bound=0).after


def test_a_snapshot_goes_on_and_a_smaller_bound_keeps_the_latest():
    made = choices("a", "b", keys=("q", "w", "v"))
    same, smaller = Choices(10), Choices(1)
    same.restore(made.snapshot())
    smaller.restore(made.snapshot())
    assert same.shares(("q", "w"), ["a", "b"]).tolist() == made.shares(("q", "w"), ["a", "b"]).tolist()
    assert list(smaller.after) == ["v"]
