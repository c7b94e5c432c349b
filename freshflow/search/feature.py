"""Re-ranking of search results as a feature of a partition."""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Raw, structs

from freshflow._state_tables import StateTable
from freshflow.config.schema import Config
from freshflow.events.model import Search
from freshflow.feature import Feature, ListBatch
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.outputs.assembly import build_list_items, extract_lists
from freshflow.outputs.json_writer import encode_items
from freshflow.outputs.records import ListItem
from freshflow.ranking.query import Query
from freshflow.search.reranker import RerankerState, SearchReranker
from freshflow.users.profile import UserProfile
from freshflow.users.updates import ListRequested, UserInteraction


class SearchState(StateTable, frozen=True):
    """State of search."""

    reranker: RerankerState
    counts: dict[str, int]


class SearchFeature(Feature):
    """The search re-ranker of a partition: it answers searches and learns from the visits after them."""

    name = "search"
    state_type = SearchState

    def __init__(self, config: Config, item_statistics: ItemStatistics) -> None:
        self.reranker = SearchReranker(config.search, int(config.users.session_gap_s * 1000))
        self._item_statistics = item_statistics
        self._explains_scores = config.lists.contributions
        self._counts: Counter[str] = Counter()

    def on_user_forgotten(self, user_id: str) -> None:
        """Delete the answer that awaits the user's choice."""
        self.reranker.forget(user_id)

    def tracks_user(self, user_id: str) -> bool:
        """Return True if an answer awaits the user's choice."""
        return user_id in self.reranker.pending_answers

    def extend_query(self, query: Query) -> Query:
        """Add the items that users choose after the search that the query's user comes from."""
        return self.reranker.add_query_clicks(query)

    def search_candidates(self, search: Search, profile: UserProfile, item_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return the engine's results without repetitions, and added items if the configuration asks for some."""
        return self.reranker.collect_results(search, profile)

    def answer_searches(
        self, steps: Sequence[tuple[ListRequested | UserInteraction | ItemVisit, int]], lists: ListBatch
    ) -> Mapping[int, Raw]:
        """Re-rank the results of searches and learn from visits, in the order of the stream."""
        answers: dict[int, Raw] = {}
        for step, q in steps:
            if type(step) is ListRequested:
                answers[q] = encode_items(self._answer(step, q, lists))
            else:
                self.reranker.learn(step)
        return answers

    def _answer(self, request: ListRequested, q: int, lists: ListBatch) -> list[ListItem]:
        query = lists.queries[q]
        (feed_items,) = build_list_items(extract_lists([q], [query.k], lists.rankings), self._item_statistics.index.ids)
        search_items = self.reranker.rerank(
            request, q, feed_items, lists.rankings, self._item_statistics, lists.hidden_items(query)
        )
        self._count(request, search_items)
        if self._explains_scores:
            return search_items
        return [structs.replace(item, contributions=None) for item in search_items]

    def _count(self, request: ListRequested, search_items: Sequence[ListItem]) -> None:
        """Count an answer, and a reordered one if its order differs from the engine's."""
        assert isinstance(request.event, Search)
        shown_ids = dict.fromkeys(item.item_id for item in search_items)
        engine_ids = dict.fromkeys(request.event.items)
        self._counts["searches"] += 1
        self._counts["searches_reordered"] += [item_id for item_id in engine_ids if item_id in shown_ids] != [
            item_id for item_id in shown_ids if item_id in engine_ids
        ]

    def counters(self) -> Mapping[str, int]:
        """Return the numbers of answers, reordered answers, and choices from answers."""
        return self._counts | {"search_choices": self.reranker.reranked_metrics.events}

    def quality(self) -> Mapping[str, float]:
        """Return the ranking metrics of chosen items in the answers and in the engine's order."""
        return self.reranker.values()

    def state(self) -> SearchState:
        """Return the state."""
        return SearchState(self.reranker.state(), dict(self._counts))

    def restore(self, state: SearchState | None) -> None:
        """Continue from a `state`, or with nothing learned."""
        if state is not None:
            self.reranker.restore(state.reranker)
            self._counts = Counter(state.counts)
