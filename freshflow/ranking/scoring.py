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

from freshflow._numba import jit, jit_inline, jit_no_refcount
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURE_SOURCES, FEATURES, FIRST_PERSONAL
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.ranking.math_kernels import LN_2, round_up_to_simd_width, scale_exp2

__all__ = [
    "REASON_AGAIN",
    "UNIT_INPUTS",
    "REASON_NEW",
    "REASON_POPULAR",
    "RANKING_REASONS",
    "REASON_SIMILAR",
    "SCORE_QUANTUM",
    "REASON_TOGETHER",
    "Weights",
    "select_top_k",
    "feature_names",
    "rank_by_value",
    "assign_reasons",
    "score_candidates",
    "quantize",
    "choice_gradient",
]

RANKING_REASONS = ("together", "again", "popular", "similar", "new")
UNIT_INPUTS = (*FEATURES, *CONTEXT_FEATURES, "constant")  # of the hidden units
REASON_TOGETHER, REASON_AGAIN, REASON_POPULAR, REASON_SIMILAR, REASON_NEW = range(len(RANKING_REASONS))
REASON_SEARCH = len(RANKING_REASONS)  # no feature's: it is the company of a search, and not that of an item
FIRST_CONTENT = len(FEATURES)  # from here on features are those of content, which all candidates have
FEATURE_REASONS = np.array([RANKING_REASONS.index(FEATURE_SOURCES[name]) for name in FEATURES], np.int64)
# Scores are whole multiples of it: a power of two, so that rounding is exact, and more than the ninth decimal, so that
# scores written with nine decimals are equal only where they are, and whoever reads a list finds it in order.
SCORE_QUANTUM = 2.0**-29


class Weights(NamedTuple):
    """`linear` (2, F + H) float64: w and a, of moments with a context and of those without; `units` (H, F + Z + 1)."""

    linear: NDArray[np.float64]
    units: NDArray[np.float32]


def feature_names(n_features: int) -> tuple[str, ...]:
    """The names of so many features: all but those of content, or these, too."""
    return (*FEATURES, *CONTENT_FEATURES)[:n_features]


@jit_inline
def quantize(value: float) -> float:
    """The score that stands for `value`: the nearest multiple of `SCORE_QUANTUM`."""
    return np.rint(value / SCORE_QUANTUM) * SCORE_QUANTUM  # type: ignore[no-any-return]


@jit_no_refcount
def score_candidates(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    context_features: NDArray[np.float32],
    features: NDArray[np.float32],
    n_personal: int,
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
) -> None:
    """Write the hidden units (H, C) and the `quantize` scores (C,) of candidates with `features` (F, C).

    There may be room left for more candidates. Where content is on, F counts its features, too, which come last.

    `linear` (F + H,) are w and a, `unit_weights` (H, F + Z + 1) is V. Only the first `n_personal` candidates have
    features from number `FIRST_PERSONAL` up to those of content.
    """
    n_features, n_units, n_candidates = len(features), len(units), len(scores)
    scores[:] = 0
    _add_weighted_rows(linear, features[:FIRST_PERSONAL], scores, n_candidates)
    _add_weighted_rows(linear[FIRST_PERSONAL:], features[FIRST_PERSONAL:FIRST_CONTENT], scores, n_personal)
    _add_weighted_rows(linear[FIRST_CONTENT:], features[FIRST_CONTENT:], scores, n_candidates)
    for h in range(n_units):
        bias = unit_weights[h, n_features + len(context_features)]
        for z in range(len(context_features)):
            bias += context_features[z] * unit_weights[h, n_features + z]
        units[h, :n_candidates] = bias
    for h in range(0, n_units, 4):
        _add_unit_sums(unit_weights, features[:FIRST_PERSONAL], 0, units, h, n_candidates)
        _add_unit_sums(unit_weights, features[FIRST_PERSONAL:FIRST_CONTENT], FIRST_PERSONAL, units, h, n_personal)
        if n_features > FIRST_CONTENT:
            _add_unit_sums(unit_weights, features[FIRST_CONTENT:], FIRST_CONTENT, units, h, n_candidates)
    for h in range(n_units):
        unit, weight = units[h], linear[n_features + h]
        for c in range(n_candidates):
            unit[c] = max(unit[c], np.float32(0))
            scores[c] += weight * unit[c]
    for c in range(n_candidates):
        scores[c] = quantize(scores[c])


@jit_no_refcount
def _add_weighted_rows(
    weights: NDArray[Any], rows: NDArray[np.float32], total: NDArray[Any], n_candidates: int
) -> None:
    """Add  sum_f weights[f] rows[f]  to the `total`, which is read and written for every four rows."""
    block_end = len(rows) // 4 * 4
    for f in range(0, block_end, 4):
        x0, x1, x2, x3 = rows[f], rows[f + 1], rows[f + 2], rows[f + 3]
        w0, w1, w2, w3 = weights[f], weights[f + 1], weights[f + 2], weights[f + 3]
        for c in range(n_candidates):
            total[c] += (w0 * x0[c] + w1 * x1[c]) + (w2 * x2[c] + w3 * x3[c])
    for f in range(block_end, len(rows)):
        x, weight = rows[f], weights[f]
        for c in range(n_candidates):
            total[c] += weight * x[c]


@jit_no_refcount
def _add_unit_sums(
    weights: NDArray[np.float32],
    rows: NDArray[np.float32],
    first_weight: int,
    totals: NDArray[np.float32],
    h: int,
    n_candidates: int,
) -> None:
    """Add  sum_f weights[h', first + f] rows[f]  to totals[h'], for h' = h to h + 3 as far as there are any.

    Four totals and four rows at a time: a row is read once for four totals, which are read and written for every four.
    """
    if h + 4 > len(totals):
        for unit in range(h, len(totals)):
            _add_weighted_rows(weights[unit, first_weight:], rows, totals[unit], n_candidates)
        return
    t, u, v, w = totals[h], totals[h + 1], totals[h + 2], totals[h + 3]
    row_t, row_u, row_v, row_w = (
        weights[h, first_weight:],
        weights[h + 1, first_weight:],
        weights[h + 2, first_weight:],
        weights[h + 3, first_weight:],
    )
    block_end = len(rows) // 4 * 4
    for f in range(0, block_end, 4):
        x0, x1, x2, x3 = rows[f], rows[f + 1], rows[f + 2], rows[f + 3]
        t0, t1, t2, t3 = row_t[f], row_t[f + 1], row_t[f + 2], row_t[f + 3]
        u0, u1, u2, u3 = row_u[f], row_u[f + 1], row_u[f + 2], row_u[f + 3]
        v0, v1, v2, v3 = row_v[f], row_v[f + 1], row_v[f + 2], row_v[f + 3]
        w0, w1, w2, w3 = row_w[f], row_w[f + 1], row_w[f + 2], row_w[f + 3]
        for c in range(n_candidates):
            a, b, d, e = x0[c], x1[c], x2[c], x3[c]
            t[c] += (t0 * a + t1 * b) + (t2 * d + t3 * e)
            u[c] += (u0 * a + u1 * b) + (u2 * d + u3 * e)
            v[c] += (v0 * a + v1 * b) + (v2 * d + v3 * e)
            w[c] += (w0 * a + w1 * b) + (w2 * d + w3 * e)
    for f in range(block_end, len(rows)):
        x, weight_t, weight_u, weight_v, weight_w = rows[f], row_t[f], row_u[f], row_v[f], row_w[f]
        for c in range(n_candidates):
            t[c] += weight_t * x[c]
            u[c] += weight_u * x[c]
            v[c] += weight_v * x[c]
            w[c] += weight_w * x[c]


@jit
def choice_gradient(
    linear: NDArray[np.float64],
    context_features: NDArray[np.float32],
    features: NDArray[np.float32],
    n_personal: int,
    units: NDArray[np.float32],
    scores: NDArray[np.float64],
    target_index: int,
    gradient: NDArray[np.float64],
    unit_gradient: NDArray[np.float32],
) -> None:
    """Write the gradients of the log-likelihood that `target_index` was chosen: (F + H,) and (H, F + Z + 1); see `score_candidates`.

    What scores minus infinity is no choice.
    """
    n_features, n_units, n_candidates = len(features), len(units), len(scores)
    residuals, score_gaps = (
        np.empty(n_candidates, np.float32),
        np.empty(n_candidates, np.float32),
    )  # the former 1[c = y] - P(c)
    max_score = scores.max()
    for c in range(n_candidates):
        residuals[c] = scores[c] > -np.inf
        score_gaps[c] = max_score - scores[c]
    scale_exp2(residuals, score_gaps, n_candidates, 1 / LN_2)
    scale = np.float32(-1 / residuals.sum())
    for c in range(n_candidates):
        residuals[c] *= scale
    residuals[target_index] += np.float32(1)
    for f in range(n_features):
        gradient[f] = _dot(
            features[f], residuals, n_candidates if f < FIRST_PERSONAL or f >= FIRST_CONTENT else n_personal
        )
    unit_residuals = np.empty((n_units, n_candidates), np.float32)
    for h in range(n_units):
        unit, weight, unit_residual = units[h], np.float32(linear[n_features + h]), unit_residuals[h]
        gradient[n_features + h] = _dot(unit, residuals, n_candidates)
        for c in range(n_candidates):
            unit_residual[c] = weight * residuals[c] if unit[c] > 0 else np.float32(0)
        constant = unit_residual.sum()
        for z in range(len(context_features)):
            unit_gradient[h, n_features + z] = context_features[z] * constant
        unit_gradient[h, n_features + len(context_features)] = constant
    for h in range(0, n_units, 2):
        _write_dots(features[:FIRST_PERSONAL], unit_residuals, h, n_candidates, 0, unit_gradient)
        _write_dots(
            features[FIRST_PERSONAL:FIRST_CONTENT], unit_residuals, h, n_personal, FIRST_PERSONAL, unit_gradient
        )
        if n_features > FIRST_CONTENT:
            _write_dots(features[FIRST_CONTENT:], unit_residuals, h, n_candidates, FIRST_CONTENT, unit_gradient)


@jit_no_refcount
def _write_dots(
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
    block_end = len(rows) // 2 * 2
    for f in range(0, block_end, 2):
        x, y = rows[f], rows[f + 1]
        vx = vy = wx = wy = np.float32(0)
        for c in range(end):
            vx += v[c] * x[c]
            vy += v[c] * y[c]
            wx += w[c] * x[c]
            wy += w[c] * y[c]
        sums[h, first + f], sums[h, first + f + 1] = vx, vy
        sums[h + 1, first + f], sums[h + 1, first + f + 1] = wx, wy
    for f in range(block_end, len(rows)):
        sums[h, first + f], sums[h + 1, first + f] = _dot(rows[f], v, end), _dot(rows[f], w, end)


@jit_no_refcount
def _dot(values: NDArray[np.float32], weights: NDArray[np.float32], first: int) -> np.float32:
    """The sum of the `first` so many values by `weights`."""
    total = np.float32(0)
    for c in range(first):
        total += values[c] * weights[c]
    return total


@jit_no_refcount
def rank_by_value(values: NDArray[np.floating[Any]], index: int) -> int:
    """The rank, from 1, of the candidate at `index` by falling value, ties by place."""
    rank = 1
    for i in range(len(values)):
        rank += values[i] > values[index] or (values[i] == values[index] and i < index)
    return rank


@jit_no_refcount
def select_top_k(
    scores: NDArray[np.float64], skip_marks: NDArray[np.int32], k: int, indices: NDArray[np.int32]
) -> tuple[int, bool]:
    """Write the places of the `k` highest scores to `indices`, the highest first, without those `skip_marks` (not -1).

    How many there are, and whether any two of them, or the last and one left out, have the same score.
    """
    n, tied = 0, False
    for c in range(len(scores)):
        if skip_marks[c] >= 0:
            continue
        value = scores[c]
        if n == k:
            if n == 0 or value < scores[indices[n - 1]]:
                continue
            if value == scores[indices[n - 1]]:
                tied = True
                continue
        position = n if n < k else n - 1
        while position > 0 and scores[indices[position - 1]] < value:
            indices[position] = indices[position - 1]
            position -= 1
        tied |= position > 0 and scores[indices[position - 1]] == value
        indices[position] = c
        n = min(n + 1, k)
    return n, tied


@jit_no_refcount
def _feature_slopes(
    linear_weight: float,
    unit_weights: NDArray[np.float32],
    f: int,
    unit_slopes: NDArray[np.float32],
    slopes: NDArray[np.float32],
) -> None:
    """Write what the score of candidates gains by one more in feature `f`, by itself and `unit_slopes` units (H, N)."""
    slopes[:] = linear_weight
    n_units = len(unit_slopes)
    block_end = n_units // 8 * 8
    for h in range(0, block_end, 8):
        v, t = unit_weights[h : h + 8, f], unit_slopes[h : h + 8]
        v0, v1, v2, v3, v4, v5, v6, v7 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
        t0, t1, t2, t3, t4, t5, t6, t7 = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]
        for i in range(len(slopes)):
            first = (v0 * t0[i] + v1 * t1[i]) + (v2 * t2[i] + v3 * t3[i])
            slopes[i] += first + ((v4 * t4[i] + v5 * t5[i]) + (v6 * t6[i] + v7 * t7[i]))
    for h in range(block_end, n_units):
        active, weight = unit_slopes[h], unit_weights[h, f]
        for i in range(len(slopes)):
            slopes[i] += weight * active[i]


@jit
def assign_reasons(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    features: NDArray[np.float32],
    units: NDArray[np.float32],
    candidates: NDArray[np.int32],
    in_history: NDArray[np.bool_],
    has_covisits: NDArray[np.bool_],
    has_similar: NDArray[np.bool_],
    is_cold: NDArray[np.bool_],
    reasons: NDArray[np.int32],
) -> None:
    """Write a reason that is true of each candidate at `candidates` (N,) to `reasons` (N,).

    That is the source whose features add most to the score, if it is the company it keeps and it has `has_covisits`, or
    the user's own return to what is `in_history`; otherwise it is popular. Where content is on, it may be that it `has_similar`
    something; what is `is_cold` is not popular: it resembles something, or is new.
    """
    n, n_features, n_units = len(candidates), len(features), len(units)
    n_padded = round_up_to_simd_width(n)
    unit_slopes = np.zeros((n_units, n_padded), np.float32)  # what the score gains by one more in a hidden unit
    for h in range(n_units):
        weight, unit, slopes = np.float32(linear[n_features + h]), units[h], unit_slopes[h]
        for i in range(n):
            slopes[i] = weight if unit[candidates[i]] > 0 else np.float32(0)
    n_sources = REASON_SIMILAR + 1 if n_features > FIRST_CONTENT else REASON_POPULAR + 1
    contributions, weights = np.zeros((n_sources, n_padded), np.float32), np.empty(n_padded, np.float32)
    for f in range(n_features):
        _feature_slopes(linear[f], unit_weights, f, unit_slopes, weights)
        feature, contribution = features[f], contributions[FEATURE_REASONS[f] if f < FIRST_CONTENT else REASON_SIMILAR]
        for i in range(n):
            contribution[i] += weights[i] * feature[candidates[i]]
    for i in range(n):
        strongest_reason = np.argmax(contributions[:, i])
        if strongest_reason == REASON_AGAIN and in_history[i]:
            reasons[i] = REASON_AGAIN
        elif strongest_reason == REASON_SIMILAR and has_similar[i]:
            reasons[i] = REASON_SIMILAR
        elif strongest_reason != REASON_POPULAR and has_covisits[i]:
            reasons[i] = REASON_TOGETHER
        elif is_cold[i]:
            reasons[i] = REASON_SIMILAR if has_similar[i] else REASON_NEW
        else:
            reasons[i] = REASON_POPULAR
