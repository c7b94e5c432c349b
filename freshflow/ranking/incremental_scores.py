"""Keeping lists fresh without ranking them anew: what speaks for an item whoever looks, and what for one user's sake.

For a user who does nothing, hardly anything but popularity moves between two looks at a list. Let g(i) be the score of
item i at the opening of a session for someone of whom nothing else is known. A full ranking at time t0 leaves, for each
of the user's P best items, the rest  r(i) = score(i) - g0(i),  for all others the mean rest b of what nothing personal
speaks for, and the logarithm of the sum Z of exp(score). Later, the score of an item is

    s(i) = g(i) + r(i)   of the user's own P,   and   g(j) + b   of what is popular by then,

so one column of scores serves all users. It is exact for items whose score is the sum of the two parts, and close to it
where hidden units cross them. As the ranker is a model of choice, exp(s(i)) / Z is the probability that i is what the
user comes for next: what a new list gains over the last one is the difference of the sums of these over its items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.popularity import find_recent_rows
from freshflow.items.tables import ItemTables
from freshflow.ranking.candidates import N_RECENT_EVENTS
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES, GLOBAL_FEATURES, compute_popularity_features
from freshflow.ranking.math_kernels import LN_2, scale_exp2
from freshflow.ranking.scoring import Weights, quantize, score_candidates

__all__ = [
    "N_BASELINE_ITEMS",
    "UserBaselines",
    "global_scores",
    "refresh_lists",
    "collect_popular_rows",
    "write_baseline",
]

N_BASELINE_ITEMS = 40  # items of which a user's own part of the score is kept
RESIDUAL_SAMPLE_SIZE = 40  # candidates from which the mean rest is taken

NO_INDEX = -1
BANNED_MARK = -1
OPENS_FEATURE, PAUSE_FEATURE, HISTORY_FEATURE = (
    CONTEXT_FEATURES.index("opens"),
    CONTEXT_FEATURES.index("pause_before"),
    CONTEXT_FEATURES.index("history"),
)
LAST_VISITS_FEATURE = CONTEXT_FEATURES.index("last_visits")
# The moment for which everyone's scores are made: after a day, by someone of twenty items who last saw a common one.
TYPICAL_PAUSE, TYPICAL_HISTORY, TYPICAL_LAST_VISITS = np.float32(1.42), np.float32(1.01), np.float32(1.0)


class UserBaselines(NamedTuple):
    """What is kept of U users' lists: `list_rows` (U, K) rows; of their P best items the rows `item_rows` (U, P), -1 for none,
    the rests `residuals`, and `reasons` (U, P, 2): the reason, and the row of the item behind it or -1; and `levels`
    (U, 2): the mean rest of all other items, and log Z.
    """

    list_rows: NDArray[np.int32]
    item_rows: NDArray[np.int32]
    residuals: NDArray[np.float32]
    levels: NDArray[np.float32]
    reasons: NDArray[np.int32]


@jit
def collect_popular_rows(tables: ItemTables, rows: NDArray[np.int32], is_collected: NDArray[np.bool_]) -> int:
    """Write the distinct available rows of all leading items and of the latest events to `rows`; how many.

    `is_collected` (item rows,) is all False before and after.
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
    """g (N,) of items from `features` (F, N), of which only those count that are the same for everyone."""
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
    """Write g of item `rows` at `now_ms` to `score_by_row`, by item row, where it is NaN; -1 is no row."""
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
    """Write what is to be kept of a full ranking: the `residuals` (P,) of the best and the `levels` (2,), see `UserBaselines`.

    `candidates` (C, 4), `features` (F, C) and `scores` (C,) are those of the ranking, the best stand at `top_candidates` (P,).
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
    """Make the lists of users in `slots` (S,) as they would be now, and keep those worth a message.

    `activity_probabilities` (S,) are those that the user acts soon; a list is worth it if the hits it gains, times that, are at least
    `gain_threshold`. Between the places `banned_starts` (S + 1,), `banned_rows` holds rows that must not be shown to a user. `popular_rows` (N,)
    are the rows that everyone may be shown, by falling g, which `score_by_row` holds by item row.
    Writes what each gains, in this sense, to `gains` (S,), the numbers in `slots` of those kept to `refresh_indices`, and their
    lists to `list_rows` (S, K), -1 padded, with `list_scores` and `item_indices`, indices into the user's own items or -1. Own items
    are put in the order of their scores.
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
    """Write g of all items that users in `slots` have of their own or on their lists to `score_by_row`, where it is NaN."""
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
    """Put a user's own items (P,), and what is kept of each, in the order of their scores, which go to `item_scores` (P,).

    They are nearly so from the last time. Those that are not available come last.
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
    """Write the best of a user's own items and of the popular ones to `list_rows` (K,); how many. Ties to the own.

    Both are in the order of their scores; popular ones that are marked are left out.
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
