"""The second stage: a model that is not linear re-orders the best of the first, and nothing else changes."""

import math
import pickle
import sys
from types import ModuleType

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import RankerConfig
from freshflow.ranking.features import FEATURES
from freshflow.ranking.kernel import (
    CANDIDATE_ROW,
    ENTRY_CANDIDATE,
    HISTORY_INDEX,
    N_LISTED,
    N_TIED,
    TARGET_INDEX,
    TARGET_RANK,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.ranking.ranker import Ranker
from freshflow.ranking.tie_breaking import explain_score
from freshflow.users.profile import Context, UserProfile
from tests.ranking.choices import IN_SESSION, NOW_MS, answered, features, hit_rate, taught
from tests.ranking.worlds import chosen

ROOM = 10
IDS = [f"item {n:02d}" for n in range(40)]


class FirstFeature:
    """A model whose chance of a candidate is its first feature, whatever it is taught; it remembers that."""

    def __init__(self) -> None:
        self.taught: list[tuple[dict[str, float], bool]] = []

    def learn_one(self, x, y):
        self.taught.append((x, y))

    def predict_proba_one(self, x):
        return {True: x[FEATURES[0]], False: 1 - x[FEATURES[0]]}


class Undecided(FirstFeature):
    def predict_proba_one(self, x):
        return {}


class Sure(FirstFeature):
    def predict_proba_one(self, x):
        return {True: float(x[FEATURES[0]] > 0)}


class Confused(FirstFeature):
    def predict_proba_one(self, x):
        return {True: math.nan}


@pytest.fixture(autouse=True)
def own(monkeypatch):
    module = ModuleType("own_models")
    for model in (FirstFeature, Undecided, Sure, Confused):
        setattr(module, model.__name__, model)
        monkeypatch.setattr(model, "__module__", "own_models")  # pickles of the models name it
    monkeypatch.setitem(sys.modules, "own_models", module)


def ranker(model: str = "FirstFeature", room: int = ROOM, choices: int = 30) -> Ranker:
    """A ranker whose first stage has learned something."""
    return taught(Ranker(RankerConfig(model=f"own_models:{model}", hidden_units=4, shortlist=room)), choices)


def copied(answers: RankingResults) -> RankingResults:
    return RankingResults(*(part.copy() for part in answers))


def rescored(of: Ranker, before: RankingResults, query: Query = IN_SESSION) -> RankingResults:
    after = copied(before)
    of.rerank([query], after)
    return after


def listed(answers: RankingResults) -> list[int]:
    return answers.entries[0, : answers.results[0, N_LISTED], ENTRY_CANDIDATE].tolist()


def test_the_shortlist_is_ordered_by_the_model_and_stays_above_the_others():
    two_stages, x = ranker(), features(5)
    before = answered(two_stages, x)
    after = rescored(two_stages, before)
    first, order = listed(before), listed(after)
    assert sorted(order[:ROOM]) == sorted(first[:ROOM])
    assert order[ROOM:] == first[ROOM:]
    chances = x[order[:ROOM], 0].tolist()
    assert chances == sorted(chances, reverse=True)
    assert after.scores[0, order[ROOM - 1]] > after.scores[0, order[ROOM]]
    assert np.isfinite(after.scores).all()


def test_scores_beyond_the_shortlist_stay_and_differences_on_it_are_log_odds():
    two_stages, x = ranker(), features(5)
    x[:, 0] = np.linspace(0.1, 0.9, len(x))
    before = answered(two_stages, x)
    after = rescored(two_stages, before)
    inside = listed(before)[:ROOM]
    outside = np.setdiff1d(np.arange(len(x)), inside)
    assert np.array_equal(after.scores[0, outside], before.scores[0, outside])
    p = x[inside, 0].astype(np.float64)
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(np.diff(after.scores[0, inside]), np.diff(odds), atol=1e-4)
    assert after.scores[0, inside].min() == pytest.approx(before.scores[0, inside].min(), abs=1e-4)


@pytest.mark.parametrize("model", ["Undecided", "Confused"])
def test_a_model_that_cannot_tell_keeps_the_order_of_the_first_stage(model):
    two_stages, x = ranker(model), features(6)
    before = answered(two_stages, x)
    assert listed(rescored(two_stages, before)) == listed(before)


def test_chances_of_nothing_and_of_certainty_give_finite_scores_and_ties_keep_the_first_order():
    two_stages, x = ranker("Sure"), features(7)
    before = answered(two_stages, x)
    after = rescored(two_stages, before)
    assert np.isfinite(after.scores).all()
    shortlist = listed(before)[:ROOM]
    assert listed(after)[:ROOM] == sorted(shortlist, key=lambda at: x[at, 0] <= 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_of_what_came_is_its_place_by_the_new_scores(seed):
    two_stages, x = ranker(), features(seed)
    for came in range(0, 40, 7):
        before = answered(two_stages, x, came)
        after = rescored(two_stages, before)
        assert after.results[0, TARGET_RANK] == 1 + (after.scores[0] > after.scores[0, came]).sum()
        if before.results[0, TARGET_RANK] > ROOM:
            assert after.results[0, TARGET_RANK] == before.results[0, TARGET_RANK]


def test_a_rank_is_found_where_no_list_is_wanted():
    two_stages, x = ranker(), features(8)
    asked_for = rescored(two_stages, answered(two_stages, x, 3)).results[0, TARGET_RANK]
    no_list = msgspec.structs.replace(IN_SESSION, k=0)
    assert rescored(two_stages, answered(two_stages, x, 3, no_list), no_list).results[0, TARGET_RANK] == asked_for


def test_seen_items_take_no_place_on_the_shortlist_and_none_on_the_list():
    two_stages, x = ranker(), features(9)
    query = Query(UserProfile(), Context(("a",), 1, 0), NOW_MS, k=20, exclude_seen=True)
    before = answered(two_stages, x, query=query)
    seen = listed(before)[:5]
    before.candidates[0, seen, HISTORY_INDEX] = 0
    after = rescored(two_stages, before, query)
    expected = [at for at in np.argsort(-before.scores[0]).tolist() if at not in seen][:ROOM]
    assert sorted(listed(after)[:ROOM]) == sorted(expected)
    assert not set(seen) & set(listed(after))
    assert len(listed(after)) == 20


@pytest.mark.parametrize("candidates", [1, 3, ROOM, ROOM + 1, 40])
@pytest.mark.parametrize("k", [1, 5, 20, 40])
def test_the_number_of_listed_items_does_not_change(candidates, k):
    two_stages, x = ranker(), features(10, candidates)
    query = msgspec.structs.replace(IN_SESSION, k=k)
    before = answered(two_stages, x, query=query)
    after = rescored(two_stages, before, query)
    assert after.results[0, N_LISTED] == before.results[0, N_LISTED] == min(candidates, k)
    assert len(set(listed(after))) == len(listed(after))


def test_no_candidates_are_no_shortlist():
    two_stages = ranker()
    answers = RankingResults.empty(1, 3, 3, 4, keep_features=True)
    two_stages.rerank([IN_SESSION], answers)
    assert not answers.results.any()


def test_alike_candidates_tie_and_their_ids_decide():
    two_stages = ranker()
    answers = answered(two_stages, np.repeat(features(11, 2), 3, axis=0))
    answers.candidates[0, :, CANDIDATE_ROW] = [5, 4, 3, 2, 1, 0]
    two_stages.rerank([IN_SESSION], answers)
    assert answers.results[0, N_TIED]
    ids = [item.item_id for item in chosen(0, answers, IDS)[:6]]
    assert ids in (sorted(IDS[:3]) + sorted(IDS[3:6]), sorted(IDS[3:6]) + sorted(IDS[:3]))


def test_rescoring_again_changes_nothing():
    two_stages = ranker()
    once = rescored(two_stages, answered(two_stages, features(12), 4))
    twice = rescored(two_stages, once)
    assert all(np.array_equal(a, b) for a, b in zip(once, twice, strict=True))


def test_linear_rankers_leave_answers_alone():
    linear = taught(Ranker(RankerConfig(hidden_units=4)), 30)
    before = answered(linear, features(13), 4)
    after = rescored(linear, before)
    linear.record_rerank_examples(IN_SESSION, 0, after)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not linear.pending_examples


# Contributions


def test_contributions_add_up_to_the_score_on_the_shortlist_and_beyond():
    two_stages = ranker()
    before = answered(two_stages, features(14))
    after = rescored(two_stages, before)
    for at, place in enumerate(listed(after)):
        by_name = explain_score(0, place, after, two_stages.weights, IN_SESSION.model_index)
        assert sum(by_name.values()) == pytest.approx(after.scores[0, place], abs=1e-6)
        assert (set(by_name) == {"model"}) == (at < ROOM)


# What is learned


def test_what_came_is_taught_with_others_of_the_shortlist_when_it_is_taken_over():
    two_stages, x = ranker(choices=0), features(15)
    answers = answered(two_stages, x, 3)  # nothing learned, so the shortlist is the first ten
    two_stages.rerank([IN_SESSION], answers)
    two_stages.record_rerank_examples(IN_SESSION, 0, answers)
    model = two_stages.rerankers[0]
    assert not model.taught
    two_stages.apply_updates()
    (positive, came), *others = model.taught
    assert came
    assert positive[FEATURES[0]] == x[3, 0]
    assert len(others) == 6
    assert not any(label for _, label in others)
    assert {features[FEATURES[0]] for features, _ in others} <= set(np.delete(x[:ROOM, 0], 3).tolist())
    assert not two_stages.rerankers[1].taught


@pytest.mark.parametrize("came", [-1, 30], ids=["it is no candidate", "it is not on the shortlist"])
def test_what_came_from_elsewhere_teaches_no_reranker(came):
    two_stages = ranker(choices=0)
    answers = answered(two_stages, features(16), came)
    assert answers.results[0, TARGET_INDEX] == came
    two_stages.record_rerank_examples(IN_SESSION, 0, answers)
    assert not two_stages.pending_examples


def test_learning_does_not_depend_on_how_many_queries_are_answered_at_once():
    """Eight choices between two take-overs, re-ordered one by one or all first."""
    batches = []
    for at_once in (1, 8):
        two_stages, seen = Ranker(RankerConfig(model="freshflow.ranking.model_factories:tree", hidden_units=4)), []
        for start in range(0, 160, at_once):
            answers = [answered(two_stages, features(n), n % 25) for n in range(start, start + at_once)]
            for one in answers:
                two_stages.rerank([IN_SESSION], one)
            for one in answers:
                two_stages.record_choice(0, one.gradient[0], one.unit_gradient[0])
                two_stages.record_rerank_examples(IN_SESSION, 0, one)
                seen.append(one.scores.tobytes())
            if two_stages.n_updates % 8 == 0:
                two_stages.apply_updates()
        batches.append((seen, pickle.dumps(two_stages.rerankers)))
    assert batches[0] == batches[1]


def test_what_waits_to_be_learned_is_part_of_the_state():
    two_stages, other = ranker(choices=0), ranker(choices=0)
    two_stages.record_rerank_examples(IN_SESSION, 0, answered(two_stages, features(17), 3))
    other.restore(two_stages.state())
    assert len(other.pending_examples) == 7
    assert other.pending_examples == two_stages.pending_examples


def test_a_tree_makes_use_of_what_the_first_stage_cannot_say():
    """Nothing but an interval of one feature pleases; without hidden units the first stage has no word for it."""

    def taste(x: np.ndarray) -> np.ndarray:
        return 6.0 * ((x[:, 2] > 0.3) & (x[:, 2] < 0.6))

    rates = {}
    for model in ("adam", "tree"):
        learned = Ranker(RankerConfig(model=f"freshflow.ranking.model_factories:{model}", hidden_units=0, shortlist=40))
        rates[model] = hit_rate(taught(learned, 500, taste), taste)
    assert rates["tree"] > rates["adam"] + 0.1, rates
