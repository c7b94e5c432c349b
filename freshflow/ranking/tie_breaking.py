"""The total order of a list where scores are equal, and the exact contributions to a score."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.ranking.features import CONTEXT_FEATURES
from freshflow.ranking.kernel import ENTRY_ROW, N_LISTED, N_TIED, RankingResults
from freshflow.ranking.scoring import Weights, feature_names

SCORE_TOLERANCE = 1e-7  # less than a re-ranker changes a score by (`TIE_OFFSET`)


def break_ties(q: int, rankings: RankingResults, ids: Sequence[str]) -> None:
    """Order a list by falling score and then by item id, where scores alone do not decide.

    Args:
        q: The number of the query.
        rankings: The results of its batch; the list is reordered in place.
        ids: Item ids by row.
    """
    n_tied, n_listed = rankings.results[q, N_TIED], rankings.results[q, N_LISTED]
    entries, scores = rankings.entries[q, :n_tied], rankings.entry_scores[q, :n_tied]
    sorted_indices = sorted(range(n_tied), key=lambda n: (-scores[n], ids[entries[n, ENTRY_ROW]]))[:n_listed]
    entries[:n_listed], scores[:n_listed] = entries[sorted_indices], scores[sorted_indices]
    rankings.entries[q, n_listed:, ENTRY_ROW] = NO_ROW


def score_contributions(
    q: int, candidate: int, rankings: RankingResults, weights: Weights, model_index: int
) -> NDArray[np.float64]:
    """Return the contribution (F + Z + 1,) of each input to a candidate's score; they add up to it.

    A feature contributes w_f x_f. The contribution a_h u_h of a hidden unit is divided among its inputs by their shares
    of its sum, V_h,i input_i / (V_h . input).

    Args:
        q: The number of the query.
        candidate: The index of the candidate.
        rankings: The results of the query's batch.
        weights: The weights that scored it.
        model_index: The model of the query.
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
    """Return the non-zero `score_contributions` by name.

    If they do not add up to the score, a re-ranker made it (`freshflow.ranking.reranker`), and the only contribution is
    "model".

    Args:
        q: The number of the query.
        candidate: The index of the candidate.
        rankings: The results of the query's batch.
        weights: The weights that scored it.
        model_index: The model of the query.
    """
    score = float(rankings.scores[q, candidate])
    shares = score_contributions(q, candidate, rankings, weights, model_index).tolist()
    if not math.isclose(sum(shares), score, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE):
        return {"model": score}
    inputs = (*feature_names(rankings.features.shape[1]), *CONTEXT_FEATURES, "constant")
    return {name: value for name, value in zip(inputs, shares, strict=True) if value}
