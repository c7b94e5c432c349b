"""Scores: a linear model with a small hidden layer over the candidates of a query.

    u_h(c)  = max(0, V_h . [x(c); z; 1])          H hidden units over the features x, the context features z and 1
    score(c) = w . x(c) + a . u(c)

`freshflow.ranking.gradients` has the gradients by w, a and V.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_inline, jit_no_refcount
from freshflow.ranking.features import FEATURES, FIRST_CONTENT, FIRST_PERSONAL
from freshflow.ranking.features_content import CONTENT_FEATURES

# Scores are multiples of it: a power of two, so that rounding is exact, and greater than 1e-9, so that scores written
# with nine decimals are equal only if they are equal, and a list is in order as written.
SCORE_QUANTUM = 2.0**-29


class Weights(NamedTuple):
    """Weights of a ranker.

    Attributes:
        linear: (2, F + H) float64, w and a: of users with a context, and of users without one.
        units: (H, F + Z + 1) float32, V.
    """

    linear: NDArray[np.float64]
    units: NDArray[np.float32]


def feature_names(n_features: int) -> tuple[str, ...]:
    """Return the names of the first `n_features` features; those of content come last."""
    return (*FEATURES, *CONTENT_FEATURES)[:n_features]


@jit_inline
def quantize(value: float) -> float:
    """Return the nearest multiple of `SCORE_QUANTUM`."""
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
    """Write the hidden units and the quantized scores of candidates.

    The arrays may have room for more candidates than there are scores. With content on, F includes its features.

    Args:
        linear: (F + H,) w and a.
        unit_weights: (H, F + Z + 1) V.
        context_features: (Z,) z.
        features: (F, C) x.
        n_personal: The number of candidates, from the first, whose features from `FIRST_PERSONAL` up to `FIRST_CONTENT`
            are not all 0.
        units: (H, C) float32, overwritten.
        scores: (C,) float64, overwritten.
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
    """Add  sum_f weights[f] rows[f]  to the `total`, which is read and written once for four rows."""
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
    """Add  sum_f weights[h', first_weight + f] rows[f]  to totals[h'], for h' = h to h + 3 as far as there are any.

    Four totals and four rows at a time: a row is read once for four totals, a total once for four rows.
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
