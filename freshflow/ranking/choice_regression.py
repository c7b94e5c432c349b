"""The default model of a choice: a River classifier with its weights in an array, trained by our Adam."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._river import base, optim
from freshflow.ranking.adam import Adam

LOG_LOSS = optim.losses.Log()


class ChoiceRegression(base.Classifier):  # type: ignore[misc]
    """Logistic regression without an intercept, which also learns choices: p(x) = sigma(w . x).

    It takes the same steps as River's `LogisticRegression` with `intercept_lr=0`. Beside labelled examples it learns
    from the gradient of the log-likelihood of a choice among several candidates (`freshflow.ranking.scoring`), many
    at once, without a dictionary per example.

    Args:
        optimizer: Moves the weights; Adam with its defaults if not given.
        initial_weights: The first weights by feature name; features met later start at 0.

    >>> model = ChoiceRegression(Adam(lr=0.1))
    >>> model.learn_one({"price": 1.0, "age": -2.0}, True)
    >>> {name: round(weight, 6) for name, weight in model.weights.items()}
    {'price': 0.1, 'age': -0.1}
    >>> model.learn_choices(("price", "age"), np.array([[0.5, 0.0], [0.5, 0.0]]))
    >>> round(model.predict_proba_one({"price": 1.0, "age": 0.0})[True], 3)
    0.574
    """

    def __init__(self, optimizer: Adam | None = None, initial_weights: Mapping[str, float] | None = None) -> None:
        self.optimizer = Adam() if optimizer is None else optimizer
        self.initial_weights = initial_weights
        self.names: tuple[str, ...] = tuple(initial_weights or ())
        self.values = np.array([*(initial_weights or {}).values()], np.float64)

    @property
    def weights(self) -> dict[str, float]:
        """The weights by feature name, in the order in which the features were met."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    def predict_proba_one(self, x: Mapping[str, float], **kwargs: Any) -> dict[bool, float]:
        """Return the probability of each label; features that were never learned count nothing."""
        weights = self.weights
        p = LOG_LOSS.mean_func(sum(weights[name] * value for name, value in x.items() if name in weights))
        return {False: 1.0 - p, True: p}

    def learn_one(self, x: Mapping[str, float], y: bool, w: float = 1.0) -> None:
        """Take one step along the gradient of the log loss, (p(x) - y) x, times the sample weight.

        Args:
            x: The features by name.
            y: The label.
            w: The sample weight.
        """
        residual = (float(y) - self.predict_proba_one(x)[True]) * w
        self.learn_choices(tuple(x), residual * np.array([*x.values()], np.float64)[None])

    def learn_choices(self, names: Sequence[str], gradients: NDArray[np.float64]) -> None:
        """Take one step up each gradient of a log-likelihood, in order.

        Args:
            names: The features (F,) that the columns stand for.
            gradients: (N, F) float64.
        """
        if tuple(names) != self.names:
            gradients = self._align_columns(names, gradients)
        self.optimizer.apply_gradients(self.values, -gradients)

    def _align_columns(self, names: Sequence[str], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradients (N, all features) with 0 where `names` lacks a feature; new names get a weight of 0."""
        known_names = set(self.names)
        self.names += tuple(name for name in names if name not in known_names)
        self.values = np.concatenate([self.values, np.zeros(len(self.names) - len(self.values))])
        columns = {name: column for column, name in enumerate(self.names)}
        aligned = np.zeros((len(gradients), len(self.names)))
        aligned[:, [columns[name] for name in names]] = gradients
        return aligned
