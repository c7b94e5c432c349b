"""Queries of a partition: the list or prediction that each step requests from the ranker."""

from msgspec import structs

from freshflow.config.schema import Config
from freshflow.events.model import Interaction, Request, Search
from freshflow.feature import Feature
from freshflow.items.visit import ItemVisit
from freshflow.ranking.incremental_scores import N_BASELINE_ITEMS
from freshflow.ranking.query import Query
from freshflow.users.profile import Context, UserProfile, context_at
from freshflow.users.updates import ListRequested


class QueryBuilder:
    """A builder of the queries of one partition, extended by its features."""

    def __init__(self, config: Config, features: tuple[Feature, ...]) -> None:
        self.config = config
        self._features = features
        self._session_gap_ms = int(config.users.session_gap_s * 1000)
        self._needs_baselines = any(feature.needs_baselines for feature in features)
        list_depth = self.ranking_depth(config.lists.k)
        self._list_k = max(N_BASELINE_ITEMS, list_depth) if self._needs_baselines else list_depth

    def ranking_depth(self, k: int) -> int:
        """Return the number of candidates to rank for a list of `k`."""
        for feature in self._features:
            k = feature.ranking_depth(k)
        return k

    def build_prediction(self, profile: UserProfile, context: Context, event: Interaction | ItemVisit) -> Query:
        """Return the query that predicts the item of an event from the user before it."""
        return self._extend(Query(profile, context, event.ts_ms, 0, event.item_id))

    def build_list_query(self, profile: UserProfile) -> Query:
        """Return the query for the list of a user who has just acted, as of the user's latest event."""
        now_ms = profile.last_ms
        return self._extend(
            Query(profile, self._context(profile, now_ms), now_ms, self._list_k, store_baseline=self._needs_baselines)
        )

    def build_request_query(self, step: ListRequested) -> Query:
        """Return the query for the answer to a request or a search."""
        event, profile = step.event, step.profile
        now_ms = max(event.ts_ms, profile.last_ms)
        if type(event) is Search:
            restrict_to = event.items
            for feature in self._features:
                restrict_to = feature.search_candidates(event, profile, restrict_to)
            k = len(restrict_to)
        else:
            restrict_to, k = None, self.ranking_depth(list_length(event, self.config))
        context = self._context(profile, now_ms)
        return self._extend(Query(profile, context, now_ms, k, None, restrict_to, event.exclude_seen))

    def build_idle_query(self, profile: UserProfile, now_ms: int) -> Query:
        """Return the query for the list of a user who has not acted, as of `now_ms`."""
        k = self.config.lists.k
        return self._extend(
            Query(
                profile,
                self._context(profile, now_ms),
                now_ms,
                max(N_BASELINE_ITEMS, k) if self._needs_baselines else k,
                store_baseline=self._needs_baselines,
            )
        )

    def deepen(self, query: Query) -> Query:
        """Return the query with the candidates that features choose a list from."""
        k = self.ranking_depth(query.k)
        return query if k == query.k else structs.replace(query, k=k)

    def _extend(self, query: Query) -> Query:
        if query.profile.search is not None:
            for feature in self._features:
                query = feature.extend_query(query)
        return query

    def _context(self, profile: UserProfile, now_ms: int) -> Context:
        return context_at(profile, now_ms, gap_ms=self._session_gap_ms, max_items=self.config.users.context)


def list_length(event: object, config: Config) -> int:
    """Return the maximum length of the list that an event asks for; an answer to a search holds all results."""
    if type(event) is Search:
        return len(event.items)
    return (event.k if type(event) is Request else None) or config.lists.k
