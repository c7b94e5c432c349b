"""Features of candidates: bounded or logarithmic numbers, the same for every partition and every data set.

The features of a candidate are joined by the context features of the query, which are the same for all its candidates.
They order nothing by themselves, but tell the hidden units (`freshflow.ranking.scoring`) which evidence counts when.

`FEATURES` and `CONTEXT_FEATURES` name the features in the order of their rows. The functions of this module compute
them; everything else finds its sizes and positions by these names.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.covisitation import COOCCURRENCE
from freshflow.items.popularity import (
    FIRST_MS,
    FIRST_WINDOW,
    HALF_LIVES_MS,
    HOUR,
    LAST_MS,
    LATEST_MS,
    N_EVENTS,
    TOTAL_DAY,
    TOTAL_HOUR,
    TOTAL_WEEK,
    WINDOWS,
    ItemPopularity,
    decay_factors,
)
from freshflow.items.revisits import VISITS, immediate_repeat_rate, revisit_rate
from freshflow.items.tables import ItemTables
from freshflow.ranking.candidate_buffer import (
    COVISIT_FEATURES,
    META_BUFFER_INDEX,
    META_CONTEXT_INDEX,
    META_HISTORY_INDEX,
    META_ROW,
    CandidateBuffer,
)
from freshflow.ranking.math_kernels import round_up_to_simd_width, scale_exp2, scale_log1p
from freshflow.ranking.query import (
    HISTORY_START,
    QUERY_IDLE_MS,
    QUERY_IMMEDIATE_REPEATS,
    QUERY_NOW_MS,
    QUERY_REPEAT_POSITION,
    QUERY_SESSION_ITEMS,
    QUERY_SESSION_LENGTH,
    QueryBatch,
)

POPULARITY_FEATURES = ("last_50", "last_200", "last_2000", "hour", "day", "week")
# Evidence for or against a return to an item of the context; a second copy for the latest of them.
RETURN_FEATURES = ("return_rate", "stay_rate", "habit", "pause")

FEATURES: tuple[str, ...] = (
    *COVISIT_FEATURES,
    *POPULARITY_FEATURES,
    *(f"opening_{name}" for name in POPULARITY_FEATURES),
    *("age", "idle", "visits"),
    *("in_context", "context_place", "context_last", "context_second", "context_by_length"),
    *RETURN_FEATURES,
    *(f"{name}_last" for name in RETURN_FEATURES),
    *("own", "own_count", "own_recency", "own_rank"),
)
CONTEXT_FEATURES: tuple[str, ...] = (
    *("no_context", "opens", "length", "length_1", "length_2", "pause_before", "history", "last_visits"),
    *("came_new", "came_again", "came_second", "came_older", "stays", "repeated"),
)

# The source of evidence of each feature, which gives the `reason` of a list's item.
FEATURE_SOURCES: dict[str, str] = {
    name: "together"
    if name in COVISIT_FEATURES
    else "again"
    if name.startswith(("own", "in_context", "context", *RETURN_FEATURES))
    else "popular"
    for name in FEATURES
}

N_SHARE_FEATURES = len(COVISIT_FEATURES) - 2  # the last two are counts
FIRST_POPULARITY, FIRST_SESSION_START_POPULARITY = FEATURES.index("last_50"), FEATURES.index("opening_last_50")
LAST_200 = FEATURES.index("last_200")
# Features that are the same for all users.
GLOBAL_FEATURES = tuple(n for n, name in enumerate(FEATURES) if FEATURE_SOURCES[name] == "popular")
AGE, IN_CONTEXT, RETURN_RATE = FEATURES.index("age"), FEATURES.index("in_context"), FEATURES.index("return_rate")
FIRST_PERSONAL = IN_CONTEXT  # from here on, features of the user's history and context
FIRST_CONTENT = len(FEATURES)  # from here on, features of content (`freshflow.ranking.features_content`)
RETURN_RATE_LAST, IN_HISTORY = FEATURES.index("return_rate_last"), FEATURES.index("own")

_F32_ONE = np.float32(1)
SHARE_SCALE = np.float32(100)  # a share of 1 % becomes 0.15, one of 10 % 0.52
LOG_SCALE = np.float32(1 / np.log(101))
AGE_SCALE = np.float32(1 / 18)  # of log seconds: a minute becomes 0.23, a week 0.74, 2.5 years 1
COUNT_SCALE, VISITS_SCALE, PAUSE_SCALE = np.float32(1 / 5), np.float32(1 / 8), np.float32(1 / 8)
LENGTH_SCALE = np.float32(1 / 3)


@jit_no_refcount
def _log_age(age_ms: float) -> np.float32:
    """Return log(1 + seconds) / 18; 0 for an age below 0."""
    scaled: np.float32 = np.log(np.float32(1) + np.float32(max(age_ms, 0) * 1e-3)) * AGE_SCALE
    return scaled


@jit_no_refcount
def compute_context_features(
    tables: ItemTables, queries: QueryBatch, q: int, context_features: NDArray[np.float32]
) -> None:
    """Write the context features of a query, in the order of `CONTEXT_FEATURES`.

    Args:
        tables: The item statistics.
        queries: The queries of a batch.
        q: The number of the query.
        context_features: (Z,) float32, overwritten.
    """
    last, scalars = queries.context[q, 0], queries.scalars[q]
    length = scalars[QUERY_SESSION_LENGTH]
    context_features[:] = 0
    context_features[0] = last < 0
    context_features[1] = length == 0
    context_features[2] = min(length, 10) * np.float32(0.2)
    context_features[3] = length == 1
    context_features[4] = length == 2
    context_features[5] = _log_count(scalars[QUERY_IDLE_MS] * 1e-3) * PAUSE_SCALE
    context_features[6] = (
        _log_count(queries.starts[q + 1, HISTORY_START] - queries.starts[q, HISTORY_START]) * LENGTH_SCALE
    )
    if last >= 0:
        context_features[7] = _log_count(tables.covisits.sums[last, COOCCURRENCE]) * COUNT_SCALE
    if length > 0:
        context_features[8 + min(scalars[QUERY_REPEAT_POSITION] + 1, 3)] = 1
    context_features[12] = _log_count(scalars[QUERY_IMMEDIATE_REPEATS])
    context_features[13] = _repeat_share(scalars)


@jit_no_refcount
def _log_count(n: float) -> np.float32:
    scaled: np.float32 = np.log(np.float32(1) + np.float32(n))
    return scaled


@jit_no_refcount
def _repeat_share(scalars: NDArray[np.int64]) -> np.float32:
    """Return the share of the session's events that returned to an item of the session."""
    if scalars[QUERY_SESSION_LENGTH] == 0:
        return np.float32(0)
    share: np.float32 = np.float32(1) - np.float32(scalars[QUERY_SESSION_ITEMS]) / np.float32(
        scalars[QUERY_SESSION_LENGTH]
    )
    return share


@jit_no_refcount
def compute_features(
    tables: ItemTables,
    queries: QueryBatch,
    q: int,
    buffer: CandidateBuffer,
    n_candidates: int,
    features: NDArray[np.float32],
) -> int:
    """Write the features of the candidates in `buffer`, in the order of `FEATURES`.

    A feature of all candidates is one row, so that the arithmetic is vectorised over candidates.

    Args:
        tables: The item statistics.
        queries: The queries of a batch.
        q: The number of the query.
        buffer: The candidates.
        n_candidates: The number of candidates.
        features: (F, C) float32, overwritten.

    Returns:
        The number of candidates, counted from the first, that may have features of the user's history or context (from
        `FIRST_PERSONAL` on); for the others these are 0.
    """
    metadata, covisit_features = buffer.metadata, buffer.covisit_features
    for i in range(n_candidates):
        candidate_features = covisit_features[metadata[i, META_BUFFER_INDEX]]
        for n in range(len(COVISIT_FEATURES)):
            features[n, i] = candidate_features[n]
    for n in range(N_SHARE_FEATURES):
        scale_log1p(features[n], n_candidates, SHARE_SCALE, LOG_SCALE)
    for n in range(N_SHARE_FEATURES, len(COVISIT_FEATURES)):
        scale_log1p(features[n], n_candidates, _F32_ONE, COUNT_SCALE)
    compute_popularity_features(tables, queries.scalars[q, QUERY_NOW_MS], metadata[:n_candidates, META_ROW], features)
    for n in range(IN_CONTEXT, len(FEATURES)):
        features[n, :n_candidates] = 0
    first, end = queries.starts[q, HISTORY_START], queries.starts[q + 1, HISTORY_START]
    n_personal = 0
    for i in range(n_candidates):
        if metadata[i, META_CONTEXT_INDEX] >= 0 or metadata[i, META_HISTORY_INDEX] >= 0:
            n_personal = i + 1
        if metadata[i, META_CONTEXT_INDEX] >= 0:
            _compute_return_features(tables.revisits.counts, queries.scalars[q], metadata[i], features[:, i])
        if metadata[i, META_HISTORY_INDEX] >= 0:
            entry, now_ms = first + metadata[i, META_HISTORY_INDEX], queries.scalars[q, QUERY_NOW_MS]
            _compute_history_features(
                queries.counts[entry], now_ms - queries.seen_ms[entry], end - entry, features[:, i]
            )
    return min(round_up_to_simd_width(n_personal), n_candidates)


@jit_no_refcount
def _compute_return_features(
    counts: NDArray[np.float64], scalars: NDArray[np.int64], metadata: NDArray[np.int32], x: NDArray[np.float32]
) -> None:
    """Write the features of an item of the context: evidence for or against a return to it."""
    context_index, row = metadata[META_CONTEXT_INDEX], metadata[META_ROW]
    x[IN_CONTEXT] = 1
    x[IN_CONTEXT + 1] = _F32_ONE / np.float32(context_index + 1)
    x[IN_CONTEXT + 2] = context_index == 0
    x[IN_CONTEXT + 3] = context_index == 1
    x[IN_CONTEXT + 4] = _log_count(scalars[QUERY_SESSION_LENGTH]) * LENGTH_SCALE
    x[RETURN_RATE] = revisit_rate(counts, row)
    x[RETURN_RATE + 1] = immediate_repeat_rate(counts, row)
    x[RETURN_RATE + 2] = _repeat_share(scalars)
    x[RETURN_RATE + 3] = _log_count(scalars[QUERY_IDLE_MS] * 1e-3) * PAUSE_SCALE
    if context_index == 0:
        for n in range(len(RETURN_FEATURES)):
            x[RETURN_RATE_LAST + n] = x[RETURN_RATE + n]


@jit_no_refcount
def _compute_history_features(count: int, idle_ms: int, rank: int, x: NDArray[np.float32]) -> None:
    """Write the features of an item of the user's history, the `rank`-th latest."""
    x[IN_HISTORY] = 1
    x[IN_HISTORY + 1] = _log_count(count) * COUNT_SCALE
    x[IN_HISTORY + 2] = max(1 - _log_age(idle_ms), np.float32(0))
    x[IN_HISTORY + 3] = _F32_ONE / np.float32(rank)


@jit_no_refcount
def compute_popularity_features(
    tables: ItemTables, now_ms: int, rows: NDArray[np.int32], features: NDArray[np.float32]
) -> None:
    """Write the features that are the same for all users: popularities, age, idle time and visits.

    Args:
        tables: The item statistics.
        now_ms: Event time.
        rows: (C,) item rows.
        features: (F, C) float32; only these features are written.
    """
    n_items, memories, counts = len(rows), tables.popularity.counters, tables.revisits.counts
    _compute_popularity_shares(tables.popularity, now_ms, rows, features, FIRST_POPULARITY)
    _compute_popularity_shares(tables.session_start_popularity, now_ms, rows, features, FIRST_SESSION_START_POPULARITY)
    for i in range(n_items):
        row = rows[i]
        features[AGE, i] = max(now_ms - memories[row, FIRST_MS], 0.0) * 1e-3
        features[AGE + 1, i] = max(now_ms - memories[row, LAST_MS], 0.0) * 1e-3
        features[AGE + 2, i] = counts[row, VISITS]
    scale_log1p(features[AGE], n_items, _F32_ONE, AGE_SCALE)
    scale_log1p(features[AGE + 1], n_items, _F32_ONE, AGE_SCALE)
    scale_log1p(features[AGE + 2], n_items, _F32_ONE, VISITS_SCALE)


@jit
def _compute_popularity_shares(
    popularity: ItemPopularity, now_ms: int, rows: NDArray[np.int32], features: NDArray[np.float32], first_feature: int
) -> None:
    """Write the shares of the items in all events over each window and half-life to six features.

    Args:
        popularity: The counters of all items.
        now_ms: Event time.
        rows: (C,) item rows.
        features: (F, C) float32.
        first_feature: The first of the six features.
    """
    n_items, memories, clock = len(rows), popularity.counters, popularity.clock
    ages_ms = np.empty(n_items, np.float32)
    totals = _decayed_totals(clock, now_ms)
    for i in range(n_items):
        memory = memories[rows[i]]
        ages_ms[i] = max(now_ms - memory[LAST_MS], 0.0)
        for n in range(len(WINDOWS)):
            features[first_feature + n, i] = memory[FIRST_WINDOW + n] / min(max(clock[N_EVENTS], 1.0), WINDOWS[n])
        for n in range(len(HALF_LIVES_MS)):
            features[first_feature + len(WINDOWS) + n, i] = memory[HOUR + n] / totals[n]
    for n in range(len(HALF_LIVES_MS)):
        share = features[first_feature + len(WINDOWS) + n]
        scale_exp2(share, ages_ms, n_items, 1 / HALF_LIVES_MS[n])
        for i in range(n_items):
            share[i] = min(share[i], _F32_ONE)
    for n in range(len(POPULARITY_FEATURES)):
        scale_log1p(features[first_feature + n], n_items, SHARE_SCALE, LOG_SCALE)


@jit_no_refcount
def _decayed_totals(clock: NDArray[np.float64], now_ms: int) -> tuple[float, float, float]:
    """Return the decayed counts of all items together at `now_ms`, as of the latest event if that is later."""
    hour, day, week = decay_factors(max(now_ms - clock[LATEST_MS], 0.0))
    return max(clock[TOTAL_HOUR] * hour, 1e-9), max(clock[TOTAL_DAY] * day, 1e-9), max(clock[TOTAL_WEEK] * week, 1e-9)
