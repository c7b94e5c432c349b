"""Ranking of micro-batches: queries and visits in arrays, through the compiled loop, into reused buffers."""

from collections.abc import Sequence

import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.micro_batch import MAX_BATCH_QUERIES, build_visit_batch
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.ranking.candidate_buffer import CandidateBuffer
from freshflow.ranking.kernel import RANK_STEP, RankingResults, process_batch
from freshflow.ranking.query import Query, build_query_batch
from freshflow.ranking.ranker import Ranker


class BatchRanker:
    """The ranking of queries and the update of item statistics by visits; results are valid until the next call."""

    def __init__(self, config: Config, item_statistics: ItemStatistics, ranker: Ranker) -> None:
        self._config = config
        self._item_statistics = item_statistics
        self._ranker = ranker
        self._candidate_buffer = CandidateBuffer.empty()
        self._allocated_results: RankingResults | None = None

    def rank_queries(self, queries: Sequence[Query]) -> RankingResults:
        """Rank queries without visits between them."""
        return self.rank([RANK_STEP] * len(queries), queries, [])

    def rank(self, step_kinds: Sequence[int], queries: Sequence[Query], visits: Sequence[ItemVisit]) -> RankingResults:
        """Rank queries and count visits in the order of `step_kinds`.

        Args:
            step_kinds: For each step, `RANK_STEP` for the next query or `LEARN_STEP` for the next visit.
            queries: The queries.
            visits: The visits.
        """
        config, item_statistics = self._config, self._item_statistics
        self._candidate_buffer = self._candidate_buffer.with_item_capacity(item_statistics.capacity).with_taste_size(
            item_statistics.tables.embeddings
        )
        n_candidates = config.ranking.candidates + config.content.max_candidates
        max_length = max([query.k for query in queries], default=1)
        max_candidates = max(
            n_candidates, max_length, *[len(query.restrict_to) for query in queries if query.restrict_to is not None]
        )
        rankings = self._result_buffers(len(queries), max_candidates, max_length)
        process_batch(
            item_statistics.tables,
            self._ranker.weights,
            np.array(step_kinds, np.int32),
            build_query_batch(item_statistics.index, queries),
            build_visit_batch(item_statistics.index, visits, config.items.context),
            self._candidate_buffer,
            rankings,
            n_candidates,
        )
        self._ranker.rerank(queries, rankings)
        return rankings

    def _result_buffers(self, n_queries: int, n_candidates: int, max_length: int) -> RankingResults:
        """Return the buffers of the last batch, or larger ones if this batch needs them."""
        rankings = self._allocated_results
        if (
            rankings is None
            or len(rankings.scores) < n_queries
            or rankings.scores.shape[1] < n_candidates
            or rankings.entries.shape[1] < max_length
        ):
            n_units = self._config.ranker.hidden_units
            rankings = self._allocated_results = RankingResults.empty(
                max(n_queries, MAX_BATCH_QUERIES),
                n_candidates,
                max_length,
                n_units,
                keep_features=self._config.lists.contributions or bool(self._ranker.rerankers),
                n_features=len(self._ranker.input_names) - n_units,
            )
        return rankings
