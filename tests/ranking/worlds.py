"""Small worlds to rank in: item knowledge from visits, queries for users, and one call that ranks them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from freshflow.config import ItemsConfig, RankerConfig, RankingConfig
from freshflow.items.knowledge import Chunk, ItemKnowledge
from freshflow.items.visits import Visit
from freshflow.ranking.candidates import Candidates, gather
from freshflow.ranking.features import FEATURES, compute
from freshflow.ranking.queries import Query
from freshflow.ranking.ranker import Ranker
from freshflow.users.state import Context, UserState

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
RANKING = RankingConfig()


class World:
    """Item knowledge that has learned visits, and the chunk that is being taken on top of it."""

    def __init__(self, *sessions: str, **config: int) -> None:
        self.knowledge = ItemKnowledge(ItemsConfig(**config))
        self.events = 0
        self.learn(*sessions)

    def learn(self, *sessions: str) -> None:
        """Learn sessions such as "a b c", one visit at a time, a minute apart."""
        for session in sessions:
            for visit in self.visits(session):
                self.knowledge.fold(self.knowledge.admit([visit]))

    def learn_strangers(self, events: int) -> None:
        """Learn so many visits of a hundred other items, p000 to p099, each on its own."""
        for _ in range(events // 100):
            self.knowledge.fold(self.knowledge.admit([v for n in range(100) for v in self.visits(f"p{n:03d}")]))

    def visits(self, session: str) -> list[Visit]:
        """The visits of one session, each with the items before it as its context."""
        items = session.split()
        self.events += len(items)
        return [
            Visit(n, item, tuple(dict.fromkeys(items[:n][::-1])), self.now_ms - (len(items) - n - 1) * MINUTE_MS)
            for n, item in enumerate(items)
        ]

    @property
    def now_ms(self) -> int:
        return START_MS + self.events * MINUTE_MS

    def query(self, *context: str, history: Sequence[str] = (), position: int = 0, **fields) -> Query:
        """A query of a user with this running session, the most recent first, and this history, the oldest first."""
        items = (*(item for item in history if item not in context), *context[::-1])
        seen_ms = tuple(self.now_ms - (len(items) - n) * MINUTE_MS for n in range(len(items)))
        user = UserState(context[::-1], None, len(context), self.now_ms, items, seen_ms, (1,) * len(items))
        now_ms = fields.pop("now_ms", self.now_ms)
        return Query(user, Context(context, len(context), 0), now_ms, position, **fields)

    def rank(self, *queries: Query, visits: Sequence[Visit] = (), config: RankingConfig = RANKING) -> "Ranked":
        """Candidates and features of `queries`, asked while `visits` are being taken."""
        chunk = self.knowledge.admit(visits)
        candidates = gather(self.knowledge, chunk, queries, config)
        return Ranked(self.knowledge, chunk, queries, candidates, compute(self.knowledge, chunk, queries, candidates))


class Ranked(NamedTuple):
    """Queries with their candidates and features (F, Q, C)."""

    knowledge: ItemKnowledge
    chunk: Chunk
    queries: tuple[Query, ...]
    candidates: Candidates
    features: np.ndarray

    def items(self, query: int = 0) -> list[str]:
        """Ids of a query's candidates, in their order."""
        return [self.knowledge.rows.ids[row] for row in self.candidates.rows[query].tolist() if row >= 0]

    def feature(self, name: str, item: str, query: int = 0) -> float:
        """The value of a feature for one candidate."""
        return float(self.features[FEATURES.index(name), query, self.items(query).index(item)])


def trained(model: str = "sgd", seed: int = 0, steps: int = 20) -> Ranker:
    """A ranker that has learned from random choices, so that none of its weights is zero."""
    ranker, random = Ranker(RankerConfig(f"freshflow.ranking.rankers:{model}")), np.random.default_rng(seed)
    for context in (("a",), ()):
        query = Query(UserState(), Context(context, len(context), 0), START_MS)
        for _ in range(steps):
            ranker.learn(query, random.normal(0, 1, len(FEATURES)).tolist())
    ranker.take_over()
    return ranker
