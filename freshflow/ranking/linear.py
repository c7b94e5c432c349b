"""River's logistic regressions, alone or behind scalers, as models of a choice: what they are taught, what they say.

A choice whose log-likelihood has the gradient d by the weights is one example for a logistic regression: features d,
label True, sample weight 1 / (1 - sigma(w . d)), since its own gradient is (1 - sigma(w . d)) d. With plain SGD the
step is exactly  w <- w + alpha d.

**Behind scalers** the score of a candidate is  w . t(x),  with t(x)_i = s_i x_i + b_i, so

    score(x) = sum_i w_i s_i x_i + offset,   offset = intercept + sum_i w_i b_i

and its effective weights are w_i s_i; StandardScaler has s_i = 1 / sigma_i, b_i = -mu_i / sigma_i. An offset is the
same for all candidates and cancels in the choice, whose gradient by w_i is s_i d_i. That is what the regression is
taught, and not t(d): centred, d would lose its mean, and with it everything that is to be learned. The scalers
themselves learn from d. So they measure by how much a feature sets the item that came apart from what was expected,
which is what its weight multiplies: what is the same for all candidates has no spread, however much it varies from one
moment to the next.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._river import VectorDict, compose, linear_model, optim, preprocessing
from freshflow.ranking.adam import Adam

__all__ = ["effective_weights", "is_linear", "learn_choice", "learn_choices"]

# Scalers that map every feature by itself, and by a straight line.
SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.AdaptiveStandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)
# Where sigma is 1 to the last bit, the product of weight and gradient would be 0 / 0.
MIN_RESIDUAL = 1e-12
# What is the same for all candidates has a gradient of rounding errors only, which a scaler would blow up.
MIN_GRADIENT = 1e-6

NamedValues = dict[str, float]


def is_linear(model: Any) -> bool:
    """Whether `model` is a logistic regression, alone or behind scalers: what can be taught choices."""
    scalers, estimator = _split_pipeline(model)
    logistic = hasattr(estimator, "weights") and isinstance(getattr(estimator, "loss", None), optim.losses.Log)
    return logistic and all(type(scaler) in SCALERS for scaler in scalers)


def learn_choice(model: Any, gradient: NamedValues) -> None:
    """Teach a linear `model` a choice whose log-likelihood has this gradient by feature."""
    scalers, regression = _split_pipeline(model)
    if scalers:
        gradient = {name: value if abs(value) > MIN_GRADIENT else 0.0 for name, value in gradient.items()}
    for scaler in scalers:
        scaler.learn_one(gradient)
        at_zero = scaler.transform_one(dict.fromkeys(gradient, 0.0))
        gradient = {name: value - at_zero[name] for name, value in scaler.transform_one(gradient).items()}
    intercept = regression.intercept
    residual = 1 - regression.predict_proba_one(gradient)[True]
    regression.learn_one(gradient, True, 1 / max(residual, MIN_RESIDUAL))
    regression.intercept = intercept  # no choice says anything of it, and examples that are all True would raise it


def learn_choices(model: Any, names: tuple[str, ...], gradients: NDArray[np.float64]) -> None:
    """Teach a linear `model` choices (N, F) whose features are called `names`, one after the other.

    Where there are no scalers and the optimizer is our Adam, that is done on arrays: as the step follows from the
    gradient of a choice alone, it is the same as `learn_choice`, at a twentieth of the cost.
    """
    regression = model if isinstance(model, linear_model.LogisticRegression) else None
    optimizer = getattr(regression, "optimizer", None)
    if regression is None or not isinstance(optimizer, Adam) or optimizer.names != names or _has_penalty(regression):
        for gradient in gradients.tolist():
            learn_choice(model, dict(zip(names, gradient, strict=True)))
        return
    weights = np.array(list(regression.weights.values()))
    optimizer.apply_gradients(weights, -gradients)
    regression._weights = VectorDict(dict(zip(names, weights.tolist(), strict=True)))


def _has_penalty(regression: linear_model.LogisticRegression) -> bool:
    return bool(regression.l1 or regression.l2)


def effective_weights(model: Any, names: tuple[str, ...]) -> tuple[NDArray[np.float64], float]:
    """The weights (N,) by which a linear `model` scores features called `names`, and the offset of all scores."""
    scalers, regression = _split_pipeline(model)
    weight_by_name = regression.weights
    values = (
        weight_by_name.values() if tuple(weight_by_name) == names else (weight_by_name.get(name, 0.0) for name in names)
    )
    weights = np.fromiter(values, np.float64, len(names))
    offset = float(regression.intercept)
    if not weight_by_name or not scalers:
        return weights, offset
    at_zero, at_one = (_transform(scalers, dict.fromkeys(names, value)) for value in (0.0, 1.0))
    return weights * (at_one - at_zero), offset + float(weights @ at_zero)


def _transform(scalers: list[Any], features: NamedValues) -> NDArray[np.float64]:
    for scaler in scalers:
        features = scaler.transform_one(features)
    return np.array(list(features.values()), np.float64)


def _split_pipeline(model: Any) -> tuple[list[Any], Any]:
    """The steps before the last, and the last."""
    if not isinstance(model, compose.Pipeline):
        return [], model
    *scalers, estimator = model.steps.values()
    return scalers, estimator
