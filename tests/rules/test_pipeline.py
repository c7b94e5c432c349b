"""Each rule by itself: pure functions of ranked items."""

import math

import numpy as np
import pytest

from freshflow.items.covisitation import CoVisits
from freshflow.outputs.reasons import NOT_A_CANDIDATE
from freshflow.rules.business_value import value_adjustments
from freshflow.rules.candidate_list import ADJUSTMENTS, FRESH, PINNED, CandidateList
from freshflow.rules.conversion_rates import CONVERSION_HALF_LIFE_MS, ConversionRates
from freshflow.rules.diversity import diversify
from freshflow.rules.freshness import ensure_fresh_items
from freshflow.rules.newest_items import NEVER_SEEN_MS, NewestItems
from freshflow.rules.pinning import insert_pinned, split_pinned
from freshflow.rules.prices import price_adjustments
from freshflow.rules.quotas import cap_groups

NONE = np.empty((0, 2), np.int32)
IDS = [f"i{n}" for n in range(10)]


def ranked(*rows: int) -> CandidateList:
    n = len(rows)
    return CandidateList.from_rows(rows, 0)._replace(
        scores=np.arange(n, 0, -1.0), candidate_numbers=np.arange(n, dtype=np.int32)
    )


def rows(of: CandidateList) -> list[int]:
    return of.rows.tolist()


class TestScores:
    def test_what_is_added_and_what_was_there_are_the_new_score_exactly(self):
        before = ranked(4, 2, 7)
        after = before.with_adjustment("boost", np.array([0.1, math.log(30), 0.0]), IDS).with_adjustment(
            "value", np.array([0.3, 0, 0]), IDS
        )
        assert rows(after) == [2, 4, 7]
        first = dict(zip(rows(before), before.scores.tolist(), strict=True))
        for row, score, added in zip(rows(after), after.scores.tolist(), after.adjustments.tolist(), strict=True):
            assert first[row] + sum(added) == score
        assert after.adjustments[0, ADJUSTMENTS.index("value")] == pytest.approx(0.3, abs=1e-8)

    def test_equal_scores_stand_by_item_id(self):
        assert rows(ranked(4, 2).with_adjustment("boost", np.array([0.0, 1.0]), IDS)) == [2, 4]

    def test_a_price_counts_by_its_distance_from_the_usual_and_none_is_usual(self):
        prices = np.array([10.0, 20.0, 40.0, np.nan, 0.0])
        assert price_adjustments(prices, 1.0) == pytest.approx([-math.log(2), 0, math.log(2), 0, 0])
        assert price_adjustments(np.full(2, np.nan), 1.0).tolist() == [0, 0]

    def test_a_value_is_what_showing_an_item_is_worth_beside_the_usual(self):
        rates, usual = np.array([[0.2, 0.1], [0.1, 0.05]]), np.array([0.1, 0.05])
        margins = np.array([3.0, np.nan])
        worth = {"click": 1.0, "cart": 2.0, "purchase": 10.0, "margin": 1.0}
        amounts = value_adjustments(rates, usual, margins, **worth)
        assert amounts == pytest.approx([math.log((1 + 0.4 + 13 * 0.1) / (1 + 0.2 + 13 * 0.05)), 0])

    def test_what_is_sold_at_a_loss_is_worth_little_and_not_less_than_nothing(self):
        rates = np.full((2, 2), 0.5)
        amounts = value_adjustments(
            rates, rates[0], np.array([-100.0, 300.0]), click=0.0, cart=0.0, purchase=0.0, margin=1.0
        )
        assert amounts[0] == pytest.approx(math.log(1e-3)) and math.isfinite(amounts[0])


class TestOutcomes:
    def counted(self, *events: tuple[int, str, int]) -> ConversionRates:
        outcomes = ConversionRates()
        for row, type_, ts_ms in events:
            outcomes.add(row, type_, ts_ms, 4)
        return outcomes

    def test_of_many_events_the_rate_is_their_share_and_of_none_the_usual_one(self):
        outcomes = self.counted(*[(0, ("view", "cart")[n % 2], n) for n in range(2000)])
        rates = outcomes.rates(np.array([0, 3], np.int32), 2000)
        assert rates[0, 0] == pytest.approx(0.5, abs=0.02)
        assert rates[1] == pytest.approx(outcomes.mean_rates())

    def test_a_count_halves_in_a_week_whatever_the_order_of_events(self):
        week = int(CONVERSION_HALF_LIFE_MS)
        in_order = self.counted((0, "cart", 0), (0, "view", week))
        late = self.counted((0, "view", week), (0, "cart", 0))
        assert in_order.counts[0] == pytest.approx([1.5, 0.5, 0])
        assert late.counts[0] == pytest.approx([1.5, 0.5, 0])

    def test_a_row_that_means_another_item_starts_anew(self):
        outcomes = self.counted(*[(0, "purchase", n) for n in range(50)])
        outcomes.drop(np.array([0, 9]))
        assert outcomes.rates(np.array([0], np.int32), 50)[0] == pytest.approx(outcomes.mean_rates())


class TestCaps:
    GROUPS = np.array([[0, 1], [0, -1], [1, -1], [-1, -1], [0, 2], [2, -1]], np.int32)

    def test_the_best_of_each_group_stay_and_what_has_none_always(self):
        assert rows(cap_groups(ranked(0, 1, 2, 3, 4, 5), self.GROUPS, 1, NONE)) == [0, 3, 5]

    def test_what_is_taken_counts(self):
        assert rows(cap_groups(ranked(1, 4, 5), self.GROUPS, 2, self.GROUPS[[0]])) == [1, 5]


class TestDiversity:
    CATEGORIES = np.array([[0, -1], [0, -1], [1, -1], [-1, -1]], np.int32)

    def of(self, knob: float, k: int, covisits: CoVisits | None = None) -> list[int]:
        number = np.full(4, -1, np.int32)
        found = diversify(ranked(0, 1, 2, 3), self.CATEGORIES, covisits or CoVisits.empty(4, 2), number, knob, k)
        assert (number == -1).all()
        return rows(found)

    def test_at_zero_the_order_stays(self):
        assert self.of(0.0, 4) == [0, 1, 2, 3]

    def test_what_is_alike_moves_down_and_beyond_the_list_the_order_stays(self):
        assert self.of(0.6, 4) == [0, 2, 3, 1]
        assert self.of(0.6, 2) == [0, 2, 1, 3]

    def test_what_is_visited_together_is_alike(self):
        covisits = CoVisits.empty(4, 2)
        for x, y in ((0, 2), (2, 0)):
            covisits.neighbours[x, 0], covisits.weights[x, 0, 1], covisits.sums[x, 1] = y, 5, 5
        assert self.of(0.6, 4, covisits) == [0, 3, 1, 2]

    def test_an_empty_list_stays_empty(self):
        assert rows(diversify(ranked(), self.CATEGORIES, CoVisits.empty(4, 2), np.full(4, -1, np.int32), 0.5, 3)) == []


class TestFreshness:
    def of(
        self, fresh: set[int], least: int, *others: int, listed=(0, 1, 2, 3, 4), fits=lambda *_: True
    ) -> CandidateList:
        def is_fresh(some):
            return np.array([row in fresh for row in some.tolist()], np.bool_)

        return ensure_fresh_items(
            ranked(*listed), lambda: CandidateList.from_rows(others, FRESH), is_fresh, least, 3, fits
        )

    def test_enough_fresh_items_change_nothing(self):
        assert rows(self.of({1}, 1, 9)) == [0, 1, 2, 3, 4]

    def test_the_best_from_further_down_comes_first_and_the_last_place_goes(self):
        found = self.of({4, 9}, 1, 9)
        assert rows(found) == [0, 1, 4, 2, 3]
        assert found.reasons.tolist()[2] == FRESH

    def test_what_was_not_ranked_comes_next(self):
        found = self.of({4, 8, 9}, 2, 9, 8)
        assert rows(found)[:3] == [0, 4, 9]
        assert (found.candidate_numbers[2], found.scores[2]) == (NOT_A_CANDIDATE, 0.0)

    def test_fresh_items_are_not_given_up_for_others(self):
        assert rows(self.of({2, 4}, 2))[:3] == [0, 2, 4]

    def test_what_does_not_fit_is_passed_over(self):
        assert rows(self.of({8, 9}, 1, 9, 8, fits=lambda _, row: row != 9))[:3] == [0, 1, 8]

    def test_a_list_that_is_not_full_loses_nothing(self):
        assert rows(self.of({9}, 1, 9, listed=(0, 1))) == [0, 1, 9]


class TestPins:
    def test_pins_stand_in_their_places_and_say_so_with_the_score_they_were_ranked_by(self):
        out, others = split_pinned(ranked(0, 1, 2, 3), [3, 9])
        shown = insert_pinned(others, out, [1, 3], 4)
        assert rows(shown) == [3, 0, 9, 1]
        assert (shown.reasons.tolist(), shown.scores.tolist()) == ([PINNED, 0, PINNED, 0], [1.0, 4.0, 0.0, 3.0])

    def test_a_list_that_is_too_short_ends_with_its_pin(self):
        assert rows(insert_pinned(ranked(0), ranked(9), [5], 8)) == [0, 9]


class TestNewest:
    def test_the_newest_come_first_and_nothing_exactly_as_old(self):
        newest, since = NewestItems(), np.full(5, NEVER_SEEN_MS)
        for row, since_ms in ((2, 10), (0, 30), (4, 20)):
            newest.update_first_seen(row, since_ms, int(since[row]))
            since[row] = since_ms
        assert newest.rows_after(since, 10) == [0, 4]
        newest.update_first_seen(0, 5, int(since[0]))
        since[0] = 5
        assert newest.rows_after(since, 4) == [4, 2, 0]
