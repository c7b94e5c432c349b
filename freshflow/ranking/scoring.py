"""Scores, what they teach, and the best: the arithmetic of a ranker over the candidates of one query.

    u_h(c)  = max(0, V_h . [x(c); z; 1])          H hidden units over the candidate x, the moment z and a constant
    score(c) = w . x(c) + a . u(c)

The choice that is learned (the conditional logit: McFadden 1974; ListNet's top-one loss: Cao et al., ICML 2007) is

    P(c) = exp(score(c)) / sum_c' exp(score(c'))

and where y came, the log-likelihood has the gradients

    d/dw = x(y) - sum_c P(c) x(c),   d/da = u(y) - sum_c P(c) u(c),
    d/dV_h = a_h sum_c (1[c = y] - P(c)) 1[u_h(c) > 0] [x(c); z; 1]
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.compiled import compiled
from freshflow.ranking.features import FEATURES, MOMENT, SOURCES

__all__ = ["INPUTS", "REASONS", "Weights", "best", "reason_of", "score", "teach"]

REASONS = ("together", "again", "popular")
INPUTS = (*FEATURES, *MOMENT, "constant")  # of the hidden units
TOGETHER, AGAIN, POPULAR = range(len(REASONS))
SOURCE = np.array([REASONS.index(SOURCES[name]) for name in FEATURES], np.int64)
# A candidate this unlikely teaches nothing that would be seen.
LEAST_SHARE = np.float32(1e-5)


class Weights(NamedTuple):
    """`linear` (2, F + H) float64: w and a, of moments with a context and of those without; `units` (F + Z + 1, H)."""

    linear: NDArray[np.float64]
    units: NDArray[np.float32]


@compiled
def score(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    moment: NDArray[np.float32],
    features: NDArray[np.float32],
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
) -> None:
    """Write the hidden units (C, H) and the scores (C,) of candidates with `features` (C, F).

    `linear` (F + H,) are w and a, `unit_weights` (F + Z + 1, H) is V.
    """
    width, hidden = features.shape[1], units.shape[1]
    of_moment = np.zeros(hidden, np.float32)
    for h in range(hidden):
        of_moment[h] = unit_weights[width + len(moment), h]
    for z in range(len(moment)):
        if moment[z] != 0:
            for h in range(hidden):
                of_moment[h] += moment[z] * unit_weights[width + z, h]
    for c in range(len(scores)):
        unit, x = units[c], features[c]
        unit[:] = of_moment
        total = 0.0
        for f in range(width):
            value = x[f]
            if value != 0:
                total += linear[f] * value
                for h in range(hidden):
                    unit[h] += value * unit_weights[f, h]
        for h in range(hidden):
            unit[h] = max(unit[h], np.float32(0))
            total += linear[width + h] * unit[h]
        scores[c] = total


@compiled
def teach(
    linear: NDArray[np.float64],
    moment: NDArray[np.float32],
    features: NDArray[np.float32],
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
    came: int,
    gradient: NDArray[np.float64],
    unit_gradient: NDArray[np.float32],
) -> None:
    """Write the gradients of the log-likelihood that `came` was chosen: (F + H,) and (F + Z + 1, H)."""
    width, hidden = features.shape[1], units.shape[1]
    highest = scores.max()
    shares = np.exp(scores - highest)
    shares /= shares.sum()
    gradient[:] = 0
    unit_gradient[:] = 0
    back = np.zeros(hidden, np.float32)
    for c in range(len(scores)):
        missing = np.float32((1.0 if c == came else 0.0) - shares[c])
        if abs(missing) < LEAST_SHARE:
            continue
        x, unit = features[c], units[c]
        for f in range(width):
            gradient[f] += missing * x[f]
        for h in range(hidden):
            gradient[width + h] += missing * unit[h]
            back[h] = missing * np.float32(linear[width + h]) if unit[h] > 0 else np.float32(0)
        for f in range(width):
            value = x[f]
            if value != 0:
                for h in range(hidden):
                    unit_gradient[f, h] += value * back[h]
        for h in range(hidden):
            unit_gradient[width + len(moment), h] += back[h]
    for z in range(len(moment)):
        for h in range(hidden):
            unit_gradient[width + z, h] = moment[z] * unit_gradient[width + len(moment), h]


@compiled
def rank_of(values: NDArray[np.floating[Any]], place: int) -> int:
    """The rank, from 1, of the candidate at `place` by falling value, ties by place."""
    rank = 1
    for at in range(len(values)):
        rank += values[at] > values[place] or (values[at] == values[place] and at < place)
    return rank


@compiled
def best(
    scores: NDArray[np.float64], skipped: NDArray[np.int32], k: int, places: NDArray[np.int32]
) -> tuple[int, bool]:
    """Write the places of the `k` highest scores to `places`, the highest first, without those `skipped` (not -1).

    How many there are, and whether any two of them, or the last and one left out, have the same score.
    """
    n, tied = 0, False
    for c in range(len(scores)):
        if skipped[c] >= 0:
            continue
        value = scores[c]
        if n == k:
            if n == 0 or value < scores[places[n - 1]]:
                continue
            if value == scores[places[n - 1]]:
                tied = True
                continue
        at = n if n < k else n - 1
        while at > 0 and scores[places[at - 1]] < value:
            places[at] = places[at - 1]
            at -= 1
        tied |= at > 0 and scores[places[at - 1]] == value
        places[at] = c
        n = min(n + 1, k)
    return n, tied


@compiled
def reason_of(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    x: NDArray[np.float32],
    unit: NDArray[np.float32],
    mine: bool,
    because: int,
) -> int:
    """A reason that is true of this candidate: company it keeps, the user's own return to it, or being popular."""
    spoken = np.zeros(len(REASONS))
    width = len(x)
    for f in range(width):
        if x[f] != 0:
            weight = linear[f]
            for h in range(len(unit)):
                if unit[h] > 0:
                    weight += linear[width + h] * unit_weights[f, h]
            spoken[SOURCE[f]] += weight * x[f]
    strongest = np.argmax(spoken)
    if strongest == AGAIN and mine:
        return AGAIN
    if strongest != POPULAR and because >= 0:
        return TOGETHER
    return POPULAR
