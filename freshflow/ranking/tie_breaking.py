"""The list of a query: a total order where scores are equal, and what each feature adds to a score."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.ranking.features import CONTEXT_FEATURES
from freshflow.ranking.kernel import ENTRY_ROW, N_LISTED, N_TIED, RankingResults
from freshflow.ranking.scoring import Weights, feature_names

__all__ = ["break_ties", "score_contributions", "explain_score"]

SCORE_TOLERANCE = 1e-7  # below what sets the scores of a shortlist apart from those of the first stage


def break_ties(q: int, rankings: RankingResults, ids: Sequence[str]) -> None:
    """Order the list of query number `q` by falling score and then by item id, where scores alone do not tell.

    `ids` are item ids by row.
    """
    n_tied, n_listed = rankings.results[q, N_TIED], rankings.results[q, N_LISTED]
    entries, scores = rankings.entries[q, :n_tied], rankings.entry_scores[q, :n_tied]
    sorted_indices = sorted(range(n_tied), key=lambda n: (-scores[n], ids[entries[n, ENTRY_ROW]]))[:n_listed]
    entries[:n_listed], scores[:n_listed] = entries[sorted_indices], scores[sorted_indices]
    rankings.entries[q, n_listed:, ENTRY_ROW] = NO_ROW


def score_contributions(
    q: int, candidate: int, rankings: RankingResults, weights: Weights, model_index: int
) -> NDArray[np.float64]:
    """What each input (F + Z + 1,) adds to the score of a candidate; they add up to it.

    A feature adds w_f x_f. A hidden unit adds a_h u_h, shared out among its inputs as they make up its sum:
    V_h,i input_i / (V_h . input).
    """
    x = rankings.features[q, :, candidate].astype(np.float64)
    inputs = np.concatenate([x, rankings.context_features[q], [1.0]])
    parts = weights.units.T.astype(np.float64) * inputs[:, None]  # (F + Z + 1, H)
    unit, n_features = rankings.units[q, :, candidate].astype(np.float64), len(x)
    is_active = unit > 0
    unit_contributions = (
        weights.linear[model_index, n_features:][is_active] * unit[is_active] / parts[:, is_active].sum(axis=0)
    )
    shares: NDArray[np.float64] = parts[:, is_active] @ unit_contributions
    shares[:n_features] += weights.linear[model_index, :n_features] * x
    return shares


def explain_score(
    q: int, candidate: int, rankings: RankingResults, weights: Weights, model_index: int
) -> dict[str, float]:
    """The `score_contributions` by name, those of nothing left out; they add up to the score of the candidate.

    A score that is not theirs is a shortlist's (`freshflow.ranking.reranker`); it has one contribution, "model".
    """
    score = float(rankings.scores[q, candidate])
    shares = score_contributions(q, candidate, rankings, weights, model_index).tolist()
    if not math.isclose(sum(shares), score, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE):
        return {"model": score}
    inputs = (*feature_names(rankings.features.shape[1]), *CONTEXT_FEATURES, "constant")
    return {name: value for name, value in zip(inputs, shares, strict=True) if value}
