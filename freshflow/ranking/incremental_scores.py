"""Refreshing lists without a full ranking: a score is a part that is the same for all users plus a user's residual.

For an idle user, little but popularity changes between two looks at a list. Let g(i) be the score of item i at the
start of a session for a typical user. A full ranking at time t0 leaves, for each of the user's P best items, the
residual  r(i) = score(i) - g0(i),  for all others the mean residual b of candidates without personal evidence, and the
logarithm of Z, the sum of exp(score). Later the score of an item is

    s(i) = g(i) + r(i)   for the user's own P items,   g(j) + b   for items that are popular by then,

so one column of scores serves all users. It is exact for items whose score is the sum of the two parts, and close
where hidden units combine them. As the ranker is a choice model, exp(s(i)) / Z is the probability that the user's next
item is i: the gain of a new list over the last is the difference of the sums of these over its items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.popularity import find_recent_rows
from freshflow.items.tables import ItemTables
from freshflow.ranking.candidate_buffer import N_RECENT_EVENTS
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES, GLOBAL_FEATURES, compute_popularity_features
from freshflow.ranking.math_kernels import LN_2, scale_exp2
from freshflow.ranking.scoring import Weights, quantize, score_candidates

N_BASELINE_ITEMS = 40  # P, items of which a user's residual is kept
RESIDUAL_SAMPLE_SIZE = 40  # candidates in the mean residual b

NO_INDEX = -1
BANNED_MARK = -1
OPENS_FEATURE, PAUSE_FEATURE, HISTORY_FEATURE = (
    CONTEXT_FEATURES.index("opens"),
    CONTEXT_FEATURES.index("pause_before"),
    CONTEXT_FEATURES.index("history"),
)
LAST_VISITS_FEATURE = CONTEXT_FEATURES.index("last_visits")
# The typical user of g: after a pause of a day, with twenty items, the last of them a common one.
TYPICAL_PAUSE, TYPICAL_HISTORY, TYPICAL_LAST_VISITS = np.float32(1.42), np.float32(1.01), np.float32(1.0)


class UserBaselines(NamedTuple):
    """Stored lists of U users.

    Attributes:
        list_rows: (U, K) item rows of the last list.
        item_rows: (U, P) item rows of the user's best items, -1 for none.
        residuals: (U, P) r.
        levels: (U, 2) b and log Z.
        reasons: (U, P, 2) the reason, and the item row behind it or -1.
    """

    list_rows: NDArray[np.int32]
    item_rows: NDArray[np.int32]
    residuals: NDArray[np.float32]
    levels: NDArray[np.float32]
    reasons: NDArray[np.int32]


@jit
def collect_popular_rows(tables: ItemTables, rows: NDArray[np.int32], is_collected: NDArray[np.bool_]) -> int:
    """Write the distinct available rows of all leading and latest items.

    Args:
        tables: The item statistics.
        rows: (N,) int32, overwritten.
        is_collected: (item rows,) bool, all False before and after.

    Returns:
        The number of rows written.
    """
    recent_rows = np.empty(N_RECENT_EVENTS, np.int32)
    n_recent = find_recent_rows(tables.popularity.ring, tables.popularity.clock, recent_rows)
    top_items, n = tables.top_items, 0
    for group in range(len(top_items.sizes) + 1):
        n_new = top_items.sizes[group] if group < len(top_items.sizes) else n_recent
        for i in range(n_new):
            row = top_items.rows[group, i] if group < len(top_items.sizes) else recent_rows[i]
            if row >= 0 and n < len(rows) and not is_collected[row] and tables.available[row]:
                is_collected[row] = True
                rows[n] = row
                n += 1
    for i in range(n):
        is_collected[rows[i]] = False
    return n


@jit
def _global_context_features() -> NDArray[np.float32]:
    context_features = np.zeros(len(CONTEXT_FEATURES), np.float32)
    (
        context_features[OPENS_FEATURE],
        context_features[PAUSE_FEATURE],
        context_features[HISTORY_FEATURE],
        context_features[LAST_VISITS_FEATURE],
    ) = 1, TYPICAL_PAUSE, TYPICAL_HISTORY, TYPICAL_LAST_VISITS
    return context_features


@jit
def _compute_global_scores(
    linear: NDArray[np.float64], unit_weights: NDArray[np.float32], features: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return g (N,) of items with these features (F, N), using only the features that are the same for all users."""
    items = features.shape[1]
    masked_features = np.zeros((unit_weights.shape[1] - len(CONTEXT_FEATURES) - 1, items), np.float32)
    for f in GLOBAL_FEATURES:
        masked_features[f] = features[f]
    units = np.empty((len(unit_weights), items), np.float32)
    scores = np.empty(items)
    score_candidates(linear, unit_weights, _global_context_features(), masked_features, 0, units, scores)
    return scores


@jit
def global_scores(
    tables: ItemTables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    rows: NDArray[np.int32],
    score_by_row: NDArray[np.float64],
) -> None:
    """Write g of items into a table where it is NaN.

    Args:
        tables: The item statistics.
        linear: (F + H,) w and a.
        unit_weights: (H, F + Z + 1) V.
        now_ms: Event time.
        rows: (N,) item rows; -1 is ignored.
        score_by_row: (item rows,) float64.
    """
    missing_rows = np.empty(len(rows), np.int32)
    n = 0
    for row in rows:
        if row >= 0 and np.isnan(score_by_row[row]):
            missing_rows[n] = row
            score_by_row[row] = 0
            n += 1
    if n:
        features = np.zeros((len(FEATURES), n), np.float32)
        compute_popularity_features(tables, now_ms, missing_rows[:n], features)
        score_by_row[missing_rows[:n]] = _compute_global_scores(linear, unit_weights, features)


@jit
def write_baseline(
    weights: Weights,
    candidates: NDArray[np.int32],
    features: NDArray[np.float32],
    scores: NDArray[np.float64],
    top_candidates: NDArray[np.int32],
    residuals: NDArray[np.float32],
    levels: NDArray[np.float32],
) -> None:
    """Write the parts of a full ranking that refreshes need.

    Args:
        weights: The weights that scored it.
        candidates: (C, 4) of `RankingResults`.
        features: (F, C) of `RankingResults`.
        scores: (C,) of `RankingResults`.
        top_candidates: (at most P,) the best candidates.
        residuals: (P,) r, overwritten.
        levels: (2,) b and log Z, overwritten.
    """
    n, n_sampled = len(top_candidates), 0
    sample_indices = np.empty(RESIDUAL_SAMPLE_SIZE, np.int64)
    max_score = scores.max() if len(scores) else 0.0
    total = 0.0
    for c in range(len(scores)):
        total += np.exp(scores[c] - max_score)
        if candidates[c, 1] < 0 and candidates[c, 2] < 0 and n_sampled < RESIDUAL_SAMPLE_SIZE:
            sample_indices[n_sampled] = c
            n_sampled += 1
    if n:
        shared_scores = _compute_global_scores(weights.linear[0], weights.units, features[:, top_candidates])
        for i in range(n):
            residuals[i] = scores[top_candidates[i]] - shared_scores[i]
    mean_residual = 0.0
    if n_sampled:
        shared_scores = _compute_global_scores(
            weights.linear[0], weights.units, features[:, sample_indices[:n_sampled]]
        )
        for i in range(n_sampled):
            mean_residual += (scores[sample_indices[i]] - shared_scores[i]) / n_sampled
    levels[0] = mean_residual
    levels[1] = max_score + np.log(max(total, 1e-9))


@jit
def refresh_lists(
    tables: ItemTables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    baselines: UserBaselines,
    slots: NDArray[np.int32],
    activity_probabilities: NDArray[np.float64],
    banned_rows: NDArray[np.int32],
    banned_starts: NDArray[np.int64],
    gain_threshold: float,
    score_by_row: NDArray[np.float64],
    popular_rows: NDArray[np.int32],
    list_rows: NDArray[np.int32],
    item_indices: NDArray[np.int32],
    list_scores: NDArray[np.float64],
    refresh_indices: NDArray[np.int32],
    gains: NDArray[np.float64],
) -> int:
    """Compute the lists of users as of now, and keep those whose expected gain is worth a message.

    Args:
        tables: The item statistics.
        linear: (F + H,) w and a.
        unit_weights: (H, F + Z + 1) V.
        now_ms: Event time.
        baselines: The stored lists; own items are put in the order of their new scores.
        slots: (S,) the users, as rows of `baselines`.
        activity_probabilities: (S,) that the user acts soon.
        banned_rows: Item rows that must not be shown, user by user.
        banned_starts: (S + 1,) positions in `banned_rows`.
        gain_threshold: The least gain, hits gained times activity probability, of a list that is kept.
        score_by_row: (item rows,) g, NaN where unknown; filled as needed.
        popular_rows: (N,) item rows that may be shown to everyone, by falling g.
        list_rows: (S, K) int32, overwritten by the lists that are kept, padded with -1.
        item_indices: (S, K) int32, overwritten by indices into the user's own items or -1.
        list_scores: (S, K) float64, overwritten.
        refresh_indices: (S,) int32, overwritten by the numbers in `slots` of the lists that are kept.
        gains: (S,) float64, overwritten.

    Returns:
        The number of lists that are kept.
    """
    n_refreshed = 0
    _fill_global_scores(tables, linear, unit_weights, now_ms, baselines, slots, score_by_row)
    item_scores, mark_by_row = np.empty(baselines.item_rows.shape[1]), np.zeros(len(score_by_row), np.int32)
    log_gaps, probabilities = np.empty(2 * list_rows.shape[1], np.float32), np.empty(2 * list_rows.shape[1], np.float32)
    for n in range(len(slots)):
        slot = slots[n]
        item_rows, old_rows = baselines.item_rows[slot], baselines.list_rows[slot]
        bias, log_z = baselines.levels[slot, 0], baselines.levels[slot, 1]
        user_banned_rows = banned_rows[banned_starts[n] : banned_starts[n + 1]]
        _sort_items(
            tables.available, score_by_row, item_rows, baselines.residuals[slot], baselines.reasons[slot], item_scores
        )
        mark_by_row[user_banned_rows] = BANNED_MARK
        for i in range(len(item_rows)):
            if item_rows[i] >= 0:
                mark_by_row[item_rows[i]] = i + 1
        n_new = _merge_lists(
            item_rows,
            item_scores,
            popular_rows,
            score_by_row,
            bias,
            mark_by_row,
            list_rows[n_refreshed],
            item_indices[n_refreshed],
            list_scores[n_refreshed],
        )
        n_old = 0
        for row in old_rows:
            if row >= 0 and tables.available[row]:
                value = item_scores[mark_by_row[row] - 1] if mark_by_row[row] > 0 else score_by_row[row] + bias
                log_gaps[n_old] = max(log_z - value, 0.0)
                n_old += 1
        for i in range(n_new):
            log_gaps[n_old + i] = max(log_z - list_scores[n_refreshed, i], 0.0)
        probabilities[:] = 1
        scale_exp2(probabilities, log_gaps, n_old + n_new, 1 / LN_2)
        old_hits, new_hits = probabilities[:n_old].sum(), probabilities[n_old : n_old + n_new].sum()
        for row in item_rows:
            if row >= 0:
                mark_by_row[row] = 0
        mark_by_row[user_banned_rows] = 0
        gains[n] = (new_hits - old_hits) / max(new_hits, 1.0) * activity_probabilities[n]
        if gains[n] >= gain_threshold:
            list_rows[n_refreshed, n_new:] = NO_INDEX
            refresh_indices[n_refreshed] = n
            n_refreshed += 1
    return n_refreshed


@jit
def _fill_global_scores(
    tables: ItemTables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    baselines: UserBaselines,
    slots: NDArray[np.int32],
    score_by_row: NDArray[np.float64],
) -> None:
    """Write g of all own items and list items of the users into `score_by_row` where it is NaN."""
    missing_rows = np.empty(len(slots) * (baselines.item_rows.shape[1] + baselines.list_rows.shape[1]), np.int32)
    n = 0
    for slot in slots:
        for rows in (baselines.item_rows[slot], baselines.list_rows[slot]):
            for row in rows:
                missing_rows[n] = row
                n += 1
    global_scores(tables, linear, unit_weights, now_ms, missing_rows, score_by_row)


@jit_no_refcount
def _sort_items(
    available: NDArray[np.bool_],
    score_by_row: NDArray[np.float64],
    item_rows: NDArray[np.int32],
    residuals: NDArray[np.float32],
    reasons: NDArray[np.int32],
    item_scores: NDArray[np.float64],
) -> None:
    """Sort a user's own items (P,) and their residuals and reasons by score; unavailable items come last.

    An insertion sort: they are nearly sorted from the last time. The scores go to `item_scores` (P,).
    """
    for i in range(len(item_rows)):
        row, residual = item_rows[i], residuals[i]
        value = quantize(score_by_row[row] + residual) if row >= 0 and available[row] else -np.inf
        reason, source = reasons[i, 0], reasons[i, 1]
        position = i
        while position > 0 and item_scores[position - 1] < value:
            item_scores[position], item_rows[position], residuals[position] = (
                item_scores[position - 1],
                item_rows[position - 1],
                residuals[position - 1],
            )
            reasons[position, 0], reasons[position, 1] = reasons[position - 1, 0], reasons[position - 1, 1]
            position -= 1
        item_scores[position], item_rows[position], residuals[position] = value, row, residual
        reasons[position, 0], reasons[position, 1] = reason, source


@jit_no_refcount
def _merge_lists(
    item_rows: NDArray[np.int32],
    item_scores: NDArray[np.float64],
    popular_rows: NDArray[np.int32],
    score_by_row: NDArray[np.float64],
    bias: float,
    mark_by_row: NDArray[np.int32],
    list_rows: NDArray[np.int32],
    item_indices: NDArray[np.int32],
    scores: NDArray[np.float64],
) -> int:
    """Merge a user's own items and the popular ones, both in the order of their scores; ties go to the own.

    Args:
        item_rows: (P,) own items.
        item_scores: (P,).
        popular_rows: (N,) popular items; those with a mark are left out.
        score_by_row: (item rows,) g.
        bias: b.
        mark_by_row: (item rows,).
        list_rows: (K,) int32, overwritten.
        item_indices: (K,) int32, overwritten.
        scores: (K,) float64, overwritten.

    Returns:
        The number of items written.
    """
    n = next_item = next_popular = 0
    while n < len(list_rows):
        while next_popular < len(popular_rows) and mark_by_row[popular_rows[next_popular]] != 0:
            next_popular += 1
        item_score = item_scores[next_item] if next_item < len(item_rows) else -np.inf
        popular_score = (
            quantize(score_by_row[popular_rows[next_popular]] + bias) if next_popular < len(popular_rows) else -np.inf
        )
        if item_score == popular_score == -np.inf:
            break
        if item_score >= popular_score:
            list_rows[n], item_indices[n], scores[n] = item_rows[next_item], next_item, item_score
            next_item += 1
        else:
            list_rows[n], item_indices[n], scores[n] = popular_rows[next_popular], NO_INDEX, popular_score
            next_popular += 1
        n += 1
    return n
