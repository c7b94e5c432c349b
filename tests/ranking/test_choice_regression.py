"""The default model: the steps of River's logistic regression, and many choices at once."""

import numpy as np
import pytest
from river import linear_model, optim

from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression


def test_learn_one_takes_the_steps_of_river():
    random = np.random.default_rng(3)
    ours = ChoiceRegression(Adam(lr=0.01))
    rivers = linear_model.LogisticRegression(optim.Adam(lr=0.01), intercept_lr=0.0)
    for n in range(200):
        names = [f"x{i}" for i in range(8 if n > 50 else 5)]  # new features are met on the way
        x = dict(zip(names, random.normal(0, 1, len(names)).tolist(), strict=True))
        for model in (ours, rivers):
            model.learn_one(x, n % 3 == 0, 1.5)
    assert ours.weights == pytest.approx(rivers.weights, abs=1e-12)
    assert ours.predict_proba_one(x) == pytest.approx(rivers.predict_proba_one(x))


def test_initial_weights_predict_before_learning():
    model = ChoiceRegression(initial_weights={"p": 2.0})
    assert model.predict_proba_one({"p": 1.0, "unknown": 5.0})[True] == pytest.approx(1 / (1 + np.exp(-2)))
    assert model.clone().weights == {"p": 2.0}


def test_learn_choices_in_any_order_of_names_is_the_same():
    gradients = np.random.default_rng(6).normal(0, 1, (20, 3))
    one, other = ChoiceRegression(), ChoiceRegression()
    one.learn_choices(("p", "q", "r"), gradients)
    other.learn_choices(("p", "q", "r"), gradients[:7])
    other.learn_choices(("r", "p", "q"), gradients[7:, [2, 0, 1]])
    assert one.weights == other.weights


def test_learn_choices_without_a_feature_equals_a_gradient_of_zero():
    gradients = np.random.default_rng(7).normal(0, 1, (20, 2))
    one, other = (ChoiceRegression(initial_weights=dict.fromkeys("pqr", 0.0)) for _ in range(2))
    one.learn_choices(("p", "r"), gradients)
    other.learn_choices(("p", "q", "r"), np.insert(gradients, 1, 0.0, axis=1))
    assert one.weights == other.weights
