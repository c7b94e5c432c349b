"""Room for the candidates of one query at a time, and the columns of its tables."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit_inline, jit_no_refcount
from freshflow.items.embeddings import ItemEmbeddings
from freshflow.items.index import extend_rows
from freshflow.items.revisits import VISITS
from freshflow.ranking.math_kernels import round_up_to_simd_width

N_RECENT_EVENTS = 32  # latest events whose items are candidates
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

MAX_GENERATED = 4096  # candidates of one query before pruning; further ones are ignored
NO_CANDIDATE, BANNED_CANDIDATE = -1, -2  # in `index_by_row`: not a candidate yet; must not become one

# Columns of `CandidateBuffer.metadata`.
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
SEARCH_COVISIT = -2  # in `META_COVISIT_INDEX`: a search is the strongest evidence
# Sources other than co-visitation, in `META_FLAGS`.
FLAG_HISTORY, FLAG_POPULAR, FLAG_COLD_START = 1, 2, 4
# The last column of `covisit_features`: the strength of the evidence at `META_COVISIT_INDEX`.
COVISIT_STRENGTH = len(COVISIT_FEATURES)


class CandidateBuffer(NamedTuple):
    """Arrays for G = `MAX_GENERATED` candidates of one query, reused by the next.

    A candidate has two numbers: its index among the candidates that are left, and its buffer index, the order in which
    the sources found it. Pruning moves rows of `metadata` and leaves `covisit_features` where they are.

    Attributes:
        index_by_row: (rows,) the candidate's index by item row, `NO_CANDIDATE` or `BANNED_CANDIDATE`.
        metadata: (G, 7) by index: item row; position in the user's history or -1; position in the context or -1;
            position in the context of the item with the strongest co-visitation, -1, or `SEARCH_COVISIT` where a
            search is stronger; flags; row of the most similar item of the context or -1; buffer index.
        covisit_features: (G, E + 1) by buffer index: shares in 0..1, their sums, and counts, see `COVISIT_FEATURES`;
            in the last column the strength behind the covisit position.
        recent_rows: (R,) rows of the latest events.
        tastes: (2, D) int8, of the query (`freshflow.ranking.features_content`).
        taste_norms: (2, 2) of the tastes.
        category_shares: (2, C) of the tastes.
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
        """Return a buffer for queries over no items."""
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
        """Return the buffer with room for `capacity` item rows."""
        return (
            self
            if len(self.index_by_row) >= capacity
            else self._replace(index_by_row=extend_rows(self.index_by_row, capacity, NO_CANDIDATE))
        )

    def with_taste_size(self, embeddings: ItemEmbeddings) -> "CandidateBuffer":
        """Return the buffer with room for tastes over these embeddings."""
        taste_size, n_categories = len(embeddings.centroid), len(embeddings.category_sizes)
        if self.tastes.shape[1] == taste_size and self.category_shares.shape[1] == n_categories:
            return self
        return self._replace(
            tastes=np.zeros((2, taste_size), np.int8), category_shares=np.zeros((2, n_categories), np.float32)
        )


@jit_no_refcount
def pad_to_simd_width(buffer: CandidateBuffer, n_candidates: int, limit: int) -> int:
    """Repeat the first candidate behind the last until their number fills whole vectors.

    The repetitions are neither in the history nor in the context, even if the first candidate is.

    Args:
        buffer: Its `metadata` is extended in place.
        n_candidates: The number of candidates.
        limit: The greatest number after padding.

    Returns:
        The padded number of candidates.
    """
    metadata, n_padded = buffer.metadata, min(round_up_to_simd_width(n_candidates), limit)
    for i in range(n_candidates, n_padded):
        metadata[i, META_ROW], metadata[i, META_BUFFER_INDEX] = metadata[0, META_ROW], metadata[0, META_BUFFER_INDEX]
        metadata[i, META_HISTORY_INDEX] = metadata[i, META_CONTEXT_INDEX] = NO_CANDIDATE
    return n_padded


@jit_inline
def add_candidate(
    index_by_row: NDArray[np.int32],
    available: NDArray[np.bool_],
    counts: NDArray[np.float64],
    metadata: NDArray[np.int32],
    covisit_features: NDArray[np.float32],
    n_candidates: int,
    row: int,
    capacity: int,
) -> tuple[int, int]:
    """Add an item to the candidates of a query unless it is one or must not be.

    An item without visits cannot be a candidate here: it has a row before its first visit is counted. The arrays are
    those of `CandidateBuffer` and `ItemTables`; they are separate parameters because a tuple of arrays triples the time
    of compilation.

    Args:
        index_by_row: (rows,) int32.
        available: (rows,) bool.
        counts: (rows, 4) of `Revisits`.
        metadata: (G, 7) int32.
        covisit_features: (G, E + 1) float32.
        n_candidates: The number of candidates so far.
        row: The item.
        capacity: The greatest number of candidates.

    Returns:
        The candidate's index, negative if the item cannot be one, and the number of candidates now.
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
