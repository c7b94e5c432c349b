"""Small worlds to rank in: item knowledge from visits, queries for users, and one call that ranks them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from freshflow.config.schema import ItemsConfig, RankerConfig, RankingConfig
from freshflow.engine.micro_batch import build_visit_batch
from freshflow.items.statistics import ItemStatistics
from freshflow.items.tables import update_tables
from freshflow.items.visit import ItemVisit
from freshflow.ranking.candidate_buffer import CandidateBuffer
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.kernel import (
    CANDIDATE_ROW,
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    LEARN_STEP,
    N_CANDIDATES,
    N_LISTED,
    N_TIED,
    RANK_STEP,
    RankingResults,
    process_batch,
)
from freshflow.ranking.query import Query, build_query_batch
from freshflow.ranking.ranker import Ranker
from freshflow.ranking.reason_names import RANKING_REASONS
from freshflow.ranking.scoring import Weights
from freshflow.ranking.tie_breaking import break_ties
from freshflow.users.profile import COUNT_TYPE, TIME_TYPE, Context, UserProfile, pack_numbers

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
RANKING = RankingConfig()
UNITS = 16
N_UNIT_INPUTS = len(FEATURES) + len(CONTEXT_FEATURES) + 1


def weights(**linear: float) -> Weights:
    """Weights that are zero but for these features, in both models."""
    one = [linear.get(name, 0.0) for name in FEATURES] + [0.0] * UNITS
    return Weights(np.array([one, one]), np.zeros((UNITS, N_UNIT_INPUTS), np.float32))


NOTHING_LEARNED = weights()


def packed_history(seen_ms: Sequence[int], counts: Sequence[int] | None = None) -> dict[str, bytes]:
    """The fields of a user's state that say when items were seen last and how often, once if nothing is said."""
    times, numbers = pack_numbers(TIME_TYPE, *seen_ms), pack_numbers(COUNT_TYPE, *(counts or [1] * len(seen_ms)))
    return {"packed_seen_ms": times, "packed_counts": numbers}


class World:
    """Item knowledge that has learned visits; `learned` holds them in order."""

    def __init__(self, *sessions: str, ranking: RankingConfig = RANKING, **config: int) -> None:
        self.ranking = ranking
        self.knowledge = ItemStatistics(ItemsConfig(**config), ranking)
        self.scratch = CandidateBuffer.empty()
        self.learned: list[ItemVisit] = []
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
            self.take([ItemVisit(0, item, (), self.now_ms, is_session_start=True)])

    def take(self, visits: Sequence[ItemVisit]) -> None:
        """Learn visits one by one."""
        for visit in visits:
            self.knowledge.admit(visit.item_id, visit.ts_ms)
            many = build_visit_batch(self.knowledge.index, [visit], self.knowledge.config.context)
            update_tables(
                *(self.knowledge.tables, many.items[0], many.contexts[0]),
                *(many.ts_ms[0], many.is_session_start[0], many.weights[0]),
            )
            self.learned.append(visit)

    def visits(self, session: str) -> list[ItemVisit]:
        """The visits of one session, each with the items before it as its context."""
        items = session.split()
        self.events += len(items)
        return [
            ItemVisit(n, item, tuple(dict.fromkeys(items[:n][::-1])), self.now_ms - (len(items) - n - 1) * MINUTE_MS)
            for n, item in enumerate(items)
        ]

    @property
    def now_ms(self) -> int:
        return START_MS + self.events * MINUTE_MS

    def query(self, *context: str, history: Sequence[str] = (), **fields) -> Query:
        """A query of a user with this running session, the most recent first, and this history, the oldest first."""
        items = (*(item for item in history if item not in context), *context[::-1])
        seen_ms = tuple(self.now_ms - (len(items) - n) * MINUTE_MS for n in range(len(items)))
        user = UserProfile(
            session=context[::-1],
            session_length=len(context),
            last_ms=self.now_ms,
            items=items,
            **packed_history(seen_ms),
        )
        now_ms = fields.pop("now_ms", self.now_ms)
        return Query(user, Context(context, len(context), 0), now_ms, **fields)

    def rank(
        self,
        *queries: Query,
        visits: Sequence[ItemVisit] = (),
        at: Sequence[int] = (),
        weights: Weights = NOTHING_LEARNED,
    ) -> "Ranked":
        """The answers to `queries`, the n-th asked after the first `at[n]` of `visits`, all of which are learned."""
        steps, taken = [], 0
        for n in range(len(queries)):
            before = at[n] if at else 0
            steps += [LEARN_STEP] * (before - taken) + [RANK_STEP]
            taken = before
        steps += [LEARN_STEP] * (len(visits) - taken)
        for visit in visits:
            self.knowledge.admit(visit.item_id, visit.ts_ms)
        self.learned += visits
        self.scratch = self.scratch.with_item_capacity(self.knowledge.capacity)
        most = self.ranking.candidates
        longest = max((query.k for query in queries), default=1)
        room = max(most, longest, *(len(query.restrict_to or ()) for query in queries))
        answers = RankingResults.empty(len(queries), room, longest, len(weights.units), keep_features=True)
        asked = build_query_batch(self.knowledge.index, queries)
        learned = build_visit_batch(self.knowledge.index, visits, self.knowledge.config.context)
        steps = np.array(steps, np.int32)
        process_batch(self.knowledge.tables, weights, steps, asked, learned, self.scratch, answers, most)
        return Ranked(self.knowledge, queries, answers, weights)


class Chosen(NamedTuple):
    """An item of a list, what speaks for it, and its number among the query's candidates."""

    item_id: str
    score: float
    reason: str
    because: tuple[str, ...]
    candidate: int


def chosen(q: int, answers: RankingResults, ids: Sequence[str]) -> list[Chosen]:
    """The list of query number `q`."""
    if answers.results[q, N_TIED]:
        break_ties(q, answers, ids)
    places = answers.entries[q, : answers.results[q, N_LISTED]].tolist()
    return [
        Chosen(
            *(ids[place[ENTRY_ROW]], score, RANKING_REASONS[place[ENTRY_REASON]]),
            () if place[ENTRY_SOURCE_ROW] < 0 else (ids[place[ENTRY_SOURCE_ROW]],),
            place[ENTRY_CANDIDATE],
        )
        for place, score in zip(places, answers.entry_scores[q].tolist(), strict=False)
    ]


class Ranked(NamedTuple):
    """Queries with what was found for them."""

    knowledge: ItemStatistics
    queries: tuple[Query, ...]
    answers: RankingResults
    weights: Weights

    def items(self, q: int = 0) -> list[str]:
        """Ids of a query's candidates, in their order."""
        found = self.answers.results[q, N_CANDIDATES]
        return [self.knowledge.index.ids[row] for row in self.answers.candidates[q, :found, CANDIDATE_ROW].tolist()]

    def features(self, q: int = 0) -> np.ndarray:
        """The features (C, F) of a query's candidates."""
        return self.answers.features[q, :, : self.answers.results[q, N_CANDIDATES]].T

    def feature(self, name: str, item: str, q: int = 0) -> float:
        """The value of a feature for one candidate."""
        return float(self.answers.features[q, FEATURES.index(name), self.items(q).index(item)])

    def moment(self, name: str, q: int = 0) -> float:
        """The value of a feature of the moment."""
        return float(self.answers.context_features[q, CONTEXT_FEATURES.index(name)])

    def mark(self, column: int, item: str, q: int = 0) -> int:
        """A mark of one candidate: a column of `RankingResults.candidates`."""
        return int(self.answers.candidates[q, self.items(q).index(item), column])

    def chosen(self, q: int = 0) -> list["Chosen"]:
        """The list of a query."""
        return chosen(q, self.answers, self.knowledge.index.ids)


def trained(model: str = "sgd", seed: int = 0, steps: int = 20, units: int = UNITS) -> Ranker:
    """A ranker that has learned from random choices, so that none of its weights is zero."""
    ranker = Ranker(RankerConfig(f"freshflow.ranking.model_factories:{model}", units))
    random = np.random.default_rng(seed)
    for number in (0, 1):
        for _ in range(steps):
            gradient = random.normal(0, 1, len(FEATURES) + units)
            ranker.record_choice(number, gradient, random.normal(0, 1, (units, N_UNIT_INPUTS)).astype(np.float32))
    ranker.apply_updates()
    return ranker
