"""From queries and visits in stream order to lists: the compiled loop over a batch, and what it found."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import jit, jit_no_refcount
from freshflow.items.index import NO_ROW
from freshflow.items.tables import ItemTables, update_tables
from freshflow.ranking.candidates import (
    META_COVISIT_INDEX,
    META_HISTORY_INDEX,
    META_ROW,
    META_SIMILAR_ROW,
    SEARCH_COVISIT,
    CandidateBuffer,
    generate_candidates,
    pad_to_simd_width,
)
from freshflow.ranking.features import AGE, CONTEXT_FEATURES, LAST_200, compute_context_features, compute_features
from freshflow.ranking.features_content import COLD, clear_tastes, compute_content_features, has_content
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
from freshflow.ranking.scoring import (
    FIRST_CONTENT,
    REASON_AGAIN,
    REASON_SEARCH,
    REASON_SIMILAR,
    REASON_TOGETHER,
    Weights,
    assign_reasons,
    choice_gradient,
    rank_by_value,
    score_candidates,
    select_top_k,
)

__all__ = ["RankingResults", "Visits", "process_batch", "build_list"]

RANK_STEP, LEARN_STEP = 0, 1


class Visits(NamedTuple):
    """Visits in arrays: `items` (V,), `contexts` (V, L) -1 padded, `ts_ms`, `is_session_start` and `weights` (V,)."""

    items: NDArray[np.int32]
    contexts: NDArray[np.int32]
    ts_ms: NDArray[np.int64]
    is_session_start: NDArray[np.bool_]
    weights: NDArray[np.float64]


# Columns of `Answers.facts`, of `Answers.candidates` and of `Answers.places`.
N_CANDIDATES, N_LISTED, N_TIED, TARGET_INDEX, TARGET_RANK, TARGET_POPULARITY_RANK = range(6)
CANDIDATE_ROW, HISTORY_INDEX, COVISIT_ROW, SIMILAR_ROW = range(4)
ENTRY_CANDIDATE, ENTRY_ROW, ENTRY_REASON, ENTRY_SOURCE_ROW = range(4)


class RankingResults(NamedTuple):
    """What was found for Q queries with C candidates at most, and lists of K at most.

    `results` (Q, 6): how many candidates; how many of them are listed; the places among which ids must break ties, 0 if
    none; where the item that came stands among the candidates, or -1, its rank by score, 0 if it is none of them, and
    its rank by what was popular right now. `candidates` (Q, C, 4): row, index into the user's history or -1, row of the
    item of the context that speaks most for it, -1, or -2 where a search does, and row of the one that it resembles
    most or -1. `scores` (Q, C), `context_features` (Q, Z). `features` (Q, F, C) and `units` (Q, H, C), or those of the last query
    only, where Q = 1 for these two.

    The list is in `entries` (Q, K, 4): candidate, row, index of `REASONS`, row of the item behind the reason or -1; and
    `entry_scores` (Q, K). Rows behind its end are -1, but where there are ties, all candidates that may be meant stand
    there. Where the item that came stands among the candidates, `gradient` (Q, F + H) and `unit_gradient`
    (Q, H, F + Z + 1) are what that teaches. `baseline_items` (Q, P, 3), of the best as in `entries`, `baseline_residuals` (Q, P) and `baseline_levels`
    (Q, 2) are what is kept for refreshes (`freshflow.ranking.incremental_scores`).
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
        """Room for so many queries, candidates of each, items of a list, hidden units, and features.

        Features and hidden units are `keep_features` of every query, or overwritten by those of the next: they take most of the
        memory, and memory that is written anew each time is not in the cache.
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
    """Take `steps` (N,) in order: the next of `queries` is ranked (0), or the next of `visits` folded in (1).

    So each list knows every visit before it and none after it. At most `max_candidates` candidates are ranked, or as many as are
    wanted.
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
    """Write what content says of the `n_candidates` candidates of query `q`, and be done with the query's tastes."""
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
    """Write what follows from the scores of query `q`: the rank of the item that came, places and reasons."""
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
        _append_tied_candidates(scores, skip_marks, entries[:, ENTRY_CANDIDATE], n_listed) if has_ties else n_listed
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


@jit_no_refcount
def _append_tied_candidates(
    scores: NDArray[np.float64], skip_marks: NDArray[np.int32], candidate_indices: NDArray[np.int32], n_listed: int
) -> int:
    """Write all candidates that score as the last of a list behind those that score more; how many there are then."""
    last_score, n = scores[candidate_indices[n_listed - 1]], 0
    while scores[candidate_indices[n]] > last_score:
        n += 1
    for i in range(len(scores)):
        if scores[i] == last_score and skip_marks[i] < 0:
            candidate_indices[n] = i
            n += 1
    return n
