"""The ranker of a partition: two River models, one for moments with a context and one for those without.

    score(q, c) = w . x(q, c)        with the weights w of the model of q

so contributions w_f x_f add up to the score exactly. What is learned is a choice among the candidates (the
conditional logit: McFadden 1974; ListNet's top-one loss: Cao et al., ICML 2007):

    P(c | q) = exp(score(q, c)) / sum_c' exp(score(q, c'))

whose log-likelihood, when the item y came, has the gradient  x(q, y) - sum_c P(c | q) x(q, c)  =: d.  That is one
example for a River logistic regression: features d, label True, sample weight 1 / (1 - sigma(w . d)), since its own
gradient is (1 - sigma(w . d)) d. So one `learn_one` per event teaches from all candidates at once, with any of River's
optimisers; with plain SGD the step is exactly  w <- w + a d.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow.config import RankerConfig
from freshflow.errors import ConfigError
from freshflow.ranking.features import FEATURES
from freshflow.ranking.queries import Query

__all__ = ["Ranker", "choice_gradients", "model_factory"]

Features = NDArray[np.float32]
Scores = NDArray[np.float64]

# Where sigma is 1 to the last bit, the product of weight and gradient would be 0 / 0.
LEAST_MISSING = 1e-12


class Ranker:
    """Scores candidates with the weights of its River models, and teaches the models."""

    def __init__(self, config: RankerConfig) -> None:
        factory = model_factory(config.model)
        self.models: list[Any] = [factory(), factory()]
        self.updates = 0
        self.scored_with = 0  # updates that the weights in use have seen
        self._weights = self._read_weights()

    def weights_for(self, queries: Sequence[Query]) -> Scores:
        """The weights (Q, F) that score each query, in the order of `FEATURES`."""
        return self._weights[[_model_of(query) for query in queries]]

    def scores(self, queries: Sequence[Query], features: Features, real: NDArray[np.bool_]) -> Scores:
        """Scores (Q, C) of `features` (F, Q, C); minus infinity where there is no candidate."""
        model = np.array([_model_of(query) for query in queries], np.int64)
        by_model = self._weights @ features.reshape(len(FEATURES), -1)
        scores = by_model.reshape(len(self.models), *real.shape)[model, np.arange(len(queries))]
        return np.where(real, scores, -np.inf)

    def learn(self, query: Query, gradient: Sequence[float]) -> None:
        """Teach the choice of an item, whose log-likelihood has this `gradient` (F,).

        Scores stay as they were until `take_over`.
        """
        model = self.models[_model_of(query)]
        example = {name: value for name, value in zip(FEATURES, gradient, strict=True) if value}
        missing = 1 - model.predict_proba_one(example)[True]
        model.learn_one(example, True, 1 / max(missing, LEAST_MISSING))
        self.updates += 1

    def take_over(self) -> None:
        """Score with what the models have learned by now."""
        self.scored_with = self.updates
        self._weights = self._read_weights()

    def _read_weights(self) -> Scores:
        return np.array([[model.weights.get(name, 0.0) for name in FEATURES] for model in self.models])


def choice_gradients(features: Features, scores: Scores, came: NDArray[np.int64]) -> Scores:
    """x(q, y) - sum_c P(c | q) x(q, c) for Q choices: (Q, F).

    `features` (F, Q, C) and `scores` (Q, C) are those of the candidates, `came` (Q,) the places of those chosen.
    """
    shares = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = features[:, np.arange(len(came)), came].T
    expected: Scores = np.matmul(features.transpose(1, 0, 2), shares[:, :, None])[..., 0]
    return np.subtract(chosen, expected)


def _model_of(query: Query) -> int:
    """0 where the user has a context, 1 where there is none."""
    return 0 if query.context.items else 1


def model_factory(path: str) -> Callable[[], Any]:
    """The function that `package.module:function` names. Raises `ConfigError`."""
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        linear = hasattr(factory(), "weights")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"ranker.model = {path!r} cannot be loaded ({error}); give package.module:function."
        ) from None
    if not linear:
        raise ConfigError(
            f"ranker.model = {path!r} gives a model without weights; give a linear one, such as a logistic regression."
        )
    return factory  # type: ignore[no-any-return]
