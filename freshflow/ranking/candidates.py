"""Candidates of a query, each with the evidence for it.

Six sources: neighbours of the items in the context (weighted 0.8^age), what people choose after a search in it, what
lies two steps from the last items, the user's own items, what is popular right now and, where content is on, what few
have touched yet (`freshflow.ranking.features_content`). A candidate's number in the scratch tables is its place of discovery.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_inline, jit_no_refcount
from freshflow.items.covisitation import COOCCURRENCE, FORWARD, NEXT_VISIT
from freshflow.items.embeddings import N_NEAREST, N_NEWEST, ItemEmbeddings
from freshflow.items.index import extend_rows
from freshflow.items.popularity import find_recent_rows
from freshflow.items.revisits import VISITS
from freshflow.items.tables import ItemTables
from freshflow.ranking.features_content import compute_tastes, has_content, select_cold_items
from freshflow.ranking.math_kernels import round_up_to_simd_width
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

__all__ = ["SEARCH_COVISIT", "COVISIT_FEATURES", "CandidateBuffer", "pad_to_simd_width", "generate_candidates"]

AGE_DECAY = np.float32(0.8)  # weight of the next older item of the context
MAX_HISTORY_CANDIDATES = 30  # of a user's items, how many of the latest are candidates for no other reason
N_RECENT_EVENTS = 32  # in events: whatever was touched this recently is worth a look
# Two steps away: the last items, their strongest neighbours, and the strongest of theirs.
TWO_STEP_SOURCES, TWO_STEP_BRIDGES, TWO_STEP_TARGETS = 3, 6, 16
# Own and popular items outrank any neighbour when room is short: they are few, and no neighbour row knows them.
HISTORY_PRIOR, POPULAR_PRIOR = np.float32(20.0), np.float32(10.0)

COVISIT_FEATURES = (
    *("forward_last", "forward_second", "forward_sum", "forward_max"),
    *("together_last", "together_second", "together_sum", "together_max"),
    *("follow_last", "backward_last", "cosine", "two_steps"),
    *("count_last", "count_sum"),
)
FORWARD_LAST, FORWARD_SECOND, FORWARD_SUM, FORWARD_MAX = range(4)
TOGETHER_LAST, TOGETHER_SECOND, TOGETHER_SUM, TOGETHER_MAX = range(4, 8)
FOLLOW_LAST, BACKWARD_LAST, COSINE, TWO_STEPS = range(8, 12)
COUNT_LAST, COUNT_SUM = range(12, 14)

MAX_GENERATED = 4096  # candidates of one query before the most promising are kept; beyond it none are taken in
NO_CANDIDATE, BANNED_CANDIDATE = -1, -2  # in `number`: no candidate yet; must not become one

# Columns of `Scratch.marks`.
N_METADATA = 7
(
    META_ROW,
    META_HISTORY_INDEX,
    META_CONTEXT_INDEX,
    META_COVISIT_INDEX,
    META_FLAGS,
    META_SIMILAR_ROW,
    META_BUFFER_INDEX,
) = range(N_METADATA)
SEARCH_COVISIT = -2  # in `BECAUSE`: the search weighs most
# What speaks for a candidate beside company, in `FLAGS`.
FLAG_HISTORY, FLAG_POPULAR, FLAG_COLD_START = 1, 2, 4
# Behind the evidence: how much the company of `BECAUSE` weighs.
COVISIT_STRENGTH = len(COVISIT_FEATURES)


class CandidateBuffer(NamedTuple):
    """Room for the candidates of one query at a time.

    `index_by_row` (rows,) is the candidate's number by item row, or -1. By number: `metadata` (G, 7) the row, the index into
    the user's history or -1, the candidate's own index in the context or -1, the index into the context of the item
    whose company weighs most, -1, or -2 where a search weighs most, flags, the row of the item of the context that it
    resembles most or -1, and its place of discovery. By that: `covisit_features` (G, E + 1) shares in 0..1, sums and counts of
    them, see `COVISIT_FEATURES`. `recent_rows` is for intermediate results; `tastes` (2, D), `taste_norms` (2, 2) and `category_shares` (2, C)
    are those of the query (`freshflow.ranking.features_content`).
    """

    index_by_row: NDArray[np.int32]
    metadata: NDArray[np.int32]
    covisit_features: NDArray[np.float32]
    recent_rows: NDArray[np.int32]
    tastes: NDArray[np.int8]
    taste_norms: NDArray[np.float32]
    category_shares: NDArray[np.float32]

    @classmethod
    def empty(cls) -> "CandidateBuffer":
        """Room for queries about no item yet."""
        covisit_features = np.zeros((MAX_GENERATED, len(COVISIT_FEATURES) + 1), np.float32)
        return cls(
            *(
                np.empty(0, np.int32),
                np.full((MAX_GENERATED, N_METADATA), NO_CANDIDATE, np.int32),
                covisit_features,
                np.zeros(N_RECENT_EVENTS, np.int32),
            ),
            *(np.zeros((2, 0), np.int8), np.zeros((2, 2), np.float32), np.zeros((2, 0), np.float32)),
        )

    def with_item_capacity(self, capacity: int) -> "CandidateBuffer":
        """The same with room for `capacity` item rows."""
        return (
            self
            if len(self.index_by_row) >= capacity
            else self._replace(index_by_row=extend_rows(self.index_by_row, capacity, NO_CANDIDATE))
        )

    def with_taste_size(self, embeddings: ItemEmbeddings) -> "CandidateBuffer":
        """The same with room for tastes."""
        taste_size, n_categories = len(embeddings.centroid), len(embeddings.category_sizes)
        if self.tastes.shape[1] == taste_size and self.category_shares.shape[1] == n_categories:
            return self
        return self._replace(
            tastes=np.zeros((2, taste_size), np.int8), category_shares=np.zeros((2, n_categories), np.float32)
        )


@jit_no_refcount
def generate_candidates(
    tables: ItemTables, queries: QueryBatch, q: int, max_candidates: int, buffer: CandidateBuffer
) -> int:
    """Write the candidates of query `q` to `buffer`, at most `max_candidates` of those not asked for by name; how many."""
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
            _, n_candidates = _add_candidate(
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
        n_candidates = _add_query_clicks(
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
    n_candidates = _add_neighbours(
        covisits.neighbours, covisits.weights, covisits.sums, context, search_age, index_by_row, available, counts,
        buffer.metadata, buffer.covisit_features, n_candidates, capacity,
    )  # fmt: skip
    n_candidates = _add_two_step_neighbours(
        covisits.neighbours, covisits.weights, covisits.sums, context, index_by_row, available, counts, buffer.metadata,
        buffer.covisit_features, n_candidates, capacity,
    )  # fmt: skip
    for i in range(len(history) - MAX_HISTORY_CANDIDATES):  # what the user touched longer ago
        if history[i] >= 0 and index_by_row[history[i]] >= 0:
            buffer.metadata[index_by_row[history[i]], META_HISTORY_INDEX] = i
    for row in banned_rows:
        index_by_row[row] = NO_CANDIDATE
    for i in range(n_candidates):
        index_by_row[buffer.metadata[i, META_ROW]] = NO_CANDIDATE
    return (
        _prune_candidates(buffer.metadata, buffer.covisit_features, n_candidates, max_candidates)
        if n_candidates > max_candidates
        else n_candidates
    )


@jit_no_refcount
def pad_to_simd_width(buffer: CandidateBuffer, n_candidates: int, limit: int) -> int:
    """Put the first of `n_candidates` candidates behind the last, until they are a `round_up_to_simd_width` number or `limit`; how many.

    Those behind are neither the user's own nor of the context, whatever the first is.
    """
    metadata, n_padded = buffer.metadata, min(round_up_to_simd_width(n_candidates), limit)
    for i in range(n_candidates, n_padded):
        metadata[i, META_ROW], metadata[i, META_BUFFER_INDEX] = metadata[0, META_ROW], metadata[0, META_BUFFER_INDEX]
        metadata[i, META_HISTORY_INDEX] = metadata[i, META_CONTEXT_INDEX] = NO_CANDIDATE
    return n_padded


@jit_inline
def _add_candidate(
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    row: int,
    capacity: int,
) -> tuple[int, int]:
    """The number of the candidate `row`, or a negative one if it cannot be one; and how many there are now.

    What nobody has visited is none: an item has its row before its first visit is folded in.
    """
    index = index_by_row[row]
    if index != NO_CANDIDATE:
        return index, n_candidates
    if n_candidates >= capacity or not available[row] or counts[row, VISITS] == 0:
        return BANNED_CANDIDATE, n_candidates
    index_by_row[row] = n_candidates
    for n in range(COVISIT_STRENGTH + 1):
        covisit_features[n_candidates, n] = np.float32(0)
    metadata[n_candidates, META_ROW] = row
    metadata[n_candidates, META_HISTORY_INDEX] = metadata[n_candidates, META_CONTEXT_INDEX] = metadata[
        n_candidates, META_COVISIT_INDEX
    ] = NO_CANDIDATE
    metadata[n_candidates, META_FLAGS] = 0
    metadata[n_candidates, META_BUFFER_INDEX] = n_candidates
    return n_candidates, n_candidates + 1


@jit_no_refcount
def _add_neighbours(
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
    """What came with the items of the context, and how much of their company it is; a search takes a place in it."""
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
                index, n_candidates = _add_candidate(
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
def _add_query_clicks(
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
    """What people choose after the search: it is evidence as that of an item at its place in the context would be."""
    age = queries.scalars[q, QUERY_SEARCH_AGE]
    decay = AGE_DECAY**age
    for n in range(queries.starts[q, QUERY_CLICKS_START], queries.starts[q + 1, QUERY_CLICKS_START]):
        index, n_candidates = _add_candidate(
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
def _add_two_step_neighbours(
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
    """What comes with that which comes with the last items: it reaches further where little is known.

    two_steps(c) = sum over items x of the context and their neighbours y of  0.8^age share(x, y) share(y, c)
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
                    index, n_candidates = _add_candidate(
                        index_by_row, available, counts, metadata, covisit_features, n_candidates, row, capacity
                    )
                    if index >= 0:
                        covisit_features[index, TWO_STEPS] += share * weights[bridge, slot, COOCCURRENCE]
        decay *= AGE_DECAY
    return n_candidates


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
    """What the user has touched of late: people come back."""
    for entry in range(max(0, len(history) - MAX_HISTORY_CANDIDATES), len(history)):
        if history[entry] >= 0:
            index, n_candidates = _add_candidate(
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
    """The context's items themselves: their place in it is evidence."""
    for context_index in range(CONTEXT_LENGTH):
        if context[context_index] >= 0:
            index, n_candidates = _add_candidate(
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
    """What leads the windows, of all visits and of those that open a session, and whatever was touched just now."""
    for row in rows:
        if row >= 0:
            index, n_candidates = _add_candidate(
                index_by_row, available, counts, metadata, covisit_features, n_candidates, row, capacity
            )
            if index >= 0:
                metadata[index, META_FLAGS] |= FLAG_POPULAR
    return n_candidates


@jit
def _add_cold_items(tables: ItemTables, buffer: CandidateBuffer, n_candidates: int, capacity: int) -> int:
    """What few have visited and is like what the user has touched, and what is new; an item needs no visit for it."""
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


@jit
def _prune_candidates(
    metadata: NDArray[np.int32], covisit_features: NDArray[np.float32], n_candidates: int, max_candidates: int
) -> int:
    """Keep the `max_candidates` candidates with the most company; ties in order of discovery."""
    prior = np.zeros(round_up_to_simd_width(n_candidates), np.float32)
    for i in range(n_candidates):
        prior[i] = covisit_features[i, FORWARD_SUM] + covisit_features[i, TOGETHER_SUM] + covisit_features[i, COSINE]
        prior[i] += covisit_features[i, TWO_STEPS]
        if metadata[i, META_FLAGS] & FLAG_HISTORY:
            prior[i] += HISTORY_PRIOR
        if metadata[i, META_FLAGS] & (FLAG_POPULAR | FLAG_COLD_START):
            prior[i] += POPULAR_PRIOR
    bits = prior.view(np.int32)  # of numbers that are not negative, the bits are in the same order
    floor, n_at_floor = _nth_largest(bits, max_candidates), max_candidates
    for i in range(n_candidates):
        n_at_floor -= bits[i] > floor
    n_kept = 0
    for i in range(n_candidates):
        if bits[i] > floor or (bits[i] == floor and n_at_floor > 0):
            n_at_floor -= bits[i] == floor
            for n in range(N_METADATA):
                metadata[n_kept, n] = metadata[i, n]
            n_kept += 1
    return n_kept


@jit_no_refcount
def _nth_largest(values: NDArray[np.int32], rank: int) -> int:
    """A number that exactly `rank` of `values` (N,) reach, or else the `rank` highest of them; none is negative.

    It is found bit by bit from the top. To count all of them some 20 times, several at once, takes less time than to
    put them in order.
    """
    floor = np.int32(0)
    for bit in range(30, -1, -1):
        trial, n_reaching = floor | np.int32(1 << bit), np.int32(0)
        for n in range(len(values)):
            n_reaching += np.int32(values[n] >= trial)
        if n_reaching >= rank:
            floor = trial
        if n_reaching == rank:
            break
    return int(floor)
