"""Small worlds to rank in: item knowledge from visits, queries for users, and one call that ranks them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from freshflow.config import ItemsConfig, RankerConfig, RankingConfig
from freshflow.items.fold import fold
from freshflow.items.knowledge import ItemKnowledge
from freshflow.items.visits import Visit
from freshflow.ranking.answers import ASK, FOUND, LEARN, ROW, Answers, Visits, answer
from freshflow.ranking.candidates import Scratch
from freshflow.ranking.features import FEATURES, MOMENT
from freshflow.ranking.queries import Query, queries_in_arrays
from freshflow.ranking.ranker import Ranker
from freshflow.ranking.scoring import INPUTS, Weights
from freshflow.ranking.selection import Chosen, chosen
from freshflow.users.state import Context, UserState

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
RANKING = RankingConfig()
UNITS = 16


def weights(**linear: float) -> Weights:
    """Weights that are zero but for these features, in both models."""
    one = [linear.get(name, 0.0) for name in FEATURES] + [0.0] * UNITS
    return Weights(np.array([one, one]), np.zeros((len(INPUTS), UNITS), np.float32))


NOTHING_LEARNED = weights()


class World:
    """Item knowledge that has learned visits; `learned` holds them in order."""

    def __init__(self, *sessions: str, ranking: RankingConfig = RANKING, **config: int) -> None:
        self.ranking = ranking
        self.knowledge = ItemKnowledge(ItemsConfig(**config), ranking)
        self.scratch = Scratch.empty()
        self.learned: list[Visit] = []
        self.events = 0
        self.learn(*sessions)

    def learn(self, *sessions: str) -> None:
        """Learn sessions such as "a b c", one visit at a time, a minute apart."""
        for session in sessions:
            self.take(self.visits(session))

    def learn_strangers(self, events: int) -> None:
        """Learn so many visits of a hundred other items, p000 to p099, each on its own."""
        for n in range(events):
            self.take(self.visits(f"p{n % 100:03d}"))

    def open(self, *items: str) -> None:
        """Learn visits that open a session each."""
        for item in items:
            self.events += 1
            self.take([Visit(0, item, (), self.now_ms, opens=True)])

    def take(self, visits: Sequence[Visit]) -> None:
        """Learn visits one by one."""
        for visit in visits:
            self.knowledge.admit([visit.item_id], visit.ts_ms)
            many = self._in_arrays([visit])
            fold(
                *(self.knowledge.tables, many.items[0], many.contexts[0]),
                *(many.ts_ms[0], many.opens[0], many.weights[0]),
            )
            self.learned.append(visit)

    def visits(self, session: str) -> list[Visit]:
        """The visits of one session, each with the items before it as its context."""
        items = session.split()
        self.events += len(items)
        return [
            Visit(n, item, tuple(dict.fromkeys(items[:n][::-1])), self.now_ms - (len(items) - n - 1) * MINUTE_MS)
            for n, item in enumerate(items)
        ]

    def _in_arrays(self, visits: Sequence[Visit]) -> Visits:
        rows, length = self.knowledge.rows, self.knowledge.config.context
        contexts = np.full((len(visits), length), -1, np.int32)
        for n, visit in enumerate(visits):
            known = rows.rows_or_none(visit.context[:length])
            contexts[n, : len(known)] = known
        return Visits(
            np.array([rows.get(visit.item_id) for visit in visits], np.int32),
            contexts,
            np.array([visit.ts_ms for visit in visits], np.int64),
            np.array([visit.opens for visit in visits], np.bool_),
            np.array([visit.weight for visit in visits], np.float64),
        )

    @property
    def now_ms(self) -> int:
        return START_MS + self.events * MINUTE_MS

    def query(self, *context: str, history: Sequence[str] = (), **fields) -> Query:
        """A query of a user with this running session, the most recent first, and this history, the oldest first."""
        items = (*(item for item in history if item not in context), *context[::-1])
        seen_ms = tuple(self.now_ms - (len(items) - n) * MINUTE_MS for n in range(len(items)))
        user = UserState(
            session=context[::-1],
            session_length=len(context),
            last_ms=self.now_ms,
            items=items,
            seen_ms=seen_ms,
            counts=(1,) * len(items),
        )
        now_ms = fields.pop("now_ms", self.now_ms)
        return Query(user, Context(context, len(context), 0), now_ms, **fields)

    def rank(
        self,
        *queries: Query,
        visits: Sequence[Visit] = (),
        at: Sequence[int] = (),
        weights: Weights = NOTHING_LEARNED,
    ) -> "Ranked":
        """The answers to `queries`, the n-th asked after the first `at[n]` of `visits`, all of which are learned."""
        steps, taken = [], 0
        for n in range(len(queries)):
            before = at[n] if at else 0
            steps += [LEARN] * (before - taken) + [ASK]
            taken = before
        steps += [LEARN] * (len(visits) - taken)
        for visit in visits:
            self.knowledge.admit([visit.item_id], visit.ts_ms)
        self.learned += visits
        self.scratch = self.scratch.for_items(self.knowledge.capacity)
        most = self.ranking.candidates
        room = max(most, *(len(query.only or ()) for query in queries), 1)
        longest = max((query.k for query in queries), default=1)
        answers = Answers.empty(len(queries), room, longest, weights.units.shape[1])
        arrays = queries_in_arrays(self.knowledge.rows, queries)
        steps = np.array(steps, np.int32)
        answer(self.knowledge.tables, weights, steps, arrays, self._in_arrays(visits), self.scratch, answers, most)
        return Ranked(self.knowledge, queries, answers, weights)


class Ranked(NamedTuple):
    """Queries with what was found for them."""

    knowledge: ItemKnowledge
    queries: tuple[Query, ...]
    answers: Answers
    weights: Weights

    def items(self, q: int = 0) -> list[str]:
        """Ids of a query's candidates, in their order."""
        found = self.answers.facts[q, FOUND]
        return [self.knowledge.rows.ids[row] for row in self.answers.candidates[q, :found, ROW].tolist()]

    def features(self, q: int = 0) -> np.ndarray:
        """The features (C, F) of a query's candidates."""
        return self.answers.features[q, : self.answers.facts[q, FOUND]]

    def feature(self, name: str, item: str, q: int = 0) -> float:
        """The value of a feature for one candidate."""
        return float(self.answers.features[q, self.items(q).index(item), FEATURES.index(name)])

    def moment(self, name: str, q: int = 0) -> float:
        """The value of a feature of the moment."""
        return float(self.answers.moment[q, MOMENT.index(name)])

    def mark(self, column: int, item: str, q: int = 0) -> int:
        """A mark of one candidate: a column of `Answers.candidates`."""
        return int(self.answers.candidates[q, self.items(q).index(item), column])

    def chosen(self, q: int = 0) -> list[Chosen]:
        """The list of a query."""
        query = self.queries[q]
        return chosen(query, q, self.answers, self.weights, self.knowledge.rows.ids, query.k)


def trained(model: str = "sgd", seed: int = 0, steps: int = 20, units: int = UNITS) -> Ranker:
    """A ranker that has learned from random choices, so that none of its weights is zero."""
    ranker = Ranker(RankerConfig(f"freshflow.ranking.rankers:{model}", units))
    random = np.random.default_rng(seed)
    for number in (0, 1):
        for _ in range(steps):
            gradient = random.normal(0, 1, len(FEATURES) + units)
            ranker.learn(number, gradient, random.normal(0, 1, (len(INPUTS), units)).astype(np.float32))
    ranker.take_over()
    return ranker
