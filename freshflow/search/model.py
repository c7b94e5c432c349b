"""Ranker of search results: a small River model that starts at the engine's order and learns corrections to it.

    score(c) = sum_f w_f x_f(c),   P(c) = exp(score(c)) / sum_c' exp(score(c'))

over the results c of one search, with the features

    engine   -log of the engine's rank, from 1
    chosen   log of C times the share of c among the choices after this query (`freshflow.items.query_choices`)
    taste    a quarter of the difference between the feed score of c for this user and the mean over the results
    own      1 if the user knows c
    known    1 if any user has visited c

The weights start at 1, 1, 0, 0, 0. Without choices after the query, `chosen` is 0 for all results, and the engine's
order is kept regardless of the weights. The model learns the choice of an item among those shown
(`freshflow.ranking.choice_regression`).

**Position bias.** Items at the top are chosen for their position. Where the engine's order was shown, the weight of
`engine` absorbs this bias. Where the model's own order is shown, its top items gain as well; nothing corrects for it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression
from freshflow.ranking.model_state import ModelState, restore_model
from freshflow.ranking.scoring import SCORE_QUANTUM

SEARCH_FEATURES = ("engine", "chosen", "taste", "own", "known")
ENGINE_FEATURE, CLICKS_FEATURE, TASTE_FEATURE, IN_HISTORY_FEATURE, VISITED_FEATURE = range(len(SEARCH_FEATURES))
INITIAL_WEIGHTS = (1.0, 1.0, 0.0, 0.0, 0.0)
SEARCH_LEARNING_RATE = 0.005  # of Adam
TASTE_SCALE, MAX_TASTE = 0.25, 3.0


class SearchResults(NamedTuple):
    """The results (C,) of a search in the engine's order.

    Attributes:
        shares: (C,) shares of choices after the query, or None without any.
        scores: (C,) feed scores, NaN for items without visits.
        in_history: (C,) True for items that the user knows.
    """

    shares: NDArray[np.float64] | None
    scores: NDArray[np.float64]
    in_history: NDArray[np.bool_]

    @property
    def features(self) -> NDArray[np.float64]:
        """Features (C, F) in the order of `SEARCH_FEATURES`."""
        n_results = len(self.scores)
        x = np.zeros((n_results, len(SEARCH_FEATURES)))
        x[:, ENGINE_FEATURE] = -np.log(np.arange(1, n_results + 1))
        if self.shares is not None:
            x[:, CLICKS_FEATURE] = np.log(self.shares * n_results)
        is_visited = ~np.isnan(self.scores)
        if is_visited.any():
            taste = (self.scores[is_visited] - self.scores[is_visited].mean()) * TASTE_SCALE
            x[is_visited, TASTE_FEATURE] = np.clip(taste, -MAX_TASTE, MAX_TASTE)
        x[:, IN_HISTORY_FEATURE], x[:, VISITED_FEATURE] = self.in_history, is_visited
        return x


class SearchRanker:
    """The model of a partition; `n_updates` is the number of choices learned."""

    def __init__(self) -> None:
        initial_weights = dict(zip(SEARCH_FEATURES, INITIAL_WEIGHTS, strict=True))
        self.model = ChoiceRegression(Adam(lr=SEARCH_LEARNING_RATE), initial_weights)
        self.n_updates = 0

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights (F,) in the order of `SEARCH_FEATURES`."""
        return self.model.values.copy()

    def contributions(self, features: NDArray[np.float64], *, is_known_query: bool) -> NDArray[np.float64]:
        """Return the contribution of each feature to the score of each result.

        Args:
            features: (C, F) features of the results.
            is_known_query: False if there are no choices after the query; only `engine` contributes then.

        Returns:
            Contributions (C, F), whole multiples of `SCORE_QUANTUM`, which add up exactly.
        """
        weights = (
            self.weights
            if is_known_query
            else np.array([INITIAL_WEIGHTS[ENGINE_FEATURE], *[0.0] * (len(SEARCH_FEATURES) - 1)])
        )
        parts: NDArray[np.float64] = np.rint(features * weights / SCORE_QUANTUM) * SCORE_QUANTUM
        return parts

    def learn_choice(self, features: NDArray[np.float64], target_index: int, weight: float) -> None:
        """Learn the choice of a result among those shown.

        Args:
            features: (C, F) features of the shown results.
            target_index: The index of the chosen result.
            weight: The weight of the example.
        """
        scores = features @ self.weights
        shares = np.exp(scores - scores.max())
        gradient = features[target_index] - shares @ features / shares.sum()
        self.model.learn_choices(SEARCH_FEATURES, gradient[None] * weight)
        self.n_updates += 1

    def restore(self, model: ModelState, n_updates: int) -> None:
        """Continue from the state of a model and its number of updates."""
        self.model, self.n_updates = restore_model(self.model, model), n_updates
