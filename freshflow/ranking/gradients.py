"""Gradients of a choice: how the weights of a ranker learn from the item that was chosen among the candidates.

The choice model (conditional logit: McFadden 1974; ListNet's top-one loss: Cao et al., ICML 2007) is

    P(c) = exp(score(c)) / sum_c' exp(score(c'))

and when y was chosen, the log-likelihood has the gradients

    d/dw = x(y) - sum_c P(c) x(c),   d/da = u(y) - sum_c P(c) u(c),
    d/dV_h = a_h sum_c (1[c = y] - P(c)) 1[u_h(c) > 0] [x(c); z; 1]

in the notation of `freshflow.ranking.scoring`.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.ranking.features import FIRST_CONTENT, FIRST_PERSONAL
from freshflow.ranking.math_kernels import LN_2, scale_exp2


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
    """Write the gradients of the log-likelihood that a candidate was chosen.

    Args:
        linear: (F + H,) w and a.
        context_features: (Z,) z.
        features: (F, C) x.
        n_personal: The number of candidates, from the first, with features of the user's history or context.
        units: (H, C) u.
        scores: (C,); a candidate that scores minus infinity was no choice.
        target_index: The chosen candidate.
        gradient: (F + H,) float64, overwritten.
        unit_gradient: (H, F + Z + 1) float32, overwritten.
    """
    n_features, n_units, n_candidates = len(features), len(units), len(scores)
    residuals = np.empty(n_candidates, np.float32)  # 1[c = y] - P(c)
    score_gaps = np.empty(n_candidates, np.float32)
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
    """Write  sum_c weights[h', c] rows[f, c]  for c < end to sums[h', first + f], for h' = h and h + 1 if there is one.

    Two rows and two weights at a time, so that each value that is read serves two sums.
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
def _dot(values: NDArray[np.float32], weights: NDArray[np.float32], end: int) -> np.float32:
    """Return the dot product of the first `end` values and weights."""
    total = np.float32(0)
    for c in range(end):
        total += values[c] * weights[c]
    return total
