"""Micro-batches: steps that the compiled loop processes at once, with their queries in the order of the stream."""

from collections.abc import Sequence

import numpy as np

from freshflow.engine.queries import QueryBuilder
from freshflow.events.model import Interaction, Search
from freshflow.feature import Feature
from freshflow.items.index import ItemIndex
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.ranking.kernel import LEARN_STEP, RANK_STEP, Visits
from freshflow.ranking.query import Query
from freshflow.users.updates import BotEvent, Dismissal, ListRequested, ProfileMerged, RemoteExample, UserInteraction

# Queries and visits of a micro-batch; the limit bounds the memory for their candidates.
MAX_BATCH_QUERIES = 128
NO_QUERY = -1

RankedStep = UserInteraction | Dismissal | BotEvent | ProfileMerged | ListRequested | RemoteExample | ItemVisit


class MicroBatch:
    """Queries and visits in the order of the stream.

    Attributes:
        max_examples: The number of examples after which the ranker applies its updates.
        step_kinds: For each query `RANK_STEP`, for each visit `LEARN_STEP`, in order.
        queries: The queries.
        visits: The visits.
        training_steps: Steps to learn from, each with the number of the query that predicts its item.
        list_steps: Steps that a list follows, each with the number of the query that ranks the list.
        search_steps: Searches with the number of their query, and visits after a search with `NO_QUERY`.
        interactions: The interactions of the partition's own users.
        n_examples: The number of interactions and remote examples.
        latest_ms: The latest event time of `interactions`; 0 without any.
    """

    def __init__(
        self, queries: QueryBuilder, item_statistics: ItemStatistics, max_examples: int, max_lists: int
    ) -> None:
        self._query_builder = queries
        self._item_statistics = item_statistics
        self._max_lists = max_lists
        self.max_examples = max_examples
        self.step_kinds: list[int] = []
        self.queries: list[Query] = []
        self.visits: list[ItemVisit] = []
        self.training_steps: list[tuple[UserInteraction | Dismissal | RemoteExample, int]] = []
        self.list_steps: list[tuple[UserInteraction | Dismissal | BotEvent | ProfileMerged | ListRequested, int]] = []
        self.search_steps: list[tuple[ListRequested | UserInteraction | ItemVisit, int]] = []
        self.interactions: list[UserInteraction] = []
        self.n_examples = self.latest_ms = 0

    @property
    def is_full(self) -> bool:
        """True if the ranker applies its updates after this batch."""
        return self.n_examples == self.max_examples

    def can_add(self, step: RankedStep, target_event: Interaction | ItemVisit | None) -> bool:
        """Return True if lists do not depend on adding `step` to this batch rather than the next one.

        Args:
            step: The next step.
            target_event: The event that `step` visits an item with, if it does.
        """
        if self.n_examples == self.max_examples or len(self.step_kinds) >= MAX_BATCH_QUERIES:
            return False
        if len(self.list_steps) >= self._max_lists:
            return False
        if self.search_steps and _follows_search(step):
            return False  # visits after searches are learned first
        return target_event is None or not self._item_statistics.admission_affects_others(target_event.item_id)

    def add(self, step: RankedStep) -> None:
        """Add a step: the prediction before it, its visit, and the list after it."""
        if type(step) is ItemVisit:
            self._add_visit(step)
        elif type(step) is UserInteraction:
            self._add_interaction(step)
        elif type(step) is RemoteExample:
            self.training_steps.append((step, self._add_prediction(step, step.visit)))
            self._add_visit(step.visit)
            self.n_examples += 1
        elif type(step) is ListRequested:
            q = self._add_query(self._query_builder.build_request_query(step))
            if type(step.event) is Search:
                self.search_steps.append((step, q))
            self.list_steps.append((step, q))
        else:
            if type(step) is Dismissal:
                self.training_steps.append((step, self._add_prediction(step, step.event)))
            q = self._add_query(self._query_builder.build_list_query(step.profile_after))
            self.list_steps.append((step, q))

    def has_list_for(self, user_id: str) -> bool:
        """Return True if one of the lists is for the user."""
        return any(step.event.user_id == user_id for step, _ in self.list_steps)

    def _add_interaction(self, step: UserInteraction) -> None:
        event = step.event
        self.training_steps.append((step, self._add_prediction(step, event)))
        self.step_kinds.append(LEARN_STEP)
        self.visits.append(step.visit)
        if step.profile_before.search is not None and step.follows_search:
            self.search_steps.append((step, NO_QUERY))
        self.interactions.append(step)
        self.n_examples += 1
        if event.ts_ms > self.latest_ms:
            self.latest_ms = event.ts_ms
        q = self._add_query(self._query_builder.build_list_query(step.profile_after))
        self.list_steps.append((step, q))

    def _add_prediction(self, step: UserInteraction | Dismissal | RemoteExample, event: Interaction | ItemVisit) -> int:
        return self._add_query(self._query_builder.build_prediction(step.profile_before, step.context, event))

    def _add_query(self, query: Query) -> int:
        self.step_kinds.append(RANK_STEP)
        self.queries.append(query)
        return len(self.queries) - 1

    def _add_visit(self, visit: ItemVisit) -> None:
        """Add a visit of another partition's user."""
        self.step_kinds.append(LEARN_STEP)
        self.visits.append(visit)
        if visit.query_keys:
            self.search_steps.append((visit, NO_QUERY))


class MicroBatcher:
    """A factory of the micro-batches of a partition."""

    def __init__(self, queries: QueryBuilder, item_statistics: ItemStatistics, features: tuple[Feature, ...]) -> None:
        self._queries = queries
        self._item_statistics = item_statistics
        reads_statistics = any(feature.reads_item_statistics for feature in features)
        self._max_lists = 1 if reads_statistics else MAX_BATCH_QUERIES

    def start(self, max_examples: int) -> MicroBatch:
        """Return an empty micro-batch for at most `max_examples` examples."""
        return MicroBatch(self._queries, self._item_statistics, max_examples, self._max_lists)


def target_event_of(step: RankedStep) -> Interaction | ItemVisit | None:
    """Return the event of a step that visits an item, if it has one."""
    if type(step) is ItemVisit:
        return step
    if type(step) is UserInteraction:
        return step.event
    return step.visit if type(step) is RemoteExample else None


def _follows_search(step: RankedStep) -> bool:
    """Return True if the step is a search, or if the user of one of its lists has searched."""
    if isinstance(step, ItemVisit):
        return False
    if isinstance(step, ListRequested):
        return isinstance(step.event, Search) or step.profile.search is not None
    profiles = [getattr(step, name, None) for name in ("profile_before", "profile_after")]
    return any(profile is not None and profile.search is not None for profile in profiles)


def build_visit_batch(item_index: ItemIndex, visits: Sequence[ItemVisit], context_length: int) -> Visits:
    """Return visits as arrays.

    Args:
        item_index: The rows of items.
        visits: The visits (N,).
        context_length: The maximum number of context items of a visit.
    """
    return Visits(
        np.array(item_index.lookup_rows([visit.item_id for visit in visits]), np.int32),
        item_index.padded_rows([visit.context[:context_length] for visit in visits], context_length),
        np.array([visit.ts_ms for visit in visits], np.int64),
        np.array([visit.is_session_start for visit in visits], np.bool_),
        np.array([visit.sample_weight for visit in visits], np.float64),
    )
