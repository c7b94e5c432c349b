"""The ranker: its step is the gradient of the conditional logit, its scores are River's own."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
from river import compose, linear_model, optim, preprocessing
from river import tree as trees

from freshflow.config.schema import RankerConfig
from freshflow.errors import ConfigError
from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression
from freshflow.ranking.linear import effective_weights, is_linear, learn_choice, learn_choices
from freshflow.ranking.model_factories import SGD_LEARNING_RATE
from freshflow.ranking.ranker import Ranker, load_model_factory

from .choices import AT_START, IN_SESSION, F, answered, features, hit_rate, learn, taught

SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.AdaptiveStandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)


def ranker(model: str = "sgd", choices: int = 0, units: int = 4) -> Ranker:
    return taught(Ranker(RankerConfig(model=f"freshflow.ranking.model_factories:{model}", hidden_units=units)), choices)


@pytest.fixture
def own(monkeypatch):
    """A module of the user's, whose functions are set as attributes."""
    module = ModuleType("own_models")
    monkeypatch.setitem(sys.modules, "own_models", module)
    return module


def inputs(x: np.ndarray, units: np.ndarray) -> np.ndarray:
    """What the model of a ranker sees, (C, F + H), of features (C, F) and hidden units (H, C)."""
    return np.concatenate([x, units.T], axis=1).astype(np.float64)


# What is learned


@pytest.mark.parametrize("query", [IN_SESSION, AT_START], ids=["in a session", "at its start"])
@pytest.mark.parametrize("choices", [0, 50])
def test_a_step_of_plain_sgd_is_what_came_less_what_was_expected(query, choices):
    taught_one, x, came = ranker(choices=choices), features(77, 7), 3
    before = taught_one.weights.linear[query.model_index].copy()
    answers = answered(taught_one, x, came, query)
    shares = np.exp(answers.scores[0]) / np.exp(answers.scores[0]).sum()
    seen = inputs(x, answers.units[0])
    taught_one.record_choice(query.model_index, answers.gradient[0], answers.unit_gradient[0])
    taught_one.apply_updates()
    step = taught_one.weights.linear[query.model_index] - before
    np.testing.assert_allclose(
        step, SGD_LEARNING_RATE * (seen[came] - shares @ seen), rtol=0, atol=1e-6
    )  # features are float32


def test_a_step_by_hand():
    """Two candidates, (1, 0) and (0, 1), score 0; the first comes: w <- 0 + 0.1 ((1, 0) - (1/2, 1/2))."""
    new, x = ranker(units=0), np.zeros((2, F), np.float32)
    x[0, 0] = x[1, 1] = 1
    learn(new, x, came=0)
    new.apply_updates()
    assert new.weights.linear[0, :3].tolist() == pytest.approx([0.05, -0.05, 0])
    assert not new.weights.linear[1].any()


def test_river_s_own_sgd_takes_the_step_w_plus_a_times_y_minus_sigma_times_x():
    model, x = Ranker(RankerConfig(model="freshflow.ranking.model_factories:sgd")).models[0], {"p": 2.0, "q": -1.0}
    model.learn_one(x, True)  # w = 0, so sigma = 1/2
    assert model.weights == pytest.approx({"p": 0.1, "q": -0.05})
    model.learn_one(x, False)  # w . x = 0.25
    sigma = 1 / (1 + math.exp(-0.25))
    assert model.weights == pytest.approx({"p": 0.1 - 0.2 * sigma, "q": -0.05 + 0.1 * sigma}, abs=1e-12)


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.Adam(0.01)], ids=["sgd", "adam"])
def test_an_intercept_neither_grows_nor_stops_the_learning(optimizer):
    model = linear_model.LogisticRegression(optimizer, intercept_lr=0.5, intercept_init=0.25)
    for _ in range(1000):
        learn_choice(model, {"p": 0.1, "q": -0.1})
    assert model.intercept == 0.25
    last = model.weights["p"]
    learn_choice(model, {"p": 0.1, "q": -0.1})
    assert model.weights["p"] > last


@pytest.mark.parametrize("size", [-1e3, -40, 40, 1e3], ids=str)
def test_a_foregone_choice_teaches_finite_weights(size):
    taught_one = ranker("adam", choices=40)
    weights = taught_one.weights.linear[0]
    margin = size * weights / (weights @ weights)
    taught_one.record_choice(0, margin, np.zeros_like(taught_one.units))
    taught_one.apply_updates()
    assert np.isfinite(taught_one.weights.linear).all()


def test_the_only_candidate_teaches_nothing():
    taught_one = ranker(choices=20)
    before = taught_one.weights.linear.copy()
    learn(taught_one, features(1, 1), 0)
    taught_one.apply_updates()
    assert np.array_equal(taught_one.weights.linear, before)


def test_moments_with_and_without_a_context_have_models_of_their_own():
    taught_one = ranker()
    learn(taught_one, features(7), 0, AT_START)
    taught_one.apply_updates()
    assert not taught_one.weights.linear[0].any()
    assert taught_one.weights.linear[1].any()


def test_scores_stay_as_they_were_until_they_are_taken_over():
    taught_one, x = ranker(choices=24), features(6)
    before = answered(taught_one, x).scores
    learn(taught_one, x, 2)
    assert np.array_equal(answered(taught_one, x).scores, before)
    taught_one.apply_updates()
    assert not np.array_equal(answered(taught_one, x).scores, before)


LINEAR = {
    "adam": lambda: ChoiceRegression(Adam(0.01)),
    "river's adam": lambda: linear_model.LogisticRegression(optim.Adam(0.01)),
    "sgd": lambda: linear_model.LogisticRegression(optim.SGD(0.1)),
    "penalised": lambda: linear_model.LogisticRegression(optim.Adam(0.01), l2=0.1),
    "scaled": lambda: preprocessing.StandardScaler() | ChoiceRegression(Adam(0.01)),
}


@pytest.mark.parametrize("made", LINEAR.values(), ids=LINEAR)
def test_choices_learned_together_are_learned_one_by_one(made):
    names, gradients = ("p", "q", "r"), np.random.default_rng(6).normal(0, 1, (40, 3))
    together, one_by_one = made(), made()
    for part in np.split(gradients, [1, 8, 9]):
        learn_choices(together, names, part)
    for gradient in gradients.tolist():
        learn_choice(one_by_one, dict(zip(names, gradient, strict=True)))
    weights = [effective_weights(model, names)[0] for model in (together, one_by_one)]
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-9)
    assert np.abs(weights[0]).min() > 0


# Scores are River's own


def assert_scores_are_river_s(taught_one: Ranker) -> None:
    for query in (IN_SESSION, AT_START):
        x, model = features(99), taught_one.models[query.model_index]
        answers = answered(taught_one, x, query=query)
        weights, offset = effective_weights(model, taught_one.input_names)
        assert np.array_equal(weights, taught_one.weights.linear[query.model_index])
        for n, row in enumerate(inputs(x, answers.units[0]).tolist()):
            chance = model.predict_proba_one(dict(zip(taught_one.input_names, row, strict=True)))[True]
            logit = answers.scores[0, n] + offset
            assert 1 / (1 + math.exp(-logit)) == pytest.approx(chance, abs=1e-9)


@pytest.mark.parametrize("choices", [0, 1, 60])
@pytest.mark.parametrize("model", ["sgd", "adam", "scaled"])
def test_scores_of_shipped_linear_models_are_river_s_own(model, choices):
    assert_scores_are_river_s(ranker(model, choices))


@pytest.mark.parametrize("scaler", SCALERS)
def test_scores_behind_any_known_scaler_are_river_s_own(own, scaler):
    own.model = lambda: scaler() | linear_model.LogisticRegression(intercept_init=0.5)
    assert_scores_are_river_s(taught(Ranker(RankerConfig(model="own_models:model", hidden_units=4)), 60))


def test_scores_behind_two_scalers_are_river_s_own(own):
    own.model = lambda: (
        preprocessing.MaxAbsScaler() | preprocessing.StandardScaler() | linear_model.LogisticRegression()
    )
    assert_scores_are_river_s(taught(Ranker(RankerConfig(model="own_models:model", hidden_units=4)), 60))


def test_effective_weights_of_a_standard_scaler_are_weights_over_deviations():
    scaler, regression = preprocessing.StandardScaler(), linear_model.LogisticRegression()
    model = scaler | regression
    for d in (1.0, 2.0, 4.0):
        learn_choice(model, {"p": d, "q": -0.5 * d})
    weights, offset = effective_weights(model, ("p", "q"))
    w, mean, deviation = regression.weights, scaler.means, {name: scaler.vars[name] ** 0.5 for name in "pq"}
    assert weights.tolist() == pytest.approx([w[name] / deviation[name] for name in "pq"])
    assert offset == pytest.approx(-sum(w[name] * mean[name] / deviation[name] for name in "pq"))


def test_behind_a_scaler_the_mean_of_what_decides_is_not_taken_away():
    """All choices go the same way: centred, they would teach nothing at all."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.1))
    for n in range(200):
        learn_choice(model, {"p": 1 + 0.1 * (-1) ** n, "q": 0.0})
    assert effective_weights(model, ("p", "q"))[0][0] > 1


def test_behind_a_scaler_what_differs_by_rounding_only_is_not_blown_up():
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.1))
    for n in range(50):
        learn_choice(model, {"p": (-1.0) ** n, "q": 1e-9 * (n % 3)})
    assert effective_weights(model, ("p", "q"))[0][1] == 0


def test_a_scaled_pipeline_hits_about_as_often_as_adam():
    rates = {model: hit_rate(ranker(model, 800)) for model in ("adam", "scaled")}
    assert rates["scaled"] > rates["adam"] - 0.05, rates


# Which models are linear


@pytest.mark.parametrize(
    ("model", "linear"),
    [
        (ChoiceRegression(), True),
        (preprocessing.StandardScaler() | ChoiceRegression(), True),
        (linear_model.LogisticRegression(), True),
        (compose.Pipeline(linear_model.LogisticRegression()), True),
        (preprocessing.StandardScaler() | linear_model.LogisticRegression(), True),
        (preprocessing.Normalizer() | linear_model.LogisticRegression(), False),  # looks at all features together
        (linear_model.PAClassifier(), False),  # its gradient is another
        (linear_model.Perceptron(), False),
        (trees.HoeffdingTreeClassifier(), False),
        (preprocessing.StandardScaler() | trees.HoeffdingTreeClassifier(), False),
    ],
    ids=str,
)
def test_logistic_regressions_behind_known_scalers_are_linear(model, linear):
    assert is_linear(model) is linear


# Factories


@pytest.mark.parametrize(
    "path",
    [
        "freshflow.ranking.model_factories:missing",
        "no_such_package.module:function",
        "freshflow.ranking.model_factories:ADAM_LEARNING_RATE",
        "freshflow.ranking.model_factories:",
        "freshflow.ranking.model_factories",
        ":",
        "",
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_by_name(path):
    with pytest.raises(ConfigError, match="cannot be loaded") as refusal:
        load_model_factory(path)
    assert repr(path) in str(refusal.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: None,
        dict,
        linear_model.LinearRegression,
        preprocessing.StandardScaler,
        lambda: preprocessing.StandardScaler() | linear_model.LinearRegression(),
    ],
    ids=["nothing", "a dict", "a regressor", "a scaler", "a pipeline that regresses"],
)
def test_what_is_no_classifier_is_refused_by_name(own, made):
    own.model = made
    with pytest.raises(ConfigError, match=r"'own_models:model'.*give a function that returns a River classifier"):
        Ranker(RankerConfig(model="own_models:model"))


def test_a_factory_that_fails_is_refused_with_its_reason(own):
    def model():
        raise KeyError("no such thing")

    own.model = model
    with pytest.raises(ConfigError, match=r"cannot be loaded .*no such thing"):
        load_model_factory("own_models:model")


def test_a_linear_model_of_one_s_own_ranks(own):
    own.model = linear_model.LogisticRegression
    assert hit_rate(taught(Ranker(RankerConfig(model="own_models:model")), 200)) > 0.5
