"""Our River estimators pass River's own checks of estimators."""

import sys
from types import SimpleNamespace

import pytest
from river import checks

from freshflow.ranking import model_factories
from freshflow.ranking.choice_regression import ChoiceRegression

MODELS = {
    "ChoiceRegression": ChoiceRegression,
    "adam": model_factories.adam,
    "scaled": model_factories.scaled,
    "tree": model_factories.tree,
}


@pytest.fixture(autouse=True)
def scikit_learn(monkeypatch):
    """The checks import scikit-learn's data sets, but none of them is for a classifier."""
    if "sklearn" not in sys.modules:
        monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace(datasets=None))


@pytest.mark.parametrize("model", MODELS)
def test_estimator_passes_the_checks_of_river(model):
    checks.check_estimator(MODELS[model]())
