"""Content: candidates that resemble the items of a user, by embeddings and categories, and the features of similarity.

A taste t is the mean of the embeddings of a user's items, the n-th latest weighted by d^n: of the context (d = 0.8)
and of the history (d = 0.95). With c the mean of v / |v| over all items, the similarity of an item y is the
excess over the average item's,

    like(t, y) = (t . v_y / |v_y| - t . c) / |t|,   0 where one of both has no embedding,

since the embeddings of many models resemble each other. The affinity to a category is its weighted share in the
user's items, less its share in all items.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_inline
from freshflow.items.embeddings import N_CATEGORISED, N_IN_POOL, N_NEAREST, N_NEWEST, WARM_VISITS, ItemEmbeddings
from freshflow.items.index import NO_ROW
from freshflow.items.revisits import VISITS
from freshflow.items.tables import ItemTables

# Names of the features, which follow all others where content is on.
CONTENT_FEATURES = (
    *("like_last", "like_most", "like_context", "like_taste"),
    *("category_context", "category_taste"),
    *("cold", "cold_like_context", "cold_like_taste", "cold_category_context", "cold_category_taste", "cold_age"),
)
LIKE_LAST, LIKE_MOST, LIKE_CONTEXT, LIKE_TASTE = range(4)
CATEGORY_CONTEXT, CATEGORY_TASTE = range(4, 6)
COLD, COLD_AGE = 6, 11
_NO_CANDIDATE = -1  # see `freshflow.ranking.candidate_buffer`

CONTEXT_TASTE, HISTORY_TASTE = range(2)  # rows of tastes
CONTEXT_DECAY, HISTORY_DECAY = np.float32(0.8), np.float32(0.95)
MAX_TASTE_ITEMS = 40  # latest items of the history
MAX_SIMILAR_CONTEXT = 5  # latest items of the context that a candidate may resemble most
_INT8_MAX = np.float32(127)


@jit_inline
def _dot_int8(vectors: NDArray[np.int8], row: int, vector: NDArray[np.int8]) -> np.float32:
    total = np.int32(0)
    for d in range(len(vector)):
        total = np.int32(total + np.int32(vectors[row, d]) * np.int32(vector[d]))
    return np.float32(total)


@jit_inline
def has_content(embeddings: ItemEmbeddings) -> bool:
    """Return whether content is on."""
    return bool(embeddings.counts[N_NEAREST] + embeddings.counts[N_NEWEST] > 0)


@jit
def compute_tastes(
    embeddings: ItemEmbeddings,
    context: NDArray[np.int32],
    history: NDArray[np.int32],
    tastes: NDArray[np.int8],
    taste_norms: NDArray[np.float32],
    category_shares: NDArray[np.float32],
) -> None:
    """Write the tastes of a context and of a history.

    Args:
        embeddings: The embeddings and categories of all items.
        context: (L,) item rows, the latest first, -1 for unknown items.
        history: (N,) item rows, the latest last, -1 for unknown items.
        tastes: (2, D) int8, overwritten by the vectors t.
        taste_norms: (2, 2), overwritten by 1 / |t| and t . c / |t|.
        category_shares: (2, C) by category; must be 0 before, see `clear_tastes`.
    """
    latest_rows = np.empty(MAX_TASTE_ITEMS, np.int32)
    n = 0
    for i in range(len(history) - 1, max(len(history) - 1 - MAX_TASTE_ITEMS, -1), -1):
        latest_rows[n] = history[i]
        n += 1
    _compute_taste(
        embeddings,
        context,
        CONTEXT_DECAY,
        tastes[CONTEXT_TASTE],
        taste_norms[CONTEXT_TASTE],
        category_shares[CONTEXT_TASTE],
    )
    _compute_taste(
        embeddings,
        latest_rows[:n],
        HISTORY_DECAY,
        tastes[HISTORY_TASTE],
        taste_norms[HISTORY_TASTE],
        category_shares[HISTORY_TASTE],
    )


@jit
def _compute_taste(
    embeddings: ItemEmbeddings,
    rows: NDArray[np.int32],
    decay: np.float32,
    taste: NDArray[np.int8],
    norms: NDArray[np.float32],
    category_shares: NDArray[np.float32],
) -> None:
    n_dimensions = len(taste)
    total, weight, weights = np.zeros(n_dimensions, np.float32), np.float32(1), np.float32(0)
    for row in rows:
        if row >= 0:
            scale = weight * embeddings.inverse_norms[row]
            if scale > 0:
                vector = embeddings.vectors[row]
                for d in range(n_dimensions):
                    total[d] += scale * vector[d]
            if embeddings.categories[row, 0] >= 0:
                weights += weight
        weight *= decay
    weight = np.float32(1)
    for row in rows:
        if row >= 0 and embeddings.categories[row, 0] >= 0:
            for code in embeddings.categories[row]:
                if code >= 0:
                    category_shares[code] += weight / weights
        weight *= decay
    norms[:] = 0
    max_abs = np.float32(0)
    for d in range(n_dimensions):
        max_abs = max(max_abs, abs(total[d]))
    if max_abs > 0:
        scale, squared_norm, mean_dot = _INT8_MAX / max_abs, np.float32(0), np.float32(0)
        for d in range(n_dimensions):
            value = np.rint(total[d] * scale)
            taste[d] = np.int8(value)
            squared_norm += value * value
            mean_dot += value * embeddings.centroid[d]
        norms[0] = 1 / np.sqrt(squared_norm)
        norms[1] = mean_dot * norms[0]


@jit
def clear_tastes(
    embeddings: ItemEmbeddings,
    context: NDArray[np.int32],
    history: NDArray[np.int32],
    category_shares: NDArray[np.float32],
) -> None:
    """Reset the category shares that `compute_tastes` wrote to 0.

    Args:
        embeddings: The embeddings and categories of all items.
        context: (L,) as in `compute_tastes`.
        history: (N,) as in `compute_tastes`.
        category_shares: (2, C), all 0 afterwards.
    """
    for row in context:
        if row >= 0:
            for code in embeddings.categories[row]:
                if code >= 0:
                    category_shares[CONTEXT_TASTE, code] = 0
    for i in range(max(len(history) - MAX_TASTE_ITEMS, 0), len(history)):
        if history[i] >= 0:
            for code in embeddings.categories[history[i]]:
                if code >= 0:
                    category_shares[HISTORY_TASTE, code] = 0


@jit_inline
def _similarity(
    vectors: NDArray[np.int8],
    inverse_norms: NDArray[np.float32],
    row: int,
    taste: NDArray[np.int8],
    inverse_norm: np.float32,
    mean_dot: np.float32,
) -> np.float32:
    """Return like(t, y) of an item row and a taste with this inverse norm 1 / |t| and mean t . c / |t|."""
    similarity = np.float32(0)
    if inverse_norms[row] > 0 and inverse_norm > 0:
        similarity = _dot_int8(vectors, row, taste) * inverse_norms[row] * inverse_norm - mean_dot
    return similarity


@jit_inline
def _category_affinity(
    categories: NDArray[np.int32],
    sizes: NDArray[np.int32],
    n_categorised: np.float32,
    row: int,
    category_shares: NDArray[np.float32],
) -> np.float32:
    """Return the mean over a row's categories of their share in the taste less their share in all items."""
    total, n = np.float32(0), 0
    for position in range(categories.shape[1]):
        code = categories[row, position]
        if code < 0:
            break
        total += category_shares[code] - np.float32(sizes[code]) / n_categorised
        n += 1
    return total / np.float32(max(n, 1))


@jit
def select_cold_items(
    tables: ItemTables,
    index_by_row: NDArray[np.int32],
    tastes: NDArray[np.int8],
    taste_norms: NDArray[np.float32],
    category_shares: NDArray[np.float32],
    selected: NDArray[np.int32],
) -> int:
    """Select items of the pool that few users have visited: those that the tastes prefer, then the newest.

    Ties of preference go to the newer item. Items that are warm, hidden, unavailable or banned are left out.

    Args:
        tables: The item statistics.
        index_by_row: (rows,) of `CandidateBuffer`; banned rows are below `NO_CANDIDATE`.
        tastes: (2, D) of `compute_tastes`.
        taste_norms: (2, 2) of `compute_tastes`.
        category_shares: (2, C) of `compute_tastes`.
        selected: (nearest + 2 newest,) int32, overwritten by item rows.

    Returns:
        The number of rows written.
    """
    embeddings, available, counts = tables.embeddings, tables.available, tables.revisits.counts
    hidden = embeddings.is_hidden
    vectors, inverse_norms, categories, sizes = (
        embeddings.vectors,
        embeddings.inverse_norms,
        embeddings.categories,
        embeddings.category_sizes,
    )
    pool, n_categorised = embeddings.pool, np.float32(max(embeddings.counts[N_CATEGORISED], 1))
    history_taste, context_taste, history_shares, context_shares = (
        tastes[HISTORY_TASTE],
        tastes[CONTEXT_TASTE],
        category_shares[HISTORY_TASTE],
        category_shares[CONTEXT_TASTE],
    )
    history_norm, history_mean_dot, context_norm, context_mean_dot = (
        taste_norms[HISTORY_TASTE, 0],
        taste_norms[HISTORY_TASTE, 1],
        taste_norms[CONTEXT_TASTE, 0],
        taste_norms[CONTEXT_TASTE, 1],
    )
    n_nearest, n_newest, n = embeddings.counts[N_NEAREST], embeddings.counts[N_NEWEST], 0
    similarities = np.empty(n_nearest, np.float32)
    for i in range(embeddings.counts[N_IN_POOL] - 1, -1, -1):
        if n_nearest + n_newest == 0:
            break  # all newest items are selected, and no nearest are wanted
        row = pool[i]
        if counts[row, VISITS] >= WARM_VISITS or hidden[row] or not available[row] or index_by_row[row] < _NO_CANDIDATE:
            continue
        if n_newest > 0:
            n_newest -= 1
            selected[len(selected) - 1 - n_newest] = row
        similarity = _similarity(vectors, inverse_norms, row, history_taste, history_norm, history_mean_dot)
        similarity += _category_affinity(categories, sizes, n_categorised, row, history_shares)
        similarity += _similarity(vectors, inverse_norms, row, context_taste, context_norm, context_mean_dot)
        similarity += _category_affinity(categories, sizes, n_categorised, row, context_shares)
        if n < n_nearest or (n > 0 and similarity > similarities[n - 1]):
            position = n if n < n_nearest else n - 1
            while position > 0 and similarities[position - 1] < similarity:
                similarities[position], selected[position] = similarities[position - 1], selected[position - 1]
                position -= 1
            similarities[position], selected[position] = similarity, row
            n = min(n + 1, n_nearest)
    for i in range(embeddings.counts[N_NEWEST] - n_newest):
        selected[n] = selected[len(selected) - embeddings.counts[N_NEWEST] + i]
        n += 1
    return n


@jit
def compute_content_features(
    embeddings: ItemEmbeddings,
    counts: NDArray[np.float64],
    context: NDArray[np.int32],
    tastes: NDArray[np.int8],
    taste_norms: NDArray[np.float32],
    category_shares: NDArray[np.float32],
    rows: NDArray[np.int32],
    ages: NDArray[np.float32],
    similar_rows: NDArray[np.int32],
    features: NDArray[np.float32],
) -> None:
    """Write the features `CONTENT_FEATURES` of candidates, and the item of the context that each resembles most.

    Args:
        embeddings: The embeddings and categories of all items.
        counts: (rows, 4) of `Revisits`.
        context: (L,) item rows, the latest first, -1 for unknown items.
        tastes: (2, D) of `compute_tastes`.
        taste_norms: (2, 2) of `compute_tastes`.
        category_shares: (2, C) of `compute_tastes`.
        rows: (N,) the candidates' item rows.
        ages: (C,) the candidates' feature "age".
        similar_rows: (N,) int32, overwritten by a row of the context or -1.
        features: (12, C) float32, overwritten.
    """
    vectors, inverse_norms, categories, sizes = (
        embeddings.vectors,
        embeddings.inverse_norms,
        embeddings.categories,
        embeddings.category_sizes,
    )
    n_categorised = np.float32(max(embeddings.counts[N_CATEGORISED], 1))
    history_taste, context_taste, history_shares, context_shares = (
        tastes[HISTORY_TASTE],
        tastes[CONTEXT_TASTE],
        category_shares[HISTORY_TASTE],
        category_shares[CONTEXT_TASTE],
    )
    history_norm, context_norm, history_mean_dot, context_mean_dot = (
        taste_norms[HISTORY_TASTE, 0],
        taste_norms[CONTEXT_TASTE, 0],
        taste_norms[HISTORY_TASTE, 1],
        taste_norms[CONTEXT_TASTE, 1],
    )
    recent_norms, recent_rows = np.empty((MAX_SIMILAR_CONTEXT, 2), np.float32), np.empty(MAX_SIMILAR_CONTEXT, np.int32)
    n_recent = 0
    for position in range(min(MAX_SIMILAR_CONTEXT, len(context))):
        row = context[position]
        if row >= 0:
            mean_dot = np.float32(0)
            for d in range(len(embeddings.centroid)):
                mean_dot += np.float32(embeddings.vectors[row, d]) * embeddings.centroid[d]
            recent_norms[n_recent, 0], recent_norms[n_recent, 1] = (
                embeddings.inverse_norms[row],
                mean_dot * embeddings.inverse_norms[row],
            )
            recent_rows[n_recent] = row
            n_recent += 1
    for i in range(len(rows)):
        row = rows[i]
        best_similarity, closest_row, like_most, like_last = np.float32(0), NO_ROW, np.float32(0), np.float32(0)
        for position in range(n_recent):
            recent_row = recent_rows[position]
            similarity = _similarity(
                vectors, inverse_norms, row, vectors[recent_row], recent_norms[position, 0], recent_norms[position, 1]
            )
            if position == 0:
                like_last = similarity
            like_most = max(like_most, similarity)
            similarity += _category_overlap(categories, row, recent_row)
            if recent_row != row and similarity > best_similarity:
                best_similarity, closest_row = similarity, recent_row
        similar_rows[i] = closest_row
        cold = np.float32(1 / (1 + counts[row, VISITS]))
        features[LIKE_LAST, i], features[LIKE_MOST, i] = like_last, like_most
        features[LIKE_CONTEXT, i] = _similarity(
            vectors, inverse_norms, row, context_taste, context_norm, context_mean_dot
        )
        features[LIKE_TASTE, i] = _similarity(
            vectors, inverse_norms, row, history_taste, history_norm, history_mean_dot
        )
        features[CATEGORY_CONTEXT, i] = _category_affinity(categories, sizes, n_categorised, row, context_shares)
        features[CATEGORY_TASTE, i] = _category_affinity(categories, sizes, n_categorised, row, history_shares)
        features[COLD, i] = cold
        for n in range(CATEGORY_TASTE - LIKE_CONTEXT + 1):
            features[COLD + 1 + n, i] = cold * features[LIKE_CONTEXT + n, i]
        features[COLD_AGE, i] = cold * ages[i]


@jit_inline
def _category_overlap(categories: NDArray[np.int32], row: int, other_row: int) -> np.float32:
    """Return the share of a row's categories that the other row has, too."""
    n_common, n = np.float32(0), np.float32(0)
    for code in categories[row]:
        if code >= 0:
            n += 1
            for other_code in categories[other_row]:
                n_common += other_code == code
    return n_common / max(n, np.float32(1))
