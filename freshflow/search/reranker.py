"""Re-ranking of the engine's search results, and learning from the choices that follow.

Searches and choices are processed one by one in the order of the stream, after the compiled loop has ranked the
micro-batch: an answer depends on every earlier choice and on no later one, independent of batch boundaries.
"""

from collections.abc import Collection, Sequence
from itertools import islice

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.config.schema import SearchConfig
from freshflow.events.model import Search
from freshflow.events.query_keys import query_keys
from freshflow.items.query_choices import QueryClicks, QueryCounts
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.metrics.prequential import RankingMetrics, RankingMetricsState
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import CANDIDATE_ROW, HISTORY_INDEX, N_CANDIDATES, RankingResults
from freshflow.ranking.model_state import ModelState, model_state
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import SCORE_QUANTUM
from freshflow.search.model import (
    CLICKS_FEATURE,
    ENGINE_FEATURE,
    IN_HISTORY_FEATURE,
    SEARCH_FEATURES,
    SearchRanker,
    SearchResults,
)
from freshflow.users.profile import UserProfile
from freshflow.users.updates import ListRequested, UserInteraction

MAX_CLICKED_ITEMS = 30  # items added to the feed's candidates after a search
MAX_TRAINING_RESULTS = 30  # first results of an answer that a choice is learned from
MAX_PENDING_ANSWERS = 5_000  # users with an answer that awaits a choice; the oldest answer is evicted first
DEMOTION_CONTRIBUTION = "last"  # name of the contribution that moves an item to the end


class PendingAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The latest answer to a user, which awaits a choice.

    Attributes:
        key: The key of the query.
        ts_ms: The time of the search.
        items: The first results, in the order of the answer.
        engine_ranks: Their ranks in the engine's order, from 1.
        features: Their features (C, F) as bytes.
        clicked_items: The results chosen since.
    """

    key: str
    ts_ms: int
    items: list[str]
    engine_ranks: list[int]
    features: bytes
    clicked_items: list[str] = msgspec.field(default_factory=list)


class RerankerState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of a search re-ranker: clicks by query, the model, answers by user that wait for a choice, and metrics."""

    query_clicks: dict[str, QueryCounts]
    model: ModelState
    n_updates: int
    pending_answers: dict[str, PendingAnswer]
    reranked_metrics: RankingMetricsState
    engine_metrics: RankingMetricsState


class SearchReranker:
    """The search re-ranker: choices by query, the model, the answers that await a choice, and quality metrics."""

    def __init__(self, config: SearchConfig, session_gap_ms: int) -> None:
        self.config = config
        self.session_gap_ms = session_gap_ms
        self.query_clicks = QueryClicks(config.max_queries)
        self.ranker = SearchRanker()
        self.pending_answers: dict[str, PendingAnswer] = {}
        self.reranked_metrics, self.engine_metrics = RankingMetrics(), RankingMetrics()

    def learn(self, step: UserInteraction | ItemVisit) -> None:
        """Learn from a visit after a search, by a user of this partition or of another."""
        visit = step.visit if isinstance(step, UserInteraction) else step
        if isinstance(step, UserInteraction):
            self._learn_click(step)
        self.query_clicks.add_click(
            visit.query_keys, visit.item_id, visit.ts_ms, visit.sample_weight / (1 + visit.n_visits_since_search)
        )

    def _learn_click(self, step: UserInteraction) -> None:
        """Score the answer that the user chose from, then update the model."""
        event, search, answer = step.event, step.profile_before.search, self.pending_answers.get(step.event.user_id)
        if answer is None or search is None or (answer.key, answer.ts_ms) != (search.keys[0], search.ts_ms):
            return
        item = event.item_id
        if item in answer.clicked_items or item not in answer.items:
            return
        index = answer.items.index(item)
        self.reranked_metrics.add([index + 1])
        self.engine_metrics.add([answer.engine_ranks[index]])
        features = np.frombuffer(answer.features, np.float32).reshape(-1, len(SEARCH_FEATURES)).astype(np.float64)
        open_indices = [n for n, result_id in enumerate(answer.items) if result_id not in answer.clicked_items]
        if len(open_indices) > 1:
            self.ranker.learn_choice(features[open_indices], open_indices.index(index), event.sample_weight)
        answer.clicked_items.append(item)

    def add_query_clicks(self, query: Query) -> Query:
        """Return a feed query with the most chosen items after the user's latest search, if the search is recent."""
        user, search = query.profile, query.profile.search
        if (
            search is None
            or query.restrict_to is not None
            or query.now_ms - max(search.ts_ms, user.last_ms) > self.session_gap_ms
            or query.now_ms < search.ts_ms
        ):
            return query
        return structs.replace(
            query, query_clicks=self.query_clicks.top_items(search.keys, MAX_CLICKED_ITEMS, search.n_visits)
        )

    def collect_results(self, search: Search, user: UserProfile) -> tuple[str, ...]:
        """Return the engine's results without repetitions, then added items chosen after the query, if configured."""
        engine_items = dict.fromkeys(search.items)
        clicks = (
            self.query_clicks.top_items(query_keys(search.query), MAX_CLICKED_ITEMS, 0)
            if self.config.max_added_items
            else None
        )
        if clicks is None:
            return tuple(engine_items)
        added_items = (item for item in clicks.items if item not in engine_items and item not in user.dismissed_items)
        return (*engine_items, *islice(added_items, self.config.max_added_items))

    def rerank(
        self,
        request: ListRequested,
        q: int,
        feed_items: list[ListItem],
        rankings: RankingResults,
        item_statistics: ItemStatistics,
        hidden_ids: Collection[str] = (),
    ) -> list[ListItem]:
        """Return the results of a search in the order of their scores.

        Args:
            request: The search and the profile of its user.
            q: The number of the query that ranked the results for the feed.
            feed_items: The ranked results with their feed reasons.
            rankings: The results of all queries.
            item_statistics: The items.
            hidden_ids: Ids of items that must not be shown.
        """
        search = request.event
        assert isinstance(search, Search)
        items, keys = list(self.collect_results(search, request.profile)), query_keys(search.query)
        is_known = self.query_clicks.has_clicks(keys)
        scores, is_own = _feed_scores(items, q, rankings, item_statistics)
        features = SearchResults(
            self.query_clicks.click_shares(keys, items) if is_known else None, scores, is_own
        ).features
        contributions = self.ranker.contributions(features, is_known_query=is_known)
        totals = contributions.sum(axis=1)
        demoted_indices = self._demoted_indices(items, request.profile, item_statistics)
        if demoted_indices:
            demoted_score = -float(np.ptp(totals)) - 1.0
            totals[demoted_indices] += np.rint(demoted_score / SCORE_QUANTUM) * SCORE_QUANTUM
        feed_item_by_id = {item.item_id: item for item in feed_items}
        list_items = [
            _build_item(
                items[n],
                float(totals[n]),
                contributions[n],
                feed_item_by_id.get(items[n]),
                demotion=float(totals[n] - contributions[n].sum()),
            )
            for n in np.flatnonzero(
                self._retained_mask(items, search, request.profile, item_statistics, hidden_ids)
            ).tolist()
        ]
        list_items = sorted(list_items, key=lambda item: (-item.score, item.item_id))[: search.k]
        if request.profile.search is not None:
            self._store_pending_answer(
                search, request.profile.search.keys[0], request.profile.search.ts_ms, list_items, items, features
            )
        return list_items

    def forget(self, user_id: str) -> None:
        """Delete the answer that awaits a choice of the user."""
        self.pending_answers.pop(user_id, None)

    def values(self) -> dict[str, float]:
        """Return the metrics of chosen items in answers and in the engine's order; empty before the first choice."""
        if not self.reranked_metrics.events:
            return {}
        metrics = (("search", self.reranked_metrics), ("engine", self.engine_metrics))
        return {
            f"{name}_{metric}": value
            for name, ranking_metrics in metrics
            for metric, value in ranking_metrics.values().items()
        }

    def state(self) -> RerankerState:
        """Return the state."""
        return RerankerState(
            query_clicks=self.query_clicks.state(),
            model=model_state(self.ranker.model),
            n_updates=self.ranker.n_updates,
            pending_answers=self.pending_answers,
            reranked_metrics=self.reranked_metrics.state(),
            engine_metrics=self.engine_metrics.state(),
        )

    def restore(self, state: RerankerState) -> None:
        """Continue from a state."""
        self.query_clicks.restore(state.query_clicks)
        self.ranker.restore(state.model, state.n_updates)
        self.pending_answers = state.pending_answers
        self.reranked_metrics.restore(state.reranked_metrics)
        self.engine_metrics.restore(state.engine_metrics)

    def _store_pending_answer(
        self,
        search: Search,
        key: str,
        ts_ms: int,
        list_items: list[ListItem],
        items: list[str],
        features: NDArray[np.float64],
    ) -> None:
        previous_answer = self.pending_answers.get(search.user_id)
        if ts_ms != search.ts_ms or (
            previous_answer is not None and (previous_answer.key, previous_answer.ts_ms) == (key, ts_ms)
        ):
            return  # a late search, or a repeated one
        index_by_item = {item: n for n, item in enumerate(items)}
        shown_ids = [item.item_id for item in list_items[:MAX_TRAINING_RESULTS]]
        indices = [index_by_item[item] for item in shown_ids]
        self.pending_answers.pop(search.user_id, None)
        self.pending_answers[search.user_id] = PendingAnswer(
            key, ts_ms, shown_ids, [n + 1 for n in indices], features[indices].astype(np.float32).tobytes()
        )
        if len(self.pending_answers) > MAX_PENDING_ANSWERS:
            del self.pending_answers[next(iter(self.pending_answers))]

    def _retained_mask(
        self,
        items: Sequence[str],
        search: Search,
        user: UserProfile,
        item_statistics: ItemStatistics,
        hidden_ids: Collection[str],
    ) -> list[bool]:
        """Return True for each item to keep; the engine's results stay unless the configuration drops them."""
        excluded_ids = {*hidden_ids, *(user.items if search.exclude_seen else ())}
        if self.config.drop_dismissed:
            excluded_ids |= set(user.dismissed_items)
        required_ids = set() if self.config.drop_unavailable else set(search.items)
        return [
            item not in excluded_ids and (item in required_ids or item_statistics.is_available(item)) for item in items
        ]

    @staticmethod
    def _demoted_indices(items: Sequence[str], user: UserProfile, item_statistics: ItemStatistics) -> list[int]:
        """Return the indices of items to move to the end: unavailable ones and those that the user has dismissed."""
        dismissed_ids = set(user.dismissed_items)
        return [n for n, item in enumerate(items) if item in dismissed_ids or not item_statistics.is_available(item)]


def _feed_scores(
    items: Sequence[str], q: int, rankings: RankingResults, item_statistics: ItemStatistics
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the feed scores (C,) of results, NaN where there is none, and a mask (C,) of items that the user knows."""
    n_candidates = rankings.results[q, N_CANDIDATES]
    rows = rankings.candidates[q, :n_candidates, CANDIDATE_ROW].tolist()
    index_by_row = {row: index for index, row in enumerate(rows)}
    index = np.array([index_by_row.get(row, -1) for row in item_statistics.index.lookup_rows(items)], np.int64)
    scores, is_own = np.full(len(items), np.nan), np.zeros(len(items), np.bool_)
    scores[index >= 0] = rankings.scores[q, index[index >= 0]]
    is_own[index >= 0] = rankings.candidates[q, index[index >= 0], HISTORY_INDEX] >= 0
    return scores, is_own


def _build_item(
    item_id: str, score: float, feature_contributions: NDArray[np.float64], feed_item: ListItem | None, demotion: float
) -> ListItem:
    """Build an item with the reason of its strongest feature, and the contribution of each feature to its score."""
    contributions = {
        name: value for name, value in zip(SEARCH_FEATURES, feature_contributions.tolist(), strict=True) if value
    }
    if demotion:
        contributions[DEMOTION_CONTRIBUTION] = demotion
    strongest_feature = max(
        range(len(feature_contributions)), key=lambda n: feature_contributions[n] if n != ENGINE_FEATURE else 0.0
    )
    if strongest_feature == CLICKS_FEATURE:
        return ListItem(item_id, score, "searched", (), contributions)
    if strongest_feature == IN_HISTORY_FEATURE:
        return ListItem(item_id, score, "again", (item_id,), contributions)
    if strongest_feature != ENGINE_FEATURE and feed_item is not None:
        return ListItem(item_id, score, feed_item.reason, feed_item.because, contributions)
    return ListItem(item_id, score, "engine" if feed_item is not None else "unknown", (), contributions)
