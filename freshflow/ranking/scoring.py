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
from freshflow.ranking.features import FEATURES, MOMENT, PERSONAL, SOURCES

__all__ = ["AGAIN", "INPUTS", "REASONS", "TOGETHER", "Weights", "best", "reason_of", "score", "teach"]

REASONS = ("together", "again", "popular")
INPUTS = (*FEATURES, *MOMENT, "constant")  # of the hidden units
TOGETHER, AGAIN, POPULAR = range(len(REASONS))
SOURCE = np.array([REASONS.index(SOURCES[name]) for name in FEATURES], np.int64)


class Weights(NamedTuple):
    """`linear` (2, F + H) float64: w and a, of moments with a context and of those without; `units` (H, F + Z + 1)."""

    linear: NDArray[np.float64]
    units: NDArray[np.float32]


@compiled
def score(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    moment: NDArray[np.float32],
    features: NDArray[np.float32],
    personal: int,
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
) -> None:
    """Write the hidden units (H, C) and the scores (C,) of candidates with `features` (F, C); both may have room left.

    `linear` (F + H,) are w and a, `unit_weights` (H, F + Z + 1) is V. Only the first `personal` candidates have
    features from number `PERSONAL` on.
    """
    width, hidden, found = len(features), len(units), len(scores)
    scores[:] = 0
    for f in range(width):
        x, weight = features[f], linear[f]
        for c in range(found if f < PERSONAL else personal):
            scores[c] += weight * x[c]
    for h in range(hidden):
        unit, weight = units[h], linear[width + h]
        of_moment = unit_weights[h, width + len(moment)]
        for z in range(len(moment)):
            of_moment += moment[z] * unit_weights[h, width + z]
        unit[:found] = of_moment
        _add_weighted(unit_weights[h], features[:PERSONAL], unit, found)
        _add_weighted(unit_weights[h, PERSONAL:], features[PERSONAL:], unit, personal)
        for c in range(found):
            unit[c] = max(unit[c], np.float32(0))
            scores[c] += weight * unit[c]


@compiled
def _add_weighted(
    weights: NDArray[np.float32], rows: NDArray[np.float32], total: NDArray[np.float32], found: int
) -> None:
    """Add the weighted sum of all `rows` (F, C) to `total`, four at a time: it is read and written for every four."""
    ends = len(rows) // 4 * 4
    for f in range(0, ends, 4):
        x0, x1, x2, x3 = rows[f], rows[f + 1], rows[f + 2], rows[f + 3]
        w0, w1, w2, w3 = weights[f], weights[f + 1], weights[f + 2], weights[f + 3]
        for c in range(found):
            total[c] += (w0 * x0[c] + w1 * x1[c]) + (w2 * x2[c] + w3 * x3[c])
    for f in range(ends, len(rows)):
        x, weight = rows[f], weights[f]
        for c in range(found):
            total[c] += weight * x[c]


@compiled
def teach(
    linear: NDArray[np.float64],
    moment: NDArray[np.float32],
    features: NDArray[np.float32],
    personal: int,
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
    came: int,
    gradient: NDArray[np.float64],
    unit_gradient: NDArray[np.float32],
) -> None:
    """Write the gradients of the log-likelihood that `came` was chosen: (F + H,) and (H, F + Z + 1); see `score`."""
    width, hidden, found = len(features), len(units), len(scores)
    missing = np.empty(found, np.float32)  # 1[c = y] - P(c)
    highest, total = scores.max(), 0.0
    for c in range(found):
        missing[c] = np.exp(scores[c] - highest)
        total += missing[c]
    for c in range(found):
        missing[c] *= np.float32(-1 / total)
    missing[came] += np.float32(1)
    for f in range(width):
        gradient[f] = _dot(features[f], missing, found if f < PERSONAL else personal)
    back = np.empty(found, np.float32)
    for h in range(hidden):
        unit, weight = units[h], np.float32(linear[width + h])
        gradient[width + h] = _dot(unit, missing, found)
        for c in range(found):
            back[c] = weight * missing[c] if unit[c] > 0 else np.float32(0)
        for f in range(width):
            unit_gradient[h, f] = _dot(features[f], back, found if f < PERSONAL else personal)
        constant = back.sum()
        for z in range(len(moment)):
            unit_gradient[h, width + z] = moment[z] * constant
        unit_gradient[h, width + len(moment)] = constant


@compiled
def _dot(values: NDArray[np.float32], weights: NDArray[np.float32], first: int) -> np.float32:
    """The sum of the `first` so many values by `weights`."""
    total = np.float32(0)
    for c in range(first):
        total += values[c] * weights[c]
    return total


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
    features: NDArray[np.float32],
    units: NDArray[np.float32],
    at: int,
    mine: bool,
    kept_company: bool,
) -> int:
    """A reason that is true of candidate `at`: company it keeps, the user's own return to it, or being popular."""
    width, hidden = len(features), len(units)
    spoken = np.zeros(len(REASONS))
    weights = linear[:width].astype(np.float32)
    for h in range(hidden):
        if units[h, at] > 0:
            weight, of_unit = np.float32(linear[width + h]), unit_weights[h]
            for f in range(width):
                weights[f] += weight * of_unit[f]
    for f in range(width):
        spoken[SOURCE[f]] += weights[f] * features[f, at]
    strongest = np.argmax(spoken)
    if strongest == AGAIN and mine:
        return AGAIN
    if strongest != POPULAR and kept_company:
        return TOGETHER
    return POPULAR
