"""The arithmetic of a ranker against numpy and numerical gradients, and the best against sorting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.ranking.features import CONTEXT_FEATURES, FEATURE_SOURCES, FEATURES, FIRST_PERSONAL
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.ranking.gradients import choice_gradient
from freshflow.ranking.reason_names import RANKING_REASONS
from freshflow.ranking.reasons import assign_reasons
from freshflow.ranking.scoring import feature_names, score_candidates
from freshflow.ranking.top_k import rank_by_value, select_top_k

F, Z, H = len(FEATURES), len(CONTEXT_FEATURES), 5


class Choice:
    """Random candidates, half of whose features are zero, and random weights to score them with."""

    def __init__(self, seed: int, candidates: int = 7, hidden: int = H, features: int = F) -> None:
        random = np.random.default_rng(seed)
        shape = (features, candidates)
        self.features = (random.uniform(0, 1, shape) * random.integers(0, 2, shape)).astype(np.float32)
        self.moment = (random.uniform(0, 1, Z) * random.integers(0, 2, Z)).astype(np.float32)
        self.linear = random.normal(0, 1, features + hidden)
        self.unit_weights = random.normal(0, 0.3, (hidden, features + Z + 1)).astype(np.float32)
        self.scored()

    def scored(self) -> np.ndarray:
        """Scores of the candidates, by the compiled loop."""
        candidates, hidden = self.features.shape[1], len(self.unit_weights)
        self.units, self.scores = np.ones((hidden, candidates), np.float32), np.ones(candidates)
        score_candidates(
            self.linear, self.unit_weights, self.moment, self.features, candidates, self.units, self.scores
        )
        return self.scores

    def taught(self, came: int) -> tuple[np.ndarray, np.ndarray]:
        """The gradients that the compiled loop gives."""
        gradient, unit_gradient = np.ones_like(self.linear), np.ones_like(self.unit_weights)
        units, scores = self.units, self.scores
        choice_gradient(
            self.linear, self.moment, self.features, len(scores), units, scores, came, gradient, unit_gradient
        )
        return gradient, unit_gradient

    def log_likelihood(self, came: int, linear: np.ndarray, unit_weights: np.ndarray) -> float:
        """The definition, in float64."""
        _, scores = self.by_definition(linear, unit_weights)
        return scores[came] - scores.max() - np.log(np.exp(scores - scores.max()).sum())

    def by_definition(self, linear: np.ndarray, unit_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hidden units and scores in float64."""
        features = self.features.T.astype(np.float64)
        rest = np.tile([*self.moment, 1.0], (len(features), 1))
        units = np.maximum(0, np.hstack([features, rest]) @ unit_weights.T)
        return units, features @ linear[: features.shape[1]] + units @ linear[features.shape[1] :]


@pytest.mark.parametrize("hidden", [0, 1, H, 16])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_weights_times_features_and_units(seed, hidden):
    choice = Choice(seed, hidden=hidden)
    units, scores = choice.by_definition(choice.linear, choice.unit_weights.astype(np.float64))
    np.testing.assert_allclose(choice.units.T, units, atol=1e-5)
    np.testing.assert_allclose(choice.scores, scores, atol=1e-4)
    linear = choice.features.T.astype(np.float64) @ choice.linear[:F]
    np.testing.assert_allclose(choice.scores, linear + choice.units.T @ choice.linear[F:], rtol=0, atol=1e-9)


def test_features_of_content_count_for_candidates_that_have_no_company():
    choice = Choice(6, features=F + len(CONTENT_FEATURES))
    choice.features[FIRST_PERSONAL:F, 4:] = 0  # as of candidates that are none of the user's
    _, expected = choice.by_definition(choice.linear, choice.unit_weights.astype(np.float64))
    score_candidates(choice.linear, choice.unit_weights, choice.moment, choice.features, 4, choice.units, choice.scores)
    np.testing.assert_allclose(choice.scores, expected, atol=1e-4)
    full, some = choice.taught(2), (np.ones_like(choice.linear), np.ones_like(choice.unit_weights))
    choice_gradient(choice.linear, choice.moment, choice.features, 4, choice.units, choice.scores, 2, *some)
    for one, other in zip(full, some, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_scores_of_no_candidates_are_none():
    assert Choice(1, candidates=0).scores.shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_the_slopes_of_the_log_likelihood(seed):
    choice, came, h = Choice(seed), seed % 7, 1e-6
    linear, unit_weights = choice.linear, choice.unit_weights.astype(np.float64)
    gradient, unit_gradient = choice.taught(came)
    for n in range(F + H):
        step = np.zeros(F + H)
        step[n] = h
        up, down = (choice.log_likelihood(came, linear + sign * step, unit_weights) for sign in (1, -1))
        assert gradient[n] == pytest.approx((up - down) / (2 * h), abs=1e-4)
    for place in np.ndindex(unit_weights.shape):
        step = np.zeros(unit_weights.shape)
        step[place] = h
        up, down = (choice.log_likelihood(came, linear, unit_weights + sign * step) for sign in (1, -1))
        assert unit_gradient[place] == pytest.approx((up - down) / (2 * h), abs=1e-4)


def test_huge_scores_give_finite_gradients():
    choice = Choice(3)
    choice.scores[:] = np.linspace(-1e4, 1e4, 7)
    gradient, unit_gradient = choice.taught(0)
    np.testing.assert_allclose(gradient[:F], choice.features[:, 0] - choice.features[:, 6], atol=1e-6)
    assert np.isfinite(unit_gradient).all()


def test_the_only_candidate_teaches_nothing():
    gradient, unit_gradient = Choice(4, candidates=1).taught(0)
    assert not gradient.any()
    assert not unit_gradient.any()


def test_a_hidden_unit_that_nobody_hears_is_not_moved():
    choice = Choice(5)
    choice.linear[F:] = 0
    choice.scored()
    gradient, unit_gradient = choice.taught(2)
    assert not unit_gradient.any()
    assert gradient[F:].any()


values = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, -np.inf]), max_size=9)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(values, st.integers(0, 10), st.data())
def test_the_best_are_the_first_of_the_sorted_order_and_ties_among_them_are_told(scores, k, data):
    skipped = data.draw(st.lists(st.sampled_from([-1, -1, 0, 3]), min_size=len(scores), max_size=len(scores)))
    places = np.full(k, -7, np.int32)
    n, tied = select_top_k(np.array(scores, np.float64), np.array(skipped, np.int32), k, places)
    allowed = sorted((at for at in range(len(scores)) if skipped[at] < 0), key=lambda at: (-scores[at], at))
    assert n == min(k, len(allowed))
    assert [scores[at] for at in places[:n]] == [scores[at] for at in allowed[:k]]
    assert len({*places[:n].tolist()}) == n
    assert {*places[:n].tolist()} <= set(allowed)
    in_doubt = [scores[at] for at in allowed[: k + 1]] if k else []
    assert tied or len(set(in_doubt)) == len(in_doubt)
    if not tied:
        assert places[:n].tolist() == allowed[:k]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.data())
def test_a_rank_is_the_place_in_the_sorted_order(scores, data):
    at = data.draw(st.integers(0, len(scores) - 1))
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    assert rank_by_value(np.array(scores, np.float64), at) == order.index(at) + 1


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 2), max_size=4),
    st.tuples(*[st.integers(0, 15)] * 4),
    st.sampled_from([F, F + len(CONTENT_FEATURES)]),
)
def test_the_reason_is_the_source_that_speaks_most_where_that_is_true(seed, places, flags, features):
    choice = Choice(seed, candidates=3, features=features)
    of_each = [[bool(bits >> n & 1) for n in range(len(places))] for bits in flags]
    reasons = np.full(len(places), -1, np.int32)
    assign_reasons(
        *(choice.linear, choice.unit_weights, choice.features, choice.units, np.array(places, np.int32)),
        *(np.array(flags, np.bool_) for flags in of_each),
        reasons,
    )
    for at, *said, reason in zip(places, *of_each, reasons.tolist(), strict=True):
        assert RANKING_REASONS[reason] == reason_by_definition(choice, at, *said)


def reason_by_definition(
    choice: Choice, at: int, mine: bool, kept_company: bool, resembles: bool, untouched: bool
) -> str:
    x, units, f = choice.features[:, at].astype(np.float64), choice.units[:, at] > 0, len(choice.features)
    through_units = choice.linear[f:][units] @ choice.unit_weights[units, :f].astype(np.float64)
    spoken = dict.fromkeys(RANKING_REASONS[: 4 if f > F else 3], 0.0)
    for name, value in zip(feature_names(f), x * (choice.linear[:f] + through_units), strict=True):
        spoken[FEATURE_SOURCES.get(name, "similar")] += value
    strongest = max(spoken, key=spoken.get)
    if (strongest == "again" and mine) or (strongest == "similar" and resembles):
        return strongest
    if strongest != "popular" and kept_company:
        return "together"
    if untouched:
        return "similar" if resembles else "new"
    return "popular"
