"""The ranker: its step is the gradient of the conditional logit, its scores are River's own."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
from river import linear_model, tree

from freshflow.config import RankerConfig
from freshflow.errors import ConfigError
from freshflow.ranking.features import FEATURES
from freshflow.ranking.queries import Query
from freshflow.ranking.ranker import Ranker, choice_gradients, model_factory
from freshflow.ranking.rankers import SGD_RATE
from freshflow.users.state import Context, UserState

from .worlds import START_MS, World, trained

F = len(FEATURES)
IN_SESSION = Query(UserState(), Context(("a",), 1, 0), START_MS)
AT_START = Query(UserState(), Context((), 0, 0), START_MS)


def choice(seed: int, candidates: int = 7) -> np.ndarray:
    """Features (F, C) of random candidates, half of them zero, as features are."""
    random = np.random.default_rng(seed)
    return (random.uniform(0, 1, (F, candidates)) * random.integers(0, 2, (F, candidates))).astype(np.float32)


def teach(ranker: Ranker, query: Query, features: np.ndarray, came: int) -> np.ndarray:
    """Learn one choice; gives the step that the query's weights took."""
    real = np.ones((1, features.shape[1]), np.bool_)
    before = ranker.weights_for([query])[0].copy()
    scores = ranker.scores([query], features[:, None], real)
    ranker.learn(query, choice_gradients(features[:, None], scores, np.array([came]))[0].tolist())
    ranker.take_over()
    return ranker.weights_for([query])[0] - before


def log_likelihood(weights: np.ndarray, features: np.ndarray, came: int) -> float:
    scores = weights @ features.astype(np.float64)
    return scores[came] - math.log(np.exp(scores - scores.max()).sum()) - scores.max()


@pytest.mark.parametrize("query", [IN_SESSION, AT_START], ids=["in a session", "at its start"])
@pytest.mark.parametrize("seed", range(5))
def test_a_step_of_plain_sgd_is_what_came_less_what_was_expected(seed, query):
    ranker, features, came = trained(seed=seed), choice(seed), seed % 7
    scores = ranker.weights_for([query])[0] @ features.astype(np.float64)
    shares = np.exp(scores) / np.exp(scores).sum()
    expected = SGD_RATE * (features[:, came] - features.astype(np.float64) @ shares)
    np.testing.assert_allclose(teach(ranker, query, features, came), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_follows_the_numerical_gradient_of_the_conditional_logit(seed):
    ranker, features, came, h = trained(seed=seed), choice(seed), 2, 1e-5
    weights = ranker.weights_for([IN_SESSION])[0].copy()
    slopes = [
        (log_likelihood(weights + h * unit, features, came) - log_likelihood(weights - h * unit, features, came))
        for unit in np.eye(F)
    ]
    step = teach(ranker, IN_SESSION, features, came)
    np.testing.assert_allclose(step / SGD_RATE, np.array(slopes) / (2 * h), atol=1e-7)


def test_gradients_of_a_batch_are_those_of_each_choice_and_padding_takes_no_part():
    small, large = choice(1, 4), choice(2, 7)
    padded = np.zeros((F, 2, 7), np.float32)
    padded[:, 0, :4], padded[:, 1] = small, large
    scores = np.full((2, 7), -np.inf)
    scores[0, :4], scores[1] = np.arange(4), np.arange(7) / 3
    both = choice_gradients(padded, scores, np.array([1, 6]))
    np.testing.assert_allclose(both[0], choice_gradients(small[:, None], scores[:1, :4], np.array([1]))[0], atol=1e-9)
    np.testing.assert_allclose(both[1], choice_gradients(large[:, None], scores[1:], np.array([6]))[0], atol=1e-9)


def test_no_choices_have_no_gradients_even_without_candidates():
    for candidates in (0, 3):
        features, scores = np.zeros((F, 0, candidates), np.float32), np.zeros((0, candidates))
        assert choice_gradients(features, scores, np.zeros(0, np.int64)).shape == (0, F)


def test_huge_scores_give_finite_gradients():
    features = choice(3)
    gradients = choice_gradients(features[:, None], np.linspace(-1e4, 1e4, 7)[None], np.array([0]))
    np.testing.assert_allclose(gradients[0], features[:, 0] - features[:, 6], atol=1e-6)


@pytest.mark.parametrize("size", [-1e3, -40, 40, 1e3], ids=str)
def test_a_foregone_choice_teaches_finite_weights(size):
    ranker = trained()
    weights = ranker.weights_for([IN_SESSION])[0]
    ranker.learn(IN_SESSION, (size * weights / (weights @ weights)).tolist())  # a margin of `size`
    ranker.take_over()
    assert np.isfinite(ranker.weights_for([IN_SESSION])).all()


def test_the_only_candidate_teaches_nothing():
    ranker = trained()
    assert not teach(ranker, IN_SESSION, choice(4, candidates=1), 0).any()


@pytest.mark.parametrize("model", ["sgd", "adam"])
def test_what_is_chosen_again_and_again_comes_to_win(model):
    ranker, features = Ranker(RankerConfig(f"freshflow.ranking.rankers:{model}")), choice(5)
    for _ in range(100):
        teach(ranker, IN_SESSION, features, 3)
    scores = ranker.scores([IN_SESSION], features[:, None], np.ones((1, 7), np.bool_))[0]
    assert scores.argmax() == 3
    assert ranker.updates == 100


def test_scores_stay_as_they_were_until_they_are_taken_over():
    ranker, features, real = trained(), choice(6)[:, None], np.ones((1, 7), np.bool_)
    before = ranker.scores([IN_SESSION], features, real)
    ranker.learn(IN_SESSION, features[:, 0, 0].tolist())
    assert np.array_equal(ranker.scores([IN_SESSION], features, real), before)
    ranker.take_over()
    assert not np.array_equal(ranker.scores([IN_SESSION], features, real), before)


def test_moments_with_and_without_a_context_have_models_of_their_own():
    ranker = Ranker(RankerConfig("freshflow.ranking.rankers:sgd"))
    teach(ranker, IN_SESSION, choice(7), 0)
    weights = ranker.weights_for([AT_START, IN_SESSION])
    assert not weights[0].any()
    assert weights[1].any()


@pytest.mark.parametrize("model", ["sgd", "adam"])
def test_scores_are_river_s_own_linear_term(model):
    ranker = trained(model)
    world = World("a b c", "b c d")
    ranked = world.rank(world.query("a"), world.query(), world.query("c", "b"))
    scores = ranker.scores(ranked.queries, ranked.features, ranked.candidates.real)
    for n, river in enumerate([ranker.models[0], ranker.models[1], ranker.models[0]]):
        for place in range(len(ranked.items(n))):
            example = dict(zip(FEATURES, ranked.features[:, n, place].tolist(), strict=True))
            probability = river.predict_proba_one(example)[True]
            assert scores[n, place] == pytest.approx(math.log(probability / (1 - probability)), abs=1e-9)


def test_scores_are_weights_times_features_and_minus_infinity_in_the_padding():
    ranker, features = trained(), choice(8, 6).reshape(F, 2, 3)
    real = np.array([[True, True, True], [True, False, False]])
    scores = ranker.scores([IN_SESSION, AT_START], features, real)
    weights = ranker.weights_for([IN_SESSION, AT_START])
    expected = np.einsum("fqc,qf->qc", features.astype(np.float64), weights)
    np.testing.assert_allclose(scores[real], expected[real], atol=1e-9)
    assert np.isneginf(scores[~real]).all()


def test_scoring_changes_no_model():
    ranker = trained()
    before = [dict(model.weights) for model in ranker.models]
    ranker.scores([IN_SESSION, AT_START], choice(9, 6).reshape(F, 2, 3), np.ones((2, 3), np.bool_))
    assert [dict(model.weights) for model in ranker.models] == before


@pytest.mark.parametrize(
    "path",
    [
        "freshflow.ranking.rankers:missing",
        "no_such_package.module:function",
        "freshflow.ranking.rankers:ADAM_RATE",
        "freshflow.ranking.rankers:",
        "freshflow.ranking.rankers",
        ":",
        "",
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_by_name(path):
    with pytest.raises(ConfigError, match="cannot be loaded") as refusal:
        model_factory(path)
    assert repr(path) in str(refusal.value)


@pytest.fixture
def own_models(monkeypatch):
    module = ModuleType("own_models")
    module.tree, module.logistic = tree.HoeffdingTreeClassifier, linear_model.LogisticRegression
    monkeypatch.setitem(sys.modules, "own_models", module)


@pytest.mark.usefixtures("own_models")
def test_a_model_that_is_not_linear_is_refused():
    with pytest.raises(ConfigError, match=r"without weights.*linear"):
        Ranker(RankerConfig("own_models:tree"))


@pytest.mark.usefixtures("own_models")
def test_a_linear_model_of_one_s_own_ranks():
    ranker = Ranker(RankerConfig("own_models:logistic"))
    assert teach(ranker, IN_SESSION, choice(10), 1).any()
