"""The second stage of a ranker: any River classifier, which re-orders the best candidates of the linear first stage.

Of the `n_reranked` candidates with the highest first-stage scores s, the order is by falling probability
p(c) = predict_proba_one(c)[True]. Their scores become

    score(c) = log-odds p(c) + offset + e n(c),   e = 1e-6,

where n(c) counts the distinct first-stage scores up to s(c), from 1, and the offset maps the lowest log-odds to the
lowest first-stage score. So the other candidates keep their scores and stay below; differences are log-odds; and
candidates with equal probabilities, as from a leaf of a tree or a model that has learned nothing, keep their order.

The model learns pointwise, from shortlists with the target item: it is the positive example, some of the others are
the negatives. The negatives are drawn at random: the best-ranked would be a biased sample, and items would lose rank
because they rank high.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow.items.statistics import ItemStatistics
from freshflow.ranking.feature_registry import FeatureInputs, registered_features
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.kernel import (
    CANDIDATE_ROW,
    HISTORY_INDEX,
    N_CANDIDATES,
    TARGET_INDEX,
    TARGET_RANK,
    RankingResults,
    build_list,
)
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import SCORE_QUANTUM, Weights, feature_names, score_candidates

# Inputs of the model: features, context features, and log P(c) of the first stage. Where content is on, its features
# follow the other features.
RERANKER_INPUTS = (*FEATURES, *CONTEXT_FEATURES, "log_share")
MIN_LOG_SHARE = -20.0
MIN_PROBABILITY = 1e-9  # log-odds stay within 21 of 0
TIE_OFFSET = 1e-6  # e
N_NEGATIVES = 6  # negatives of an example; 12 are little better and cost twice as much

FeatureValues = dict[str, float]


class ItemFeatures:
    """Registered features (`freshflow.ranking.feature_registry`) of the items of a partition."""

    def __init__(self, item_statistics: ItemStatistics) -> None:
        self._item_statistics = item_statistics
        self._functions = registered_features()

    def __len__(self) -> int:
        return len(self._functions)

    def values(self, query: Query, rows: NDArray[np.int32]) -> list[FeatureValues]:
        """Compute the features of candidates.

        Args:
            query: The query.
            rows: Item rows of the candidates (N,).

        Returns:
            The values by name, for each candidate.
        """
        inputs = FeatureInputs(query, rows, self._item_statistics)
        columns = {
            name: np.asarray(function(inputs), np.float64).tolist() for name, function in self._functions.items()
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class _Shortlist:
    """The `n_reranked` best candidates of query `q` by the first stage, the best first, with their scores."""

    def __init__(
        self,
        query: Query,
        q: int,
        rankings: RankingResults,
        weights: Weights,
        n_reranked: int,
        item_features: ItemFeatures | None,
    ) -> None:
        n_candidates = rankings.results[q, N_CANDIDATES]
        self.query, self.item_features = query, item_features
        self.q, self.rankings = q, rankings
        scores = np.empty(n_candidates)
        score_candidates(
            weights.linear[query.model_index],
            weights.units,
            rankings.context_features[q],
            rankings.features[q],
            n_candidates,
            rankings.units[q],
            scores,
        )
        by_score = np.argsort(-scores, kind="stable")
        if query.exclude_seen:
            by_score = by_score[rankings.candidates[q, by_score, HISTORY_INDEX] < 0]
        self.candidates = by_score[:n_reranked]
        self.scores = scores[self.candidates]
        max_score = scores.max(initial=-np.inf)
        log_shares = self.scores - max_score - np.log(np.exp(scores - max_score).sum())
        self.log_shares = np.maximum(log_shares, MIN_LOG_SHARE)

    def features(self, members: Sequence[int]) -> list[FeatureValues]:
        """Return the model's inputs for the candidates at these positions of the shortlist."""
        context_features = self.rankings.context_features[self.q].tolist()
        feature_rows = self.rankings.features[self.q][:, self.candidates[members]].T.tolist()
        names = (*feature_names(self.rankings.features.shape[1]), *CONTEXT_FEATURES, "log_share")
        values = [
            dict(zip(names, (*feature_row, *context_features, log_share), strict=True))
            for feature_row, log_share in zip(feature_rows, self.log_shares[members].tolist(), strict=True)
        ]
        if not self.item_features:
            return values
        rows = self.rankings.candidates[self.q, self.candidates[members], CANDIDATE_ROW]
        return [
            features | more for features, more in zip(values, self.item_features.values(self.query, rows), strict=True)
        ]


def rerank_shortlists(
    models: Sequence[Any],
    queries: Sequence[Query],
    rankings: RankingResults,
    weights: Weights,
    n_reranked: int,
    item_features: ItemFeatures | None = None,
) -> None:
    """Re-order the shortlists of queries: scores, lists and reasons, and the rank of the target item.

    Queries without a list whose target item is not on the shortlist are skipped: nothing depends on their order.

    Args:
        models: The rerankers, with a context and without.
        queries: The queries of the batch.
        rankings: Their results, updated in place.
        weights: The weights that scored them.
        n_reranked: The length of a shortlist.
        item_features: Registered features, if there are any.
    """
    for q, query in enumerate(queries):
        results = rankings.results[q]
        if not results[N_CANDIDATES] or not (query.k or 0 < results[TARGET_RANK] <= n_reranked):
            continue
        shortlist = _Shortlist(query, q, rankings, weights, n_reranked, item_features)
        if not len(shortlist.candidates):
            continue
        model, min_score = models[query.model_index], shortlist.scores.min()
        probabilities = [
            predict_probability(model, features) for features in shortlist.features(range(len(shortlist.candidates)))
        ]
        log_odds = np.array([math.log(p / (1 - p)) for p in probabilities])
        new_scores = (
            log_odds
            - log_odds.min()
            + min_score
            + TIE_OFFSET * (1 + np.unique(shortlist.scores, return_inverse=True)[1])
        )
        rankings.scores[q, shortlist.candidates] = np.rint(new_scores / SCORE_QUANTUM) * SCORE_QUANTUM
        build_list(weights.linear[query.model_index], weights.units, query.k, query.exclude_seen, q, rankings)


def predict_probability(model: Any, features: FeatureValues) -> float:
    """Return the model's probability that a candidate is chosen, within bounds; the lower bound before any example."""
    p = (model.predict_proba_one(features) or {}).get(True, 0.0)
    return min(max(p, MIN_PROBABILITY), 1 - MIN_PROBABILITY) if p == p else MIN_PROBABILITY


def build_examples(
    query: Query,
    q: int,
    rankings: RankingResults,
    weights: Weights,
    n_reranked: int,
    rng: np.random.Generator,
    item_features: ItemFeatures | None = None,
) -> list[tuple[FeatureValues, bool]]:
    """Return the training examples of a query, (inputs, label); none if the target item is not on the shortlist.

    Args:
        query: The query.
        q: Its number.
        rankings: The results of its batch.
        weights: The weights that scored it.
        n_reranked: The length of a shortlist.
        rng: Draws the negatives.
        item_features: Registered features, if there are any.
    """
    shortlist = _Shortlist(query, q, rankings, weights, n_reranked, item_features)
    target = np.flatnonzero(shortlist.candidates == rankings.results[q, TARGET_INDEX])
    if not len(target):
        return []
    negatives = rng.permutation(np.delete(np.arange(len(shortlist.candidates)), target))[:N_NEGATIVES]
    members = [*target.tolist(), *negatives.tolist()]
    return [(features, n == 0) for n, features in enumerate(shortlist.features(members))]
