"""Steps that the compiled loop takes at once: in which order, with which queries, and what becomes of the answers."""

from collections.abc import Sequence

import numpy as np

from freshflow.config.schema import Config
from freshflow.events.model import Behaviour, Request, Search
from freshflow.items.index import ItemRows
from freshflow.items.visit import Visit
from freshflow.ranking.incremental_scores import OWN
from freshflow.ranking.kernel import ASK, LEARN, Visits
from freshflow.ranking.query import Query
from freshflow.rules.pipeline import Rules
from freshflow.search.reranker import Searches
from freshflow.users.profile import Context, UserState, context_at
from freshflow.users.updates import Ask, Dismissal, Interaction, Joined, Lesson, Noise

__all__ = ["Batch", "Ranked", "length_of", "visits_in_arrays"]

Ranked = Interaction | Dismissal | Noise | Joined | Ask | Lesson | Visit


class Batch:
    """Queries and visits in the order of the stream.

    `learned` are the steps with the number of the query that was ranked before them, `listed` those with the number of
    the query whose answer is their list. `choices` counts the interactions and lessons, of which there may be `room`;
    `last_event` is that of the last interaction. `searching` are searches and what was visited after one. Where lists
    have `rules`, more is ranked than is shown.
    """

    def __init__(self, config: Config, searches: Searches, rules: Rules | None, room: int) -> None:
        self.config = config
        self.searches = searches
        self.rules = rules
        self.room = room
        self._gap_ms = int(config.users.session_gap_s * 1000)
        self.order: list[int] = []
        self.queries: list[Query] = []
        self.visits: list[Visit] = []
        self.learned: list[tuple[Interaction | Dismissal | Lesson, int]] = []
        self.listed: list[tuple[Interaction | Dismissal | Noise | Joined | Ask, int]] = []
        self.interactions = self.choices = 0
        self.searching: list[Ask | Interaction | Visit] = []
        self.last_event: Behaviour | None = None

    def add(self, step: Ranked) -> None:
        """Take a step along: the list before it, what items learn from it, and the list after it."""
        if type(step) is Visit:
            self._learn(step)
        elif type(step) is Interaction:
            event = step.event
            self.learned.append((step, self._ask(Query(step.before, step.context, event.ts_ms, 0, event.item_id))))
            self.order.append(LEARN)
            self.visits.append(step.visit)
            if step.before.search is not None and step.follows_search:
                self.searching.append(step)
            self.interactions += 1
            self.choices += 1
            self.last_event = event
            self.listed.append((step, self._ask(self._list_of(step.after))))
        elif type(step) is Lesson:
            visit = step.visit
            self.learned.append((step, self._ask(Query(step.before, step.context, visit.ts_ms, 0, visit.item_id))))
            self._learn(visit)
            self.choices += 1
        elif type(step) is Ask:
            if isinstance(step.event, Search):
                self.searching.append(step)
            self.listed.append((step, self._ask(self._asked(step))))
        else:
            if type(step) is Dismissal:
                event = step.event
                self.learned.append((step, self._ask(Query(step.before, step.context, event.ts_ms, 0, event.item_id))))
            self.listed.append((step, self._ask(self._list_of(step.after))))

    def lists_for(self, user_id: str) -> bool:
        """Whether one of its lists is for the user."""
        return any(step.event.user_id == user_id for step, _ in self.listed)

    def _asked(self, step: Ask) -> Query:
        """What a request or a search asks for."""
        event, user, only = step.event, step.user, None
        if isinstance(event, Search):
            only = self.searches.results(event, user)
            k = len(only)
        else:
            k = length_of(event, self.config)
            k = k if self.rules is None else self.rules.depth(k)
        now_ms = max(event.ts_ms, user.last_ms)
        return Query(user, self._context(user, now_ms), now_ms, k, None, only, event.exclude_seen)

    def _list_of(self, user: UserState) -> Query:
        """The list of a user who has just acted; what they did may have come out of order."""
        k, keeps = self.config.lists.k, self.config.refresh.interval_s > 0
        if self.rules is not None:
            k = self.rules.depth(k)
        context = self._context(user, user.last_ms)
        return Query(user, context, user.last_ms, max(OWN, k) if keeps else k, keep=keeps)

    def _context(self, user: UserState, now_ms: int) -> Context:
        return context_at(user, now_ms, gap_ms=self._gap_ms, limit=self.config.users.context)

    def _ask(self, query: Query) -> int:
        self.order.append(ASK)
        self.queries.append(query if query.user.search is None else self.searches.with_chosen(query))
        return len(self.queries) - 1

    def _learn(self, visit: Visit) -> None:
        """Take a visit of another partition's user along."""
        self.order.append(LEARN)
        self.visits.append(visit)
        if visit.searched:
            self.searching.append(visit)


def length_of(event: object, config: Config) -> int:
    """How many candidates to choose for the list of an event: of a search's, all."""
    if type(event) is Search:
        return len(event.items)
    return (event.k if type(event) is Request else None) or config.lists.k


def visits_in_arrays(rows: ItemRows, visits: Sequence[Visit], length: int) -> Visits:
    """The arrays of `visits`, with at most `length` items of their contexts."""
    return Visits(
        np.array(rows.rows_or_none([visit.item_id for visit in visits]), np.int32),
        rows.padded([visit.context[:length] for visit in visits], length),
        np.array([visit.ts_ms for visit in visits], np.int64),
        np.array([visit.opens for visit in visits], np.bool_),
        np.array([visit.weight for visit in visits], np.float64),
    )
