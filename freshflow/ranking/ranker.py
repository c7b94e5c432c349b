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
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow.config import RankerConfig
from freshflow.errors import ConfigError
from freshflow.ranking.features import FEATURES
from freshflow.ranking.queries import Query

__all__ = ["Ranker", "model_factory"]

Features = NDArray[np.float32]
Scores = NDArray[np.float64]

# Beyond this margin 1 - sigma underflows; the example is then taught with the weight of the margin itself.
MAX_MARGIN = 30.0


class Ranker:
    """Scores candidates with the weights of its River models, and teaches the models."""

    def __init__(self, config: RankerConfig) -> None:
        factory = model_factory(config.model)
        self.models: list[Any] = [factory(), factory()]
        self.updates = 0
        self._weights = self._read_weights()

    def weights_for(self, queries: Sequence[Query]) -> Scores:
        """The weights (Q, F) that score each query, in the order of `FEATURES`."""
        return self._weights[[_model_of(query) for query in queries]]

    def scores(self, queries: Sequence[Query], features: Features, real: NDArray[np.bool_]) -> Scores:
        """Scores (Q, C) of `features` (F, Q, C); minus infinity where there is no candidate."""
        scores = np.einsum("fqc,qf->qc", features, self.weights_for(queries), optimize=True)
        return np.where(real, scores, -np.inf)

    def learn(self, query: Query, features: Features, scores: Scores, came: int) -> None:
        """Teach that of the candidates with `features` (F, C) and `scores` (C,) the one in place `came` was chosen.

        Scores stay as they were until `take_over`.
        """
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        difference = (features[:, came] - features @ shares).tolist()
        example = {name: value for name, value in zip(FEATURES, difference, strict=True) if value}
        model = self.models[_model_of(query)]
        margin = math.fsum(model.weights.get(name, 0.0) * value for name, value in example.items())
        model.learn_one(example, True, 1 + math.exp(min(margin, MAX_MARGIN)))
        self.updates += 1

    def take_over(self) -> None:
        """Score with what the models have learned by now."""
        self._weights = self._read_weights()

    def _read_weights(self) -> Scores:
        return np.array([[model.weights.get(name, 0.0) for name in FEATURES] for model in self.models])


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
