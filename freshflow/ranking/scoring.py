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

from freshflow._numba import compiled, inlined, lean
from freshflow.ranking.features import FEATURES, MOMENT, PERSONAL, SOURCES
from freshflow.ranking.features_content import CONTENT
from freshflow.ranking.math_kernels import LN_2, scale_exp2, whole

__all__ = [
    "AGAIN",
    "INPUTS",
    "NEW",
    "POPULAR",
    "REASONS",
    "SIMILAR",
    "STEP",
    "TOGETHER",
    "Weights",
    "best",
    "names_of",
    "rank_of",
    "reasons_of",
    "score",
    "settled",
    "teach",
]

REASONS = ("together", "again", "popular", "similar", "new")
INPUTS = (*FEATURES, *MOMENT, "constant")  # of the hidden units
TOGETHER, AGAIN, POPULAR, SIMILAR, NEW = range(len(REASONS))
SEARCHED = len(REASONS)  # no feature's: it is the company of a search, and not that of an item
PLAIN = len(FEATURES)  # from here on features are those of content, which all candidates have
SOURCE = np.array([REASONS.index(SOURCES[name]) for name in FEATURES], np.int64)
# Scores are whole multiples of it: a power of two, so that rounding is exact, and more than the ninth decimal, so that
# scores written with nine decimals are equal only where they are, and whoever reads a list finds it in order.
STEP = 2.0**-29


class Weights(NamedTuple):
    """`linear` (2, F + H) float64: w and a, of moments with a context and of those without; `units` (H, F + Z + 1)."""

    linear: NDArray[np.float64]
    units: NDArray[np.float32]


def names_of(features: int) -> tuple[str, ...]:
    """The names of so many features: all but those of content, or these, too."""
    return (*FEATURES, *CONTENT)[:features]


@inlined
def settled(value: float) -> float:
    """The score that stands for `value`: the nearest multiple of `STEP`."""
    return np.rint(value / STEP) * STEP  # type: ignore[no-any-return]


@lean
def score(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    moment: NDArray[np.float32],
    features: NDArray[np.float32],
    personal: int,
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
) -> None:
    """Write the hidden units (H, C) and the `settled` scores (C,) of candidates with `features` (F, C).

    There may be room left for more candidates. Where content is on, F counts its features, too, which come last.

    `linear` (F + H,) are w and a, `unit_weights` (H, F + Z + 1) is V. Only the first `personal` candidates have
    features from number `PERSONAL` up to those of content.
    """
    width, hidden, found = len(features), len(units), len(scores)
    scores[:] = 0
    _add_row_by_row(linear, features[:PERSONAL], scores, found)
    _add_row_by_row(linear[PERSONAL:], features[PERSONAL:PLAIN], scores, personal)
    _add_row_by_row(linear[PLAIN:], features[PLAIN:], scores, found)
    for h in range(hidden):
        of_moment = unit_weights[h, width + len(moment)]
        for z in range(len(moment)):
            of_moment += moment[z] * unit_weights[h, width + z]
        units[h, :found] = of_moment
    for h in range(0, hidden, 4):
        _add_weighted(unit_weights, features[:PERSONAL], 0, units, h, found)
        _add_weighted(unit_weights, features[PERSONAL:PLAIN], PERSONAL, units, h, personal)
        if width > PLAIN:
            _add_weighted(unit_weights, features[PLAIN:], PLAIN, units, h, found)
    for h in range(hidden):
        unit, weight = units[h], linear[width + h]
        for c in range(found):
            unit[c] = max(unit[c], np.float32(0))
            scores[c] += weight * unit[c]
    for c in range(found):
        scores[c] = settled(scores[c])


@lean
def _add_row_by_row(weights: NDArray[Any], rows: NDArray[np.float32], total: NDArray[Any], found: int) -> None:
    """Add  sum_f weights[f] rows[f]  to the `total`, which is read and written for every four rows."""
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


@lean
def _add_weighted(
    weights: NDArray[np.float32],
    rows: NDArray[np.float32],
    first: int,
    totals: NDArray[np.float32],
    h: int,
    found: int,
) -> None:
    """Add  sum_f weights[h', first + f] rows[f]  to totals[h'], for h' = h to h + 3 as far as there are any.

    Four totals and four rows at a time: a row is read once for four totals, which are read and written for every four.
    """
    if h + 4 > len(totals):
        for other in range(h, len(totals)):
            _add_row_by_row(weights[other, first:], rows, totals[other], found)
        return
    t, u, v, w = totals[h], totals[h + 1], totals[h + 2], totals[h + 3]
    of_t, of_u, of_v, of_w = weights[h, first:], weights[h + 1, first:], weights[h + 2, first:], weights[h + 3, first:]
    ends = len(rows) // 4 * 4
    for f in range(0, ends, 4):
        x0, x1, x2, x3 = rows[f], rows[f + 1], rows[f + 2], rows[f + 3]
        t0, t1, t2, t3 = of_t[f], of_t[f + 1], of_t[f + 2], of_t[f + 3]
        u0, u1, u2, u3 = of_u[f], of_u[f + 1], of_u[f + 2], of_u[f + 3]
        v0, v1, v2, v3 = of_v[f], of_v[f + 1], of_v[f + 2], of_v[f + 3]
        w0, w1, w2, w3 = of_w[f], of_w[f + 1], of_w[f + 2], of_w[f + 3]
        for c in range(found):
            a, b, d, e = x0[c], x1[c], x2[c], x3[c]
            t[c] += (t0 * a + t1 * b) + (t2 * d + t3 * e)
            u[c] += (u0 * a + u1 * b) + (u2 * d + u3 * e)
            v[c] += (v0 * a + v1 * b) + (v2 * d + v3 * e)
            w[c] += (w0 * a + w1 * b) + (w2 * d + w3 * e)
    for f in range(ends, len(rows)):
        x, weight_t, weight_u, weight_v, weight_w = rows[f], of_t[f], of_u[f], of_v[f], of_w[f]
        for c in range(found):
            t[c] += weight_t * x[c]
            u[c] += weight_u * x[c]
            v[c] += weight_v * x[c]
            w[c] += weight_w * x[c]


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
    """Write the gradients of the log-likelihood that `came` was chosen: (F + H,) and (H, F + Z + 1); see `score`.

    What scores minus infinity is no choice.
    """
    width, hidden, found = len(features), len(units), len(scores)
    missing, below = np.empty(found, np.float32), np.empty(found, np.float32)  # the former 1[c = y] - P(c)
    highest = scores.max()
    for c in range(found):
        missing[c] = scores[c] > -np.inf
        below[c] = highest - scores[c]
    scale_exp2(missing, below, found, 1 / LN_2)
    share = np.float32(-1 / missing.sum())
    for c in range(found):
        missing[c] *= share
    missing[came] += np.float32(1)
    for f in range(width):
        gradient[f] = _dot(features[f], missing, found if f < PERSONAL or f >= PLAIN else personal)
    back = np.empty((hidden, found), np.float32)
    for h in range(hidden):
        unit, weight, through = units[h], np.float32(linear[width + h]), back[h]
        gradient[width + h] = _dot(unit, missing, found)
        for c in range(found):
            through[c] = weight * missing[c] if unit[c] > 0 else np.float32(0)
        constant = through.sum()
        for z in range(len(moment)):
            unit_gradient[h, width + z] = moment[z] * constant
        unit_gradient[h, width + len(moment)] = constant
    for h in range(0, hidden, 2):
        _dots(features[:PERSONAL], back, h, found, 0, unit_gradient)
        _dots(features[PERSONAL:PLAIN], back, h, personal, PERSONAL, unit_gradient)
        if width > PLAIN:
            _dots(features[PLAIN:], back, h, found, PLAIN, unit_gradient)


@lean
def _dots(
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    h: int,
    end: int,
    first: int,
    sums: NDArray[np.float32],
) -> None:
    """Write  sum_c weights[h', c] rows[f, c]  to sums[h', first + f], c up to `end`, for h' = h and, if there, h + 1.

    Two by two, so that what is read serves two sums.
    """
    if h + 1 == len(weights):
        for f in range(len(rows)):
            sums[h, first + f] = _dot(rows[f], weights[h], end)
        return
    v, w = weights[h], weights[h + 1]
    ends = len(rows) // 2 * 2
    for f in range(0, ends, 2):
        x, y = rows[f], rows[f + 1]
        vx = vy = wx = wy = np.float32(0)
        for c in range(end):
            vx += v[c] * x[c]
            vy += v[c] * y[c]
            wx += w[c] * x[c]
            wy += w[c] * y[c]
        sums[h, first + f], sums[h, first + f + 1] = vx, vy
        sums[h + 1, first + f], sums[h + 1, first + f + 1] = wx, wy
    for f in range(ends, len(rows)):
        sums[h, first + f], sums[h + 1, first + f] = _dot(rows[f], v, end), _dot(rows[f], w, end)


@lean
def _dot(values: NDArray[np.float32], weights: NDArray[np.float32], first: int) -> np.float32:
    """The sum of the `first` so many values by `weights`."""
    total = np.float32(0)
    for c in range(first):
        total += values[c] * weights[c]
    return total


@lean
def rank_of(values: NDArray[np.floating[Any]], place: int) -> int:
    """The rank, from 1, of the candidate at `place` by falling value, ties by place."""
    rank = 1
    for at in range(len(values)):
        rank += values[at] > values[place] or (values[at] == values[place] and at < place)
    return rank


@lean
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


@lean
def _weights_of(
    own: float,
    unit_weights: NDArray[np.float32],
    f: int,
    through: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    """Write what the score of candidates gains by one more in feature `f`, by itself and `through` units (H, N)."""
    weights[:] = own
    hidden = len(through)
    ends = hidden // 8 * 8
    for h in range(0, ends, 8):
        v, t = unit_weights[h : h + 8, f], through[h : h + 8]
        v0, v1, v2, v3, v4, v5, v6, v7 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
        t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
        for at in range(len(weights)):
            first = (v0 * t0[at] + v1 * t1[at]) + (v2 * t2[at] + v3 * t3[at])
            weights[at] += first + ((v4 * t4[at] + v5 * t5[at]) + (v6 * t6[at] + v7 * t7[at]))
    for h in range(ends, hidden):
        of_unit, weight = through[h], unit_weights[h, f]
        for at in range(len(weights)):
            weights[at] += weight * of_unit[at]


@compiled
def reasons_of(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    features: NDArray[np.float32],
    units: NDArray[np.float32],
    places: NDArray[np.int32],
    mine: NDArray[np.bool_],
    kept_company: NDArray[np.bool_],
    resembles: NDArray[np.bool_],
    untouched: NDArray[np.bool_],
    reasons: NDArray[np.int32],
) -> None:
    """Write a reason that is true of each candidate at `places` (N,) to `reasons` (N,).

    That is the source whose features add most to the score, if it is the company it keeps and it has `kept_company`, or
    the user's own return to what is `mine`; otherwise it is popular. Where content is on, it may be that it `resembles`
    something; what is `untouched` is not popular: it resembles something, or is new.
    """
    n, width, hidden = len(places), len(features), len(units)
    room = whole(n)
    through = np.zeros((hidden, room), np.float32)  # what the score gains by one more in a hidden unit
    for h in range(hidden):
        weight, unit, gains = np.float32(linear[width + h]), units[h], through[h]
        for at in range(n):
            gains[at] = weight if unit[places[at]] > 0 else np.float32(0)
    sources = SIMILAR + 1 if width > PLAIN else POPULAR + 1
    spoken, weights = np.zeros((sources, room), np.float32), np.empty(room, np.float32)
    for f in range(width):
        _weights_of(linear[f], unit_weights, f, through, weights)
        feature, of_source = features[f], spoken[SOURCE[f] if f < PLAIN else SIMILAR]
        for at in range(n):
            of_source[at] += weights[at] * feature[places[at]]
    for at in range(n):
        strongest = np.argmax(spoken[:, at])
        if strongest == AGAIN and mine[at]:
            reasons[at] = AGAIN
        elif strongest == SIMILAR and resembles[at]:
            reasons[at] = SIMILAR
        elif strongest != POPULAR and kept_company[at]:
            reasons[at] = TOGETHER
        elif untouched[at]:
            reasons[at] = SIMILAR if resembles[at] else NEW
        else:
            reasons[at] = POPULAR
