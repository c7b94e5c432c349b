"""Between ranking and composing: lists of which rules choose the items, put in the places of the ranked ones."""

from collections.abc import Sequence

import numpy as np

from freshflow.items.index import NO_ROW
from freshflow.ranking.kernel import (
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    N_LISTED,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import ADJUSTMENTS, CandidateList
from freshflow.rules.pipeline import Rules

__all__ = ["CandidateListByQuery", "apply_rules", "to_candidate_list", "write_candidate_list"]

CandidateListByQuery = dict[int, CandidateList]  # by the number of the query


def apply_rules(
    rules: Rules | None,
    query_indices: Sequence[int],
    lengths: Sequence[int],
    queries: Sequence[Query],
    rankings: RankingResults,
) -> CandidateListByQuery:
    """Let rules choose the lists of queries number `query_indices`, of at most `lengths` items, and write them to `rankings`.

    Scores must be settled: ties are broken. Without rules nothing is done.
    """
    if rules is None:
        return {}
    candidate_lists: CandidateListByQuery = {}
    for q, k in zip(query_indices, lengths, strict=True):
        query = queries[q]
        if query.restrict_to is not None:  # an engine found them: `freshflow.search.reranker`
            continue
        candidate_lists[q] = rules.apply(to_candidate_list(q, rankings), query, k)
        write_candidate_list(candidate_lists[q], q, rankings)
    return candidate_lists


def to_candidate_list(q: int, rankings: RankingResults) -> CandidateList:
    """What was ranked for query number `q`."""
    n = rankings.results[q, N_LISTED]
    columns = rankings.entries[q, :n].T.copy()
    scores, rule_amounts = rankings.entry_scores[q, :n].copy(), np.zeros((n, len(ADJUSTMENTS)))
    return CandidateList(
        columns[ENTRY_ROW],
        scores,
        columns[ENTRY_REASON],
        columns[ENTRY_SOURCE_ROW],
        columns[ENTRY_CANDIDATE],
        rule_amounts,
    )


def write_candidate_list(candidate_list: CandidateList, q: int, rankings: RankingResults) -> None:
    """Put what was chosen in the places of what was ranked for query number `q`."""
    n = candidate_list.size
    entries = rankings.entries[q]
    for column, values in (
        *((ENTRY_CANDIDATE, candidate_list.candidate_numbers), (ENTRY_ROW, candidate_list.rows)),
        *((ENTRY_REASON, candidate_list.reasons), (ENTRY_SOURCE_ROW, candidate_list.sources)),
    ):
        entries[:n, column] = values
    entries[n:, ENTRY_ROW] = NO_ROW
    rankings.entry_scores[q, :n] = candidate_list.scores
    rankings.results[q, N_LISTED] = n
