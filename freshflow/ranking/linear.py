"""Linear models of a choice, alone or behind River's scalers: how they learn one and how they score.

The log-likelihood of a choice has the gradient d by the weights (`freshflow.ranking.scoring`). `ChoiceRegression`
takes it as it is. For River's logistic regressions it is one example: features d, label True and sample weight
1 / (1 - sigma(w . d)), since the gradient of their loss is -(1 - sigma(w . d)) d. With plain SGD the step is exactly
w <- w + alpha d.

**Behind scalers** the score of a candidate is  w . t(x),  with t(x)_i = s_i x_i + b_i, so

    score(x) = sum_i w_i s_i x_i + offset,   offset = intercept + sum_i w_i b_i

and its effective weights are w_i s_i; StandardScaler has s_i = 1 / sigma_i, b_i = -mu_i / sigma_i. The offset is the
same for all candidates and cancels in the choice, whose gradient by w_i is s_i d_i. The regression learns from this
gradient and not from t(d): centring would remove the mean of d, which is the signal. The scalers themselves learn
from d, so they measure how much a feature sets the chosen item apart from the expected one, the quantity that its
weight multiplies. A feature that is the same for all candidates has no spread, however much it varies over time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._river import compose, optim, preprocessing
from freshflow.ranking.choice_regression import ChoiceRegression

# Scalers that map every feature on its own, by a straight line.
SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.AdaptiveStandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)
# Where sigma rounds to 1, the product of sample weight and gradient would be 0 / 0.
MIN_RESIDUAL = 1e-12
# A feature that is the same for all candidates has a gradient of rounding errors, which a scaler would amplify.
MIN_GRADIENT = 1e-6

NamedValues = dict[str, float]


def is_linear(model: Any) -> bool:
    """Return whether `model` is a logistic regression, alone or behind scalers, and so can learn choices."""
    scalers, estimator = _split_pipeline(model)
    is_logistic = isinstance(estimator, ChoiceRegression) or (
        hasattr(estimator, "weights") and isinstance(getattr(estimator, "loss", None), optim.losses.Log)
    )
    return is_logistic and all(type(scaler) in SCALERS for scaler in scalers)


def learn_choices(model: Any, names: tuple[str, ...], gradients: NDArray[np.float64]) -> None:
    """Train a linear `model` on choices, one after the other.

    Args:
        model: A model that `is_linear`.
        names: The features (F,).
        gradients: (N, F), of the log-likelihood of each choice by the weights.
    """
    scalers, regression = _split_pipeline(model)
    if isinstance(regression, ChoiceRegression) and not scalers:
        regression.learn_choices(names, gradients)
        return
    for gradient in gradients.tolist():
        learn_choice(model, dict(zip(names, gradient, strict=True)))


def learn_choice(model: Any, gradient: NamedValues) -> None:
    """Train a linear `model` on a choice whose log-likelihood has this gradient by feature."""
    scalers, regression = _split_pipeline(model)
    if scalers:
        gradient = {name: value if abs(value) > MIN_GRADIENT else 0.0 for name, value in gradient.items()}
    for scaler in scalers:
        scaler.learn_one(gradient)
        at_zero = scaler.transform_one(dict.fromkeys(gradient, 0.0))
        gradient = {name: value - at_zero[name] for name, value in scaler.transform_one(gradient).items()}
    if isinstance(regression, ChoiceRegression):
        regression.learn_choices(tuple(gradient), np.array([[*gradient.values()]]))
        return
    intercept = regression.intercept
    residual = 1 - regression.predict_proba_one(gradient)[True]
    regression.learn_one(gradient, True, 1 / max(residual, MIN_RESIDUAL))
    regression.intercept = intercept  # a choice says nothing about it, and examples that are all True would raise it


def effective_weights(model: Any, names: tuple[str, ...]) -> tuple[NDArray[np.float64], float]:
    """Return the weights (N,) by which a linear `model` scores the features `names`, and the offset of all scores."""
    scalers, regression = _split_pipeline(model)
    weight_by_name = regression.weights
    values = (
        weight_by_name.values() if tuple(weight_by_name) == names else (weight_by_name.get(name, 0.0) for name in names)
    )
    weights = np.fromiter(values, np.float64, len(names))
    offset = float(getattr(regression, "intercept", 0.0))
    if not weight_by_name or not scalers:
        return weights, offset
    at_zero, at_one = (_transform(scalers, dict.fromkeys(names, value)) for value in (0.0, 1.0))
    return weights * (at_one - at_zero), offset + float(weights @ at_zero)


def _transform(scalers: list[Any], features: NamedValues) -> NDArray[np.float64]:
    for scaler in scalers:
        features = scaler.transform_one(features)
    return np.array(list(features.values()), np.float64)


def _split_pipeline(model: Any) -> tuple[list[Any], Any]:
    """Return the steps before the last, and the last."""
    if not isinstance(model, compose.Pipeline):
        return [], model
    *scalers, estimator = model.steps.values()
    return scalers, estimator
