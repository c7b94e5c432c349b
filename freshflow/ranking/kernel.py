"""The compiled loop over a batch: rank queries and count visits in stream order, and write lists."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.index import NO_ROW
from freshflow.items.tables import ItemTables, update_tables
from freshflow.ranking.candidate_buffer import (
    META_COVISIT_INDEX,
    META_HISTORY_INDEX,
    META_ROW,
    META_SIMILAR_ROW,
    SEARCH_COVISIT,
    CandidateBuffer,
    pad_to_simd_width,
)
from freshflow.ranking.candidates import generate_candidates
from freshflow.ranking.features import (
    AGE,
    CONTEXT_FEATURES,
    FIRST_CONTENT,
    LAST_200,
    compute_context_features,
    compute_features,
)
from freshflow.ranking.features_content import COLD, clear_tastes, compute_content_features, has_content
from freshflow.ranking.gradients import choice_gradient
from freshflow.ranking.incremental_scores import N_BASELINE_ITEMS, write_baseline
from freshflow.ranking.query import (
    HISTORY_START,
    QUERY_EXCLUDE_SEEN,
    QUERY_K,
    QUERY_MODEL_INDEX,
    QUERY_STORE_BASELINE,
    QUERY_TARGET_ROW,
    QueryBatch,
)
from freshflow.ranking.reasons import REASON_AGAIN, REASON_SEARCH, REASON_SIMILAR, REASON_TOGETHER, assign_reasons
from freshflow.ranking.scoring import Weights, score_candidates
from freshflow.ranking.top_k import append_tied_candidates, rank_by_value, select_top_k

RANK_STEP, LEARN_STEP = 0, 1


class Visits(NamedTuple):
    """V visits as arrays.

    Attributes:
        items: (V,) item rows.
        contexts: (V, L) item rows, the latest first, padded with -1.
        ts_ms: (V,) event time.
        is_session_start: (V,).
        weights: (V,) sample weights.
    """

    items: NDArray[np.int32]
    contexts: NDArray[np.int32]
    ts_ms: NDArray[np.int64]
    is_session_start: NDArray[np.bool_]
    weights: NDArray[np.float64]


# Columns of `RankingResults.results`, of `candidates` and of `entries`.
N_CANDIDATES, N_LISTED, N_TIED, TARGET_INDEX, TARGET_RANK, TARGET_POPULARITY_RANK = range(6)
CANDIDATE_ROW, HISTORY_INDEX, COVISIT_ROW, SIMILAR_ROW = range(4)
ENTRY_CANDIDATE, ENTRY_ROW, ENTRY_REASON, ENTRY_SOURCE_ROW = range(4)


class RankingResults(NamedTuple):
    """Results for Q queries with at most C candidates and lists of at most K items.

    Attributes:
        results: (Q, 6) number of candidates; length of the list; number of candidates among which ids must break ties,
            or 0; index of the target item among the candidates or -1; its rank by score, 0 if it is no candidate; its
            rank by popularity.
        candidates: (Q, C, 4) item row; position in the user's history or -1; item row of the strongest co-visitation in
            the context, -1, or `SEARCH_COVISIT`; row of the most similar item of the context or -1.
        context_features: (Q, Z).
        features: (Q, F, C), or (1, F, C) of the last query only.
        units: (Q, H, C), or (1, H, C) of the last query only.
        scores: (Q, C).
        entries: (Q, K, 4) of the list: candidate; item row; reason; item row behind the reason or -1. Item rows behind
            the end are -1. Where there are ties, all tied candidates stand here.
        entry_scores: (Q, K).
        baseline_items: (Q, P, 3) of the best, as in `entries`, for refreshes (`freshflow.ranking.incremental_scores`).
        baseline_residuals: (Q, P).
        baseline_levels: (Q, 2).
        gradient: (Q, F + H) of the choice of the target item, if it is a candidate.
        unit_gradient: (Q, H, F + Z + 1) likewise.
    """

    results: NDArray[np.int32]
    candidates: NDArray[np.int32]
    context_features: NDArray[np.float32]
    features: NDArray[np.float32]
    units: NDArray[np.float32]
    scores: NDArray[np.float64]
    entries: NDArray[np.int32]
    entry_scores: NDArray[np.float64]
    baseline_items: NDArray[np.int32]
    baseline_residuals: NDArray[np.float32]
    baseline_levels: NDArray[np.float32]
    gradient: NDArray[np.float64]
    unit_gradient: NDArray[np.float32]

    @classmethod
    def empty(
        cls,
        n_queries: int,
        n_candidates: int,
        max_length: int,
        n_units: int,
        *,
        keep_features: bool,
        n_features: int = FIRST_CONTENT,
    ) -> "RankingResults":
        """Return empty results.

        Features and hidden units take most of the memory. Unless they are kept, every query overwrites those of the one
        before, which stay in the processor's cache.

        Args:
            n_queries: Q.
            n_candidates: C.
            max_length: K.
            n_units: H.
            keep_features: Keep the features and hidden units of every query.
            n_features: F.
        """
        n_feature_rows, max_length = n_queries if keep_features else 1, max(max_length, n_candidates, N_BASELINE_ITEMS)
        return cls(
            results=np.zeros((n_queries, 6), np.int32),
            candidates=np.zeros((n_queries, n_candidates, 4), np.int32),
            context_features=np.zeros((n_queries, len(CONTEXT_FEATURES)), np.float32),
            features=np.zeros((n_feature_rows, n_features, n_candidates), np.float32),
            units=np.zeros((n_feature_rows, n_units, n_candidates), np.float32),
            scores=np.zeros((n_queries, n_candidates)),
            entries=np.zeros((n_queries, max_length, 4), np.int32),
            entry_scores=np.zeros((n_queries, max_length)),
            baseline_items=np.zeros((n_queries, N_BASELINE_ITEMS, 3), np.int32),
            baseline_residuals=np.zeros((n_queries, N_BASELINE_ITEMS), np.float32),
            baseline_levels=np.zeros((n_queries, 2), np.float32),
            gradient=np.zeros((n_queries, n_features + n_units)),
            unit_gradient=np.zeros((n_queries, n_units, n_features + len(CONTEXT_FEATURES) + 1), np.float32),
        )


@jit_no_refcount
def process_batch(
    tables: ItemTables,
    weights: Weights,
    steps: NDArray[np.int32],
    queries: QueryBatch,
    visits: Visits,
    buffer: CandidateBuffer,
    rankings: RankingResults,
    max_candidates: int,
) -> None:
    """Rank queries and count visits in order, so that each list includes every visit before it and none after it.

    Args:
        tables: The item statistics, updated in place.
        weights: The weights to score with.
        steps: (N,) `RANK_STEP` for the next query, `LEARN_STEP` for the next visit.
        queries: The queries of the batch.
        visits: The visits of the batch.
        buffer: Overwritten.
        rankings: Overwritten.
        max_candidates: The greatest number of candidates that are ranked, unless a list is longer.
    """
    q = v = 0
    for step in steps:
        if step == RANK_STEP:
            _rank_query(tables, weights, queries, q, buffer, rankings, max_candidates)
            q += 1
        else:
            update_tables(
                tables,
                visits.items[v],
                visits.contexts[v],
                visits.ts_ms[v],
                visits.is_session_start[v],
                visits.weights[v],
            )
            v += 1


@jit_no_refcount
def _rank_query(
    tables: ItemTables,
    weights: Weights,
    queries: QueryBatch,
    q: int,
    buffer: CandidateBuffer,
    rankings: RankingResults,
    max_candidates: int,
) -> None:
    n_candidates = generate_candidates(tables, queries, q, max(max_candidates, queries.scalars[q, QUERY_K]), buffer)
    n_padded = pad_to_simd_width(buffer, n_candidates, rankings.scores.shape[1])
    results, candidates = rankings.results[q], rankings.candidates[q, :n_candidates]
    feature_row = q if len(rankings.features) > 1 else 0
    context_features, features, units = (
        rankings.context_features[q],
        rankings.features[feature_row],
        rankings.units[feature_row],
    )
    scores = rankings.scores[q, :n_padded]
    linear = weights.linear[queries.scalars[q, QUERY_MODEL_INDEX]]
    compute_context_features(tables, queries, q, context_features)
    n_personal = compute_features(tables, queries, q, buffer, n_padded, features)
    if has_content(tables.embeddings):
        _fill_content_features(tables, queries, q, buffer, n_padded, features)
    score_candidates(linear, weights.units, context_features, features, n_personal, units, scores)
    scores[n_candidates:] = -np.inf
    target_row = queries.scalars[q, QUERY_TARGET_ROW]
    results[N_CANDIDATES], results[TARGET_INDEX], results[TARGET_RANK], results[TARGET_POPULARITY_RANK] = (
        n_candidates,
        -1,
        0,
        0,
    )
    results[N_LISTED], results[N_TIED] = 0, 0
    for i in range(n_candidates):
        candidates[i, CANDIDATE_ROW] = buffer.metadata[i, META_ROW]
        candidates[i, HISTORY_INDEX] = buffer.metadata[i, META_HISTORY_INDEX]
        covisit_index = buffer.metadata[i, META_COVISIT_INDEX]
        candidates[i, COVISIT_ROW] = queries.context[q, covisit_index] if covisit_index >= 0 else covisit_index
        candidates[i, SIMILAR_ROW] = buffer.metadata[i, META_SIMILAR_ROW]
        if target_row >= 0 and candidates[i, CANDIDATE_ROW] == target_row:
            results[TARGET_INDEX] = i
    if results[TARGET_INDEX] >= 0:
        results[TARGET_RANK] = rank_by_value(scores, results[TARGET_INDEX])
        results[TARGET_POPULARITY_RANK] = rank_by_value(features[LAST_200, :n_candidates], results[TARGET_INDEX])
        gradient, unit_gradient = rankings.gradient[q], rankings.unit_gradient[q]
        choice_gradient(
            linear,
            context_features,
            features,
            n_personal,
            units,
            scores,
            results[TARGET_INDEX],
            gradient,
            unit_gradient,
        )
    if queries.scalars[q, QUERY_K] > 0:
        build_list(
            linear, weights.units, queries.scalars[q, QUERY_K], queries.scalars[q, QUERY_EXCLUDE_SEEN], q, rankings
        )
    if queries.scalars[q, QUERY_STORE_BASELINE]:
        top_entries = rankings.entries[q, : min(results[N_LISTED], N_BASELINE_ITEMS)]
        top_candidates = top_entries[:, ENTRY_CANDIDATE]
        write_baseline(
            weights,
            candidates,
            features,
            scores[:n_candidates],
            top_candidates,
            rankings.baseline_residuals[q],
            rankings.baseline_levels[q],
        )
        rankings.baseline_items[q, :, 0] = NO_ROW
        for n in range(len(top_entries)):
            for column in range(3):
                rankings.baseline_items[q, n, column] = top_entries[n, ENTRY_ROW + column]


@jit
def _fill_content_features(
    tables: ItemTables,
    queries: QueryBatch,
    q: int,
    buffer: CandidateBuffer,
    n_candidates: int,
    features: NDArray[np.float32],
) -> None:
    """Write the content features of a query's candidates and reset the query's tastes."""
    embeddings, counts, metadata, context = (
        tables.embeddings,
        tables.revisits.counts,
        buffer.metadata,
        queries.context[q],
    )
    compute_content_features(
        *(
            embeddings,
            counts,
            context,
            buffer.tastes,
            buffer.taste_norms,
            buffer.category_shares,
            metadata[:n_candidates, META_ROW],
        ),
        *(features[AGE], metadata[:n_candidates, META_SIMILAR_ROW], features[FIRST_CONTENT:]),
    )
    history = queries.history[queries.starts[q, HISTORY_START] : queries.starts[q + 1, HISTORY_START]]
    clear_tastes(embeddings, context, history, buffer.category_shares)


@jit
def build_list(
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    k: int,
    exclude_seen: bool,
    q: int,
    rankings: RankingResults,
) -> None:
    """Write the rank of the target item, the list and its reasons, given the scores of a query.

    Args:
        linear: (F + H,) w and a.
        unit_weights: (H, F + Z + 1) V.
        k: The length of the list.
        exclude_seen: Leave out the items of the user's history.
        q: The number of the query.
        rankings: Its results, updated in place.
    """
    results = rankings.results[q]
    n_candidates = results[N_CANDIDATES]
    scores, candidates, entries = (
        rankings.scores[q, :n_candidates],
        rankings.candidates[q, :n_candidates],
        rankings.entries[q],
    )
    if results[TARGET_INDEX] >= 0:
        results[TARGET_RANK] = rank_by_value(scores, results[TARGET_INDEX])
    skip_marks = np.full(n_candidates, -1, np.int32)
    if exclude_seen:
        skip_marks[:] = candidates[:, HISTORY_INDEX]
    n_listed, has_ties = select_top_k(scores, skip_marks, k, entries[:, ENTRY_CANDIDATE])
    n_entries = (
        append_tied_candidates(scores, skip_marks, entries[:, ENTRY_CANDIDATE], n_listed) if has_ties else n_listed
    )
    results[N_LISTED], results[N_TIED] = n_listed, n_entries if has_ties else 0
    feature_row = q if len(rankings.features) > 1 else 0
    features, units, entry_scores = (
        rankings.features[feature_row],
        rankings.units[feature_row],
        rankings.entry_scores[q],
    )
    candidate_indices, reasons = np.empty(n_entries, np.int32), np.empty(n_entries, np.int32)
    in_history, has_covisits = np.empty(n_entries, np.bool_), np.empty(n_entries, np.bool_)
    has_similar, is_cold = np.empty(n_entries, np.bool_), np.zeros(n_entries, np.bool_)
    for n in range(n_entries):
        candidate_indices[n] = entries[n, ENTRY_CANDIDATE]
        candidate = candidates[candidate_indices[n]]
        in_history[n], has_covisits[n], has_similar[n] = (
            candidate[HISTORY_INDEX] >= 0,
            candidate[COVISIT_ROW] != NO_ROW,
            candidate[SIMILAR_ROW] >= 0,
        )
        if len(features) > FIRST_CONTENT:
            is_cold[n] = features[FIRST_CONTENT + COLD, candidate_indices[n]] == 1
    assign_reasons(
        linear,
        unit_weights,
        features,
        units,
        candidate_indices,
        in_history,
        has_covisits,
        has_similar,
        is_cold,
        reasons,
    )
    for n in range(n_entries):
        row, covisit_row = (
            candidates[candidate_indices[n], CANDIDATE_ROW],
            candidates[candidate_indices[n], COVISIT_ROW],
        )
        if reasons[n] == REASON_TOGETHER and covisit_row == SEARCH_COVISIT:
            reasons[n] = REASON_SEARCH
        entries[n, ENTRY_ROW], entries[n, ENTRY_REASON], entry_scores[n] = row, reasons[n], scores[candidate_indices[n]]
        entries[n, ENTRY_SOURCE_ROW] = (
            covisit_row if reasons[n] == REASON_TOGETHER else row if reasons[n] == REASON_AGAIN else NO_ROW
        )
        if reasons[n] == REASON_SIMILAR:
            entries[n, ENTRY_SOURCE_ROW] = candidates[candidate_indices[n], SIMILAR_ROW]
    for n in range(n_entries, len(entries)):
        entries[n, ENTRY_ROW] = NO_ROW
