"""Steps that the compiled loop takes at once: in which order, with which queries, and what becomes of the answers."""

from collections.abc import Sequence

import numpy as np

from freshflow.config.schema import Config
from freshflow.events.model import Interaction, Request, Search
from freshflow.items.index import ItemIndex
from freshflow.items.visit import ItemVisit
from freshflow.ranking.incremental_scores import N_BASELINE_ITEMS
from freshflow.ranking.kernel import LEARN_STEP, RANK_STEP, Visits
from freshflow.ranking.query import Query
from freshflow.rules.pipeline import Rules
from freshflow.search.reranker import SearchReranker
from freshflow.users.profile import Context, UserProfile, context_at
from freshflow.users.updates import BotEvent, Dismissal, ListRequested, ProfileMerged, RemoteExample, UserInteraction

__all__ = ["MicroBatch", "RankedStep", "list_length", "build_visit_batch"]

RankedStep = UserInteraction | Dismissal | BotEvent | ProfileMerged | ListRequested | RemoteExample | ItemVisit


class MicroBatch:
    """Queries and visits in the order of the stream.

    `training_steps` are the steps with the number of the query that was ranked before them, `list_steps` those with the number of
    the query whose answer is their list. `n_examples` counts the interactions and lessons, of which there may be `max_examples`;
    `last_event` is that of the last interaction. `search_steps` are searches and what was visited after one. Where lists
    have `rules`, more is ranked than is shown.
    """

    def __init__(self, config: Config, search_reranker: SearchReranker, rules: Rules | None, max_examples: int) -> None:
        self.config = config
        self.search_reranker = search_reranker
        self.rules = rules
        self.max_examples = max_examples
        self._session_gap_ms = int(config.users.session_gap_s * 1000)
        self.step_kinds: list[int] = []
        self.queries: list[Query] = []
        self.visits: list[ItemVisit] = []
        self.training_steps: list[tuple[UserInteraction | Dismissal | RemoteExample, int]] = []
        self.list_steps: list[tuple[UserInteraction | Dismissal | BotEvent | ProfileMerged | ListRequested, int]] = []
        self.n_interactions = self.n_examples = 0
        self.search_steps: list[ListRequested | UserInteraction | ItemVisit] = []
        self.last_event: Interaction | None = None

    def add(self, step: RankedStep) -> None:
        """Take a step along: the list before it, what items learn from it, and the list after it."""
        if type(step) is ItemVisit:
            self._add_visit(step)
        elif type(step) is UserInteraction:
            event = step.event
            self.training_steps.append(
                (step, self._add_query(Query(step.profile_before, step.context, event.ts_ms, 0, event.item_id)))
            )
            self.step_kinds.append(LEARN_STEP)
            self.visits.append(step.visit)
            if step.profile_before.search is not None and step.follows_search:
                self.search_steps.append(step)
            self.n_interactions += 1
            self.n_examples += 1
            self.last_event = event
            self.list_steps.append((step, self._add_query(self._build_list_query(step.profile_after))))
        elif type(step) is RemoteExample:
            visit = step.visit
            self.training_steps.append(
                (step, self._add_query(Query(step.profile_before, step.context, visit.ts_ms, 0, visit.item_id)))
            )
            self._add_visit(visit)
            self.n_examples += 1
        elif type(step) is ListRequested:
            if isinstance(step.event, Search):
                self.search_steps.append(step)
            self.list_steps.append((step, self._add_query(self._build_request_query(step))))
        else:
            if type(step) is Dismissal:
                event = step.event
                self.training_steps.append(
                    (step, self._add_query(Query(step.profile_before, step.context, event.ts_ms, 0, event.item_id)))
                )
            self.list_steps.append((step, self._add_query(self._build_list_query(step.profile_after))))

    def has_list_for(self, user_id: str) -> bool:
        """Whether one of its lists is for the user."""
        return any(step.event.user_id == user_id for step, _ in self.list_steps)

    def _build_request_query(self, step: ListRequested) -> Query:
        """What a request or a search asks for."""
        event, user, restrict_to = step.event, step.profile, None
        if isinstance(event, Search):
            restrict_to = self.search_reranker.collect_results(event, user)
            k = len(restrict_to)
        else:
            k = list_length(event, self.config)
            k = k if self.rules is None else self.rules.ranking_depth(k)
        now_ms = max(event.ts_ms, user.last_ms)
        return Query(user, self._user_context(user, now_ms), now_ms, k, None, restrict_to, event.exclude_seen)

    def _build_list_query(self, user: UserProfile) -> Query:
        """The list of a user who has just acted; what they did may have come out of order."""
        k, store_baseline = self.config.lists.k, self.config.refresh.interval_s > 0
        if self.rules is not None:
            k = self.rules.ranking_depth(k)
        context = self._user_context(user, user.last_ms)
        return Query(
            user,
            context,
            user.last_ms,
            max(N_BASELINE_ITEMS, k) if store_baseline else k,
            store_baseline=store_baseline,
        )

    def _user_context(self, user: UserProfile, now_ms: int) -> Context:
        return context_at(user, now_ms, gap_ms=self._session_gap_ms, max_items=self.config.users.context)

    def _add_query(self, query: Query) -> int:
        self.step_kinds.append(RANK_STEP)
        self.queries.append(query if query.profile.search is None else self.search_reranker.add_query_clicks(query))
        return len(self.queries) - 1

    def _add_visit(self, visit: ItemVisit) -> None:
        """Take a visit of another partition's user along."""
        self.step_kinds.append(LEARN_STEP)
        self.visits.append(visit)
        if visit.query_keys:
            self.search_steps.append(visit)


def list_length(event: object, config: Config) -> int:
    """How many candidates to choose for the list of an event: of a search's, all."""
    if type(event) is Search:
        return len(event.items)
    return (event.k if type(event) is Request else None) or config.lists.k


def build_visit_batch(item_index: ItemIndex, visits: Sequence[ItemVisit], context_length: int) -> Visits:
    """The arrays of `visits`, with at most `context_length` items of their contexts."""
    return Visits(
        np.array(item_index.lookup_rows([visit.item_id for visit in visits]), np.int32),
        item_index.padded_rows([visit.context[:context_length] for visit in visits], context_length),
        np.array([visit.ts_ms for visit in visits], np.int64),
        np.array([visit.is_session_start for visit in visits], np.bool_),
        np.array([visit.sample_weight for visit in visits], np.float64),
    )
