"""The list of a query: a total order where scores are equal, and what each feature adds to a score."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.ranking.features import MOMENT
from freshflow.ranking.kernel import ITEM, LISTED, TIED, Answers
from freshflow.ranking.scoring import Weights, names_of

__all__ = ["break_ties", "contributions", "explained"]

ROUNDING = 1e-7  # below what sets the scores of a shortlist apart from those of the first stage


def break_ties(q: int, answers: Answers, ids: Sequence[str]) -> None:
    """Order the list of query number `q` by falling score and then by item id, where scores alone do not tell.

    `ids` are item ids by row.
    """
    tied, listed = answers.facts[q, TIED], answers.facts[q, LISTED]
    places, scores = answers.places[q, :tied], answers.listed_scores[q, :tied]
    order = sorted(range(tied), key=lambda n: (-scores[n], ids[places[n, ITEM]]))[:listed]
    places[:listed], scores[:listed] = places[order], scores[order]
    answers.places[q, listed:, ITEM] = NO_ROW


def contributions(q: int, candidate: int, answers: Answers, weights: Weights, model: int) -> NDArray[np.float64]:
    """What each input (F + Z + 1,) adds to the score of a candidate; they add up to it.

    A feature adds w_f x_f. A hidden unit adds a_h u_h, shared out among its inputs as they make up its sum:
    V_h,i input_i / (V_h . input).
    """
    x = answers.features[q, :, candidate].astype(np.float64)
    inputs = np.concatenate([x, answers.moment[q], [1.0]])
    parts = weights.units.T.astype(np.float64) * inputs[:, None]  # (F + Z + 1, H)
    unit, width = answers.units[q, :, candidate].astype(np.float64), len(x)
    active = unit > 0
    added = weights.linear[model, width:][active] * unit[active] / parts[:, active].sum(axis=0)
    shares: NDArray[np.float64] = parts[:, active] @ added
    shares[:width] += weights.linear[model, :width] * x
    return shares


def explained(q: int, candidate: int, answers: Answers, weights: Weights, model: int) -> dict[str, float]:
    """The `contributions` by name, those of nothing left out; they add up to the score of the candidate.

    A score that is not theirs is a shortlist's (`freshflow.ranking.reranker`); it has one contribution, "model".
    """
    score = float(answers.scores[q, candidate])
    shares = contributions(q, candidate, answers, weights, model).tolist()
    if not math.isclose(sum(shares), score, rel_tol=ROUNDING, abs_tol=ROUNDING):
        return {"model": score}
    inputs = (*names_of(answers.features.shape[1]), *MOMENT, "constant")
    return {name: value for name, value in zip(inputs, shares, strict=True) if value}
