"""The ranker of search results: a small River model that starts at the engine's order and learns when to leave it.

    score(c) = sum_f w_f x_f(c),   P(c) = exp(score(c)) / sum_c' exp(score(c'))

over the results c of one search, with the features

    engine   -log of the engine's rank, from 1
    chosen   log of C times the share of c among what people choose after this query (`freshflow.items.query_choices`)
    taste    the score that c has for this user in the feed, compared with the other results, a quarter of it
    own      whether the user knows c
    known    whether anybody has visited c

The weights begin at 1, 1, 0, 0, 0. Where nothing is known of the query, `chosen` is 0 for all, and the order is the
engine's, whatever was learned. What is learned is the choice of an item among those shown (`freshflow.ranking.choice_regression`).

**Position.** What stands on top is chosen because it does. As far as the engine's order was shown, the weight of
`engine` takes that up. Where our own order is shown, what it puts on top gains by that, too; nothing corrects for it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression
from freshflow.ranking.model_state import ModelState, restore_model
from freshflow.ranking.scoring import SCORE_QUANTUM

__all__ = [
    "CLICKS_FEATURE",
    "ENGINE_FEATURE",
    "IN_HISTORY_FEATURE",
    "SEARCH_FEATURES",
    "TASTE_FEATURE",
    "SearchResults",
    "SearchRanker",
]

SEARCH_FEATURES = ("engine", "chosen", "taste", "own", "known")
ENGINE_FEATURE, CLICKS_FEATURE, TASTE_FEATURE, IN_HISTORY_FEATURE, VISITED_FEATURE = range(len(SEARCH_FEATURES))
INITIAL_WEIGHTS = (1.0, 1.0, 0.0, 0.0, 0.0)
SEARCH_LEARNING_RATE = 0.005  # of Adam
TASTE_SCALE, MAX_TASTE = 0.25, 3.0


class SearchResults(NamedTuple):
    """What is known of the results (C,) of a search, in the engine's order.

    `shares` after the query, or None where nothing is known of it; feed `scores`, NaN where nobody has visited an item;
    whether the user knows it (`in_history`).
    """

    shares: NDArray[np.float64] | None
    scores: NDArray[np.float64]
    in_history: NDArray[np.bool_]

    @property
    def features(self) -> NDArray[np.float64]:
        """(C, F), in the order of `SEARCH_FEATURES`."""
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
    """The model of a partition; `n_updates` counts the choices it has learned from."""

    def __init__(self) -> None:
        initial_weights = dict(zip(SEARCH_FEATURES, INITIAL_WEIGHTS, strict=True))
        self.model = ChoiceRegression(Adam(lr=SEARCH_LEARNING_RATE), initial_weights)
        self.n_updates = 0

    @property
    def weights(self) -> NDArray[np.float64]:
        """(F,), in the order of `SEARCH_FEATURES`."""
        return self.model.values.copy()

    def contributions(self, features: NDArray[np.float64], *, is_known_query: bool) -> NDArray[np.float64]:
        """What each feature adds to the score of each result (C, F): whole multiples of `SCORE_QUANTUM`, which add up exactly.

        Where the query is not `is_known_query`, only the engine has a say.
        """
        weights = (
            self.weights
            if is_known_query
            else np.array([INITIAL_WEIGHTS[ENGINE_FEATURE], *[0.0] * (len(SEARCH_FEATURES) - 1)])
        )
        parts: NDArray[np.float64] = np.rint(features * weights / SCORE_QUANTUM) * SCORE_QUANTUM
        return parts

    def learn_choice(self, features: NDArray[np.float64], target_index: int, weight: float) -> None:
        """Learn that result number `target_index` was chosen among those with these `features` (C, F)."""
        scores = features @ self.weights
        shares = np.exp(scores - scores.max())
        gradient = features[target_index] - shares @ features / shares.sum()
        self.model.learn_choices(SEARCH_FEATURES, gradient[None] * weight)
        self.n_updates += 1

    def restore(self, model: ModelState, n_updates: int) -> None:
        """Continue from the state of a model and its number of updates."""
        self.model, self.n_updates = restore_model(self.model, model), n_updates
