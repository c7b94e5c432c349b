"""Candidate generation: the items that are ranked for a query, with the evidence for each.

Six sources, in this order: the user's own items, the items of the context, popular and just visited items, items that
few have visited (where content is on, `freshflow.ranking.features_content`), items that users choose after the search
before, co-visited items one and two steps from the context (`freshflow.ranking.candidates_covisit`).
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.embeddings import N_NEAREST, N_NEWEST
from freshflow.items.popularity import find_recent_rows
from freshflow.items.tables import ItemTables
from freshflow.ranking.candidate_buffer import (
    BANNED_CANDIDATE,
    FLAG_COLD_START,
    FLAG_HISTORY,
    FLAG_POPULAR,
    MAX_GENERATED,
    META_BUFFER_INDEX,
    META_CONTEXT_INDEX,
    META_COVISIT_INDEX,
    META_FLAGS,
    META_HISTORY_INDEX,
    META_ROW,
    META_SIMILAR_ROW,
    NO_CANDIDATE,
    CandidateBuffer,
    add_candidate,
)
from freshflow.ranking.candidate_pruning import prune_candidates
from freshflow.ranking.candidates_covisit import add_neighbours, add_query_clicks, add_two_step_neighbours
from freshflow.ranking.features_content import compute_tastes, has_content, select_cold_items
from freshflow.ranking.query import (
    BANNED_START,
    CONTEXT_LENGTH,
    HISTORY_START,
    QUERY_CLICKS_START,
    QUERY_IS_RESTRICTED,
    QUERY_SEARCH_AGE,
    RESTRICT_TO_START,
    QueryBatch,
)

MAX_HISTORY_CANDIDATES = 30  # latest items of the history that are candidates without other evidence


@jit_no_refcount
def generate_candidates(
    tables: ItemTables, queries: QueryBatch, q: int, max_candidates: int, buffer: CandidateBuffer
) -> int:
    """Write the candidates of a query to the buffer.

    Args:
        tables: The item statistics.
        queries: The queries of a batch.
        q: The number of the query.
        max_candidates: The greatest number of candidates, apart from those that the query restricts itself to.
        buffer: Overwritten.

    Returns:
        The number of candidates.
    """
    index_by_row, available, counts = buffer.index_by_row, tables.available, tables.revisits.counts
    context, history = (
        queries.context[q],
        queries.history[queries.starts[q, HISTORY_START] : queries.starts[q + 1, HISTORY_START]],
    )
    banned_rows = queries.banned_rows[queries.starts[q, BANNED_START] : queries.starts[q + 1, BANNED_START]]
    for row in banned_rows:
        index_by_row[row] = BANNED_CANDIDATE
    n_candidates, capacity = 0, MAX_GENERATED
    if queries.scalars[q, QUERY_IS_RESTRICTED]:
        for row in queries.restrict_to[queries.starts[q, RESTRICT_TO_START] : queries.starts[q + 1, RESTRICT_TO_START]]:
            _, n_candidates = add_candidate(
                index_by_row,
                available,
                counts,
                buffer.metadata,
                buffer.covisit_features,
                n_candidates,
                row,
                MAX_GENERATED,
            )
        capacity, max_candidates = n_candidates, max(max_candidates, n_candidates)
    n_candidates = _add_history_items(
        history, index_by_row, available, counts, buffer.metadata, buffer.covisit_features, n_candidates, capacity
    )
    n_candidates = _add_context_items(
        context, index_by_row, available, counts, buffer.metadata, buffer.covisit_features, n_candidates, capacity
    )
    top_items = tables.top_items
    for n in range(len(top_items.sizes)):
        rows = top_items.rows[n, : top_items.sizes[n]]
        n_candidates = _add_popular_items(
            rows, index_by_row, available, counts, buffer.metadata, buffer.covisit_features, n_candidates, capacity
        )
    rows = buffer.recent_rows[: find_recent_rows(tables.popularity.ring, tables.popularity.clock, buffer.recent_rows)]
    n_candidates = _add_popular_items(
        rows, index_by_row, available, counts, buffer.metadata, buffer.covisit_features, n_candidates, capacity
    )
    if has_content(tables.embeddings):
        compute_tastes(tables.embeddings, context, history, buffer.tastes, buffer.taste_norms, buffer.category_shares)
        if n_candidates < capacity:
            n_candidates = _add_cold_items(tables, buffer, n_candidates, capacity)
    covisits, search_age = tables.covisits, CONTEXT_LENGTH
    if queries.starts[q, QUERY_CLICKS_START] < queries.starts[q + 1, QUERY_CLICKS_START]:
        search_age = queries.scalars[q, QUERY_SEARCH_AGE]
        n_candidates = add_query_clicks(
            queries,
            q,
            index_by_row,
            available,
            counts,
            buffer.metadata,
            buffer.covisit_features,
            n_candidates,
            capacity,
        )
    n_candidates = add_neighbours(
        covisits.neighbours, covisits.weights, covisits.sums, context, search_age, index_by_row, available, counts,
        buffer.metadata, buffer.covisit_features, n_candidates, capacity,
    )  # fmt: skip
    n_candidates = add_two_step_neighbours(
        covisits.neighbours, covisits.weights, covisits.sums, context, index_by_row, available, counts, buffer.metadata,
        buffer.covisit_features, n_candidates, capacity,
    )  # fmt: skip
    for i in range(len(history) - MAX_HISTORY_CANDIDATES):  # older items of the history, where they are candidates
        if history[i] >= 0 and index_by_row[history[i]] >= 0:
            buffer.metadata[index_by_row[history[i]], META_HISTORY_INDEX] = i
    for row in banned_rows:
        index_by_row[row] = NO_CANDIDATE
    for i in range(n_candidates):
        index_by_row[buffer.metadata[i, META_ROW]] = NO_CANDIDATE
    return (
        prune_candidates(buffer.metadata, buffer.covisit_features, n_candidates, max_candidates)
        if n_candidates > max_candidates
        else n_candidates
    )


@jit_no_refcount
def _add_history_items(
    history: NDArray[np.int32],
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add the latest items of the user's history (N,): users come back to items."""
    for entry in range(max(0, len(history) - MAX_HISTORY_CANDIDATES), len(history)):
        if history[entry] >= 0:
            index, n_candidates = add_candidate(
                index_by_row, available, counts, metadata, covisit_features, n_candidates, history[entry], capacity
            )
            if index >= 0:
                metadata[index, META_HISTORY_INDEX] = entry
                metadata[index, META_FLAGS] |= FLAG_HISTORY
    return n_candidates


@jit_no_refcount
def _add_context_items(
    context: NDArray[np.int32],
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add the items of the context (L,); their position in it is a feature."""
    for context_index in range(CONTEXT_LENGTH):
        if context[context_index] >= 0:
            index, n_candidates = add_candidate(
                index_by_row,
                available,
                counts,
                metadata,
                covisit_features,
                n_candidates,
                context[context_index],
                capacity,
            )
            if index >= 0:
                metadata[index, META_CONTEXT_INDEX] = context_index
    return n_candidates


@jit_no_refcount
def _add_popular_items(
    rows: NDArray[np.int32],
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add popular items (N,): the leaders of the windows, of all visits and of session starts, and the latest items."""
    for row in rows:
        if row >= 0:
            index, n_candidates = add_candidate(
                index_by_row, available, counts, metadata, covisit_features, n_candidates, row, capacity
            )
            if index >= 0:
                metadata[index, META_FLAGS] |= FLAG_POPULAR
    return n_candidates


@jit
def _add_cold_items(tables: ItemTables, buffer: CandidateBuffer, n_candidates: int, capacity: int) -> int:
    """Add items with few visits that resemble the user's taste, and the newest items; these need no visit."""
    embeddings, index_by_row, metadata = tables.embeddings, buffer.index_by_row, buffer.metadata
    rows = np.empty(embeddings.counts[N_NEAREST] + 2 * embeddings.counts[N_NEWEST], np.int32)
    size = select_cold_items(tables, index_by_row, buffer.tastes, buffer.taste_norms, buffer.category_shares, rows)
    for row in rows[:size]:
        index = index_by_row[row]
        if index == NO_CANDIDATE:
            if n_candidates >= capacity:
                break
            index, index_by_row[row] = n_candidates, n_candidates
            buffer.covisit_features[index] = 0
            metadata[index, META_ROW] = row
            metadata[index, META_HISTORY_INDEX] = metadata[index, META_CONTEXT_INDEX] = metadata[
                index, META_COVISIT_INDEX
            ] = metadata[index, META_SIMILAR_ROW] = NO_CANDIDATE
            metadata[index, META_FLAGS], metadata[index, META_BUFFER_INDEX] = 0, n_candidates
            n_candidates += 1
        metadata[index, META_FLAGS] |= FLAG_COLD_START
    return n_candidates
