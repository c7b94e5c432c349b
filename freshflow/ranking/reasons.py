"""Reasons: the source of evidence that contributes most to a candidate's score."""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.ranking.features import FEATURE_SOURCES, FEATURES, FIRST_CONTENT
from freshflow.ranking.math_kernels import round_up_to_simd_width
from freshflow.ranking.reason_names import RANKING_REASONS

REASON_TOGETHER, REASON_AGAIN, REASON_POPULAR, REASON_SIMILAR, REASON_NEW = range(len(RANKING_REASONS))
REASON_SEARCH = len(RANKING_REASONS)  # of no feature: co-visitation with a search instead of an item
FEATURE_REASONS = np.array([RANKING_REASONS.index(FEATURE_SOURCES[name]) for name in FEATURES], np.int64)


@jit_no_refcount
def _feature_slopes(
    linear_weight: float,
    unit_weights: NDArray[np.float32],
    f: int,
    unit_slopes: NDArray[np.float32],
    slopes: NDArray[np.float32],
) -> None:
    """Write the derivative of each candidate's score by feature `f`:  w_f + sum over active units h of a_h V_h,f.

    Args:
        linear_weight: w_f.
        unit_weights: (H, F + Z + 1) V.
        f: The feature.
        unit_slopes: (H, N) a_h where unit h is active for a candidate, else 0.
        slopes: (N,) float32, overwritten.
    """
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
    """Write a reason that is true of each candidate.

    It is the source whose features contribute most to the score, if the candidate has such evidence; otherwise
    "popular". Cold items are not popular: they are similar to an item of the user, or new.

    Args:
        linear: (F + H,) w and a.
        unit_weights: (H, F + Z + 1) V.
        features: (F, C) x.
        units: (H, C) u.
        candidates: (N,) the candidates to explain.
        in_history: (N,) whether the user has visited the item.
        has_covisits: (N,) whether it is co-visited with an item of the context.
        has_similar: (N,) whether it resembles an item of the context.
        is_cold: (N,) whether it has no visits.
        reasons: (N,) int32, overwritten by indices into `RANKING_REASONS`.
    """
    n, n_features, n_units = len(candidates), len(features), len(units)
    n_padded = round_up_to_simd_width(n)
    unit_slopes = np.zeros((n_units, n_padded), np.float32)  # derivative of the score by a hidden unit
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
