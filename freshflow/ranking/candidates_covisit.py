"""Candidates by co-visitation: neighbours of the context's items, choices after a search, and neighbours of neighbours.

The n-th latest item of the context counts 0.8^n. Shares are of all co-visitation of the context's item, as
`freshflow.items.covisitation` counts it.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_no_refcount
from freshflow.items.covisitation import COOCCURRENCE, FORWARD, NEXT_VISIT
from freshflow.ranking.candidate_buffer import (
    BACKWARD_LAST,
    COSINE,
    COUNT_LAST,
    COUNT_SUM,
    COVISIT_STRENGTH,
    FOLLOW_LAST,
    FORWARD_LAST,
    FORWARD_MAX,
    FORWARD_SECOND,
    FORWARD_SUM,
    META_COVISIT_INDEX,
    SEARCH_COVISIT,
    TOGETHER_LAST,
    TOGETHER_MAX,
    TOGETHER_SECOND,
    TOGETHER_SUM,
    TWO_STEPS,
    add_candidate,
)
from freshflow.ranking.query import CONTEXT_LENGTH, QUERY_CLICKS_START, QUERY_SEARCH_AGE, QueryBatch

AGE_DECAY = np.float32(0.8)  # weight of the next older item of the context
# Two steps: the latest items of the context, their strongest neighbours, and the strongest neighbours of these.
TWO_STEP_SOURCES, TWO_STEP_BRIDGES, TWO_STEP_TARGETS = 3, 6, 16


@jit_no_refcount
def add_neighbours(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    context: NDArray[np.int32],
    search_age: int,
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add the neighbours of the context's items and accumulate their co-visitation features.

    A search takes a position of its own in the context: items before it are one step older.

    Args:
        neighbours: (rows, M) of `CoVisits`.
        weights: (rows, M, 3) of `CoVisits`.
        sums: (rows, 3) of `CoVisits`.
        context: (L,) item rows, the latest first, -1 for none.
        search_age: The position of a search in the context, or `CONTEXT_LENGTH`.
        index_by_row: See `add_candidate`.
        available: See `add_candidate`.
        counts: See `add_candidate`.
        metadata: See `add_candidate`.
        covisit_features: See `add_candidate`.
        n_candidates: See `add_candidate`.
        capacity: See `add_candidate`.

    Returns:
        The number of candidates now.
    """
    decay = np.float32(1)
    for context_index in range(CONTEXT_LENGTH):
        age = context_index
        if context_index >= search_age:
            age += 1
            if context_index == search_age:
                decay *= AGE_DECAY
        item = context[context_index]
        if item >= 0 and sums[item, COOCCURRENCE] > 0:
            together_all = np.float32(sums[item, COOCCURRENCE])
            forward_all = np.float32(max(sums[item, FORWARD], 1e-9))
            follow_all = np.float32(max(sums[item, NEXT_VISIT], 1e-9))
            for slot in range(neighbours.shape[1]):
                row = neighbours[item, slot]
                if row < 0:
                    break
                index, n_candidates = add_candidate(
                    index_by_row, available, counts, metadata, covisit_features, n_candidates, row, capacity
                )
                if index < 0:
                    continue
                forward, together = weights[item, slot, FORWARD], weights[item, slot, COOCCURRENCE]
                cosine = together / np.sqrt(together_all * max(np.float32(sums[row, COOCCURRENCE]), together)) * decay
                forward_share, together_share = forward / forward_all, together / together_all
                if age == 0:
                    covisit_features[index, FORWARD_LAST] = forward_share
                    covisit_features[index, TOGETHER_LAST] = together_share
                    covisit_features[index, FOLLOW_LAST] = weights[item, slot, NEXT_VISIT] / follow_all
                    covisit_features[index, BACKWARD_LAST] = max(together - forward, np.float32(0)) / together_all
                    covisit_features[index, COUNT_LAST] = together
                elif age == 1:
                    covisit_features[index, FORWARD_SECOND] = forward_share
                    covisit_features[index, TOGETHER_SECOND] = together_share
                covisit_features[index, FORWARD_SUM] += forward_share * decay
                covisit_features[index, TOGETHER_SUM] += together_share * decay
                covisit_features[index, FORWARD_MAX] = max(covisit_features[index, FORWARD_MAX], forward_share)
                covisit_features[index, TOGETHER_MAX] = max(covisit_features[index, TOGETHER_MAX], together_share)
                covisit_features[index, COSINE] += cosine
                covisit_features[index, COUNT_SUM] += together * decay
                if cosine > covisit_features[index, COVISIT_STRENGTH]:
                    covisit_features[index, COVISIT_STRENGTH] = cosine
                    metadata[index, META_COVISIT_INDEX] = context_index
        decay *= AGE_DECAY
    return n_candidates


@jit_no_refcount
def add_query_clicks(
    queries: QueryBatch,
    q: int,
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add the items that users choose after the search, with the features of neighbours at its position.

    Args:
        queries: The queries of a batch.
        q: The number of the query.
        index_by_row: See `add_candidate`.
        available: See `add_candidate`.
        counts: See `add_candidate`.
        metadata: See `add_candidate`.
        covisit_features: See `add_candidate`.
        n_candidates: See `add_candidate`.
        capacity: See `add_candidate`.

    Returns:
        The number of candidates now.
    """
    age = queries.scalars[q, QUERY_SEARCH_AGE]
    decay = AGE_DECAY**age
    for n in range(queries.starts[q, QUERY_CLICKS_START], queries.starts[q + 1, QUERY_CLICKS_START]):
        index, n_candidates = add_candidate(
            index_by_row, available, counts, metadata, covisit_features, n_candidates, queries.query_clicks[n], capacity
        )
        if index < 0:
            continue
        share, count = queries.click_shares[n], queries.click_counts[n]
        if age == 0:
            covisit_features[index, FORWARD_LAST] = covisit_features[index, TOGETHER_LAST] = covisit_features[
                index, FOLLOW_LAST
            ] = share
            covisit_features[index, COUNT_LAST] = count
        elif age == 1:
            covisit_features[index, FORWARD_SECOND] = covisit_features[index, TOGETHER_SECOND] = share
        covisit_features[index, FORWARD_SUM] = covisit_features[index, TOGETHER_SUM] = share * decay
        covisit_features[index, FORWARD_MAX] = covisit_features[index, TOGETHER_MAX] = share
        covisit_features[index, COSINE] = share * decay
        covisit_features[index, COUNT_SUM] = count * decay
        covisit_features[index, COVISIT_STRENGTH] = share * decay
        metadata[index, META_COVISIT_INDEX] = SEARCH_COVISIT
    return n_candidates


@jit_no_refcount
def add_two_step_neighbours(
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    context: NDArray[np.int32],
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    capacity: int,
) -> int:
    """Add the neighbours of the neighbours of the latest items, which reach further where little is known.

        two_steps(c) = sum over items x of the context and their neighbours y of  0.8^age share(x, y) share(y, c)

    The arguments and the result are those of `add_neighbours`.
    """
    decay = np.float32(1)
    slots = neighbours.shape[1]
    for age in range(TWO_STEP_SOURCES):
        item = context[age]
        if item >= 0 and sums[item, COOCCURRENCE] > 0:
            for bridge_slot in range(min(TWO_STEP_BRIDGES, slots)):
                bridge = neighbours[item, bridge_slot]
                if bridge < 0:
                    break
                share = weights[item, bridge_slot, COOCCURRENCE] / np.float32(sums[item, COOCCURRENCE])
                share *= decay / np.float32(sums[bridge, COOCCURRENCE])
                for slot in range(min(TWO_STEP_TARGETS, slots)):
                    row = neighbours[bridge, slot]
                    if row < 0:
                        break
                    index, n_candidates = add_candidate(
                        index_by_row, available, counts, metadata, covisit_features, n_candidates, row, capacity
                    )
                    if index >= 0:
                        covisit_features[index, TWO_STEPS] += share * weights[bridge, slot, COOCCURRENCE]
        decay *= AGE_DECAY
    return n_candidates
